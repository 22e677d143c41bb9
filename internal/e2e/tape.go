package e2e

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"mls-server/internal/gen/mlsapi"
)

var update = flag.Bool("update", false, "write the recorded answers in testdata/wire anew")

// tapes has the tape of each test that records.
var tapes sync.Map

// tape is what a test has sent and received, in the form of testdata/wire.
type tape struct {
	mu    sync.Mutex
	buf   bytes.Buffer
	n     int
	names map[string]string
	kinds map[string]int
}

// Record compares every request of the test and its answer with testdata/wire/NAME.txt:
// the status, all headers but Date and the body, byte for byte. What differs from run to
// run (identifiers, times, keys, ciphertext) is replaced by a name in order of appearance
// that keeps its form and its length. The message of an error is left out. The -update
// flag writes the file anew.
//
// Only requests that are made with this tb are recorded, so those of subtests are not.
// They must come one after the other.
func Record(tb testing.TB, name string) {
	tb.Helper()
	t := &tape{names: map[string]string{}, kinds: map[string]int{}}
	tapes.Store(tb, t)
	file := filepath.Join("testdata", "wire", name+".txt")
	tb.Cleanup(func() {
		tapes.Delete(tb)
		if *update {
			if err := os.WriteFile(file, t.buf.Bytes(), 0o644); err != nil {
				tb.Error(err)
			}
			return
		}
		want, err := os.ReadFile(file)
		if err != nil {
			tb.Error(err)
			return
		}
		compareTapes(tb, file, string(want), t.buf.String())
	})
}

// separator begins each exchange of a tape.
const separator = "==== "

// compareTapes reports the first exchange that differs.
func compareTapes(tb testing.TB, file, want, got string) {
	tb.Helper()
	if got == want {
		return
	}
	w, g := strings.Split(want, separator), strings.Split(got, separator)
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] {
			tb.Errorf("%s: exchange %d of %d differs.\n--- recorded\n%s\n--- now\n%s", file, i, len(w)-1, w[i], g[i])
			return
		}
	}
	tb.Errorf("%s: %d exchanges are recorded, there were %d", file, len(w)-1, len(g)-1)
}

// tapeOf is the tape of a test, nil when it records nothing.
func tapeOf(tb testing.TB) *tape {
	tb.Helper()
	t, _ := tapes.Load(tb)
	recorded, _ := t.(*tape)
	return recorded
}

// volatile are the headers whose numbers depend on the time.
var volatile = []string{"Ratelimit-Remaining", "Ratelimit-Reset", "Retry-After"}

// add writes down one exchange. r is what was sent, its defaults filled in.
func (t *tape) add(nsid string, r Request, a Answer) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n++
	fmt.Fprintf(&t.buf, "%s%d\n%s %s", separator, t.n, r.Verb, nsid)
	if r.RawQuery != "" {
		t.buf.WriteString("?" + t.mask(r.RawQuery))
	}
	t.buf.WriteByte('\n')
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		fmt.Fprintf(&t.buf, "%s: %s\n", name, t.mask(strings.Join(r.Header[name], ", ")))
	}
	if len(r.Body) > 0 {
		t.buf.WriteString(t.body(r.Body) + "\n")
	}
	fmt.Fprintf(&t.buf, "---- %d\n", a.Status)
	body := a.Body
	for _, name := range slices.Sorted(maps.Keys(a.Header)) {
		value := strings.Join(a.Header[name], ", ")
		switch {
		case name == "Date":
			continue
		case name == "X-Request-Id":
			value = "{request}"
		case slices.Contains(volatile, name):
			value = digits.ReplaceAllString(value, "{n}")
		case name == "Content-Length" && a.Status != http.StatusOK:
			value = digits.ReplaceAllString(value, "{n}") // that of the message
		case name == "Content-Length" && bytes.Contains(a.Body, []byte(`"assignedUntil"`)):
			value = digits.ReplaceAllString(value, "{n}") // with a random turn
		}
		fmt.Fprintf(&t.buf, "%s: %s\n", name, t.mask(value))
	}
	body = reconnection.ReplaceAll(body, []byte("retry: {n}"))
	body = assignment.ReplaceAll(body, nil)
	if a.Status != http.StatusOK {
		body = errorMessage.ReplaceAll(body, []byte(`"message":{message}`))
	}
	if len(body) > 0 {
		t.buf.WriteString("\n" + t.body(body) + "\n")
	}
	t.buf.WriteByte('\n')
}

// Listener is a stream whose bytes are recorded.
type Listener struct {
	user *User
	r    Request
	resp *http.Response
	body *bufio.Reader
}

// Listen opens a stream of events, to be read later.
func (u *User) Listen(tb testing.TB, query string) *Listener {
	tb.Helper()
	r := Request{RawQuery: query}
	resp, err := u.Open(tb.Context(), mlsapi.MethodStreamConvoEvents, r)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = resp.Body.Close() })
	return &Listener{u, r, resp, bufio.NewReader(resp.Body)}
}

// Read records the stream up to the event that holds the text, and returns the first event's
// cursor.
func (l *Listener) Read(tb testing.TB, text string) (cursor string) {
	tb.Helper()
	var body []byte
	for last := false; !last || !bytes.HasSuffix(body, []byte("\n\n")); {
		line, err := l.body.ReadBytes('\n')
		if err != nil {
			tb.Fatalf("%v after\n%s", err, body)
		}
		if id, ok := bytes.CutPrefix(line, []byte("id: ")); ok && cursor == "" {
			cursor = string(bytes.TrimSpace(id))
		}
		last = last || bytes.Contains(line, []byte(text))
		body = append(body, line...)
	}
	m := mlsapi.MethodStreamConvoEvents
	tapeOf(tb).add(m.NSID, l.r.complete(m), Answer{Status: l.resp.StatusCode, Header: l.resp.Header, Body: body})
	return cursor
}

