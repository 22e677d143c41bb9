package main

import (
	"encoding/json"
	"flag"
	"io"
	"maps"
	"slices"
	"strings"
)

// schema is as much of JSON Schema as lexgen.json needs.
type schema struct {
	Schema      string            `json:"$schema,omitempty"`
	Title       string            `json:"title,omitempty"`
	Description string            `json:"description,omitempty"`
	Type        string            `json:"type,omitempty"`
	Default     any               `json:"default,omitempty"`
	Properties  map[string]schema `json:"properties,omitempty"`
	Required    []string          `json:"required,omitempty"`
	Additional  *bool             `json:"additionalProperties,omitempty"`
	Items       *schema           `json:"items,omitempty"`
}

// projectSchema is the JSON Schema of lexgen.json. It follows from the flags.
func projectSchema() schema {
	members := map[string]schema{}
	genFlags("gen", &genConfig{}).VisitAll(func(f *flag.Flag) {
		if !slices.Contains(ownFlags, f.Name) {
			members[f.Name] = memberSchema(f)
		}
	})
	closed := false
	text := func(description string) schema { return schema{Type: "string", Description: description} }
	all := map[string]schema{
		"$schema":  text("Where this schema is."),
		"packages": {Type: "array", Description: "The packages to write. What a package says holds over what the file says.", Items: &schema{Type: "object", Properties: members, Additional: &closed}},
		"breaking": {Type: "object", Description: "For lexgen breaking.", Additional: &closed, Properties: map[string]schema{
			"against": text("The old version: git:REVISION, or a folder."),
			"waivers": text("File with changes that are allowed for a time."),
		}},
	}
	maps.Copy(all, members)
	return schema{
		Schema: "http://json-schema.org/draft-07/schema#", Title: projectFile, Type: "object", Properties: all, Required: []string{"packages"}, Additional: &closed,
		Description: "What lexgen generates. Members have the names of flags of lexgen gen; those beside packages hold for all of them. Paths are relative to the file.",
	}
}

func memberSchema(f *flag.Flag) schema {
	takes, usage := flag.UnquoteUsage(f)
	s := schema{Type: kindOf(f), Description: strings.ToUpper(usage[:1]) + strings.TrimSuffix(usage[1:], " (may be repeated)") + "."}
	if takes == "DIR" || takes == "FILE" {
		s.Description += " A path."
	}
	switch {
	case s.Type == "array":
		s.Items = &schema{Type: "string"}
	case s.Type == "string" && f.DefValue != "":
		s.Default = f.DefValue
	}
	return s
}

// runSchema prints the JSON Schema of lexgen.json, or that of lexicons.
func runSchema(args []string, out, _ io.Writer) error {
	var s any = projectSchema()
	switch {
	case len(args) == 1 && args[0] == "lexicon":
		s = lexiconSchema()
	case len(args) > 0:
		return &usageError{`it takes no argument, or "lexicon" for the schema of lexicon files`}
	}
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	_, err = out.Write(append(data, '\n'))
	return err
}
