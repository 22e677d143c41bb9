//go:build pds

package pds_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/authtest"
	"mls-server/internal/e2e"
	"mls-server/internal/e2e/seen"
	"mls-server/internal/gen/mlsapi"
)

// browser is a Chromium that runs scripts of tests, one after another.
type browser struct {
	mu    sync.Mutex
	in    io.WriteCloser
	lines *bufio.Scanner
}

var theBrowser = sync.OnceValues(func() (*browser, error) {
	dir, err := filepath.Abs(filepath.Join("..", "..", "..", "e2e", "browser"))
	if err != nil {
		return nil, err
	}
	in, lines, _, err := startNode(dir, "browser.mjs")
	if err != nil {
		return nil, err
	}
	b := &browser{in: in, lines: lines}
	var up struct{ Version string }
	if err := b.read(&up); err != nil {
		return nil, err
	}
	return b, nil
})

func (b *browser) read(into any) error {
	if !b.lines.Scan() {
		return errors.Join(errors.New("the browser ended; make e2e-pds installs what it needs"), b.lines.Err())
	}
	return json.Unmarshal(b.lines.Bytes(), into)
}

// page is an origin of its own, with nothing on its page.
func page(tb testing.TB) string {
	tb.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<!doctype html><title>page</title>")
	}))
	tb.Cleanup(s.Close)
	return s.URL
}

