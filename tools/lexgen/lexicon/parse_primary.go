package lexicon

import (
	"slices"
	"strconv"
	"strings"

	"mls-server/lexrt"
)

func (p *parser) record(b Base) Schema {
	o := p.base(&b, "key", "record")
	s := &Record{Base: b, Key: o.str("key")}
	switch key := o.get("key"); {
	case key == nil:
		p.errorf(b.node, "key-missing", `a record needs "key"`, `add "key": "tid"`)
	case key.Kind == '"':
		p.recordKey(key)
	}
	body := o.get("record")
	if body == nil {
		p.errorf(b.node, "record-missing", `a record needs "record"`, `add "record": {"type": "object", "properties": {…}}`)
		return nil
	}
	sub := p.schema(body, `"record"`)
	obj, ok := sub.(*Object)
	if sub == nil {
		return nil
	}
	if !ok || sub.Kind() != KindObject {
		p.errorf(body, "record-type", `the "record" of a record must have the type "object", not "`+string(sub.Kind())+`"`, "")
		return nil
	}
	s.Object = obj
	return s
}

func (p *parser) recordKey(n *Node) {
	switch key := n.Text; {
	case key == "tid", key == "nsid", key == "any":
	case strings.HasPrefix(key, "literal:"):
		if !lexrt.FormatRecordKey.Valid(strings.TrimPrefix(key, "literal:")) {
			p.errorf(n, "key", "the literal record key is not a valid record key", "")
		}
	default:
		p.errorf(n, "key", strconv.Quote(key)+" is not a record key type", `use "tid", "nsid", "any" or "literal:VALUE"`)
	}
}

func (p *parser) method(b Base) Schema {
	known := []string{"parameters", "errors", "input"}
	switch b.kind {
	case KindQuery:
		known = append(known, "output")
	case KindProcedure:
		known = append(known, "output")
	case KindSubscription:
		known = known[:2]
		known = append(known, "message", "subprotocol")
	default:
	}
	o := p.base(&b, known...)
	s := &Method{Base: b}
	if n := o.get("parameters"); n != nil {
		switch sub := p.schema(n, `"parameters"`).(type) {
		case nil:
		case *Object:
			if sub.Kind() == KindParams {
				s.Params = sub
				break
			}
			p.errorf(n, "params-type", `"parameters" must have the type "params", not "object"`, `write "type": "params"`)
		default:
			p.errorf(n, "params-type", `"parameters" must have the type "params", not "`+string(sub.Kind())+`"`, `write "type": "params"`)
		}
	}
	switch b.kind {
	case KindQuery:
		if n := b.node.Get("input"); n != nil {
			p.errorf(n, "query-input", "a query has no input", "use parameters, or make it a procedure")
		}
		s.Output = p.body(o, "output")
	case KindProcedure:
		s.Input, s.Output = p.body(o, "input"), p.body(o, "output")
	case KindSubscription:
		p.message(o, s)
	default:
	}
	p.errorNames(o, s)
	return s
}

func (p *parser) body(o object, name string) *Body {
	n := o.typed(name, '{', "an object")
	if n == nil {
		return nil
	}
	bo := p.object(n, "description", "encoding", "schema")
	b := &Body{Description: bo.str("description"), Encoding: bo.str("encoding"), node: n}
	if enc := bo.get("encoding"); enc == nil {
		p.errorf(n, "encoding-missing", strconv.Quote(name)+` needs "encoding"`, `add "encoding": "application/json"`)
	} else if enc.Kind == '"' && !validEncoding(b.Encoding) {
		p.errorf(enc, "encoding", strconv.Quote(b.Encoding)+" is not a media type", `for example "application/json"`)
	}
	schema := bo.get("schema")
	if schema == nil {
		return b
	}
	b.Schema = p.schema(schema, `"schema"`)
	if b.Schema == nil {
		return b
	}
	switch k := b.Schema.Kind(); k {
	case KindObject, KindRef, KindUnion:
	default:
		p.errorf(schema, "body-type", `the schema of a body must be an object, a ref or a union, not "`+string(k)+`"`, "wrap the value into an object")
		b.Schema = nil
	}
	return b
}

