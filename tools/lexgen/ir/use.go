package ir

// use marks what values of a method's types are for.
func (b *builder) use(m *Method) {
	if m.Params != nil {
		mark(&Type{Kind: StructKind, Struct: m.Params}, InRequest)
	}
	if m.Input != nil && m.Input.Type != nil {
		mark(m.Input.Type, InRequest)
	}
	if m.Output != nil && m.Output.Type != nil {
		mark(m.Output.Type, InResponse)
	}
	if m.Message != nil {
		mark(&Type{Kind: UnionKind, Union: m.Message}, InResponse)
	}
}

func (b *builder) useRecords() {
	for _, l := range b.model.Lexicons {
		for _, d := range l.Decls {
			if st, ok := d.(*Struct); ok && st.Role == RoleRecord {
				mark(&Type{Kind: StructKind, Struct: st}, InRecord)
			}
		}
	}
}

func mark(t *Type, use Use) {
	switch t.Kind {
	case Array:
		mark(t.Elem, use)
	case SliceKind:
		if t.Slice.Use&use != 0 {
			return
		}
		t.Slice.Use |= use
		mark(t.Slice.Elem, use)
	case StructKind:
		if t.Struct.Use&use != 0 {
			return
		}
		t.Struct.Use |= use
		for _, f := range t.Struct.Fields {
			mark(f.Type, use)
		}
	case UnionKind:
		t.Union.Use |= use
		for _, m := range t.Union.Members {
			mark(&Type{Kind: StructKind, Struct: m}, use)
		}
	default:
	}
}
