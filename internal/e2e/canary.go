package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mls-server/internal/authtest"
	"mls-server/internal/gen/mlsapi"
	"mls-server/lexrt"
)

// Canary remembers what identifies people, conversations and messages in the
// requests and answers of a test, so that logs and metrics can be searched for
// it (I9). Every server has one, and servers with the same directory share it,
// since what one of them is told the others read from the database.
//
// It takes all strings of JSON bodies, of query strings and of headers, tokens
// with their claims, answers, and events of streams while they pass; of bodies
// that are not JSON, or longer than maxLine bytes, their ends and their middle.
// Of long values three cuts are kept. Error texts, which are the server's own,
// and the headers of answers, which hold the request ids of the log, are not taken.
//
// Its memory is bounded: at most maxSample values of a kind and maxKinds kinds.
// Of kinds with more values than that an even sample is searched for.
type Canary struct {
	mu     sync.Mutex
	kinds  map[string]*sample
	called map[string]map[int]int
}

const (
	// maxKinds bounds the names of fields, which hostile requests invent; the others are one kind.
	maxKinds = 200
	// maxLine is how much of a body or of a line of an answer is parsed, in bytes.
	maxLine = 4 << 20
	// cut is the length of what is searched for of a long value, in bytes. It is
	// a multiple of four, so that a cut of base64 can be decoded.
	cut = 24
	// minLength is the length of the shortest value that is not found by chance, in bytes.
	minLength = 6
)

// tokenKind is the kind of values that are searched for as they are. Decoded
// they would hold the method, which logs and metrics name.
const tokenKind = "token"

// canaries has the canary of each directory, as long as its first server's test runs.
var canaries sync.Map

// NewCanary remembers nothing yet.
func NewCanary() *Canary {
	return &Canary{kinds: map[string]*sample{}, called: map[string]map[int]int{}}
}

func canaryOf(tb testing.TB, dir *authtest.Directory) *Canary {
	tb.Helper()
	c := NewCanary()
	// Every client of the suite has this address, and no DID may be logged, known or not.
	c.Add("client address", "127.0.0.1")
	c.Add("DID", "did:plc:", "did:web:")
	shared, loaded := canaries.LoadOrStore(dir, c)
	if !loaded {
		tb.Cleanup(func() { canaries.Delete(dir) })
	}
	return shared.(*Canary) //nolint:errcheck,forcetypeassert // nothing else is stored
}

// harmless are values that say nothing about anybody, and why.
var harmless = []struct {
	pattern *regexp.Regexp
	why     string
}{
	{regexp.MustCompile(`^[a-z]+(_[a-z]+){0,2}$`), "a word: kinds, reasons, actions and roles of the lexicons; the few identifiers of letters alone are not searched for"},
	{regexp.MustCompile(`^[0-9-]+$`), "a number or a day: epochs, limits, counts, which are in metrics as well"},
	{regexp.MustCompile(`^[0-9]+d [0-9]+h$`), "how long key packages last"},
	{regexp.MustCompile(`^MLS_[0-9]+_\w+$`), "a cipher suite"},
	{regexp.MustCompile(`^(slow-consumer|reauthenticate|rollover|server-restart)$`), "how a stream ends: metrics count them by reason"},
	{regexp.MustCompile(`^wss?://[^/]+/xrpc/blue\.catbird\.mls\.\w+$`), "the public address of a method"},
	{regexp.MustCompile(`^blue\.catbird\.mls\.\w+(#\w+)?$`), "a method or a type of the lexicons: logs and metrics name methods"},
}

func says(v string) bool {
	if len(v) < minLength || strings.Count(v, v[:1]) == len(v) {
		return false // too short, or padding
	}
	for _, h := range harmless {
		if h.pattern.MatchString(v) {
			return false
		}
	}
	_, err := time.Parse(time.RFC3339, v)
	return err != nil // every line of a log has a time
}

// Add remembers values of a kind. What says nothing about anybody is left out.
func (c *Canary) Add(kind string, values ...string) {
	for _, v := range values {
		if !says(v) {
			continue
		}
		as := kind
		if did, ok := strings.CutPrefix(v, "did:"); ok {
			as = "DID"
			if _, id, _ := strings.Cut(did, ":"); says(id) {
				c.add(as, id) // without its method, too
			}
		}
		c.add(as, cuts(v)...)
	}
}

func (c *Canary) add(kind string, values ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kinds[kind] == nil && len(c.kinds) >= maxKinds {
		kind = "other"
	}
	if c.kinds[kind] == nil {
		c.kinds[kind] = &sample{}
	}
	for _, v := range values {
		c.kinds[kind].add(v)
	}
}