var (
	digits       = regexp.MustCompile(`[0-9]+`)
	reconnection = regexp.MustCompile(`(?m)^retry: [0-9]+`)
	assignment   = regexp.MustCompile(`"assignedTo":"[^"]*",`)
	errorMessage = regexp.MustCompile(`"message":"(?:[^"\\]|\\.)*"`)
)

// longest is how much of a body is written down, in bytes.
const longest = 16 << 10

// body is the text of a body. What is not text, or long even without its values, is cut short.
func (t *tape) body(b []byte) string {
	if !utf8.Valid(b) || bytes.ContainsFunc(b, func(r rune) bool { return r < ' ' && r != '\n' }) {
		if len(b) > 64 {
			return fmt.Sprintf("{%d bytes}", len(b))
		}
		return strconv.QuoteToASCII(string(b))
	}
	text := t.mask(string(b))
	if len(text) > longest {
		return fmt.Sprintf("%s…{%d bytes}", text[:64], len(b))
	}
	return text
}

// kinds of values that differ from run to run, most specific first: the name of
// the kind, and a pattern whose group is the value, or which is the value.
var kinds = []struct{ name, pattern string }{
	{"time", `[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(?:Z|[+-][0-9]{2}:[0-9]{2})`},
	{"did", `did(?::|%3A)plc(?::|%3A)[a-z2-7]{24}`},
	{"uuid", `[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`},
	{"key", `e2e-key-[0-9]+`},
	{"device", `Phone of [a-z2-7]{6}`},
	{"page", `\b[mcr]\.[A-Za-z0-9_-]{12,}`},
	{"event", `(?:"cursor":"|\bid: |\bcursor=)([A-Za-z0-9_-]{22})\b`},
	// Random ids have the form of a ULID now and then, but no ULID of this age has theirs: it
	// begins with 0.
	{"report", `\b[A-Z2-7]{26}\b`},
	{"ulid", `\b[0-7][0-9A-HJKMNP-TV-Z]{25}\b`},
	{"tid", `(?::"|\["|\bconvoId=|app\.bsky\.graph\.block/)([2-7a-j][2-7a-z]{12})\b`},
	{"text", `[A-Za-z0-9+/_-]{32,}={0,2}`},
	{"port", `127\.0\.0\.1:[0-9]+`},
}

var kindsPattern = func() *regexp.Regexp {
	parts := make([]string, len(kinds))
	for i, k := range kinds {
		if !strings.Contains(strings.ReplaceAll(k.pattern, "(?:", ""), "(") {
			k.pattern = "(" + k.pattern + ")"
		}
		parts[i] = k.pattern
	}
	return regexp.MustCompile(strings.Join(parts, "|"))
}()

// mask replaces what differs from run to run by names. Long runs of base64 and of blanks are found
// without the pattern, which would take minutes for ten mebibytes under the race detector.
func (t *tape) mask(s string) string {
	var out strings.Builder
	for s != "" {
		start, end := longRun(s)
		out.WriteString(t.maskValues(s[:start]))
		switch run := s[start:end]; {
		case strings.HasPrefix(run, " "):
			out.WriteString(run)
		case run != "":
			out.WriteString(t.name("text", run))
		}
		s = s[end:]
	}
	return out.String()
}

// longRun finds the first run of more than 4,096 characters of base64, with its padding, or of
// blanks; it is empty, and at the end, when there is none.
func longRun(s string) (start, end int) {
	for start < len(s) {
		same := isBase64
		if s[start] == ' ' {
			same = isBlank
		}
		for end = start; end < len(s) && same(s[end]); {
			end++
		}
		if end-start > 4096 {
			for n := 0; n < 2 && s[start] != ' ' && end < len(s) && s[end] == '='; n++ {
				end++
			}
			return start, end
		}
		start = max(end, start+1)
	}
	return len(s), len(s)
}

func isBlank(c byte) bool { return c == ' ' }

func isBase64(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("+/_-", c) >= 0
}

func (t *tape) maskValues(s string) string {
	var out strings.Builder
	last := 0
	for _, at := range kindsPattern.FindAllStringSubmatchIndex(s, -1) {
		for i, k := range kinds {
			start, end := at[2*i+2], at[2*i+3]
			if start < 0 {
				continue
			}
			out.WriteString(s[last:start] + t.name(k.name, s[start:end]))
			last = end
		}
	}
	return out.String() + s[last:]
}

// name is the name of a value: its kind, for long ones the length, and its number.
func (t *tape) name(kind, value string) string {
	switch {
	case kind == "time":
		return digits.ReplaceAllStringFunc(value, func(d string) string { return strings.Repeat("0", len(d)) })
	case strings.HasPrefix(value, "MLS_"): // the name of a cipher suite
		return value
	}
	value = strings.ReplaceAll(value, "%3A", ":")
	if name, ok := t.names[value]; ok {
		return name
	}
	t.kinds[kind]++
	name := fmt.Sprintf("{%s %d}", kind, t.kinds[kind])
	if kind == "text" || kind == "page" {
		name = fmt.Sprintf("{%s %d: %d}", kind, t.kinds[kind], len(value))
	}
	t.names[value] = name
	return name
}