// validEncoding accepts media types and ranges.
func validEncoding(s string) bool {
	for part := range strings.SplitSeq(s, ",") {
		part, _, _ = strings.Cut(part, ";")
		typ, sub, ok := strings.Cut(strings.TrimSpace(part), "/")
		if !ok || !mediaToken(typ) || !mediaToken(sub) {
			return false
		}
	}
	return true
}

func mediaToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`()<>@,;:\"/[]?=`, r)
	})
}

func (p *parser) message(o object, s *Method) {
	if sub := o.get("subprotocol"); sub != nil {
		if sub.Kind == '[' {
			s.Subprotocols, _ = o.strings("subprotocol")
		} else if v := o.str("subprotocol"); v != "" {
			s.Subprotocols = []string{v}
		}
	}
	n := o.typed("message", '{', "an object")
	if n == nil {
		return
	}
	mo := p.object(n, "description", "schema")
	schema := mo.get("schema")
	if schema == nil {
		p.errorf(n, "message-schema", `"message" needs "schema"`, `add "schema": {"type": "union", "refs": […]}`)
		return
	}
	sub := p.schema(schema, `"schema"`)
	if sub == nil {
		return
	}
	if _, named := sub.(*Ref); named && p.opt.NamedUnions {
		s.Message = sub // the resolver looks at what it names
		return
	}
	if _, ok := sub.(*Union); !ok {
		p.errorf(schema, "message-type", `the schema of a message must be a union, not "`+string(sub.Kind())+`"`, `write {"type": "union", "refs": […]}`)
		return
	}
	s.Message = sub
}

