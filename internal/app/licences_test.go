package app

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite docs/licences.md")

// licences are told by a sentence of their texts. A dependency under another
// one fails the test until somebody has read it.
var licences = []struct{ name, sentence string }{
	{"Apache-2.0", "Apache License Version 2.0"},
	{"BSD-3-Clause", "Neither the name of"},
	{"BSD-3-Clause", "names of its contributors may be used"},
	{"BSD-2-Clause", "Redistributions in binary form must reproduce"},
	{"ISC", "Permission to use, copy, modify, and/or distribute this software"},
	{"ISC", "Permission to use, copy, modify, and distribute this software for any purpose with or without fee"},
	{"MIT", "Permission is hereby granted, free of charge"},
	// Its files may be linked with others; who changes them publishes the change.
	{"MPL-2.0", "Mozilla Public License, version 2.0"},
	{"Unlicense", "released into the public domain"},
}

// docs/licences.md lists the modules that are part of the released binary.
func TestLicencesAreListed(t *testing.T) {
	t.Parallel()
	const path = "../../docs/licences.md"
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{with .Module}}{{.Path}} {{.Version}} {{.Dir}}{{end}}", "mls-server/cmd/mls-server")
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	modules := slices.Collect(strings.Lines(string(out)))
	slices.Sort(modules)
	var b strings.Builder
	b.WriteString("# Licences\n\nThe modules that the server's binary is built from, for Linux on amd64, with the licences that their own files state (SPDX names). " +
		"Written by\n`make licences`; a test fails when it is out of date or a module has a licence that nobody has read.\n\n" +
		"The server itself: [MIT](../LICENSE). The Go standard library: BSD-3-Clause.\n\n| module | version | licence |\n|---|---|---|\n")
	for _, line := range slices.Compact(modules) {
		fields := strings.Fields(line)
		if len(fields) != 3 {
			continue // the server itself has no version
		}
		names := licencesIn(t, fields[2])
		if len(names) == 0 {
			t.Errorf("%s has no licence that is known here", fields[0])
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", fields[0], fields[1], strings.Join(names, ", "))
	}
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != b.String() {
		t.Errorf("docs/licences.md is out of date: make licences (%v)", err)
	}
}

// licencesIn reads the licence files of a module.
func licencesIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		upper := strings.ToUpper(e.Name())
		if e.IsDir() || (!strings.HasPrefix(upper, "LICENSE") && !strings.HasPrefix(upper, "LICENCE") && !strings.HasPrefix(upper, "COPYING")) {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Join(strings.Fields(string(data)), " ")
		for _, l := range licences {
			if strings.Contains(text, l.sentence) {
				if !slices.Contains(names, l.name) {
					names = append(names, l.name)
				}
				break
			}
		}
	}
	return names
}
