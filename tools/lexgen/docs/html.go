package docs

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"

	"mls-server/tools/lexgen/prose"
)

//go:embed page.html
var pageTemplate string

// searchScript is all that runs in the page; the page's policy allows it by its hash.
//
//go:embed search.js
var searchScript string

// html returns the one page with everything. Package html/template escapes all
// texts for the place where they stand.
func (r *reference) html() ([]byte, error) {
	t, err := template.New("page").Funcs(template.FuncMap{
		"clean": prose.Clean, "first": firstSentence, "intro": valuesIntro,
	}).Parse(pageTemplate)
	if err != nil {
		return nil, fmt.Errorf("the HTML template: %w", err)
	}
	hash := sha256.Sum256([]byte(searchScript))
	var b bytes.Buffer
	err = t.Execute(&b, struct {
		Header     template.HTML
		Title      string
		About      string
		Groups     []groupPages
		Defs       []section
		Script     template.JS
		ScriptHash string
	}{
		Header, prose.Clean(r.opt.Title), r.opt.Policy.About, r.Groups, r.Defs,
		template.JS(searchScript), "sha256-" + base64.StdEncoding.EncodeToString(hash[:]), //nolint:gosec // a file of ours
	})
	if err != nil {
		return nil, fmt.Errorf("the HTML page: %w", err)
	}
	return b.Bytes(), nil
}