func (p *parser) errorNames(o object, s *Method) {
	list := o.array("errors")
	if list == nil {
		return
	}
	for _, n := range list.Items {
		if n.Kind != '{' {
			p.errorf(n, "type", `"errors" must hold objects with a name, not `+n.describe(), `write {"name": "NotFound"}`)
			continue
		}
		eo := p.object(n, "name", "description")
		e := &ErrorName{Name: eo.str("name"), Description: eo.str("description"), node: n}
		switch {
		case eo.get("name") == nil:
			p.errorf(n, "error-name", `an error needs "name"`, "")
		case eo.get("name").Kind != '"':
		case e.Name == "" || strings.ContainsFunc(e.Name, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
			p.errorf(eo.get("name"), "error-name", "an error name must not be empty and must not have spaces or other than ASCII characters", "for example NotFound")
		case slices.ContainsFunc(s.Errors, func(x *ErrorName) bool { return x.Name == e.Name }):
			p.errorf(eo.get("name"), "error-duplicate", "the error "+e.Name+" is declared twice", "remove one")
		default:
			s.Errors = append(s.Errors, e)
		}
	}
}

func (p *parser) permissionSet(b Base) Schema {
	o := p.base(&b, "title", "title:lang", "detail", "detail:lang", "permissions")
	s := &PermissionSet{Base: b, Title: o.str("title"), Detail: o.str("detail")}
	s.TitleLang, s.DetailLang = p.translations(o, "title:lang"), p.translations(o, "detail:lang")
	list := o.array("permissions")
	if o.get("permissions") == nil {
		p.errorf(b.node, "permissions-missing", `a permission set needs "permissions"`, "")
	}
	if list == nil {
		return s
	}
	for _, n := range list.Items {
		sub := p.schema(n, "a permission")
		if sub == nil {
			continue
		}
		perm, ok := sub.(*Permission)
		if !ok {
			p.errorf(n, "permission-type", `"permissions" must hold objects of type "permission", not "`+string(sub.Kind())+`"`, "")
			continue
		}
		s.Permissions = append(s.Permissions, perm)
	}
	return s
}

func (p *parser) translations(o object, key string) []Translation {
	n := o.typed(key, '{', "an object")
	if n == nil {
		return nil
	}
	var out []Translation
	for _, m := range n.Members {
		if m.Value.Kind != '"' || !lexrt.FormatLanguage.Valid(m.Name) {
			p.errorf(m.Value, "translation", strconv.Quote(key)+" must map languages to strings", "")
			continue
		}
		out = append(out, Translation{m.Name, m.Value.Text})
	}
	slices.SortFunc(out, func(a, b Translation) int { return strings.Compare(a.Lang, b.Lang) })
	return out
}

// permission reads one permission. Services ignore a permission for a resource, or with a
// parameter, that they do not know, so it is left out with a warning.
func (p *parser) permission(b Base) Schema {
	known := []string{"type", "description", "resource", "collection", "action", "lxm", "aud", "inheritAud", "accept", "attr", "manage"}
	for _, m := range b.node.Members {
		if !slices.Contains(known, m.Name) {
			p.warnf(m.Value, "permission-parameter", "the permission is left out: services ignore one with a parameter that they do not know", "known here: "+strings.Join(known, ", "))
			return nil
		}
	}
	o := object{p, b.node}
	b.Description = o.str("description")
	s := &Permission{Base: b, Resource: o.str("resource"), Audience: o.str("aud"), InheritAudience: o.isTrue("inheritAud")}
	s.Collections, _ = o.strings("collection")
	s.Actions, _ = o.strings("action")
	s.LXM, _ = o.strings("lxm")
	s.Accept, _ = o.strings("accept")
	switch s.Resource {
	case "repo":
		p.repo(o, s)
	case "rpc":
		p.nsids(o, "lxm", s.LXM)
		p.audience(o, s)
	case "":
		if o.get("resource") == nil {
			p.errorf(b.node, "permission-resource", `a permission needs "resource"`, `"repo" or "rpc"`)
		}
	default:
		p.warnf(o.get("resource"), "permission-resource", "the permission is left out: services ignore those for "+strconv.Quote(s.Resource)+" in a permission set", `only "repo" and "rpc" can be bundled`)
		return nil
	}
	return s
}

func (p *parser) repo(o object, s *Permission) {
	p.nsids(o, "collection", s.Collections)
	if slices.Contains(s.Collections, "*") {
		p.errorf(o.get("collection"), "permission-collection", "a permission set cannot give access to all collections", "list the collections")
	}
	for _, a := range s.Actions {
		if a != "create" && a != "update" && a != "delete" {
			p.errorf(o.get("action"), "permission-action", strconv.Quote(a)+" is not an action", `use "create", "update" or "delete"`)
		}
	}
}

func (p *parser) audience(o object, s *Permission) {
	switch {
	case o.get("aud") != nil && s.InheritAudience:
		p.errorf(o.get("aud"), "permission-aud", `"aud" and "inheritAud" exclude each other`, "remove one")
	case s.Audience == "" && !s.InheritAudience:
		p.errorf(o.node, "permission-aud", `the permission needs "aud" or "inheritAud"`, `add "inheritAud": true, or "aud": "*" for any service`)
	case s.Audience != "" && s.Audience != "*":
		p.errorf(o.get("aud"), "permission-aud", "a permission set cannot name a service", `use "inheritAud": true, or "*" for any service`)
	case s.Audience == "*" && slices.Contains(s.LXM, "*"):
		p.errorf(o.get("lxm"), "permission-lxm", "a permission cannot be for all methods of all services", `list the methods, or use "inheritAud": true`)
	}
}

func (p *parser) nsids(o object, key string, list []string) {
	if len(list) == 0 {
		p.errorf(o.node, "permission-"+key, "the permission needs at least one "+key, "")
	}
	for _, s := range list {
		if s != "*" && nsidProblem(s) != "" {
			p.errorf(o.get(key), "permission-"+key, strconv.Quote(s)+" is not a valid NSID", "")
		}
	}
}
