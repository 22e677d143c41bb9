package docs

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"

	"mls-server/tools/lexgen/prose"
)

//go:embed page.html
var pageTemplate string

// html returns the one page with everything. Package html/template escapes all
// texts for the place where they stand.
func (r *reference) html() ([]byte, error) {
	t, err := template.New("page").Funcs(template.FuncMap{
		"clean": prose.Clean, "first": firstSentence, "intro": valuesIntro,
	}).Parse(pageTemplate)
	if err != nil {
		return nil, fmt.Errorf("the HTML template: %w", err)
	}
	var b bytes.Buffer
	err = t.Execute(&b, struct {
		Header template.HTML
		Title  string
		Groups []groupPages
		Defs   []section
	}{Header, prose.Clean(r.opt.Title), r.Groups, r.Defs})
	if err != nil {
		return nil, fmt.Errorf("the HTML page: %w", err)
	}
	return b.Bytes(), nil
}
