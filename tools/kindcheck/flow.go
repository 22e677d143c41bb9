package main

import (
	"fmt"
	"go/token"
	"go/types"
	"strconv"
	"strings"

	"golang.org/x/tools/go/ssa"
)

// flow is the analysis of a program: what each function returns, by what it is given.
type flow struct {
	program *ssa.Program
	inside  func(path string) bool
	kind    types.Type // mls.Kind
	failure *types.Interface
	kinds   map[string]string // value of a constant → its name
	atoms   atoms
	numbers map[any]int
	frames  map[string]*frame
	// contexts counts the frames of each function.
	contexts map[*ssa.Function]int
	methods  map[string][]*ssa.Function // implementations by interface and method
	dynamic  []types.Type               // what is ever converted to an interface
	facts    map[*ssa.Function]facts
	carries  map[types.Type]bool
	named    map[token.Pos]*ssa.Function // where a position is, for reports
	round    int
	changed  bool
}

// A frame is a function with what it was given, which is its context.
type frame struct {
	number  int
	depth   int // see maxDepth
	fn      *ssa.Function
	args    []set
	bound   []set
	results []set
	round   int
	calls   map[ssa.CallInstruction][]*frame
	doubts  []doubt          // what the analysis cannot follow
	errors  map[atomKey]bool // of the results, for reports
}

// A doubt is where an error may come from that the analysis does not see.
type doubt struct {
	at   ssa.Instruction
	text string
}

func (f *flow) number(x any) int {
	n, ok := f.numbers[x]
	if !ok {
		n = len(f.numbers)
		f.numbers[x] = n
	}
	return n
}

// settle runs all roots again until nothing changes.
func (f *flow) settle(roots []*ssa.Function) {
	for f.changed = true; f.changed; {
		f.changed = false
		f.round++
		for _, fn := range roots {
			f.call(fn, make([]set, len(fn.Params)), make([]set, len(fn.FreeVars)))
		}
	}
}

// call evaluates a function in the context of its arguments and of what it has captured. Contexts
// differ by the kinds, the functions and the lists of errors that are given; other places that are
// given to one context are taken together, so that there is an end of contexts.
func (f *flow) call(fn *ssa.Function, args, bound []set) *frame {
	var key strings.Builder
	key.WriteString(strconv.Itoa(f.number(fn)))
	depth := 0
	for i, p := range fn.Params {
		args[i] = f.fit(p.Type(), args[i])
		key.WriteByte('|')
		depth = max(depth, f.context(&key, args[i], false))
	}
	for _, b := range bound {
		key.WriteByte('/')
		depth = max(depth, f.context(&key, b, true))
	}
	return f.enter(key.String(), depth, fn, args, bound)
}

// callBack evaluates a function that code outside of the module calls: in one context.
func (f *flow) callBack(fn *ssa.Function, all set, bound []set) *frame {
	args := make([]set, len(fn.Params))
	for i, p := range fn.Params {
		args[i] = f.fit(p.Type(), all)
	}
	return f.enter("outside "+strconv.Itoa(f.number(fn)), 0, fn, args, bound)
}

func (f *flow) enter(key string, depth int, fn *ssa.Function, args, bound []set) *frame {
	if f.frames[key] == nil && f.contexts[fn] >= maxContexts {
		key, depth = "all "+strconv.Itoa(f.number(fn)), 0
	}
	fr := f.frames[key]
	if fr == nil {
		f.contexts[fn]++
		fr = &frame{
			number: len(f.frames), depth: depth, fn: fn, args: make([]set, len(fn.Params)), bound: make([]set, len(fn.FreeVars)),
			results: make([]set, fn.Signature.Results().Len()), calls: map[ssa.CallInstruction][]*frame{},
		}
		f.frames[key] = fr
	}
	f.join(fr.args, args)
	f.join(fr.bound, bound)
	if fr.round != f.round {
		fr.round = f.round
		f.evaluate(fr)
	}
	return fr
}

func (f *flow) join(have, more []set) {
	for i := range min(len(have), len(more)) {
		if joined := union(have[i], more[i]); len(joined) > len(have[i]) {
			have[i] = joined
			f.changed = true
		}
	}
}

// maxContexts bounds the contexts of a function. One that wraps functions of its own making has
// ever more of them; what comes after so many is taken together.
const maxContexts = 256

