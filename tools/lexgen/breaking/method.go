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
		c.report(place{nil, n.Input.Node()}, Wire, "input-added", "the procedure now needs a request body", "existing clients send none and will be refused", "make a new procedure")
	case n.Input == nil:
		c.report(place{o.Input.Node(), at.new}, Wire, "input-removed", "the procedure no longer takes a request body", "existing clients send one, which will be refused or ignored", "keep the input")
	default:
		c.body(o.Input, n.Input, effect{request: Wire}, effect{request: Review})
	}
}

func (c *comparer) output(o, n *lexicon.Method, at place) {
	c.use = reach.Response
	switch {
	case o.Output == nil && n.Output == nil:
	case o.Output == nil:
		c.report(place{nil, n.Output.Node()}, Review, "output-added", "the method now returns a body", "existing clients ignore it", "")
	case n.Output == nil:
		c.report(place{o.Output.Node(), at.new}, Wire, "output-removed", "the method no longer returns a body", "existing clients cannot decode an empty response", "keep the output")
	default:
		c.body(o.Output, n.Output, effect{response: Review}, effect{response: Wire})
	}
}

func (c *comparer) body(o, n *lexicon.Body, added, removed effect) {
	at := place{o.Node(), n.Node()}
	if o.Encoding != n.Encoding {
		c.report(place{o.Node().Get("encoding"), n.Node().Get("encoding")}, Wire, "encoding-changed", "the media type changed from "+strconv.Quote(o.Encoding)+" to "+strconv.Quote(n.Encoding), "software that sends or expects the old one will fail", "make a new method")
	}
	switch {
	case o.Schema == nil && n.Schema == nil:
	case o.Schema == nil:
		c.report(at, c.level(added), "schema-added", "the body now has a schema", c.why("bodies that do not follow it are refused", "existing clients did not expect one", ""), "")
	case n.Schema == nil:
		c.report(at, c.level(removed), "schema-removed", "the body no longer has a schema", c.why("existing bodies stay valid", "clients cannot rely on any field", ""), "keep the schema")
	default:
		c.schema(o.Schema, n.Schema)
	}
}

func (c *comparer) messages(o, n *lexicon.Method, at place) {
	c.use = reach.Response
	switch {
	case o.Message == nil && n.Message == nil:
	case o.Message == nil:
		c.report(place{nil, n.Message.Node()}, Review, "message-added", "the subscription now has messages", "existing clients expect none", "")
	case n.Message == nil:
		c.report(place{o.Message.Node(), at.new}, Wire, "message-removed", "the subscription no longer has messages", "clients wait for them in vain", "keep the messages")
	default:
		c.schema(o.Message, n.Message)
	}
	if !slices.Equal(o.Subprotocols, n.Subprotocols) {
		c.report(at, Wire, "subprotocol-changed", "the subprotocol changed from "+strconv.Quote(strings.Join(o.Subprotocols, ", "))+" to "+strconv.Quote(strings.Join(n.Subprotocols, ", ")), "existing clients speak the old one", "make a new subscription")
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
			c.report(place{e.Node(), at.new}, Contract, "error-removed", "the error "+e.Name+" is no longer declared", "clients that match on it will take another path, or none", "keep declaring it")
			continue
		}
		if c.before.Policy == nil || c.after.Policy == nil {
			continue
		}
		if was, is := c.before.Policy.Status(e.Name), c.after.Policy.Status(e.Name); was != is {
			c.report(place{e.Node(), ne.Node()}, Contract, "error-status-changed", "the error "+e.Name+" has the HTTP status "+strconv.Itoa(is)+" instead of "+strconv.Itoa(was), "clients and proxies that act on the status will behave differently", "keep the status, or use another error name")
		}
	}
	for _, e := range n.Errors {
		if find(o.Errors, e.Name) == nil {
			c.report(place{nil, e.Node()}, Review, "error-added", "the error "+e.Name+" is declared", "existing clients treat it like any unknown error", "")
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
