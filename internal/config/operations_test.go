package config_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"mls-server/internal/config"
)

var update = flag.Bool("update", false, "rewrite the table of variables in OPERATIONS.md")

// OPERATIONS.md says of every variable what the code does.
func TestOperationsTable(t *testing.T) {
	t.Parallel()
	const path = "../../OPERATIONS.md"
	const begin, end = "<!-- variables: written by go test ./internal/config -update -->\n", "<!-- /variables -->"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	i, j := strings.Index(text, begin), strings.Index(text, end)
	if i < 0 || j < i {
		t.Fatal("OPERATIONS.md has no table of variables")
	}
	i += len(begin)
	var b strings.Builder
	b.WriteString("| variable | default | meaning |\n|---|---|---|\n")
	seen := map[string]bool{}
	for _, v := range config.Variables() {
		if seen[v.Name] {
			t.Errorf("%s is a variable twice", v.Name)
		}
		seen[v.Name] = true
		name, def := "`"+v.Name+"`", ""
		if v.Alias != "" {
			name += " (or `" + v.Alias + "`)"
		}
		if v.Default != "" {
			def = "`" + v.Default + "`"
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", name, def, v.Help)
	}
	if *update {
		if err := os.WriteFile(path, []byte(text[:i]+b.String()+text[j:]), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if text[i:j] != b.String() {
		t.Error("the table of variables in OPERATIONS.md is out of date: go test ./internal/config -update")
	}
}

// The example environment names only variables that exist, and none that production refuses.
func TestProductionExample(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../deploy/production.env.example")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{"POSTGRES_PASSWORD": true}
	for _, v := range config.Variables() {
		known[v.Name] = true
	}
	env := map[string]string{"DATABASE_URL": "postgresql://mls@127.0.0.1/mls", "REDIS_URL": "redis://127.0.0.1:6379/0"}
	for line := range strings.Lines(string(data)) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok || strings.HasPrefix(name, "#") {
			continue
		}
		if !known[name] {
			t.Errorf("there is no variable %s", name)
		}
		env[name] = value
	}
	if _, err := config.Load(lookup(env)); err == nil {
		t.Error("the example's HASH_KEY is accepted as it stands")
	}
	env["HASH_KEY"] = "0123456789abcdef0123456789abcdef"
	if _, err := config.Load(lookup(env)); err != nil {
		t.Errorf("the example does not start: %v", err)
	}
}
