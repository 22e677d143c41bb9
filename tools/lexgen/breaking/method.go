package breaking

import (
	"slices"
	"strconv"
	"strings"

	"mls-server/tools/lexgen/lexicon"
	"mls-server/tools/lexgen/reach"
)

func (c *comparer) method(o, n *lexicon.Method) {
	at := place{o.Node(), n.Node()}
	c.use, c.params = reach.Request, true
	op, np := o.Params, n.Params
	if op == nil {
		op = &lexicon.Object{}
	}
	if np == nil {
		np = &lexicon.Object{}
	}
	if o.Params != nil || n.Params != nil {
		c.properties(op, np, at)
	}
	c.params = false
	c.input(o, n, at)
	c.output(o, n, at)
	if o.Kind() == lexicon.KindSubscription {
		c.messages(o, n, at)
	}
	c.errors(o, n, at)
	c.bodyCap(n)
}

func (c *comparer) input(o, n *lexicon.Method, at place) {
	c.use = reach.Request
	switch {
	case o.Input == nil && n.Input == nil:
	case o.Input == nil:
		c.report(place{nil, n.Input.Node()}, Wire, "input-added", "the procedure wants a request body", "clients of today send none and are refused", "make a new procedure")
	case n.Input == nil:
		c.report(place{o.Input.Node(), at.new}, Wire, "input-removed", "the procedure takes no request body any more", "clients of today send one, which is refused or ignored", "keep the input")
	default:
		c.body(o.Input, n.Input, effect{request: Wire}, effect{request: Review})
	}
}

func (c *comparer) output(o, n *lexicon.Method, at place) {
	c.use = reach.Response
	switch {
	case o.Output == nil && n.Output == nil:
	case o.Output == nil:
		c.report(place{nil, n.Output.Node()}, Review, "output-added", "the method answers with a body now", "clients of today ignore it", "")
	case n.Output == nil:
		c.report(place{o.Output.Node(), at.new}, Wire, "output-removed", "the method answers nothing any more", "clients of today cannot decode the empty answer", "keep the output")
	default:
		c.body(o.Output, n.Output, effect{response: Review}, effect{response: Wire})
	}
}

func (c *comparer) body(o, n *lexicon.Body, added, removed effect) {
	at := place{o.Node(), n.Node()}
	if o.Encoding != n.Encoding {
		c.report(place{o.Node().Get("encoding"), n.Node().Get("encoding")}, Wire, "encoding-changed", "the media type changed from "+strconv.Quote(o.Encoding)+" to "+strconv.Quote(n.Encoding), "software that sends or expects the old one is refused or fails", "make a new method")
	}
	switch {
	case o.Schema == nil && n.Schema == nil:
	case o.Schema == nil:
		c.report(at, c.level(added), "schema-added", "the body has a schema now", c.why("bodies that do not follow it are refused", "clients of today did not expect one", ""), "")
	case n.Schema == nil:
		c.report(at, c.level(removed), "schema-removed", "the body has no schema any more", c.why("bodies of today stay valid", "clients cannot rely on any field", ""), "keep the schema")
	default:
		c.schema(o.Schema, n.Schema)
	}
}

func (c *comparer) messages(o, n *lexicon.Method, at place) {
	c.use = reach.Response
	switch {
	case o.Message == nil && n.Message == nil:
	case o.Message == nil:
		c.report(place{nil, n.Message.Node()}, Review, "message-added", "the subscription has messages now", "clients of today expect none", "")
	case n.Message == nil:
		c.report(place{o.Message.Node(), at.new}, Wire, "message-removed", "the subscription has no messages any more", "clients wait for them in vain", "keep the messages")
	default:
		c.schema(o.Message, n.Message)
	}
	if !slices.Equal(o.Subprotocols, n.Subprotocols) {
		c.report(at, Wire, "subprotocol-changed", "the subprotocol changed from "+strconv.Quote(strings.Join(o.Subprotocols, ", "))+" to "+strconv.Quote(strings.Join(n.Subprotocols, ", ")), "clients of today speak the old one", "make a new subscription")
	}
}

func (c *comparer) errors(o, n *lexicon.Method, at place) {
	find := func(list []*lexicon.ErrorName, name string) *lexicon.ErrorName {
		for _, e := range list {
			if e.Name == name {
				return e
			}
		}
		return nil
	}
	for _, e := range o.Errors {
		ne := find(n.Errors, e.Name)
		if ne == nil {
			c.report(place{e.Node(), at.new}, Contract, "error-removed", "the error "+e.Name+" is not declared any more", "clients that match on it take another path, or none", "keep declaring it")
			continue
		}
		if c.before.Policy == nil || c.after.Policy == nil {
			continue
		}
		if was, is := c.before.Policy.status(e.Name), c.after.Policy.status(e.Name); was != is {
			c.report(place{e.Node(), ne.Node()}, Contract, "error-status-changed", "the error "+e.Name+" has the HTTP status "+strconv.Itoa(is)+" instead of "+strconv.Itoa(was), "clients and proxies that act on the status do something else", "keep the status, or use another error name")
		}
	}
	for _, e := range n.Errors {
		if find(o.Errors, e.Name) == nil {
			c.report(place{nil, e.Node()}, Review, "error-added", "the error "+e.Name+" is declared", "clients of today treat it like any unknown error", "")
		}
	}
}

func (c *comparer) bodyCap(n *lexicon.Method) {
	if c.before.Policy == nil || c.after.Policy == nil || n.Input == nil {
		return
	}
	was, is := c.before.Policy.Methods[c.of.ID].MaxBody, c.after.Policy.Methods[c.of.ID].MaxBody
	if was != 0 && is != 0 && is < was {
		c.report(place{nil, n.Input.Node()}, Wire, "body-cap-lowered", "the policy accepts bodies of "+strconv.FormatInt(is, 10)+" bytes instead of "+strconv.FormatInt(was, 10), "larger requests, which are valid today, will be refused", "keep the larger size")
	}
}
