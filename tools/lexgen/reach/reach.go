// Package reach finds out what the values of each definition are for: requests,
// responses or records. What may change in a schema, and what is worth saying
// about it, depends on that.
//
// It reads the lexicons alone and must not know names or policies.
package reach

import (
	"mls-server/tools/lexgen/lexicon"
)

// Use is a set of places that values reach.
type Use uint8

// The places. Unused definitions are not reached from any method or record of
// the set; whoever uses them is not known.
const (
	Request Use = 1 << iota
	Response
	Record
)

// Map tells the use of each definition that is reached.
type Map map[*lexicon.Def]Use

// Of computes the uses of all definitions of a set without errors.
func Of(set *lexicon.Set) Map {
	m := Map{}
	for _, f := range set.Files {
		for _, d := range f.Defs {
			switch s := d.Schema.(type) {
			case *lexicon.Method:
				if s.Params != nil {
					m.walk(s.Params, Request)
				}
				m.body(s.Input, Request)
				m.body(s.Output, Response)
				m.walk(s.Message, Response)
			case *lexicon.Record:
				m.enter(d, Record)
			}
		}
	}
	return m
}

func (m Map) body(b *lexicon.Body, use Use) {
	if b != nil {
		m.walk(b.Schema, use)
	}
}

func (m Map) enter(d *lexicon.Def, use Use) {
	if d == nil || m[d]&use == use {
		return
	}
	m[d] |= use
	m.walk(d.Schema, use)
}

func (m Map) walk(s lexicon.Schema, use Use) {
	lexicon.Walk(s, func(s lexicon.Schema) {
		switch s := s.(type) {
		case *lexicon.Ref:
			m.enter(s.Target, use)
		case *lexicon.Union:
			for _, r := range s.Refs {
				m.enter(r.Target, use)
			}
		}
	})
}