// browse runs a script, a function in text, with its argument on a page of an origin of its own,
// and decodes what it returns.
func browse(tb testing.TB, script string, args, into any) {
	tb.Helper()
	b, err := theBrowser()
	if err != nil {
		tb.Fatal(err)
	}
	question, err := json.Marshal(map[string]any{"page": page(tb), "script": script, "args": args})
	if err != nil {
		tb.Fatal(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, err := b.in.Write(append(question, '\n')); err != nil {
		tb.Fatal(err)
	}
	var out struct {
		Value json.RawMessage
		Error string
	}
	if err := b.read(&out); err != nil {
		tb.Fatal(err)
	}
	if out.Error != "" {
		tb.Fatal(out.Error)
	}
	if err := json.Unmarshal(out.Value, into); err != nil {
		tb.Fatalf("%v: %s", err, out.Value)
	}
}

// fetched is what a page saw of an answer. Fault is what it saw instead: such a page knows nothing
// else.
type fetched struct {
	Status             int
	Error, Fault, Text string
	Header             map[string]string
}

// fetchAll fetches a list of requests, one after another.
const fetchAll = `async (requests) => {
	const seen = [];
	for (const { url, ...init } of requests) {
		try {
			const r = await fetch(url, init);
			const Text = await r.text();
			let Error = "";
			try { Error = JSON.parse(Text).error ?? ""; } catch {}
			seen.push({ Status: r.status, Error, Text: Text.slice(0, 1000), Header: Object.fromEntries(r.headers) });
		} catch (e) {
			seen.push({ Fault: String(e) });
		}
	}
	return seen;
}`

// wanted is a request of a page.
type wanted struct {
	URL     string            `json:"url"`
	Method  string            `json:"method,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
	Body    string            `json:"body,omitempty"`
}

// browserServer is a server that a page reaches under another origin than its own.
func browserServer(tb testing.TB, env ...e2e.Env) *e2e.Server {
	tb.Helper()
	port := e2e.FreePort(tb)
	return e2e.Start(tb, append([]e2e.Env{{"SERVER_PORT": port, "PUBLIC_URL": "http://127.0.0.1:" + port}}, env...)...)
}

func xrpc(s *e2e.Server, nsid, query string) string { return s.URL + "/xrpc/" + nsid + query }

// Pages call the server from other origins: every header that they may send, every status and every
// header that they have to read.
func TestPagesCall(t *testing.T) {
	t.Parallel()
	s := browserServer(t, e2e.Env{"RATE_LIMIT_CREATE_CONVO": "1/1"})
	alice := s.NewUser(authtest.K256)
	alice.Register(t, 2)
	convos, create := mlsapi.MethodGetConvos, mlsapi.MethodCreateConvo
	with := func(nsid string, more ...string) map[string]string {
		h := map[string]string{"authorization": alice.Bearer(s.DID, nsid)}
		for i := 0; i+1 < len(more); i += 2 {
			h[more[i]] = more[i+1]
		}
		return h
	}
	var requests []wanted
	var names []string
	add := func(name string, r wanted) {
		names, requests = append(names, name), append(requests, r)
	}
	for _, header := range []string{
		"atproto-accept-labelers", "accept-language", "last-event-id", "atproto-proxy", "x-bsky-topics", "traceparent",
		"sentry-trace", "baggage", "cache-control", "dpop", "idempotency-key",
	} {
		add(header, wanted{URL: xrpc(s, convos.NSID, ""), Headers: with(convos.NSID, header, "x")})
	}
	helpful := len(requests)
	add("no token", wanted{URL: xrpc(s, convos.NSID, "")})
	add("another's token", wanted{URL: xrpc(s, convos.NSID, ""), Headers: with(create.NSID)})
	add("an unknown method", wanted{URL: xrpc(s, "blue.catbird.mls.getNothing", ""), Headers: with(convos.NSID)})
	add("a path that is none", wanted{URL: s.URL + "/xrpc/a/b", Headers: with(convos.NSID)})
	add("a path that is not clean", wanted{URL: s.URL + "//xrpc/" + convos.NSID, Headers: with(convos.NSID)})
	add("a wrong verb", wanted{URL: xrpc(s, convos.NSID, ""), Method: "POST", Headers: with(convos.NSID)})
	add("a fault", wanted{URL: xrpc(s, create.NSID, ""), Method: "POST", Headers: with(create.NSID, "content-type", "application/json"), Body: "{}"})
	add("too many", wanted{URL: xrpc(s, create.NSID, ""), Method: "POST", Headers: with(create.NSID, "content-type", "application/json"), Body: "{}"})
	add("a large body", wanted{URL: xrpc(s, mlsapi.MethodUpdateCursor.NSID, ""), Method: "POST", Headers: with(mlsapi.MethodUpdateCursor.NSID, "content-type", "application/json"), Body: `"` + strings.Repeat("x", 2<<20) + `"`})
	for _, path := range []string{"/.well-known/did.json", "/health", "/health/ready", "/xrpc/_health", "/xrpc/" + mlsapi.MethodDescribeServer.NSID} {
		add(path, wanted{URL: s.URL + path})
	}
	var got []fetched
	browse(t, fetchAll, requests, &got)
	require.Len(t, got, len(names))
	answers := map[string]fetched{}
	for i, f := range got {
		assert.Empty(t, f.Fault, names[i])
		answers[names[i]] = f
		if i < helpful {
			assert.Equal(t, http.StatusOK, f.Status, "%s: %s", names[i], f.Text)
		}
	}
	for name, want := range map[string]fetched{
		"no token": {Status: 401, Error: "AuthMissing"}, "another's token": {Status: 401, Error: "BadJwtLexiconMethod"},
		"an unknown method": {Status: 501, Error: "MethodNotImplemented"}, "a path that is none": {Status: 400, Error: "InvalidRequest"},
		"a path that is not clean": {Status: 200}, "a wrong verb": {Status: 400, Error: "InvalidRequest"},
		"a fault": {Status: 400, Error: "InvalidRequest"}, "too many": {Status: 429, Error: "RateLimitExceeded"},
		"a large body": {Status: 413, Error: "PayloadTooLargeError"}, "/.well-known/did.json": {Status: 200}, "/health": {Status: 200},
		"/health/ready": {Status: 200}, "/xrpc/_health": {Status: 200}, "/xrpc/" + mlsapi.MethodDescribeServer.NSID: {Status: 200},
	} {
		got := answers[name]
		assert.Equal(t, [2]any{want.Status, want.Error}, [2]any{got.Status, got.Error}, "%s: %s", name, got.Text)
	}
	for _, header := range []string{"retry-after", "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "ratelimit-policy", "x-request-id"} {
		assert.NotEmpty(t, answers["too many"].Header[header], header)
	}
	seen.Works(t, "pds", map[string][]string{chromium(t): {seen.Calls}})
}

// A browser asks for leave once for each URL, whatever the page does: that counts against no limit.
func TestPagesArePreflighted(t *testing.T) {
	t.Parallel()
	s := browserServer(t, e2e.Env{"RATE_LIMIT_IP": "60/30"})
	alice := s.NewUser(authtest.P256)
	const calls = 80
	requests := make([]wanted, calls)
	for i := range requests {
		requests[i] = wanted{
			URL:     xrpc(s, mlsapi.MethodGetEpoch.NSID, "?convoId="+nobodys[:len(nobodys)-2]+string(rune('a'+i/20%6))+string(rune('a'+i%6))+"&n="+string(rune('a'+i%26))+string(rune('a'+i/26))),
			Headers: map[string]string{"authorization": alice.Bearer(s.DID, mlsapi.MethodGetEpoch.NSID)},
		}
	}
	var got []fetched
	browse(t, fetchAll, requests, &got)
	require.Len(t, got, calls)
	for i, f := range got {
		if f.Error != "ConvoNotFound" {
			t.Fatalf("call %d: %+v", i, f)
		}
	}
}

// follow reads a stream by fetch, until so many events have come, while it sends a message by the
// way when the stream has begun.
const follow = `async ({ stream, headers, events, send }) => {
	const seen = [];
	const controller = new AbortController();
	const r = await fetch(stream, { headers, signal: controller.signal });
	if (send) {
		const sent = await fetch(send.url, send);
		if (!sent.ok) return [await sent.text()];
	}
	const reader = r.body.pipeThrough(new TextDecoderStream()).getReader();
	let text = "";
	while (seen.length < events) {
		const { value, done } = await reader.read();
		if (done) break;
		text += value;
		const frames = text.split("\n\n");
		text = frames.pop();
		for (const frame of frames) {
			const id = /^id: (.*)$/m.exec(frame)?.[1];
			if (id && /messageEvent/.test(frame)) seen.push(id);
		}
	}
	controller.abort();
	return seen;
}`

// Pages stream by fetch, see events when they happen, and go on where they left off. EventSource of
// the browser cannot send a token; its loss is told at once and not tried again.
func TestPagesStream(t *testing.T) {
	t.Parallel()
	s := browserServer(t)
	users := s.Users(2)
	alice, bob := users[0], users[1]
	alice.Register(t, 2)
	bob.Register(t, 2)
	chat := alice.Create(t, bob)
	stream, send := mlsapi.MethodStreamConvoEvents, mlsapi.MethodSendMessage
	message := func() map[string]any {
		return map[string]any{
			"url": xrpc(s, send.NSID, ""), "method": "POST", "body": string(chat.Message().AppendJSON(nil)),
			"headers": map[string]string{"authorization": bob.Bearer(s.DID, send.NSID), "content-type": "application/json"},
		}
	}
	headers := func(more ...string) map[string]string {
		h := map[string]string{"authorization": alice.Bearer(s.DID, stream.NSID)}
		if len(more) > 0 {
			h["last-event-id"] = more[0]
		}
		return h
	}
	var first, second, both []string
	browse(t, follow, map[string]any{"stream": xrpc(s, stream.NSID, ""), "headers": headers(), "events": 1, "send": message()}, &first)
	require.Len(t, first, 1)
	bob.Send(t, chat)
	browse(t, follow, map[string]any{"stream": xrpc(s, stream.NSID, ""), "headers": headers(first[0]), "events": 1}, &second)
	require.Len(t, second, 1)
	assert.NotEqual(t, first[0], second[0])
	browse(t, follow, map[string]any{"stream": xrpc(s, stream.NSID, ""), "headers": headers(first[0]), "events": 2, "send": message()}, &both)
	require.Len(t, both, 2)
	assert.Equal(t, second[0], both[0])

	var state int
	browse(t, `(url) => new Promise((resolve) => {
		const source = new EventSource(url);
		source.onerror = () => resolve(source.readyState);
	})`, xrpc(s, stream.NSID, ""), &state)
	assert.Equal(t, 2, state, "EventSource.CLOSED")
	seen.Works(t, "pds", map[string][]string{chromium(t): {seen.Streams}})
}

// Pages call through a PDS, too.
func TestPagesCallThroughPDS(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, n *network) {
		s := serve(t, n, didPLC)
		alice := signUp(t, n, s)
		var got []fetched
		browse(t, fetchAll, []wanted{{
			URL:     n.PDS + "/xrpc/" + mlsapi.MethodGetConvos.NSID,
			Headers: map[string]string{"authorization": alice.bearer(), "atproto-proxy": s.DID + serviceID},
		}}, &got)
		require.Len(t, got, 1)
		assert.Equal(t, http.StatusOK, got[0].Status, "%+v", got[0])
		seen.Works(t, "pds", map[string][]string{chromium(t): {n.calls(t)}})
	})
}

// chromium is what the pages run in, whose own version is the machine's.
func chromium(tb testing.TB) string {
	tb.Helper()
	return "Chromium, by " + seen.Version(tb, "e2e/browser", "playwright-core")
}
