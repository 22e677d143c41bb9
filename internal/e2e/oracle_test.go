package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"mls-server/internal/auth"
	"mls-server/internal/authtest"
	"mls-server/internal/clock"
	"mls-server/internal/e2e/internal/oracleapi"
	"mls-server/internal/egress"
	"mls-server/internal/ratelimit"
	"mls-server/internal/shared"
	"mls-server/internal/xrpc"
	"mls-server/lexrt"
)

// differences are the recorded cases that this server answers otherwise on
// purpose: what it answers, and why.
var differences = map[string]struct{ want, reason string }{
	"invalid json":          {"400 InvalidRequest", "SyntaxError is a JavaScript name; a client that broke its JSON broke the request"},
	"bytes as plain string": {"200", "bytes are also taken as a bare base64 string: released clients send them so"},
	"null optional":         {"200", "null stands for an absent optional field: encoders of Swift and Kotlin write it"},
	"outside xrpc":          {"404 NotFound", "errors are always JSON"},
	"declared, not implemented": {
		"501 MethodNotImplemented", "a generated method without a handler does not compile, so an unmounted one is like an unknown one",
	},
	"blob too large":  {"413 PayloadTooLargeError", "one name for one thing"},
	"named error 409": {"500 InternalServerError", "the lexicon does not declare the name, which is a fault of the server; a declared one is tested beside it"},
	"auth: same token twice (no replay check in the library)": {"401 ReplayedToken", "each token is good for one request"},
	"auth: three parts of garbage":                            {"401 BadJwt", "garbage is the caller's fault, never a 500"},
	"auth: aud with fragment":                                 {"200", "PDS proxies put the service id behind the DID: SERVICE_DID#SERVICE_ID is this service"},
	"auth: iss with #atproto fragment":                        {"200", "iss may name the signing key's id, as some PDS do"},
	"auth: alg none":                                          {"401 BadJwt", "an alg that is not of atproto is malformed, before any key is fetched"},
	"auth: HS256":                                             {"401 BadJwt", "an alg that is not of atproto is malformed, before any key is fetched"},
	"auth: far future exp (library accepts)":                  {"401 BadJwt", "a service token lives for an hour at most"},
	"boolean odd value":                                       {"400 InvalidRequest", "a misspelt flag is told, not read as false"},
	"auth: lower-case bearer":                                 {"200", "schemes are compared without case, RFC 9110 11.1"},
}

// oracleServer is this server's runtime under the oracle's lexicons.
type oracleServer struct {
	url        string
	alice, bob *authtest.Identity
	used       string // a token that was used
}

const oracleDID = "did:web:ds.example.com"

// onlyAuthed asks for a token where the recorded server did, and lets everybody in elsewhere.
type onlyAuthed struct{ xrpc.Authenticator }

func (a onlyAuthed) Authenticate(ctx context.Context, m *lexrt.Method, header, address string) (xrpc.Credential, error) {
	if m != oracleapi.MethodAuthed {
		return xrpc.Credential{Caller: lexrt.Caller{DID: "did:plc:anyoneanyoneanyoneanyone"}}, nil
	}
	return a.Authenticator.Authenticate(ctx, m, header, address)
}

type noObserver struct{}

func (noObserver) ObserveRequest(xrpc.Event)               {}
func (noObserver) ObserveUndeclared(*lexrt.Method, string) {}

// withoutNoImpl leaves out the method that the recorded server did not implement.
type withoutNoImpl struct{ *xrpc.Server }

func (r withoutNoImpl) Handle(m *lexrt.Method, e lexrt.Endpoint) {
	if m != oracleapi.MethodNoImpl {
		r.Server.Handle(m, e)
	}
}

// oracleHandlers answer as the recorded handlers did.
type oracleHandlers struct{}

var (
	yes      = true
	errBoom  = errors.New("a secret detail")
	errStale = &lexrt.Error{Name: "StaleEpoch", Status: http.StatusConflict, Message: "epoch moved on"}
)

func (oracleHandlers) Authed(_ context.Context, caller lexrt.Caller, _ *oracleapi.AuthedInput) (*oracleapi.AuthedOutput, error) {
	iss := caller.DID.String()
	return &oracleapi.AuthedOutput{OK: &yes, Iss: &iss}, nil
}

func (oracleHandlers) Boom(context.Context, lexrt.Caller) (*oracleapi.BoomOutput, error) {
	return nil, errBoom
}

func (oracleHandlers) GetThing(context.Context, lexrt.Caller, *oracleapi.GetThingParams) (*oracleapi.GetThingOutput, error) {
	return &oracleapi.GetThingOutput{OK: &yes}, nil
}

func (oracleHandlers) Limited(context.Context, lexrt.Caller) (*oracleapi.LimitedOutput, error) {
	return &oracleapi.LimitedOutput{OK: &yes}, nil
}

