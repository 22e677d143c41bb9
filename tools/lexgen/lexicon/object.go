package lexicon

import (
	"slices"
	"strconv"
	"strings"
)

// object reads the members of one JSON object and reports those it does not know.
type object struct {
	p    *parser
	node *Node
}

func (p *parser) object(n *Node, known ...string) object {
	for _, m := range n.Members {
		if slices.Contains(known, m.Name) {
			continue
		}
		hint := "known here: " + strings.Join(known, ", ")
		if near := Nearest(m.Name, known); near != "" {
			hint = `did you mean "` + near + `"?`
		} else if (m.Name == "required" || m.Name == "nullable") && n.parent != nil {
			hint = "list " + strconv.Quote(n.key) + ` in the "` + m.Name + `" of the object`
		}
		p.warnf(m.Value, "unknown-key", "the key "+strconv.Quote(m.Name)+" is not part of the language and has no effect", hint)
	}
	return object{p, n}
}

func (o object) get(name string) *Node { return o.node.Get(name) }

// typed returns the member when it has the kind, reports another kind, and returns nil otherwise.
func (o object) typed(name string, kind byte, what string) *Node {
	v := o.get(name)
	if v == nil {
		return nil
	}
	if byte(v.Kind) != kind {
		o.p.errorf(v, "type", strconv.Quote(name)+" must be "+what+", not "+v.describe(), "")
		return nil
	}
	return v
}

func (o object) strPtr(name string) *string {
	if v := o.typed(name, '"', "a string"); v != nil {
		return &v.Text
	}
	return nil
}

func (o object) str(name string) string {
	if s := o.strPtr(name); s != nil {
		return *s
	}
	return ""
}

func (o object) boolPtr(name string) *bool {
	v := o.get(name)
	if v == nil {
		return nil
	}
	if v.Kind != 't' && v.Kind != 'f' {
		o.p.errorf(v, "type", strconv.Quote(name)+" must be true or false, not "+v.describe(), "")
		return nil
	}
	b := v.Kind == 't'
	return &b
}

func (o object) isTrue(name string) bool {
	b := o.boolPtr(name)
	return b != nil && *b
}

func (o object) intPtr(name string) *int64 {
	v := o.typed(name, '0', "an integer")
	if v == nil {
		return nil
	}
	n, err := strconv.ParseInt(v.Text, 10, 64)
	if err != nil {
		o.p.errorf(v, "type", strconv.Quote(name)+" must be an integer of 64 bits, without fraction or exponent", "")
		return nil
	}
	return &n
}

// size is intPtr for a length, which cannot be negative.
func (o object) size(name string) *int64 {
	n := o.intPtr(name)
	if n != nil && *n < 0 {
		o.p.errorf(o.get(name), "negative", strconv.Quote(name)+" must not be negative", "")
		return nil
	}
	return n
}

func (o object) array(name string) *Node { return o.typed(name, '[', "an array") }

// strings reads an array of strings. The second result is false when the member is absent.
func (o object) strings(name string) ([]string, bool) {
	v := o.array(name)
	if v == nil {
		return nil, false
	}
	out := make([]string, 0, len(v.Items))
	for _, it := range v.Items {
		if it.Kind != '"' {
			o.p.errorf(it, "type", strconv.Quote(name)+" must hold strings, not "+it.describe(), "")
			continue
		}
		if slices.Contains(out, it.Text) {
			o.p.warnf(it, "duplicate", strconv.Quote(it.Text)+" is listed twice", "")
			continue
		}
		out = append(out, it.Text)
	}
	return out, true
}

func (o object) ints(name string) ([]int64, bool) {
	v := o.array(name)
	if v == nil {
		return nil, false
	}
	out := make([]int64, 0, len(v.Items))
	for _, it := range v.Items {
		n, err := strconv.ParseInt(it.Text, 10, 64)
		if it.Kind != '0' || err != nil {
			o.p.errorf(it, "type", strconv.Quote(name)+" must hold integers of 64 bits", "")
			continue
		}
		if slices.Contains(out, n) {
			o.p.warnf(it, "duplicate", it.Text+" is listed twice", "")
			continue
		}
		out = append(out, n)
	}
	return out, true
}

// ordered reports a lower limit above the upper one.
func (o object) ordered(low, high string) {
	a, b := o.get(low), o.get(high)
	if a == nil || b == nil {
		return
	}
	x, err1 := strconv.ParseInt(a.Text, 10, 64)
	y, err2 := strconv.ParseInt(b.Text, 10, 64)
	if err1 == nil && err2 == nil && x > y {
		o.p.errorf(a, "limits", low+" "+a.Text+" is greater than "+high+" "+b.Text+", so no value is allowed", "swap them or correct one")
	}
}