// cuts are the beginning, the middle and the end of a long value, at places where base64 can be
// cut.
func cuts(v string) []string {
	if len(v) <= 2*cut {
		return []string{v}
	}
	middle, end := len(v)/2&^3, (len(v)-cut)&^3
	var parts []string
	for _, part := range []string{v[:cut], v[middle:min(middle+cut, len(v))], v[end:]} {
		if says(part) {
			parts = append(parts, strings.Clone(part)) // not the whole value
		}
	}
	return parts
}

// Count is how many values are remembered.
func (c *Canary) Count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, s := range c.kinds {
		n += len(s.values)
	}
	return n
}

// Called says how often a method was answered with which status.
func (c *Canary) Called(nsid string) map[int]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.called[nsid]
}

// AddRequest remembers what a request holds. Its body is taken when it can be
// had twice, as those of byte slices can.
func (c *Canary) AddRequest(r *http.Request) {
	for name, values := range r.URL.Query() {
		c.Add(name, values...)
	}
	c.Add("path", strings.Split(r.URL.Path, "/")...)
	for name, values := range r.Header {
		for _, v := range values {
			if token, ok := strings.CutPrefix(v, "Bearer "); ok {
				c.addToken(token)
				continue
			}
			for part := range strings.SplitSeq(v, ",") {
				c.Add(name, strings.TrimSpace(part))
			}
		}
	}
	if r.GetBody == nil {
		return
	}
	body, err := r.GetBody()
	if err != nil {
		return
	}
	defer func() { _ = body.Close() }()
	data, err := io.ReadAll(io.LimitReader(body, maxLine))
	if err == nil {
		c.addBody(data)
	}
}

func (c *Canary) addToken(token string) {
	parts := strings.Split(token, ".")
	c.Add(tokenKind, parts...)
	if len(parts) == 3 {
		if payload, err := base64.RawURLEncoding.DecodeString(parts[1]); err == nil {
			c.addBody(payload)
		}
	}
}

// addBody remembers the strings of a JSON text, and the text itself when it is not JSON.
func (c *Canary) addBody(data []byte) {
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		c.Add("body", string(data))
		return
	}
	c.walk("body", v)
}

func (c *Canary) walk(kind string, v any) {
	switch v := v.(type) {
	case string:
		c.Add(kind, v)
	case []any:
		for _, e := range v {
			c.walk(kind, e)
		}
	case map[string]any:
		for name, e := range v {
			c.walk(name, e)
		}
	}
}

// overheard is a transport that tells a canary what passes.
type overheard struct {
	next   http.RoundTripper
	canary *Canary
}

// RoundTrip implements http.RoundTripper.
func (o *overheard) RoundTrip(r *http.Request) (*http.Response, error) {
	o.canary.AddRequest(r)
	resp, err := o.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	o.canary.answered(strings.TrimPrefix(r.URL.Path, "/xrpc/"), resp.StatusCode)
	// What anybody is told without a token is about nobody.
	open := func(m *lexrt.Method) bool { return m.Open && strings.HasSuffix(r.URL.Path, "/"+m.NSID) }
	if resp.StatusCode == http.StatusOK && !slices.ContainsFunc(mlsapi.Methods(), open) {
		resp.Body = &overheardBody{ReadCloser: resp.Body, canary: o.canary}
	}
	return resp, nil
}

// CloseIdleConnections is what http.Client looks for.
func (o *overheard) CloseIdleConnections() {
	if next, ok := o.next.(interface{ CloseIdleConnections() }); ok {
		next.CloseIdleConnections()
	}
}

func (c *Canary) answered(nsid string, status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.called[nsid] == nil {
		c.called[nsid] = map[int]int{}
	}
	c.called[nsid][status]++
}

// overheardBody passes a body on as it is read, and tells the canary of each
// line: a JSON answer is one line, an event of a stream is a few.
type overheardBody struct {
	io.ReadCloser
	canary *Canary
	line   []byte // what has come of it, maxLine bytes at most
}

// Read implements io.Reader.
func (b *overheardBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	for line := range bytes.Lines(p[:n]) {
		b.line = append(b.line, line[:min(len(line), maxLine-len(b.line))]...)
		if line[len(line)-1] == '\n' {
			b.flush()
		}
	}
	if errors.Is(err, io.EOF) {
		b.flush() // what was cut off in the midst of a line is no value of its own
	}
	return n, err
}

// flush takes a line. "id: " starts an event's cursor, "data: " its JSON.
func (b *overheardBody) flush() {
	line := bytes.TrimSpace(b.line)
	b.line = b.line[:0]
	if id, ok := bytes.CutPrefix(line, []byte("id: ")); ok {
		b.canary.Add("cursor", string(id))
		return
	}
	line = bytes.TrimPrefix(line, []byte("data: "))
	if len(line) > 0 && line[0] == '{' {
		b.canary.addBody(line)
	}
}