func (oracleHandlers) NoImpl(context.Context, lexrt.Caller) (*oracleapi.NoImplOutput, error) {
	return &oracleapi.NoImplOutput{OK: &yes}, nil
}

func (oracleHandlers) NoInput(context.Context, lexrt.Caller) (*oracleapi.NoInputOutput, error) {
	return &oracleapi.NoInputOutput{OK: &yes}, nil
}

func (oracleHandlers) PutBlob(_ context.Context, _ lexrt.Caller, in *lexrt.Body) (*oracleapi.PutBlobOutput, error) {
	if _, err := io.Copy(io.Discard, in); err != nil {
		return nil, err
	}
	return &oracleapi.PutBlobOutput{OK: &yes}, nil
}

func (oracleHandlers) PutThing(_ context.Context, _ lexrt.Caller, in *oracleapi.PutThingInput) (*oracleapi.PutThingOutput, error) {
	if in.ID == "stale" {
		return nil, errStale
	}
	return &oracleapi.PutThingOutput{OK: &yes}, nil
}

func (oracleHandlers) Stale(context.Context, lexrt.Caller) (*oracleapi.StaleOutput, error) {
	return nil, errStale
}

func newOracleServer(t *testing.T) *oracleServer {
	t.Helper()
	dir := authtest.NewDirectory(t, nil)
	client, err := egress.New(egress.Config{Allow: dir.HostPorts()})
	if err != nil {
		t.Fatal(err)
	}
	hasher, err := shared.NewHasher(bytes.Repeat([]byte("k"), 32))
	if err != nil {
		t.Fatal(err)
	}
	authenticator, err := auth.New(auth.Config{
		ServiceDID: oracleDID, ServiceID: "atproto_mls", EnforceLXM: true, EnforceJTI: true, JTITTL: time.Minute,
		Resolver: auth.NewResolver(auth.ResolverConfig{Client: client, PLCURL: dir.URL(), Clock: clock.System}),
		Replays:  auth.NewMemoryReplays(1000, clock.System), Hasher: hasher, Clock: clock.System,
	})
	if err != nil {
		t.Fatal(err)
	}
	wide := ratelimit.Rate{PerMinute: 10000, Burst: 10000}
	limiter, err := ratelimit.NewMemory(map[string]ratelimit.Rate{
		"default": wide, "ip": wide, "limited": {PerMinute: 2, Burst: 2},
	}, clock.System)
	if err != nil {
		t.Fatal(err)
	}
	s := xrpc.New(xrpc.Options{
		Authenticator: onlyAuthed{authenticator}, Limiter: limiter, Observer: noObserver{},
		MapError: func(error) *lexrt.Error { return nil }, Logger: slog.New(slog.DiscardHandler), Clock: clock.System,
		ClientIP: func(*http.Request) string { return "192.0.2.1" },
	})
	oracleapi.Mount(withoutNoImpl{s}, oracleHandlers{})
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return &oracleServer{url: server.URL, alice: dir.NewIdentity(authtest.K256), bob: dir.NewIdentity(authtest.P256)}
}

// asked is what a recorded case sent besides its verb and path, which are in the
// recording: the recording names it, and does not hold it.
type asked struct {
	body  string
	media string // the content type
	coded string // the content encoding
	token func(s *oracleServer) string
}

// aliceToken makes a token of alice's with changes.
func aliceToken(lxm string, changes ...authtest.TokenOption) func(s *oracleServer) string {
	return func(s *oracleServer) string { return s.alice.Bearer(oracleDID, lxm, changes...) }
}

const (
	asJSON   = "application/json"
	authedID = "blue.example.oracle.authed"
)

