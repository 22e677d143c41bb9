//go:build pds

package pds_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
)

// redirect is where the authorisation server sends the browser; nobody listens there.
const redirect = "http://127.0.0.1:4299/callback"

// grant is a session of an OAuth client at a PDS, whose every request proves that the client holds
// its key (DPoP, RFC 9449).
type grant struct {
	n     *network
	key   *ecdsa.PrivateKey
	nonce string
	// Scope is what was granted, token the access token.
	Scope, token string
}

// signIn has the account grant a client a scope, as its browser would: by signing in and
// consenting. refused is what the authorisation server says of a scope that it does not take.
func (a *account) signIn(tb testing.TB, scope string) (g *grant, refused answer) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	g = &grant{n: a.n, key: key}
	client := "http://localhost?" + url.Values{"redirect_uri": {redirect}, "scope": {scope}}.Encode()
	verifier := base64url([]byte(rand.Text() + rand.Text()))
	challenge := sha256.Sum256([]byte(verifier))
	pushed := g.form(tb, "/oauth/par", url.Values{
		"client_id": {client}, "redirect_uri": {redirect}, "response_type": {"code"}, "scope": {scope}, "state": {"state"},
		"code_challenge": {base64url(challenge[:])}, "code_challenge_method": {"S256"}, "login_hint": {a.Handle},
	})
	if pushed.Status >= http.StatusBadRequest {
		return nil, pushed
	}
	var request struct {
		URI string `json:"request_uri"`
	}
	if err := json.Unmarshal(pushed.Body, &request); err != nil {
		tb.Fatal(err)
	}
	code := a.consent(tb, client, request.URI, scope).Get("code")
	var granted struct {
		Scope string
		Token string `json:"access_token"`
	}
	g.form(tb, "/oauth/token", url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirect}, "client_id": {client}, "code_verifier": {verifier},
	}).ok(tb, &granted)
	g.Scope, g.token = granted.Scope, granted.Token
	return g, answer{}
}

// consent is what the account does in its browser. It returns where the PDS sends the browser,
// which is back to the client: with redirect_uri and the authorisation code.
func (a *account) consent(tb testing.TB, client, request, scope string) url.Values {
	tb.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		tb.Fatal(err)
	}
	browser := &http.Client{Jar: jar, Timeout: time.Minute}
	page := a.n.PDS + "/oauth/authorize?" + url.Values{"client_id": {client}, "request_uri": {request}}.Encode()
	do := func(req *http.Request, mode, dest, site string) answer {
		req.Header.Set("User-Agent", "e2e")
		req.Header.Set("Sec-Fetch-Mode", mode)
		req.Header.Set("Sec-Fetch-Dest", dest)
		req.Header.Set("Sec-Fetch-Site", site)
		a, err := receive(browser, req)
		if err != nil {
			tb.Fatal(err)
		}
		if a.Status >= http.StatusBadRequest {
			tb.Fatalf("%s: %d %s", req.URL.Path, a.Status, a.Body)
		}
		return a
	}
	open, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, page, http.NoBody)
	if err != nil {
		tb.Fatal(err)
	}
	open.Header.Set("Accept", "text/html")
	do(open, "navigate", "document", "cross-site")

	origin, err := url.Parse(a.n.PDS)
	if err != nil {
		tb.Fatal(err)
	}
	step := func(path string, in map[string]any, authorization string, out any) {
		body, err := json.Marshal(in)
		if err != nil {
			tb.Fatal(err)
		}
		req, err := http.NewRequestWithContext(tb.Context(), http.MethodPost, a.n.PDS+"/@atproto/oauth-provider/~api"+path, strings.NewReader(string(body)))
		if err != nil {
			tb.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Origin", a.n.PDS)
		req.Header.Set("Referer", page)
		for _, c := range jar.Cookies(origin) {
			if c.Name == "csrf-token" {
				req.Header.Set("X-Csrf-Token", c.Value)
			}
		}
		if authorization != "" {
			req.Header.Set("Authorization", authorization)
		}
		do(req, "same-origin", "empty", "same-origin").ok(tb, out)
	}
	var signedIn struct{ EphemeralToken string }
	step("/sign-in", map[string]any{"locale": "en", "username": a.Handle, "password": password}, "", &signedIn)
	authorization := ""
	if signedIn.EphemeralToken != "" {
		authorization = "Bearer " + signedIn.EphemeralToken
	}
	var consented struct{ URL string }
	step("/consent", map[string]any{"did": a.DID, "scope": scope}, authorization, &consented)
	back, err := url.Parse(consented.URL)
	if err != nil || back.Query().Get("code") == "" {
		tb.Fatalf("no code: %v %s", err, consented.URL)
	}
	return back.Query()
}