// maxDepth bounds how often contexts differ by what was made in contexts of their own.
const maxDepth = 4

// context writes what of an argument, or of a captured variable, makes a context of its own, and
// returns how deep that is.
func (f *flow) context(b *strings.Builder, s set, captured bool) (depth int) {
	for _, id := range s {
		a := f.atoms.all[id]
		d := f.depth(a)
		switch {
		case a.kind != "":
			fmt.Fprintf(b, "%d,", id)
		case a.fn != nil && d >= maxDepth:
			fmt.Fprintf(b, "f%d,", f.number(a.fn))
		case a.fn != nil, d < maxDepth && (captured || f.holdsErrors(a.place.typ)):
			fmt.Fprintf(b, "%d,", id)
			depth = max(depth, d+1)
		}
	}
	return depth
}

// depth is that of the context that a place was made in; of a function, that of what it captured.
func (f *flow) depth(a atom) (depth int) {
	if a.place != nil {
		return a.place.depth
	}
	for _, c := range a.captured {
		for _, p := range f.atoms.places(c) {
			depth = max(depth, p.depth)
		}
	}
	return depth
}

// evaluate goes through a function's instructions until its values no longer grow.
func (f *flow) evaluate(fr *frame) {
	e := &evaluation{
		flow: f, frame: fr, values: map[ssa.Value]set{}, tuples: map[ssa.Value][]set{}, facts: f.factsOf(fr.fn),
	}
	for i, p := range fr.fn.Params {
		e.values[p] = fr.args[i]
	}
	for i, v := range fr.fn.FreeVars {
		if i < len(fr.bound) {
			e.values[v] = fr.bound[i]
		}
	}
	for e.grown = true; e.grown; {
		e.grown = false
		fr.doubts = nil
		for _, b := range fr.fn.Blocks {
			for _, instr := range b.Instrs {
				e.step(b, instr)
			}
		}
	}
}

// carry reports whether values of the type can hold an error or a function, or lead to one.
func (f *flow) carry(t types.Type) bool {
	if c, ok := f.carries[t]; ok {
		return c
	}
	f.carries[t] = false // what a recursive type leads to is found beside the recursion
	c := false
	switch u := t.Underlying().(type) {
	case *types.Basic:
		c = types.Identical(t, f.kind)
	case *types.Interface:
		c = !strings.HasPrefix(t.String(), "context.")
	case *types.Signature, *types.TypeParam:
		c = true
	case *types.Pointer:
		c = f.carry(u.Elem())
	case *types.Slice:
		c = f.carry(u.Elem())
	case *types.Array:
		c = f.carry(u.Elem())
	case *types.Chan:
		c = f.carry(u.Elem())
	case *types.Map:
		c = f.carry(u.Key()) || f.carry(u.Elem())
	case *types.Struct:
		for v := range u.Fields() {
			c = c || f.carry(v.Type())
		}
	}
	f.carries[t] = c
	return c
}

// fit leaves of s what a value of the type can be or hold.
func (f *flow) fit(t types.Type, s set) set {
	if len(s) == 0 || !f.carry(t) {
		return nil
	}
	fits := func(a *atom) bool { return true }
	switch u := t.Underlying().(type) {
	case *types.Basic:
		fits = func(a *atom) bool { return a.kind != "" }
	case *types.Signature:
		fits = func(a *atom) bool { return a.fn != nil && sameSignature(a.fn.Signature, u) }
	case *types.Pointer:
		fits = func(a *atom) bool { return a.place != nil && pointsTo(a.place.typ, u.Elem()) }
	case *types.Slice:
		fits = func(a *atom) bool { return a.place != nil && pointsTo(a.place.typ, u.Elem()) }
	case *types.Map, *types.Chan:
		fits = func(a *atom) bool { return a.place != nil && alike(a.place.typ, t) }
	case *types.Interface:
		if !types.Implements(u, f.failure) {
			break
		}
		fits = func(a *atom) bool { return a.kind != "" || a.place != nil && f.isError(a.place.typ) }
	}
	for i, id := range s {
		if fits(&f.atoms.all[id]) {
			continue
		}
		out := append(set(nil), s[:i]...)
		for _, id := range s[i+1:] {
			if fits(&f.atoms.all[id]) {
				out = append(out, id)
			}
		}
		return out
	}
	return s
}