// sent is what each case sent. Cases that are not in it sent nothing but their path.
var sent = map[string]asked{
	"GET to a procedure":          {},
	"ok procedure":                {body: `{"id":"a"}`, media: asJSON},
	"missing body with json type": {media: asJSON},
	"invalid json":                {body: `{x`, media: asJSON},
	"json array body":             {body: `[]`, media: asJSON},
	"missing field":               {body: `{}`, media: asJSON},
	"wrong type":                  {body: `{"id":1}`, media: asJSON},
	"too long":                    {body: `{"id":"aaaaaaaaaaa"}`, media: asJSON},
	"unknown field":               {body: `{"id":"a","zzz":1}`, media: asJSON},
	"bytes ok ($bytes)":           {body: `{"id":"a","data":{"$bytes":"AAAA"}}`, media: asJSON},
	"bytes as plain string":       {body: `{"id":"a","data":"AAAA"}`, media: asJSON},
	"bytes too long":              {body: `{"id":"a","data":{"$bytes":"AAAAAAAAAAAAAAAAAAAAAAA"}}`, media: asJSON},
	"bad datetime":                {body: `{"id":"a","at":"yesterday"}`, media: asJSON},
	"null optional":               {body: `{"id":"a","n":null}`, media: asJSON},
	"float for integer":           {body: `{"id":"a","n":1.5}`, media: asJSON},
	"wrong content type":          {body: `{"id":"a"}`, media: "text/plain"},
	"no content type":             {body: `{"id":"a"}`},
	"json with charset":           {body: `{"id":"a"}`, media: "application/json; charset=utf-8"},
	"json too large":              {body: `{"id":"a","zzz":"` + strings.Repeat("z", 200_000) + `"}`, media: asJSON},
	"gzip body":                   {body: `{"id":"a"}`, media: asJSON, coded: "gzip"},
	"unknown content-encoding":    {body: `{"id":"a"}`, media: asJSON, coded: "zzz"},
	"blob ok":                     {body: "blob", media: "image/png"},
	"blob too large":              {body: strings.Repeat("b", 200_000), media: "image/png"},
	"blob without type":           {body: "blob"},
	"body on no-input procedure":  {body: `{}`, media: asJSON},
	"body on a query":             {body: `{}`, media: asJSON},

	"auth: none":      {body: `{}`, media: asJSON},
	"auth: ok ES256K": {body: `{}`, media: asJSON, token: aliceToken(authedID)},
	"auth: ok ES256":  {body: `{}`, media: asJSON, token: func(s *oracleServer) string { return s.bob.Bearer(oracleDID, authedID) }},
	"auth: garbage":   {body: `{}`, media: asJSON, token: fixed("Bearer garbage")},
	"auth: expired": {body: `{}`, media: asJSON, token: func(s *oracleServer) string {
		return s.alice.Bearer(oracleDID, authedID, s.alice.ExpiresIn(-time.Minute))
	}},
	"auth: wrong aud":   {body: `{}`, media: asJSON, token: func(s *oracleServer) string { return s.alice.Bearer("did:web:other.example.com", authedID) }},
	"auth: wrong lxm":   {body: `{}`, media: asJSON, token: aliceToken("blue.example.oracle.putThing")},
	"auth: no lxm":      {body: `{}`, media: asJSON, token: aliceToken("")},
	"auth: unknown iss": {body: `{}`, media: asJSON, token: aliceToken(authedID, authtest.Claim("iss", "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"))},
	"auth: iss not a did": {
		body: `{}`, media: asJSON, token: aliceToken(authedID, authtest.Claim("iss", "alice.example.com")),
	},
	"auth: three parts of garbage":                            {body: `{}`, media: asJSON, token: fixed("Bearer a.b.c")},
	"auth: same token twice (no replay check in the library)": {body: `{}`, media: asJSON, token: func(s *oracleServer) string { return s.used }},
	"auth: aud with fragment": {body: `{}`, media: asJSON, token: func(s *oracleServer) string {
		return s.alice.Bearer(oracleDID+"#atproto_mls", authedID)
	}},
	"auth: wrong key": {body: `{}`, media: asJSON, token: func(s *oracleServer) string {
		return s.alice.Bearer(oracleDID, authedID, authtest.SignedBy(s.bob.PrivateKey()))
	}},
	"auth: iss with #atproto fragment": {body: `{}`, media: asJSON, token: func(s *oracleServer) string {
		return s.alice.Bearer(oracleDID, authedID, authtest.Claim("iss", s.alice.DID.String()+"#atproto"))
	}},
	"auth: alg none":   {body: `{}`, media: asJSON, token: aliceToken(authedID, authtest.Header("alg", "none"))},
	"auth: HS256":      {body: `{}`, media: asJSON, token: aliceToken(authedID, authtest.Header("alg", "HS256"))},
	"auth: typ at+jwt": {body: `{}`, media: asJSON, token: aliceToken(authedID, authtest.Header("typ", "at+jwt"))},
	"auth: no exp":     {body: `{}`, media: asJSON, token: aliceToken(authedID, authtest.Claim("exp", nil))},
	"auth: Basic":      {body: `{}`, media: asJSON, token: fixed("Basic YTpi")},
	"auth: far future exp (library accepts)": {body: `{}`, media: asJSON, token: func(s *oracleServer) string {
		return s.alice.Bearer(oracleDID, authedID, s.alice.ExpiresIn(365*24*time.Hour))
	}},
	"auth: lower-case bearer": {body: `{}`, media: asJSON, token: func(s *oracleServer) string {
		return "bearer " + s.alice.Token(oracleDID, authedID)
	}},
	"auth: high-S signature (JWTs allow malleable)": {body: `{}`, media: asJSON, token: aliceToken(authedID, authtest.HighS())},
	"auth before body? bad body and no auth":        {body: `{x`, media: asJSON},
}

