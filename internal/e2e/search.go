package e2e

import (
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// Leak is a line of a text that holds what it must not hold.
type Leak struct {
	// Kinds are the names of the fields, parameters, headers or claims that had the values.
	Kinds []string
	// Line is the beginning of the line, with the kinds in place of the values.
	Line string
}

// String says what was found where.
func (l Leak) String() string { return strings.Join(l.Kinds, " and ") + " in " + l.Line }

const (
	// maxLeaks is how many leaks of one text are reported.
	maxLeaks = 5
	// maxExcerpt is how much of a line is reported, in bytes.
	maxExcerpt = 400
)

// needle is a way to write a value.
type needle struct{ kind, text string }

// Find returns the first lines of the text that hold a form of a remembered
// value, in upper or lower case; nil when there are none. It takes one pass over
// the text, with a look-up of the next minLength bytes at each place.
func (c *Canary) Find(text string) []Leak {
	needles := c.needles()
	var leaks []Leak
	for line := range strings.Lines(text) {
		if leak := search(line, needles); leak.Kinds != nil {
			leaks = append(leaks, leak)
		}
		if len(leaks) == maxLeaks {
			break
		}
	}
	return leaks
}

// search looks for all values of a line, the longest first.
func search(line string, needles map[string][]needle) (leak Leak) {
	low, last := lower(line), 0
	var masked strings.Builder
	for i := 0; i+minLength <= len(low); i++ {
		for _, n := range needles[low[i:i+minLength]] {
			if !strings.HasPrefix(low[i:], n.text) {
				continue
			}
			leak.Kinds = append(leak.Kinds, n.kind)
			masked.WriteString(line[last:i] + "<" + n.kind + ">")
			last = i + len(n.text)
			i = last - 1
			break
		}
	}
	masked.WriteString(strings.TrimSpace(line[last:]))
	leak.Line = strings.ToValidUTF8(masked.String()[:min(masked.Len(), maxExcerpt)], "?")
	return leak
}

// needles are the forms of all values, by their first minLength bytes, the longest first.
func (c *Canary) needles() map[string][]needle {
	c.mu.Lock()
	defer c.mu.Unlock()
	needles := map[string][]needle{}
	for kind, s := range c.kinds {
		for v := range s.values {
			for _, form := range forms(v, kind == tokenKind) {
				if form = lower(form); len(form) >= minLength {
					needles[form[:minLength]] = append(needles[form[:minLength]], needle{kind, form})
				}
			}
		}
	}
	for _, list := range needles {
		slices.SortFunc(list, func(a, b needle) int { return cmp.Compare(len(b.text), len(a.text)) })
	}
	return needles
}

// forms are the ways to write a value: as it is, quoted in JSON, escaped in a
// URL. What decodes as base64 or hex is written in all of these, raw, and as
// fmt prints bytes.
func forms(v string, verbatim bool) []string {
	list := []string{v}
	if quoted, err := json.Marshal(v); err == nil && len(quoted) != len(v)+2 {
		list = append(list, string(quoted[1:len(quoted)-1]))
	}
	if escaped := url.QueryEscape(v); escaped != v {
		list = append(list, escaped)
	}
	raw := decode(v)
	if raw == nil || verbatim {
		return list
	}
	return append(list, base64.RawStdEncoding.EncodeToString(raw), base64.RawURLEncoding.EncodeToString(raw), hex.EncodeToString(raw), string(raw),
		strings.Trim(fmt.Sprintf("%d", raw), "[]"))
}

// decode returns the bytes that a value may stand for, nil for none.
func decode(v string) []byte {
	if raw, err := hex.DecodeString(v); err == nil && len(raw) >= minLength {
		return raw
	}
	v = strings.TrimRight(v, "=")
	for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		if raw, err := e.DecodeString(v); err == nil && len(raw) >= 2*minLength {
			return raw
		}
	}
	return nil
}

// lower changes ASCII letters only, so that places in the text stay where they are.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// searchForLeaks fails the test when the server's logs or its metrics, which it has to
// serve still, hold what the test's requests and answers did (I9).
func (s *Server) searchForLeaks(tb testing.TB, metrics string) {
	tb.Helper()
	logs := s.Logs.String()
	if logs == "" || metrics == "" {
		tb.Errorf("%d bytes of logs and %d of metrics: what says nothing shows nothing", len(logs), len(metrics))
	}
	for name, text := range map[string]string{"log": withoutOwnHosts(logs), "metrics page": metrics} {
		for _, leak := range s.canary.Find(text) {
			tb.Errorf("I9: the %s of the server has %v", name, leak)
		}
	}
}

// withoutOwnHosts leaves out the hosts that the plain lines for the operator name, which are the
// server's own and its database's: in a test they are that of its clients, too.
func withoutOwnHosts(logs string) string {
	lines := strings.Split(logs, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "mls-server: ") {
			lines[i] = strings.ReplaceAll(line, "127.0.0.1", "own host")
		}
	}
	return strings.Join(lines, "\n")
}

// metrics reads the metrics page.
func (s *Server) metrics(tb testing.TB) string {
	tb.Helper()
	resp, err := http.Get(s.Admin + "/metrics") //nolint:noctx // the test's context has ended when its servers stop
	if err != nil {
		tb.Errorf("the metrics before the server's end: %v", err)
		return ""
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		tb.Errorf("the metrics before the server's end: %v", err)
	}
	return string(body)
}
