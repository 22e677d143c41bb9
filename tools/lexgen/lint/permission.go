package lint

import (
	"slices"
	"strings"

	"mls-server/tools/lexgen/lexicon"
)

func (l *linter) permissionSet(s *lexicon.PermissionSet) {
	n := s.Node()
	l.docText(n, s.Description)
	for _, t := range []struct{ key, text string }{{"title", s.Title}, {"detail", s.Detail}} {
		if strings.TrimSpace(t.text) == "" {
			l.report(n, "permission-set-text", "the permission set has no "+t.key, `add "`+t.key+`": "…"`)
		}
		at := n
		if m := n.Get(t.key); m != nil {
			at = m
		}
		l.text(at, "the "+t.key, t.text)
	}
	for _, list := range [][]lexicon.Translation{s.TitleLang, s.DetailLang} {
		for _, t := range list {
			l.text(n, "a translation", t.Text)
		}
	}
	if len(s.Permissions) == 0 {
		l.report(n, "permission-set-text", "the permission set grants nothing", `add at least one entry to "permissions"`)
	}
}

// granted reports the methods that no permission set of their group grants, where the group has
// sets for its methods: nobody who signs in with these could call them. Methods that take no token
// need no grant.
func (l *linter) granted() {
	sets, granted := map[string][]string{}, map[string]bool{}
	for _, f := range l.set.Files {
		main := f.Main()
		if main == nil {
			continue
		}
		set, ok := main.Schema.(*lexicon.PermissionSet)
		if !ok {
			continue
		}
		for _, p := range set.Permissions {
			if len(p.LXM) > 0 && !slices.Contains(sets[group(f.ID)], f.ID) {
				sets[group(f.ID)] = append(sets[group(f.ID)], f.ID)
			}
			for _, nsid := range p.LXM {
				granted[nsid] = true
			}
		}
	}
	for _, f := range l.set.Files {
		main := f.Main()
		if main == nil || f.Dep {
			continue
		}
		if _, ok := main.Schema.(*lexicon.Method); !ok || granted[f.ID] || sets[group(f.ID)] == nil {
			continue
		}
		if l.opt.Anonymous != nil && l.opt.Anonymous(f.ID) {
			continue
		}
		l.f = f
		names := slices.Sorted(slices.Values(sets[group(f.ID)]))
		l.report(main.Schema.Node(), "permission-set-method", "no permission set grants "+f.ID, `add it to "lxm" of `+strings.Join(names, " or "))
	}
}

// group is an NSID without its last segment.
func group(nsid string) string { return nsid[:strings.LastIndexByte(nsid, '.')] }
