package lexicon

import "strings"

// leaveOut removes the lexicons of others that no own one refers to, directly or by others, and the
// problems of all of them that are not errors in what remains.
func (s *Set) leaveOut(diags Diags) Diags {
	reached := map[*File]bool{}
	var visit func(f *File)
	visit = func(f *File) {
		if f == nil || reached[f] {
			return
		}
		reached[f] = true
		f.eachRef(func(r *Ref) {
			id, _, _ := strings.Cut(r.Ref, "#")
			visit(s.byID[id]) // "" is the file itself
		})
	}
	var files []*File
	paths := map[string]bool{} // of the lexicons of others that are needed
	for _, f := range s.Files {
		if !f.Dep {
			visit(f)
		}
	}
	for _, f := range s.Files {
		if !reached[f] {
			delete(s.byID, f.ID)
			continue
		}
		files = append(files, f)
		paths[f.Path] = f.Dep
	}
	s.Files = files
	var kept Diags
	for _, d := range diags {
		if !d.dep || paths[d.File] && d.Severity == Error {
			kept = append(kept, d)
		}
	}
	return kept
}

// eachRef visits all references of the file.
func (f *File) eachRef(visit func(r *Ref)) {
	for _, d := range f.Defs {
		Walk(d.Schema, func(s Schema) {
			switch s := s.(type) {
			case *Ref:
				visit(s)
			case *Union:
				for _, r := range s.Refs {
					visit(r)
				}
			}
		})
	}
}

// Own is how many of the lexicons are not of others.
func (s *Set) Own() int {
	n := 0
	for _, f := range s.Files {
		if !f.Dep {
			n++
		}
	}
	return n
}
