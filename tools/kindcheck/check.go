package main

import (
	"fmt"
	"go/token"
	"slices"
	"strings"

	"golang.org/x/tools/go/ssa"
)

// A finding is one way in which a method's code and its lexicon do not agree.
type finding struct {
	method string // its NSID
	text   string
	// path is how an undeclared kind comes to be, from the handler on.
	path []string
}

func (f finding) String() string {
	return f.method + ": " + f.text + "\n" + strings.Join(f.path, "\n")
}

// report is what the check saw.
type report struct {
	findings []finding
	// reached are the names that each method's handler can return, by NSID.
	reached map[string][]string
	// general are the names that need no declaration.
	general []string
	frames  int
}

// check compares what handlers can return with what their lexicons declare.
func check(w where) (*report, error) {
	l, err := load(w)
	if err != nil {
		return nil, err
	}
	t, err := readTables(l)
	if err != nil {
		return nil, err
	}
	f, err := newFlow(l)
	if err != nil {
		return nil, err
	}
	f.settle(l.functions())
	out := &report{reached: map[string][]string{}, frames: len(f.frames)}
	for name := range t.general {
		out.general = append(out.general, name)
	}
	slices.Sort(out.general)
	for _, m := range t.methods {
		fn := l.handler(m.name)
		if fn == nil {
			return nil, fmt.Errorf("no handler %s", m.name)
		}
		out.judge(f, t, m, fn)
	}
	return out, nil
}

// handler is the method of *Handlers with the name.
func (l *loaded) handler(name string) *ssa.Function {
	h := l.program.Package(l.handlers.Types).Type("Handlers")
	if h == nil {
		return nil
	}
	sel := l.program.MethodSets.MethodSet(pointerTo(h.Type())).Lookup(l.handlers.Types, name)
	if sel == nil {
		return nil
	}
	return l.program.MethodValue(sel)
}

func (r *report) judge(f *flow, t *tables, m method, fn *ssa.Function) {
	fr := f.call(fn, make([]set, len(fn.Params)), nil)
	answers := map[string]bool{}
	for _, id := range f.deep(fr.results[len(fr.results)-1]) {
		a := f.atoms.all[id]
		if a.kind == "" {
			continue
		}
		name := t.wire[a.kind]
		answers[name] = true
		if name != "" && (t.general[name] || slices.Contains(m.declared, name)) {
			continue
		}
		text := fmt.Sprintf("may answer %s (%s), which its lexicon does not declare", name, a.kind)
		if name == "" {
			text = fmt.Sprintf("may fail with %s, which the table of names lacks", a.kind)
		}
		r.add(finding{m.nsid, text, append(f.path(fr, a), "\t"+f.at(a.pos)+": "+a.kind)})
	}
	f.doubts(fr, map[*frame]bool{}, nil, func(text string, way []string) {
		r.add(finding{m.nsid, text, way})
	})
	for name := range answers {
		r.reached[m.nsid] = append(r.reached[m.nsid], name)
	}
	slices.Sort(r.reached[m.nsid])
	for _, name := range m.declared {
		if !answers[name] && !slices.Contains(m.decoded, name) {
			r.add(finding{m.nsid, "declares " + name + ", which nothing produces", nil})
		}
	}
}

func (r *report) add(f finding) {
	if !slices.ContainsFunc(r.findings, func(g finding) bool { return g.String() == f.String() }) {
		r.findings = append(r.findings, f)
	}
}

// path is the calls through which an error comes to the frame that returns it: the shortest.
func (f *flow) path(fr *frame, a atom) []string {
	type step struct {
		frame *frame
		lines []string
	}
	seen := map[*frame]bool{fr: true}
	for queue := []step{{fr, nil}}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		if at.frame.fn == f.enclosing(a.pos) {
			return at.lines
		}
		for i, callees := range at.frame.calls {
			for _, callee := range callees {
				if !seen[callee] && f.returns(callee, a) {
					seen[callee] = true
					line := "\t" + f.at(i.Pos()) + ": " + callee.fn.RelString(nil)
					queue = append(queue, step{callee, append(slices.Clip(at.lines), line)})
				}
			}
		}
	}
	return nil
}

// enclosing is the function whose text has the position.
func (f *flow) enclosing(pos token.Pos) *ssa.Function {
	if f.named == nil {
		f.named = map[token.Pos]*ssa.Function{}
		for _, fr := range f.frames {
			for _, b := range fr.fn.Blocks {
				for _, i := range b.Instrs {
					f.named[position(i)] = fr.fn
				}
			}
		}
	}
	return f.named[pos]
}

// returns reports whether a frame can return the error.
func (f *flow) returns(fr *frame, a atom) bool {
	if fr.errors == nil {
		fr.errors = map[atomKey]bool{}
		for _, r := range fr.results {
			for _, id := range f.deep(r) {
				if b := f.atoms.all[id]; b.kind != "" {
					fr.errors[atomKey{b.kind, b.pos}] = true
				}
			}
		}
	}
	return fr.errors[atomKey{a.kind, a.pos}]
}

// doubts tells of what the analysis cannot follow in a frame and below it, with the way there.
func (f *flow) doubts(fr *frame, seen map[*frame]bool, way []string, tell func(text string, way []string)) {
	if seen[fr] {
		return
	}
	seen[fr] = true
	for _, d := range fr.doubts {
		tell(d.text, append(slices.Clip(way), "\t"+f.at(position(d.at))))
	}
	for i, callees := range fr.calls {
		for _, c := range callees {
			f.doubts(c, seen, append(slices.Clip(way), "\t"+f.at(i.Pos())+": "+c.fn.RelString(nil)), tell)
		}
	}
}