// pointsTo reports whether a pointer to the type may point to the place, or into it.
func pointsTo(place, elem types.Type) bool {
	if alike(place, elem) {
		return true
	}
	switch u := place.Underlying().(type) {
	case *types.Array:
		return alike(u.Elem(), elem)
	case *types.Slice:
		return alike(u.Elem(), elem)
	}
	return false
}

func alike(a, b types.Type) bool {
	return types.Identical(a, b) || types.Identical(a.Underlying(), b.Underlying())
}

// sameSignature compares what functions take and return, without receivers.
func sameSignature(a, b *types.Signature) bool {
	return a.Variadic() == b.Variadic() && types.Identical(a.Params(), b.Params()) && types.Identical(a.Results(), b.Results())
}

// write adds to what a place holds.
func (f *flow) write(p *place, s set) {
	if joined := union(p.holds, s); len(joined) > len(p.holds) {
		p.holds = joined
		f.changed = true
	}
}

// fieldOf is the place that stands for a field of all values of a type about which no more is
// known.
func (f *flow) fieldOf(structure types.Type, index int) *place {
	named := types.Unalias(structure)
	return f.atoms.place("field "+types.TypeString(named, nil)+" "+strconv.Itoa(index), field(structure, index).Type(), nil)
}

func field(t types.Type, index int) *types.Var {
	if p, ok := t.Underlying().(*types.Pointer); ok {
		t = p.Elem()
	}
	s, _ := t.Underlying().(*types.Struct)
	return s.Field(index)
}

func elem(t types.Type) types.Type {
	if p, ok := t.Underlying().(*types.Pointer); ok {
		return p.Elem()
	}
	return t
}

// deep is what an error holds: itself, what it wraps, and what lists of errors hold.
func (f *flow) deep(s set) set { return f.follow(s, map[*place]bool{}) }

func (f *flow) follow(s set, seen map[*place]bool) set {
	var out set
	for _, id := range s {
		a := f.atoms.all[id]
		if a.place == nil {
			out = union(out, set{id})
			continue
		}
		root := a.place
		if seen[root] || !f.holdsErrors(root.typ) {
			continue
		}
		seen[root] = true
		out = union(out, f.follow(f.atoms.read(root), seen))
	}
	return out
}

// holdsErrors reports whether a place of the type is an error, or a list that may have some.
func (f *flow) holdsErrors(t types.Type) bool {
	switch u := t.Underlying().(type) {
	case *types.Array:
		return f.carry(u.Elem())
	case *types.Slice:
		return f.carry(u.Elem())
	case *types.Interface:
		return true
	case *types.Pointer:
		return f.holdsErrors(u.Elem())
	}
	return types.Identical(t, f.kind) || f.isError(t)
}

// isError reports whether values of the type, or pointers to them, are errors.
func (f *flow) isError(t types.Type) bool {
	return types.Implements(t, f.failure) || types.Implements(types.NewPointer(t), f.failure)
}

// implementations are the module's methods that a call through an interface may reach.
func (f *flow) implementations(iface types.Type, method *types.Func) []*ssa.Function {
	key := types.TypeString(iface, nil) + "." + method.Id()
	if known, ok := f.methods[key]; ok {
		return known
	}
	var out []*ssa.Function
	want, _ := iface.Underlying().(*types.Interface)
	for _, t := range f.dynamic {
		if want == nil || !types.Implements(t, want) {
			continue
		}
		if fn := f.program.LookupMethod(t, method.Pkg(), method.Name()); fn != nil && len(fn.Blocks) > 0 {
			out = append(out, fn)
		}
	}
	f.methods[key] = out
	return out
}

// position is where an instruction stands, or the nearest before it that has a place.
func position(instr ssa.Instruction) token.Pos {
	if pos := instr.Pos(); pos.IsValid() {
		return pos
	}
	if v, ok := instr.(ssa.Value); ok && v.Referrers() != nil {
		for _, r := range *v.Referrers() {
			if r.Pos().IsValid() {
				return r.Pos()
			}
		}
	}
	if fn := instr.Parent(); fn != nil {
		return fn.Pos()
	}
	return token.NoPos
}

func (f *flow) at(pos token.Pos) string {
	p := f.program.Fset.Position(pos)
	name := p.Filename
	if i := strings.LastIndex(name, "/internal/"); i >= 0 {
		name = name[i+1:]
	}
	return fmt.Sprintf("%s:%d", name, p.Line)
}