// form posts a form of the OAuth protocol, once more when the server asks for its nonce.
func (g *grant) form(tb testing.TB, path string, values url.Values) answer {
	tb.Helper()
	return g.send(tb, http.MethodPost, path, http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, values.Encode())
}

// call calls the PDS in the session. Header fields may be nil.
func (g *grant) call(tb testing.TB, verb, path string, header http.Header, body string) answer {
	tb.Helper()
	header = header.Clone()
	if header == nil {
		header = http.Header{}
	}
	header.Set("Authorization", "DPoP "+g.token)
	return g.send(tb, verb, path, header, body)
}

func (g *grant) send(tb testing.TB, verb, path string, header http.Header, body string) (a answer) {
	tb.Helper()
	for range 2 {
		req, err := http.NewRequestWithContext(tb.Context(), verb, g.n.PDS+path, strings.NewReader(body))
		if err != nil {
			tb.Fatal(err)
		}
		req.Header = header.Clone()
		bare, _, _ := strings.Cut(g.n.PDS+path, "?")
		req.Header.Set("DPoP", g.proof(tb, verb, bare))
		if a, err = receive(web, req); err != nil {
			tb.Fatal(err)
		}
		before := g.nonce
		if nonce := a.Header.Get("DPoP-Nonce"); nonce != "" {
			g.nonce = nonce
		}
		if a.Status < http.StatusBadRequest || g.nonce == before {
			break
		}
	}
	return a
}

// proof is a DPoP proof for one request.
func (g *grant) proof(tb testing.TB, verb, link string) string {
	tb.Helper()
	public, err := g.key.PublicKey.Bytes() // 4 || x || y
	if err != nil {
		tb.Fatal(err)
	}
	claims := map[string]any{"htm": verb, "htu": link, "jti": rand.Text(), "iat": time.Now().Unix()}
	if g.nonce != "" {
		claims["nonce"] = g.nonce
	}
	if g.token != "" {
		sum := sha256.Sum256([]byte(g.token))
		claims["ath"] = base64url(sum[:])
	}
	header := map[string]any{"typ": "dpop+jwt", "alg": "ES256", "jwk": map[string]string{
		"kty": "EC", "crv": "P-256", "x": base64url(public[1:33]), "y": base64url(public[33:]),
	}}
	parts := make([]string, 0, 3)
	for _, part := range []any{header, claims} {
		data, err := json.Marshal(part)
		if err != nil {
			tb.Fatal(err)
		}
		parts = append(parts, base64url(data))
	}
	sum := sha256.Sum256([]byte(strings.Join(parts, ".")))
	r, s, err := ecdsa.Sign(rand.Reader, g.key, sum[:])
	if err != nil {
		tb.Fatal(err)
	}
	signature := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	return strings.Join(append(parts, base64url(signature)), ".")
}

