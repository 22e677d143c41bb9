package lint

import (
	"strconv"
	"strings"

	"mls-server/lexrt"

	"mls-server/tools/lexgen/lexicon"
	"mls-server/tools/lexgen/reach"
)

// largest is the size in bytes above which data in a record should be a blob.
const largest = 20 * 1024

// schema checks a schema and all inside it.
func (l *linter) schema(s lexicon.Schema) {
	if s == nil {
		return
	}
	n := s.Node()
	l.docText(n, s.Doc())
	switch s := s.(type) {
	case *lexicon.Boolean:
		if s.Default != nil && *s.Default {
			l.report(n.Get("default"), "boolean-default-true", "the boolean is true by default", "turn its meaning round, so that absent and false are the same")
		}
	case *lexicon.Integer:
		l.integer(s)
	case *lexicon.String:
		l.string(s)
	case *lexicon.Bytes:
		l.size(n, "bytes", "maxLength", s.MaxLength)
	case *lexicon.Blob:
		if s.MaxSize == nil || len(s.Accept) == 0 {
			l.report(n, "blob-unbounded", "the blob has no limit of its size or type", `add "maxSize" in bytes and "accept", for example ["image/*"]`)
		}
	case *lexicon.Array:
		if s.MaxLength == nil && l.sentByOthers() {
			l.report(n, "array-unbounded", "the array has no maximal length", `add "maxLength"`)
		}
		l.schema(s.Items)
	case *lexicon.Object:
		l.object(s)
	case *lexicon.Ref:
		l.ref(s)
	case *lexicon.Union:
		l.union(s)
	}
}

func (l *linter) integer(s *lexicon.Integer) {
	n := s.Node()
	const safe = 1<<53 - 1
	for _, v := range []struct {
		key string
		v   *int64
	}{{"minimum", s.Minimum}, {"maximum", s.Maximum}, {"default", s.Default}, {"const", s.Const}} {
		if v.v != nil && (*v.v > safe || *v.v < -safe) {
			l.report(n.Get(v.key), "integer-unsafe", "the "+v.key+" "+strconv.FormatInt(*v.v, 10)+" is beyond what JavaScript can hold", "stay within ±9007199254740991, or use a string")
		}
	}
	for _, v := range s.Enum {
		if v > safe || v < -safe {
			l.report(n.Get("enum"), "integer-unsafe", "the value "+strconv.FormatInt(v, 10)+" is beyond what JavaScript can hold", "stay within ±9007199254740991, or use a string")
		}
	}
	if len(s.Enum) > 0 {
		l.report(n.Get("enum"), "enum-closed", "the enum can never get another value", "use minimum and maximum, or a string with knownValues, if more values may come")
	}
}

func (l *linter) string(s *lexicon.String) {
	n := s.Node()
	l.values(n, "enum", s.Enum)
	l.values(n, "knownValues", s.KnownValues)
	if len(s.Enum) > 1 {
		l.report(n.Get("enum"), "enum-closed", "the enum can never get another value", `write "knownValues" unless no other value will ever make sense`)
	}
	if s.Format != lexrt.FormatNone {
		if s.MinLength != nil || s.MaxLength != nil || s.MinGraphemes != nil || s.MaxGraphemes != nil {
			l.report(n, "format-length", "the string has a format and a length", "remove the length: the format "+s.Format.String()+" has its own")
		}
		if s.Format == lexrt.FormatHandle && l.use&reach.Record != 0 {
			l.report(n.Get("format"), "handle-in-record", "the record holds a handle, which can change its owner", `use "format": "did"`)
		}
		return
	}
	if s.MaxGraphemes != nil {
		switch {
		case s.MaxLength == nil:
			l.report(n.Get("maxGraphemes"), "graphemes-without-bytes", "maxGraphemes does not bound the size", `add "maxLength": `+strconv.FormatInt(min(*s.MaxGraphemes, 1<<40)*10, 10))
		case *s.MaxLength < *s.MaxGraphemes:
			l.report(n.Get("maxGraphemes"), "graphemes-without-bytes", "maxGraphemes is never reached: maxLength, in bytes, is smaller", `raise "maxLength" to several times maxGraphemes`)
		}
	}
	if len(s.Enum) > 0 || s.Const != nil {
		return
	}
	if s.MaxLength == nil && s.MaxGraphemes != nil {
		return // reported above
	}
	l.size(n, "string", "maxLength", s.MaxLength)
}

