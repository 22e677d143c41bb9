package main

import (
	"strings"

	"mls-server/tools/lexgen/ir"
)

// An import is written NSID=PATH, or NSID=PATH#PREFIX. The Go names of a package leave out what is
// before ".*" in the NSID, unless the prefix says what else; it may be empty.
func parseImport(text string) (e ir.Elsewhere, ok bool) {
	pattern, rest, found := strings.Cut(text, "=")
	path, prefix, given := strings.Cut(rest, "#")
	if !given {
		prefix, _ = strings.CutSuffix(pattern, ".*")
	}
	e = ir.Elsewhere{Path: path, Prefix: prefix, KeepAll: true, Has: func(nsid string) bool { return ir.Matches(pattern, nsid) }}
	return e, found && pattern != "" && path != "" && !strings.ContainsAny(path, "\"`\\ \t\r\n")
}

// keepsAll reports whether all objects of the package keep members that their schemas do not know,
// and not only those that its records have.
func (c *genConfig) keepsAll() bool { return c.target == "types" }

// elsewhere are the packages that --import names.
func (c *genConfig) elsewhere() []ir.Elsewhere {
	all := make([]ir.Elsewhere, len(c.imports))
	for i, text := range c.imports {
		all[i], _ = parseImport(text)
	}
	return all
}

func (c *genConfig) importsAreWhole() bool {
	for _, text := range c.imports {
		if _, ok := parseImport(text); !ok {
			return false
		}
	}
	return true
}

// introduce tells the packages of lexgen.json of each other: one that has some lexicons only is
// imported by those that are made of the same folder.
func introduce(all []*genConfig) {
	for _, c := range all {
		for _, other := range all {
			if other != c && other.in == c.in && len(other.only) > 0 {
				has := func(id string) bool { return other.has(id) && !c.has(id) }
				c.others = append(c.others, ir.Elsewhere{Has: has, Path: other.module, Prefix: other.prefix, KeepAll: other.keepsAll()})
			}
		}
	}
}