func base64url(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

// TestOAuth is the table of scopes in docs/clients.md: what a session of each may do. The older PDS
// has a provider, too, of the draft before these scopes; what it grants is all or nothing.
func TestOAuth(t *testing.T) {
	t.Parallel()
	n := networkOf(t, "new")
	s := serve(t, n, didWeb)
	alice := signUp(t, n, s)
	convos, cursor, stream := mlsapi.MethodGetConvos.NSID, mlsapi.MethodUpdateCursor.NSID, mlsapi.MethodStreamConvoEvents.NSID
	bare, entry := url.QueryEscape(s.DID), url.QueryEscape(s.DID+serviceID)
	for _, c := range []struct {
		name, scope string
		// what a proxied query, a proxied procedure and getServiceAuth with both audiences answer
		query, procedure, bareToken, entryToken string
	}{
		{"each method", "rpc:" + convos + "?aud=" + entry + " rpc:" + cursor + "?aud=" + entry + " rpc:" + stream + "?aud=" + entry, "", "InvalidRequest", "ScopeMissingError", ""},
		{"all of one service", "rpc:*?aud=" + entry, "", "InvalidRequest", "ScopeMissingError", ""},
		{"one method everywhere", "rpc:" + convos + "?aud=*", "", "ScopeMissingError", "ScopeMissingError", "ScopeMissingError"},
		{"an audience without the entry", "rpc:" + convos + "?aud=" + bare, "ScopeMissingError", "ScopeMissingError", "ScopeMissingError", "ScopeMissingError"},
		{"everything", "transition:generic", "", "InvalidRequest", "", ""},
		{"nothing", "", "ScopeMissingError", "ScopeMissingError", "ScopeMissingError", "ScopeMissingError"},
	} {
		g, refused := alice.signIn(t, strings.TrimSpace("atproto "+c.scope))
		if g == nil {
			t.Errorf("%s: refused with %d %s", c.name, refused.Status, refused.Body)
			continue
		}
		proxied := http.Header{"Atproto-Proxy": {s.DID + serviceID}}
		assert.Equal(t, c.query, g.call(t, http.MethodGet, "/xrpc/"+convos, proxied, "").Error, "%s: a query", c.name)
		proxied.Set("Content-Type", "application/json")
		assert.Equal(t, c.procedure, g.call(t, http.MethodPost, "/xrpc/"+cursor, proxied, "{}").Error, "%s: a procedure", c.name)
		for aud, want := range map[string]string{bare: c.bareToken, entry: c.entryToken} {
			a := g.call(t, http.MethodGet, "/xrpc/com.atproto.server.getServiceAuth?aud="+aud+"&lxm="+stream, nil, "")
			assert.Equal(t, want, a.Error, "%s: a token for %s", c.name, aud)
			if want == "" {
				var out struct{ Token string }
				a.ok(t, &out)
				them := &e2e.User{Identity: alice.Identity, Server: s}
				them.Peek(t, mlsapi.MethodStreamConvoEvents, e2e.Request{Authorization: "Bearer " + out.Token}).OK(t)
			}
		}
	}
}

// TestPermissionSets: a session that includes one of the permission sets, as their publisher's
// repository has them, calls the methods that the set names, and gets tokens for them.
func TestPermissionSets(t *testing.T) {
	t.Parallel()
	n := networkOf(t, "new")
	s := serve(t, n, didPLC)
	alice, publisher := signUp(t, n, s), newAccount(t, n)
	for _, set := range []string{"authFull", "authBasic"} {
		publisher.publish(t, "blue.catbird.mls."+set, filepath.Join("..", "..", "..", "lexicons", "blue", "catbird", "mls", set+".json"))
	}
	n.lexiconsOf(t, publisher)
	entry := url.QueryEscape(s.DID + serviceID)
	for _, c := range []struct {
		set   string
		admin bool
	}{{"authFull", true}, {"authBasic", false}} {
		g, refused := alice.signIn(t, "atproto include:blue.catbird.mls."+c.set+"?aud="+entry)
		if g == nil {
			t.Errorf("%s: refused with %d %s", c.set, refused.Status, refused.Body)
			continue
		}
		named := permitted(t, c.set)
		assert.Equal(t, c.admin, slices.Contains(named, mlsapi.MethodPromoteAdmin.NSID))
		for _, m := range mlsapi.Methods() {
			want := "ScopeMissingError"
			if slices.Contains(named, m.NSID) {
				want = ""
			}
			a := g.call(t, http.MethodGet, "/xrpc/com.atproto.server.getServiceAuth?aud="+entry+"&lxm="+m.NSID, nil, "")
			assert.Equal(t, want, a.Error, "%s: a token for %s", c.set, m.NSID)
		}
		proxied := http.Header{"Atproto-Proxy": {s.DID + serviceID}}
		assert.Empty(t, g.call(t, http.MethodGet, "/xrpc/"+mlsapi.MethodGetConvos.NSID, proxied, "").Error, c.set)
		proxied.Set("Content-Type", "application/json")
		want := "ScopeMissingError"
		if c.admin {
			want = "InvalidRequest" // of the service: the call reaches it
		}
		assert.Equal(t, want, g.call(t, http.MethodPost, "/xrpc/"+mlsapi.MethodPromoteAdmin.NSID, proxied, "{}").Error, c.set)
	}
}

// permitted returns the methods that a permission set of lexicons names.
func permitted(tb testing.TB, set string) []string {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "..", "lexicons", "blue", "catbird", "mls", set+".json"))
	if err != nil {
		tb.Fatal(err)
	}
	var lexicon struct {
		Defs struct {
			Main struct {
				Permissions []struct {
					LXM []string `json:"lxm"`
				} `json:"permissions"`
			} `json:"main"`
		} `json:"defs"`
	}
	if err := json.Unmarshal(data, &lexicon); err != nil || len(lexicon.Defs.Main.Permissions) != 1 {
		tb.Fatal(err)
	}
	return lexicon.Defs.Main.Permissions[0].LXM
}
