package lexicon

// Sound is the set without the lexicons that the problems find errors in and those that refer to
// them, directly or by others, and the ids of what it leaves out, sorted.
func (s *Set) Sound(diags Diags) (sound *Set, left []string) {
	wrong := map[string]bool{} // by path
	for _, d := range diags {
		if d.Severity == Error {
			wrong[d.File] = true
		}
	}
	for again := true; again; {
		again = false
		for _, f := range s.Files {
			if !wrong[f.Path] && f.refersTo(wrong) {
				wrong[f.Path] = true
				again = true
			}
		}
	}
	sound = &Set{byID: map[string]*File{}}
	for _, f := range s.Files {
		if wrong[f.Path] {
			left = append(left, f.ID)
			continue
		}
		sound.Files = append(sound.Files, f)
		sound.byID[f.ID] = f
	}
	return sound, left
}

// refersTo reports whether a reference of the file leads into one of the files, or nowhere.
func (f *File) refersTo(paths map[string]bool) bool {
	found := false
	f.eachRef(func(r *Ref) { found = found || r.Target == nil || paths[r.Target.File.Path] })
	return found
}