func fixed(value string) func(*oracleServer) string {
	return func(*oracleServer) string { return value }
}

// recording is the file of recorded calls.
type recording struct {
	Lexicons []json.RawMessage `json:"lexicons"`
	Cases    []struct {
		Name    string            `json:"name"`
		Method  string            `json:"method"`
		Path    string            `json:"path"`
		Body    string            `json:"body"`
		Status  int               `json:"status"`
		Headers map[string]string `json:"headers"`
	} `json:"cases"`
}

func readRecording(t *testing.T) recording {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "xrpc-oracle.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r recording
	if err := json.Unmarshal(raw, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// This server answers as atproto's own does: the same status and the same error
// name for 78 recorded calls, but for the differences that are listed.
func TestOracle(t *testing.T) {
	t.Parallel()
	s := newOracleServer(t)
	s.used = s.alice.Bearer(oracleDID, authedID)
	s.call(t, http.MethodPost, "/xrpc/"+authedID, asked{body: `{}`, media: asJSON, token: fixed(s.used)})
	r := readRecording(t)
	if len(r.Cases) != 78 {
		t.Errorf("%d recorded cases, want 78", len(r.Cases))
	}
	known := map[string]bool{}
	for _, c := range r.Cases {
		known[c.Name] = true
		header, status, body := s.call(t, c.Method, c.Path, sent[c.Name])
		got, want := outcome(status, []byte(body)), outcome(c.Status, []byte(c.Body))
		if d, ok := differences[c.Name]; ok {
			if want == d.want {
				t.Errorf("%s: listed as different, and is not", c.Name)
			}
			want = d.want
		}
		if got != want {
			t.Errorf("%s: got %s, want %s\n%s", c.Name, got, want, body)
		}
		if body != "" && !strings.HasPrefix(header.Get("Content-Type"), "application/json") {
			t.Errorf("%s: content type %q", c.Name, header.Get("Content-Type"))
		}
		for _, name := range []string{"ratelimit-limit", "ratelimit-remaining", "ratelimit-policy"} {
			if v, ok := c.Headers[name]; ok && header.Get(name) != v {
				t.Errorf("%s: %s is %q, want %q", c.Name, name, header.Get(name), v)
			}
		}
		if strings.Contains(body, "secret") {
			t.Errorf("%s: the answer tells the text of an error: %s", c.Name, body)
		}
	}
	for name := range differences {
		if !known[name] {
			t.Errorf("the list of differences has %q, the recording does not", name)
		}
	}
	for name := range sent {
		if !known[name] {
			t.Errorf("the list of requests has %q, the recording does not", name)
		}
	}
}

// A declared error has its name and status: what the recorded "named error 409" shows.
func TestOracleDeclaredError(t *testing.T) {
	t.Parallel()
	s := newOracleServer(t)
	_, status, body := s.call(t, http.MethodPost, "/xrpc/blue.example.oracle.putThing", asked{body: `{"id":"stale"}`, media: asJSON})
	if status != http.StatusConflict || body != `{"error":"StaleEpoch","message":"epoch moved on"}` {
		t.Errorf("got %d %s", status, body)
	}
	// A blob of unknown length is stopped at the cap all the same.
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/xrpc/blue.example.oracle.putBlob", io.LimitReader(zeros{}, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "image/png")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("got %d", resp.StatusCode)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// The generated package is of the recording's own lexicons.
func TestOracleLexicons(t *testing.T) {
	t.Parallel()
	for _, want := range readRecording(t).Lexicons {
		var head struct {
			ID string `json:"id"`
		}
		var a, b any
		if err := json.Unmarshal(want, &head); err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(filepath.Join("testdata", "oracle", "lexicons", filepath.FromSlash(strings.ReplaceAll(head.ID, ".", "/"))+".json"))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(json.Unmarshal(want, &a), json.Unmarshal(raw, &b)); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(a, b) {
			t.Errorf("%s differs from the recording's", head.ID)
		}
	}
}

// outcome is status and error name, "200" for success.
func outcome(status int, body []byte) string {
	var e struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(body, &e) != nil {
		e.Error = "" // HTML
	}
	return strings.TrimSpace(strconv.Itoa(status) + " " + e.Error)
}

func (s *oracleServer) call(t *testing.T, verb, path string, a asked) (http.Header, int, string) {
	t.Helper()
	body := []byte(a.body)
	if a.coded == "gzip" {
		body = squeeze(t, body)
	}
	req, err := http.NewRequestWithContext(t.Context(), verb, s.url+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if a.media != "" {
		req.Header.Set("Content-Type", a.media)
	}
	if a.coded != "" {
		req.Header.Set("Content-Encoding", a.coded)
	}
	if a.token != nil {
		req.Header.Set("Authorization", a.token(s))
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Header, resp.StatusCode, string(got)
}
