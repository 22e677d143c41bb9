package main

import (
	"go/types"

	"golang.org/x/tools/go/ssa"
)

// called evaluates what a call may reach.
func (e *evaluation) called(i ssa.CallInstruction) {
	c := i.Common()
	args := make([]set, len(c.Args))
	for n, a := range c.Args {
		args[n] = e.use(a, i)
	}
	if b, ok := c.Value.(*ssa.Builtin); ok {
		e.builtin(i, b, args)
		return
	}
	e.frame.calls[i] = nil
	var results []set
	switch {
	case c.IsInvoke():
		receiver := e.use(c.Value, i)
		targets := e.implementations(c.Value.Type(), c.Method)
		for _, fn := range targets {
			results = e.reach(i, results, fn, append([]set{receiver}, args...), nil)
		}
		if len(targets) == 0 {
			results = e.outside(i, append([]set{receiver}, args...))
		}
	case c.StaticCallee() != nil:
		results = e.reach(i, nil, c.StaticCallee(), args, e.capturedBy(c.Value, i))
	default:
		known := false
		for _, id := range e.use(c.Value, i) {
			if a := e.atoms.all[id]; a.fn != nil && sameSignature(a.fn.Signature, c.Signature()) {
				known = true
				results = e.reach(i, results, a.fn, args, a.captured)
			}
		}
		if !known {
			if fails(c.Signature()) {
				e.frame.doubts = append(e.frame.doubts, doubt{i, "calls a function that the analysis cannot find"})
			}
			results = e.outside(i, args)
		}
	}
	e.results(i, results)
}

// capturedBy is what a function literal that is called where it stands has captured.
func (e *evaluation) capturedBy(v ssa.Value, user ssa.Instruction) []set {
	m, ok := v.(*ssa.MakeClosure)
	if !ok {
		return nil
	}
	captured := make([]set, len(m.Bindings))
	for n, b := range m.Bindings {
		captured[n] = e.use(b, user)
	}
	return captured
}

func (e *evaluation) results(i ssa.CallInstruction, results []set) {
	v := i.Value()
	switch {
	case v == nil: // go and defer: nobody takes the results
	case len(results) == 1:
		e.set(v, results[0])
	default:
		e.tuple(v, results)
	}
}

func fails(s *types.Signature) bool {
	for v := range s.Results().Variables() {
		if v.Type().String() == "error" {
			return true
		}
	}
	return false
}

// reach evaluates a function of the module, and guesses about others.
func (e *evaluation) reach(i ssa.CallInstruction, results []set, fn *ssa.Function, args, captured []set) []set {
	var got []set
	if len(fn.Blocks) == 0 {
		got = e.outside(i, args)
	} else {
		for len(args) < len(fn.Params) {
			args = append(args, nil)
		}
		fr := e.call(fn, args[:len(fn.Params):len(fn.Params)], captured)
		e.frame.calls[i] = append(e.frame.calls[i], fr)
		got = fr.results
	}
	if results == nil {
		results = make([]set, len(got))
	}
	for n := range min(len(results), len(got)) {
		results[n] = union(results[n], got[n])
	}
	return results
}

// outside is a call of what is not in the module. It may call the functions that it is given,
// and return or keep what it was given, what lists that it was given hold, and what those
// functions return.
func (e *evaluation) outside(i ssa.CallInstruction, args []set) []set {
	var given, failures set
	for _, a := range args {
		given = union(given, a)
		failures = union(failures, e.failures(a))
	}
	handed := union(given, failures)
	for _, p := range e.atoms.places(given) {
		// What was kept in an object comes back by its methods.
		handed = union(handed, e.kept(p))
	}
	for _, id := range e.functions(i) {
		a := e.atoms.all[id]
		if len(a.fn.Blocks) == 0 {
			continue
		}
		fr := e.callBack(a.fn, handed, a.captured)
		e.frame.calls[i] = append(e.frame.calls[i], fr)
		for _, r := range fr.results {
			failures = union(failures, e.failures(r))
		}
	}
	for _, p := range e.atoms.places(e.keepers(i, args)) {
		e.write(p, failures)
		failures = union(failures, e.failures(e.kept(p)))
	}
	results := make([]set, i.Common().Signature().Results().Len())
	for n := range results {
		results[n] = e.fit(i.Common().Signature().Results().At(n).Type(), union(failures, given))
	}
	return results
}

// functions are those that a call is given as such.
func (e *evaluation) functions(i ssa.CallInstruction) (out set) {
	for _, a := range i.Common().Args {
		if _, ok := a.Type().Underlying().(*types.Signature); ok {
			out = union(out, e.use(a, i))
		}
	}
	return out
}

// keepers are what a call may leave errors in: the receiver of a method, and the target of
// errors.As.
func (e *evaluation) keepers(i ssa.CallInstruction, args []set) set {
	c := i.Common()
	switch {
	case len(args) == 0:
		return nil
	case c.IsInvoke() || c.Signature().Recv() != nil:
		return args[0]
	case c.StaticCallee() != nil && c.StaticCallee().String() == "errors.As":
		return args[1]
	}
	return nil
}

// failures is what of a set is an error.
func (e *evaluation) failures(s set) (out set) {
	for _, id := range e.deep(s) {
		if e.atoms.all[id].kind != "" {
			out = append(out, id)
		}
	}
	return out
}

// kept is what an object of a type that is not the module's has been given, and what a list or
// a variable holds.
func (e *evaluation) kept(p *place) set {
	if n, ok := types.Unalias(p.typ).(*types.Named); ok {
		if pkg := n.Obj().Pkg(); pkg != nil && e.inside(pkg.Path()) {
			return nil
		}
	}
	return e.atoms.read(p)
}

func (e *evaluation) builtin(i ssa.CallInstruction, b *ssa.Builtin, args []set) {
	v := i.Value()
	switch b.Name() {
	case "append":
		e.set(v, union(args[0], args[1]))
		// A list keeps its elements where its array is.
		e.writeTo(args[0], e.readFrom(args[1]))
	case "copy":
		e.writeTo(args[0], e.readFrom(args[1]))
	case "min", "max":
		for _, a := range args {
			e.set(v, a)
		}
	}
}