// size checks that data has a limit, and a sensible one in records.
func (l *linter) size(n *lexicon.Node, what, key string, most *int64) {
	switch {
	case most == nil && l.sentByOthers():
		l.report(n, what+"-unbounded", map[string]string{"string": "the string has", "bytes": "the bytes have"}[what]+" no maximal length", `add "`+key+`" in bytes`+map[string]string{"string": ` or "format"`}[what])
	case most != nil && *most > largest && l.use&reach.Record != 0:
		l.report(n.Get(key), what+"-large", "a record can hold up to "+strconv.FormatInt(*most, 10)+" bytes here", "use a blob, or a limit of at most 20480")
	}
}

func (l *linter) object(s *lexicon.Object) {
	n := s.Node()
	if n.Get("properties") == nil {
		l.report(n, "object-empty", "the object does not say what it holds", `add "properties": {}, or use "unknown" if anything may stand there`)
	}
	props := n.Get("properties")
	for _, q := range s.Properties {
		at := props.Get(q.Name)
		l.name(at, "field", q.Name, false)
		if q.Nullable && !q.Required {
			l.report(at, "nullable-optional", "the field "+q.Name+" may be absent and may be null", `take it from "nullable"`)
		}
		if str, ok := q.Schema.(*lexicon.String); ok {
			l.formatOf(q.Name, str)
		}
		if o, ok := q.Schema.(*lexicon.Object); ok {
			l.report(o.Node(), "object-inline", "the field "+q.Name+" defines an object in place", "make it a definition and refer to it")
		}
		l.schema(q.Schema)
	}
}

// formatOf asks for a format where a field's name promises one.
func (l *linter) formatOf(name string, s *lexicon.String) {
	if s.Format != lexrt.FormatNone || s.Enum != nil || s.KnownValues != nil || s.Const != nil {
		return
	}
	var format string
	switch {
	case name == "did" || strings.HasSuffix(name, "Did") || strings.HasSuffix(name, "DID"):
		format = "did"
	case name == "uri" || strings.HasSuffix(name, "Uri") || strings.HasSuffix(name, "URI") || strings.HasSuffix(name, "Url") || strings.HasSuffix(name, "URL"):
		format = "uri"
	case strings.HasSuffix(name, "At") && len(name) > 3:
		format = "datetime"
	default:
		return
	}
	l.report(s.Node(), "format-missing", "the name "+name+" promises a "+format+", but any string is allowed", `add "format": "`+format+`"`)
}

func (l *linter) ref(s *lexicon.Ref) {
	at := s.Node()
	if r := at.Get("ref"); r != nil {
		at = r
	}
	id, frag, has := strings.Cut(s.Ref, "#")
	switch {
	case has && frag == "main" && id != "":
		l.report(at, "ref-main", "the reference "+s.Ref+" spells out #main", "write "+id)
	case id == l.f.ID && has:
		l.report(at, "ref-self", "the reference "+s.Ref+" names its own file", "write #"+frag)
	}
}

func (l *linter) union(s *lexicon.Union) {
	n := s.Node()
	if s.Closed {
		l.report(n.Get("closed"), "union-closed", "the closed union can never get another member", "leave out closed unless no other member will ever make sense")
	}
	seen := map[string]string{}
	for _, r := range s.Refs {
		l.ref(r)
		if r.Target == nil {
			continue
		}
		full := r.Target.Ref()
		tail := full[strings.LastIndexAny(full, ".#")+1:]
		if first, ok := seen[tail]; ok {
			l.report(r.Node(), "union-name-clash", "the members "+first+" and "+full+" have the same last name", "rename one")
			continue
		}
		seen[tail] = full
	}
}
