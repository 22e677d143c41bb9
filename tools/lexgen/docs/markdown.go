package docs

import (
	"strconv"
	"strings"

	"mls-server/tools/lexgen/emit"
	"mls-server/tools/lexgen/prose"
)

// markdown returns the index, the definitions and a page for each method.
func (r *reference) markdown() []emit.File {
	files := []emit.File{{Name: "README.md", Data: []byte(r.indexMarkdown())}}
	for _, g := range r.Groups {
		for _, p := range g.Pages {
			files = append(files, emit.File{Name: p.File, Data: []byte(r.pageMarkdown(g.Name, p))})
		}
	}
	if len(r.Defs) > 0 {
		var b strings.Builder
		b.WriteString(Header + "\n\n# Definitions\n\n[All methods](README.md)\n")
		for _, s := range r.Defs {
			r.sectionMarkdown(&b, definitionsFile, s)
		}
		files = append(files, emit.File{Name: definitionsFile, Data: []byte(b.String())})
	}
	return files
}

func (r *reference) indexMarkdown() string {
	var b strings.Builder
	b.WriteString(Header + "\n\n# " + prose.Markdown(r.opt.Title) + "\n\n")
	if about := r.opt.Policy.About; about != "" {
		b.WriteString(prose.Markdown(about) + "\n\n")
	}
	b.WriteString("The reference of the API, made from the lexicons. The same as [one HTML page](index.html) and as [OpenAPI](openapi.json).\n")
	for _, g := range r.Groups {
		b.WriteString("\n## " + prose.Markdown(g.Name) + "\n\n| Method | | What it does |\n|---|---|---|\n")
		for _, p := range g.Pages {
			b.WriteString("| [" + prose.Markdown(p.Name) + "](" + p.File + ") | " + p.Verb + " | " + prose.Markdown(firstSentence(p.Doc)) + " |\n")
		}
	}
	if len(r.Defs) > 0 {
		b.WriteString("\n## Definitions\n\n")
		for _, s := range r.Defs {
			b.WriteString("- [" + prose.Markdown(s.Title) + "](" + definitionsFile + "#" + s.Anchor + ")")
			if s.Doc != "" {
				b.WriteString(": " + prose.Markdown(firstSentence(s.Doc)))
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}

func firstSentence(text string) string {
	text = prose.Clean(text)
	if first, _, ok := strings.Cut(text, ". "); ok {
		return first + "."
	}
	return text
}

func (r *reference) pageMarkdown(group string, p *page) string {
	var b strings.Builder
	b.WriteString(Header + "\n\n# " + prose.Markdown(p.Name) + "\n\n[All methods](README.md) · " + prose.Markdown(group) + "\n\n")
	b.WriteString(prose.Code(p.Verb+" /xrpc/"+p.NSID) + "\n\n")
	if p.Doc != "" {
		b.WriteString(prose.Markdown(p.Doc) + "\n\n")
	}
	b.WriteString("| | |\n|---|---|\n")
	for _, f := range p.Facts {
		b.WriteString("| " + f.Name + " | " + prose.Markdown(f.Text) + " |\n")
	}
	for _, s := range p.Sections {
		if s.Level == 2 {
			r.sectionMarkdown(&b, p.File, s)
		}
	}
	local := false
	for _, s := range p.Sections {
		if s.Level == 3 {
			if !local {
				b.WriteString("\n## Definitions\n")
				local = true
			}
			r.sectionMarkdown(&b, p.File, s)
		}
	}
	b.WriteString("\n## Errors\n\n| Error | Status | Meaning |\n|---|---|---|\n")
	for _, e := range p.Errors {
		name := prose.Code(e.Name)
		if e.Declared {
			name = "**" + name + "**"
		}
		b.WriteString("| " + name + " | " + strconv.Itoa(e.Status) + " | " + prose.Markdown(e.Doc) + " |\n")
	}
	b.WriteString("\nThose in bold are the method's own.\n")
	b.WriteString("\n## Example\n\n" + fenced("http", p.Request))
	if p.Response != "" {
		lang := "json"
		if strings.HasPrefix(p.Response, "id: ") {
			lang = "text"
		}
		b.WriteString("\nThe answer:\n\n" + fenced(lang, p.Response))
	}
	return b.String()
}

// fenced puts text into a code block with a fence that the text does not have.
func fenced(lang, text string) string {
	fence := "```"
	for strings.Contains(text, fence) {
		fence += "`"
	}
	return fence + lang + "\n" + text + fence + "\n"
}

func (r *reference) sectionMarkdown(b *strings.Builder, file string, s section) {
	b.WriteByte('\n')
	if s.Anchor != "" {
		b.WriteString(`<a id="` + s.Anchor + `"></a>` + "\n\n")
	}
	b.WriteString(strings.Repeat("#", s.Level) + " " + prose.Markdown(s.Title) + "\n\n")
	if s.Doc != "" {
		b.WriteString(prose.Markdown(s.Doc) + "\n\n")
	}
	if s.Note != "" {
		b.WriteString(prose.Markdown(s.Note) + "\n")
	}
	if len(s.Rows) == 0 {
		return
	}
	b.WriteString("| Field | Type | Limits | Description |\n|---|---|---|---|\n")
	for _, w := range s.Rows {
		b.WriteString("| " + prose.Code(w.Name))
		if w.Required {
			b.WriteString(" **required**")
		}
		b.WriteString(" | ")
		for _, t := range w.Type {
			b.WriteString(r.spanMarkdown(file, t))
		}
		b.WriteString(" | " + prose.Markdown(strings.Join(w.Limits, "; ")) + " | " + prose.Markdown(w.Doc))
		if len(w.Values) > 0 {
			if w.Doc != "" {
				b.WriteByte(' ')
			}
			b.WriteString(valuesIntro(w.Open))
			for i, v := range w.Values {
				if i > 0 {
					b.WriteString(", ")
				}
				b.WriteString(prose.Code(v))
			}
			b.WriteByte('.')
		}
		b.WriteString(" |\n")
	}
}

func valuesIntro(open bool) string {
	if open {
		return "Known values, to which others may be added: "
	}
	return "One of "
}

func (r *reference) spanMarkdown(file string, t span) string {
	text := prose.Markdown(t.Text)
	if strings.HasPrefix(t.Text, " ") {
		text = " " + text
	}
	if strings.HasSuffix(t.Text, " ") {
		text += " "
	}
	if t.Struct == nil {
		return text
	}
	home := r.home[t.Struct]
	if home == file {
		home = ""
	}
	return "[" + text + "](" + home + "#" + t.Struct.GoName + ")"
}
