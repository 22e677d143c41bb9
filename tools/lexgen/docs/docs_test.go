package docs

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"html"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"mls-server/tools/lexgen/emit"
	"mls-server/tools/lexgen/ir"
	"mls-server/tools/lexgen/lexicon"
	"mls-server/tools/lexgen/prose"
)

const lexicons = "../../../lexicons"

func own(t *testing.T) []emit.File {
	t.Helper()
	data, err := os.ReadFile(lexicons + "/policy.json")
	if err != nil {
		t.Fatal(err)
	}
	policy, err := ir.ParsePolicy("policy.json", data)
	if err != nil {
		t.Fatal(err)
	}
	set, diags, err := lexicon.Load(os.DirFS(lexicons), lexicon.Options{Exclude: []string{"policy.json"}})
	if err != nil || diags.HasErrors() {
		t.Fatalf("%v %v", err, diags)
	}
	m, diags := ir.Build(set, ir.Options{Prefix: "blue.catbird.mls", Policy: policy})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	files, err := Files(m, Options{Title: "blue.catbird.mls", Prefix: "blue.catbird.mls", Policy: policy})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestOwnPages(t *testing.T) {
	t.Parallel()
	files := own(t)
	if len(files) < 27+3 {
		t.Errorf("%d files", len(files))
	}
	pages := map[string]string{}
	for _, f := range files {
		pages[f.Name] = string(f.Data)
		if !strings.Contains(string(f.Data[:200]), Header) {
			t.Errorf("%s has no header", f.Name)
		}
		have, err := os.ReadFile(filepath.Join("../../../docs/api", f.Name))
		if err != nil || !bytes.Equal(have, f.Data) {
			t.Errorf("docs/api/%s is out of date; run make gen", f.Name)
		}
	}
	again := own(t)
	for i := range files {
		if !bytes.Equal(files[i].Data, again[i].Data) {
			t.Errorf("%s differs between two runs", files[i].Name)
		}
	}
	links(t, pages)
}

var (
	link   = regexp.MustCompile(`\]\(([^)#]*)(?:#([^)]*))?\)`)
	anchor = regexp.MustCompile(`<a id="([^"]*)">`)
	href   = regexp.MustCompile(`href="#([^"]*)"`)
	id     = regexp.MustCompile(`\bid="([^"]*)"`)
)

// links checks that every link leads somewhere.
func links(t *testing.T, pages map[string]string) {
	t.Helper()
	for name, text := range pages {
		if filepath.Ext(name) != ".md" {
			continue
		}
		for _, l := range link.FindAllStringSubmatch(text, -1) {
			target := l[1]
			if target == "" {
				target = name
			}
			page, ok := pages[target]
			if target == "openapi.json" {
				continue
			}
			if !ok {
				t.Errorf("%s links to %s, which is not there", name, target)
				continue
			}
			if l[2] == "" {
				continue
			}
			found := false
			for _, a := range anchor.FindAllStringSubmatch(page, -1) {
				found = found || a[1] == l[2]
			}
			if !found {
				t.Errorf("%s links to %s#%s, which is not there", name, target, l[2])
			}
		}
	}
	ids := map[string]int{}
	for _, m := range id.FindAllStringSubmatch(pages["index.html"], -1) {
		ids[html.UnescapeString(m[1])]++
	}
	for name, n := range ids {
		if n > 1 {
			t.Errorf("index.html has the id %s %d times", name, n)
		}
	}
	for _, m := range href.FindAllStringSubmatch(pages["index.html"], -1) {
		if ids[html.UnescapeString(m[1])] == 0 {
			t.Errorf("index.html links to #%s, which is not there", m[1])
		}
	}
	if outside := regexp.MustCompile(`(?:src|href)="(?:https?:)?//|@import|url\(`).FindString(pages["index.html"]); outside != "" {
		t.Errorf("index.html loads something from elsewhere: %s", outside)
	}
}

const hostile = "*/ </td><script>alert(1)</script> | `x` ``` [a](javascript:alert(1)) ![i](http://x/y) <!-- --> \u202e \u2028 \x00 {{.}} https://evil.example www.evil.example $x$ # _a_ **b** ~~c~~"

// TestHostileText puts markup into every place where text can stand.
func TestHostileText(t *testing.T) {
	t.Parallel()
	quoted, err := json.Marshal(hostile)
	if err != nil {
		t.Fatal(err)
	}
	x := string(quoted)
	set, diags := lexicon.Parse([]lexicon.Source{
		{Path: "com/example/putThing.json", Data: []byte(`{"lexicon":1,"id":"com.example.putThing","description":` + x + `,"defs":{"main":{"type":"procedure","description":` + x + `,
			"parameters":{"type":"params","properties":{` + x + `:{"type":"string","description":` + x + `,"default":` + x + `}}},
			"input":{"encoding":"application/json","description":` + x + `,"schema":{"type":"object","properties":{` + x + `:{"type":"string","description":` + x + `,"knownValues":[` + x + `]},"e":{"type":"string","enum":[` + x + `]}}}},
			"output":{"encoding":"application/json","schema":{"type":"ref","ref":"com.example.defs#thing","description":` + x + `}},
			"errors":[{"name":"Bad|<b>","description":` + x + `}]}}}`)},
		{Path: "com/example/defs.json", Data: []byte(`{"lexicon":1,"id":"com.example.defs","defs":{"thing":{"type":"object","description":` + x + `,"properties":{"u":{"type":"union","refs":["#thing"],"description":` + x + `}}}}}`)},
	}, lexicon.Options{})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	m, diags := ir.Build(set, ir.Options{})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	files, err := Files(m, Options{Title: hostile, Policy: &ir.Policy{About: hostile, Subjects: []ir.Subject{{Name: hostile, Methods: []string{"com.example.putThing"}}}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text := string(f.Data)
		if filepath.Ext(f.Name) == ".md" {
			text = withoutCode(text)
		}
		if f.Name == "index.html" {
			// Our own script, once, which the page's policy allows by its hash.
			own := "<script>" + searchScript + "</script>"
			if strings.Count(text, own) != 1 {
				t.Error("index.html does not have its script")
			}
			text = strings.Replace(text, own, "", 1)
			hash := sha256.Sum256([]byte(searchScript))
			if !strings.Contains(html.UnescapeString(text), "script-src 'sha256-"+base64.StdEncoding.EncodeToString(hash[:])+"'\"") {
				t.Error("index.html does not allow its script")
			}
		}
		for _, bad := range []string{"<script", "\u202e", "\u2028", "\x00"} {
			if strings.Contains(text, bad) {
				t.Errorf("%s has %q", f.Name, bad)
			}
		}
		if filepath.Ext(f.Name) == ".md" {
			for _, bad := range []string{"](javascript", " [a]", "**b**", "~~c~~", "https://evil"} {
				if i := strings.Index(text, bad); i >= 0 && (i == 0 || text[i-1] != '\\') {
					t.Errorf("%s has %q: %s", f.Name, bad, text[max(0, i-30):min(len(text), i+30)])
				}
			}
		}
	}
}

// withoutCode takes code out of Markdown: nothing is markup there.
func withoutCode(text string) string {
	var out strings.Builder
	fence := ""
	for line := range strings.Lines(text) {
		marks := line[:len(line)-len(strings.TrimLeft(line, "`"))]
		switch {
		case fence != "":
			if strings.TrimSpace(line) == fence {
				fence = ""
			}
		case len(marks) >= 3:
			fence = marks
		default:
			out.WriteString(withoutSpans(line))
		}
	}
	return out.String()
}

func withoutSpans(line string) string {
	var out strings.Builder
	for i := 0; i < len(line); {
		n := 0
		for i+n < len(line) && line[i+n] == '`' {
			n++
		}
		switch {
		case line[i] == '\\' && i+1 < len(line):
			out.WriteString(line[i : i+2])
			i += 2
		case n == 0:
			out.WriteByte(line[i])
			i++
		default:
			end := i + n
			for end < len(line) {
				m := 0
				for end+m < len(line) && line[end+m] == '`' {
					m++
				}
				end += max(m, 1)
				if m == n {
					break
				}
			}
			out.WriteString("CODE")
			i = end
		}
	}
	return out.String()
}

func TestMarkdown(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"a | b\nc":         `a \| b c`,
		"<b>":              "&lt;b&gt;",
		"*x*":              `\*x\*`,
		"# not a heading":  `\# not a heading`,
		"see https://x.yz": `see https:\//x.yz`,
		"plain, with: all": "plain, with: all",
	} {
		if got := prose.Markdown(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{"a": "`a`", "a`b": "`` a`b ``", "a|b": "`a\\|b`", "": "` `"} {
		if got := prose.Code(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
