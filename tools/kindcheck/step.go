package main

import (
	"go/token"
	"go/types"
	"strconv"

	"golang.org/x/tools/go/ssa"
)

// evaluation is one run through a frame's function.
type evaluation struct {
	*flow
	frame  *frame
	values map[ssa.Value]set
	tuples map[ssa.Value][]set
	facts  facts
	grown  bool
}

// set adds to what a value may be.
func (e *evaluation) set(v ssa.Value, s set) {
	if joined := union(e.values[v], e.fit(v.Type(), s)); len(joined) > len(e.values[v]) {
		e.values[v] = joined
		e.grown = true
	}
}

// use is what a value may be where an instruction of block uses it: what was asked about it on
// the way there is taken into account.
func (e *evaluation) use(v ssa.Value, user ssa.Instruction) set {
	return e.facts.apply(e.flow, v, user.Block(), nil, e.raw(v, user))
}

func (e *evaluation) raw(v ssa.Value, user ssa.Instruction) set {
	switch v := v.(type) {
	case *ssa.Const:
		if v.Value != nil && types.Identical(v.Type(), e.flow.kind) {
			if name := e.kinds[v.Value.ExactString()]; name != "" {
				return e.atoms.kind(name, position(user))
			}
		}
		return nil
	case *ssa.Function:
		return e.atoms.function(e.number(v), v, nil)
	case *ssa.Global:
		return set{e.atoms.place("global "+v.String(), elem(v.Type()), nil).id}
	}
	return e.values[v]
}

func (e *evaluation) step(b *ssa.BasicBlock, instr ssa.Instruction) {
	switch i := instr.(type) {
	case *ssa.Alloc:
		e.set(i, set{e.made(i, elem(i.Type())).id})
	case *ssa.MakeMap, *ssa.MakeChan, *ssa.MakeSlice:
		v, _ := instr.(ssa.Value)
		e.set(v, set{e.made(v, v.Type()).id})
	case *ssa.MakeClosure:
		fn, _ := i.Fn.(*ssa.Function)
		e.set(i, e.atoms.function(e.number(fn), fn, e.capturedBy(i, i)))
	case *ssa.Phi:
		for n, v := range i.Edges {
			e.set(i, e.facts.apply(e.flow, v, b.Preds[n], b, e.raw(v, i)))
		}
	case *ssa.Store:
		e.store(i)
	case *ssa.MapUpdate:
		e.writeTo(e.use(i.Map, i), union(e.use(i.Key, i), e.use(i.Value, i)))
	case *ssa.Send:
		e.writeTo(e.use(i.Chan, i), e.use(i.X, i))
	case *ssa.UnOp:
		if i.Op == token.MUL || i.Op == token.ARROW {
			e.mayFail(i, e.readFrom(e.use(i.X, i)))
		}
	case *ssa.BinOp:
		e.compute(i)
	case *ssa.FieldAddr:
		e.set(i, e.parts(e.use(i.X, i), elem(i.X.Type()), i.Field))
	case *ssa.IndexAddr, *ssa.Field, *ssa.Index, *ssa.ChangeType, *ssa.ChangeInterface, *ssa.MultiConvert, *ssa.MakeInterface,
		*ssa.Slice, *ssa.SliceToArrayPointer:
		e.pass(instr)
	case *ssa.Convert:
		e.compute(i)
		e.pass(instr)
	case *ssa.Lookup:
		e.mayFail(i, e.readFrom(e.use(i.X, i)))
	case *ssa.Range:
		e.values[i] = union(e.values[i], e.use(i.X, i))
	case *ssa.Next:
		s := e.readFrom(e.use(i.Iter, i))
		e.tuple(i, []set{nil, s, s})
	case *ssa.Select:
		e.selects(i)
	case *ssa.Extract:
		if t := e.tuples[i.Tuple]; i.Index < len(t) {
			e.set(i, t[i.Index])
		}
	case *ssa.TypeAssert:
		e.mayFail(i, e.use(i.X, i))
	case ssa.CallInstruction:
		e.called(i)
	case *ssa.Return:
		for n, v := range i.Results {
			if joined := union(e.frame.results[n], e.use(v, i)); len(joined) > len(e.frame.results[n]) {
				e.frame.results[n] = joined
				e.flow.changed = true
			}
		}
	}
}

// pass is an instruction whose value is, holds or is a part of its first operand.
func (e *evaluation) pass(instr ssa.Instruction) {
	v, _ := instr.(ssa.Value)
	e.set(v, e.use(*instr.Operands(nil)[0], instr))
}

// mayFail is an instruction that has a value, and may say whether it has one.
func (e *evaluation) mayFail(v ssa.Value, s set) {
	e.tuple(v, []set{s, nil})
	e.set(v, s)
}

// compute notes an instruction that makes a kind out of a number.
func (e *evaluation) compute(v ssa.Value) {
	instr, _ := v.(ssa.Instruction)
	if types.Identical(v.Type(), e.flow.kind) {
		e.frame.doubts = append(e.frame.doubts, doubt{instr, "computes a kind, which the analysis cannot name"})
	}
}

func (e *evaluation) made(v ssa.Value, typ types.Type) *place {
	p := e.atoms.place("made "+strconv.Itoa(e.frame.number)+" "+strconv.Itoa(e.number(v)), typ, nil)
	p.depth = e.frame.depth
	return p
}

func (e *evaluation) tuple(v ssa.Value, s []set) {
	t := e.tuples[v]
	if t == nil {
		t = make([]set, len(s))
		e.tuples[v] = t
	}
	for i := range min(len(s), len(t)) {
		if joined := union(t[i], s[i]); len(joined) > len(t[i]) {
			t[i] = joined
			e.grown = true
		}
	}
}

// parts are the places of a field of what base points to; of any value of the type where nothing
// is known of base.
func (e *evaluation) parts(base set, structure types.Type, index int) set {
	var out set
	for _, p := range e.atoms.places(base) {
		out = union(out, set{e.atoms.part(p, index, field(structure, index).Type()).id})
	}
	if out == nil {
		out = set{e.fieldOf(structure, index).id}
	}
	return out
}

func (e *evaluation) store(i *ssa.Store) {
	s := e.use(i.Val, i)
	if len(s) == 0 {
		return
	}
	e.writeTo(e.use(i.Addr, i), s)
	// Readers that know nothing of the value find it by its type.
	if a, ok := i.Addr.(*ssa.FieldAddr); ok {
		e.write(e.fieldOf(elem(a.X.Type()), a.Field), s)
	}
}

func (e *evaluation) writeTo(addr, s set) {
	for _, p := range e.atoms.places(addr) {
		e.write(p, s)
	}
}

func (e *evaluation) readFrom(addr set) (out set) {
	for _, p := range e.atoms.places(addr) {
		out = union(out, e.atoms.read(p))
	}
	return out
}

func (e *evaluation) selects(i *ssa.Select) {
	results := []set{nil, nil}
	for _, s := range i.States {
		switch s.Dir {
		case types.SendOnly:
			e.writeTo(e.use(s.Chan, i), e.use(s.Send, i))
		case types.RecvOnly:
			results = append(results, e.readFrom(e.use(s.Chan, i)))
		}
	}
	e.tuple(i, results)
}
