package config

import (
	"slices"
	"strings"
)

// Misspelt returns a warning for each variable of the environment, NAME=value,
// that this server does not know and whose name is one edit away from one that it
// does: a letter too many, too few, another, or two that changed places.
func Misspelt(environ []string) []string {
	var names []string
	for _, v := range variables {
		names = append(names, v.Name)
		if v.Alias != "" {
			names = append(names, v.Alias)
		}
	}
	var warnings []string
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if slices.Contains(names, name) {
			continue
		}
		if i := slices.IndexFunc(names, func(known string) bool { return oneEdit(name, known) }); i >= 0 {
			warnings = append(warnings, name+" is not a variable of this server and is ignored; did you mean "+names[i]+"?")
		}
	}
	slices.Sort(warnings)
	return warnings
}

// oneEdit reports whether one insertion, deletion, substitution or exchange of
// neighbours makes b of a.
func oneEdit(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	if len(b)-len(a) > 1 {
		return false
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	if len(a) < len(b) {
		return a[i:] == b[i+1:]
	}
	if i == len(a) {
		return false // they are equal
	}
	swapped := i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]
	return swapped || a[i+1:] == b[i+1:]
}
