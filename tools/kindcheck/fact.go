package main

import (
	"go/token"
	"go/types"

	"golang.org/x/tools/go/ssa"
)

// A fact is what is known of an error on one side of a question about it.
type fact struct {
	from, to *ssa.BasicBlock // the edge on which it begins to hold
	kind     string          // the kind that errors.Is asked for, "" for a comparison with nil
	is       bool            // the answer
}

type facts map[ssa.Value][]fact

// factsOf finds the questions that a function asks about errors: errors.Is with a kind, and nil.
func (f *flow) factsOf(fn *ssa.Function) facts {
	if known, ok := f.facts[fn]; ok {
		return known
	}
	out := facts{}
	for _, b := range fn.Blocks {
		if len(b.Instrs) == 0 {
			continue
		}
		branch, ok := b.Instrs[len(b.Instrs)-1].(*ssa.If)
		if !ok {
			continue
		}
		cond, yes := branch.Cond, true
		for {
			not, ok := cond.(*ssa.UnOp)
			if !ok || not.Op != token.NOT {
				break
			}
			cond, yes = not.X, !yes
		}
		about, kind, ok := f.question(cond)
		if !ok {
			continue
		}
		if c, isCompare := cond.(*ssa.BinOp); isCompare && c.Op == token.NEQ {
			yes = !yes
		}
		out[about] = append(out[about], fact{b, b.Succs[0], kind, yes}, fact{b, b.Succs[1], kind, !yes})
	}
	f.facts[fn] = out
	return out
}

// question reads errors.Is(about, kind), or about == nil (kind "").
func (f *flow) question(cond ssa.Value) (about ssa.Value, kind string, ok bool) {
	switch c := cond.(type) {
	case *ssa.Call:
		fn := c.Call.StaticCallee()
		if fn == nil || fn.String() != "errors.Is" || len(c.Call.Args) != 2 {
			return nil, "", false
		}
		made, isMade := c.Call.Args[1].(*ssa.MakeInterface)
		if !isMade {
			return nil, "", false
		}
		constant, isConst := made.X.(*ssa.Const)
		if !isConst || !types.Identical(constant.Type(), f.kind) {
			return nil, "", false
		}
		return c.Call.Args[0], f.kinds[constant.Value.ExactString()], true
	case *ssa.BinOp:
		if c.Op != token.EQL && c.Op != token.NEQ {
			return nil, "", false
		}
		for _, side := range [2][2]ssa.Value{{c.X, c.Y}, {c.Y, c.X}} {
			if constant, isConst := side[1].(*ssa.Const); isConst && constant.Value == nil && types.IsInterface(constant.Type()) {
				return side[0], "", true
			}
		}
	}
	return nil, "", false
}

// apply leaves of s what a value can be in a block, or on the edge from it to next.
func (fs facts) apply(f *flow, v ssa.Value, b, next *ssa.BasicBlock, s set) set {
	if len(s) == 0 {
		return s
	}
	for _, known := range fs[v] {
		onEdge := known.from == b && known.to == next
		if !onEdge && (len(known.to.Preds) != 1 || !known.to.Dominates(b)) {
			continue
		}
		switch {
		case known.kind == "" && known.is:
			return nil
		case known.kind != "":
			s = f.filter(f.deep(s), known.kind, known.is)
		}
	}
	return s
}

// filter keeps the kind alone, or all but the kind.
func (f *flow) filter(s set, kind string, only bool) set {
	var out set
	for _, id := range s {
		if a := f.atoms.all[id]; a.kind == "" || (a.kind == kind) == only {
			out = append(out, id)
		}
	}
	return out
}
