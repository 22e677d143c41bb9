package ir

// keepUnknown gives records, and the objects of their package that can be in one, a field for the
// members that their schemas do not know. Bodies of requests and answers drop those. A package that
// is for others too does not know what their records have.
func (b *builder) keepUnknown() {
	var visit func(t *Type)
	from := "" // the package of the record
	object := func(s *Struct) {
		if s.Extra != "" || s.Import != from {
			return
		}
		used := local{}
		for _, f := range s.Fields {
			used[f.GoName] = true
		}
		s.Extra = used.take("Extra")
		for _, f := range s.Fields {
			visit(f.Type)
		}
	}
	seen := map[*Slice]bool{}
	visit = func(t *Type) {
		switch t.Kind {
		case StructKind:
			object(t.Struct)
		case UnionKind:
			for _, m := range t.Union.Members {
				object(m)
			}
		case Array:
			visit(t.Elem)
		case SliceKind:
			if !seen[t.Slice] {
				seen[t.Slice] = true
				visit(t.Slice.Elem)
			}
		default:
		}
	}
	for _, l := range b.model.Lexicons {
		for _, d := range l.Decls {
			if s, ok := d.(*Struct); ok && (s.Record != nil || s.Role == RoleObject && l.pack.keepAll) {
				from = l.Import
				object(s)
			}
		}
	}
}
