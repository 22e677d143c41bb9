package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"index/suffixarray"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// Canary remembers every identifying value that requests and answers carried,
// so that logs and metrics can be searched for them (I9).
type Canary struct {
	next http.RoundTripper

	mu     sync.Mutex
	values map[string]bool // true: looked for as it is, and not decoded
	called map[string]map[int]int
}

// Record makes the server's users remember what they send and get from now on.
func (s *Server) Record() *Canary {
	c := &Canary{next: s.client.Transport, values: map[string]bool{}, called: map[string]map[int]int{}}
	s.client.Transport = c
	return c
}

// RoundTrip implements http.RoundTripper.
func (c *Canary) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		_ = r.Body.Close()
		r.Body = io.NopCloser(bytes.NewReader(body))
		c.addJSON(body)
	}
	for _, values := range r.URL.Query() {
		c.Add(values...)
	}
	for _, name := range []string{"X-Forwarded-For", "Last-Event-Id", "Idempotency-Key"} {
		c.Add(r.Header.Values(name)...)
	}
	c.addToken(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	resp, err := c.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	method := strings.TrimPrefix(r.URL.Path, "/xrpc/")
	c.mu.Lock()
	if c.called[method] == nil {
		c.called[method] = map[int]int{}
	}
	c.called[method][resp.StatusCode]++
	c.mu.Unlock()
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
		return resp, nil // texts of errors are the server's own
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	_ = resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	c.addJSON(body)
	return resp, nil
}

// Called says how often a method was answered with which status.
func (c *Canary) Called(nsid string) map[int]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.called[nsid]
}

// vocabulary is what the contract itself makes known values of.
var vocabulary = regexp.MustCompile(`^(MLS_[0-9]+_\w+|[a-z]+(_[a-z]+){0,2}|[0-9]+d [0-9]+h|[0-9-]+|blue\.catbird\.mls\.\w+(#\w+)?)$`)

// Add remembers values. Words that the contract fixes, times and what is too
// short to mean anything are left out.
func (c *Canary) Add(values ...string) {
	for _, v := range values {
		if _, err := time.Parse(time.RFC3339, v); err == nil || len(v) < 6 || vocabulary.MatchString(v) {
			continue
		}
		c.mu.Lock()
		c.values[v] = false
		c.mu.Unlock()
	}
}

func (c *Canary) addToken(token string) {
	parts := strings.Split(token, ".")
	// The claims are remembered one by one: among them is the method, which metrics name.
	c.mu.Lock()
	for _, v := range append(parts, token) {
		if len(v) >= 6 {
			c.values[v] = true
		}
	}
	c.mu.Unlock()
	if len(parts) == 3 {
		if payload, err := base64.RawURLEncoding.DecodeString(parts[1]); err == nil {
			c.addJSON(payload)
		}
	}
}

func (c *Canary) addJSON(data []byte) {
	var v any
	if json.Unmarshal(data, &v) == nil {
		c.walk(v)
	}
}

func (c *Canary) walk(v any) {
	switch v := v.(type) {
	case string:
		c.Add(v)
	case []any:
		for _, e := range v {
			c.walk(e)
		}
	case map[string]any:
		for _, e := range v {
			c.walk(e)
		}
	}
}

// Count is how many values are remembered.
func (c *Canary) Count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.values)
}

// window is how much of a long value is searched for, at its beginning, in its
// middle and at its end: a part of it in a log is a leak, too.
const window = 20

// forms are the ways to write a value. What decodes as base64 or hex is looked for in all of them.
func forms(v string, asIs bool) []string {
	if asIs {
		return windows([]string{v})
	}
	list := []string{v, strings.ToUpper(v), strings.ToLower(v)}
	var raw []byte
	trimmed := strings.TrimRight(v, "=")
	for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		if b, err := e.DecodeString(trimmed); err == nil && len(b) >= 12 {
			raw = b
		}
	}
	if b, err := hex.DecodeString(v); err == nil && len(b) >= 6 {
		raw = b
	}
	if raw != nil {
		list = append(list, base64.RawStdEncoding.EncodeToString(raw), base64.RawURLEncoding.EncodeToString(raw), hex.EncodeToString(raw), string(raw))
	}
	return windows(list)
}

func windows(list []string) []string {
	var parts []string
	for _, f := range list {
		if len(f) <= 2*window {
			parts = append(parts, f)
			continue
		}
		parts = append(parts, f[:window], f[len(f)/2:len(f)/2+window], f[len(f)-window:])
	}
	return parts
}

// Find returns the remembered values of which a form or a part is in the text.
func (c *Canary) Find(text string) []string {
	index := suffixarray.New([]byte(text))
	c.mu.Lock()
	defer c.mu.Unlock()
	var found []string
	for v, asIs := range c.values {
		if slices.ContainsFunc(forms(v, asIs), func(f string) bool { return len(index.Lookup([]byte(f), 1)) > 0 }) {
			found = append(found, v)
		}
	}
	slices.Sort(found)
	return found
}
