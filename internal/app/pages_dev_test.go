//go:build mlsdev

package app

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"mls-server/internal/pgtest"
	"mls-server/lexrt"
)

// TestDevelopmentPages: a development build shows the reference of its API and what is stored, to
// this machine alone, and in production to nobody.
func TestDevelopmentPages(t *testing.T) {
	t.Parallel()
	r := start(t, map[string]string{"DATABASE_URL": pgtest.New(t)})
	r.want(t, "/docs", "", http.StatusOK, "<h2 id=\"createConvo\">createConvo</h2>")
	r.want(t, "/dev/rows", "", http.StatusOK, `"messages":{"count":0,"columns":["convo_id","seq"`)
	r.want(t, "/", "", http.StatusOK, "mls-server")
	r.want(t, "/assets/unbuilt.html", "", http.StatusNotFound, "")
	r.want(t, "/health", "", http.StatusOK, `"ok"`)
	for name, change := range map[string]func(*http.Request){
		"another name": func(q *http.Request) { q.Host = "rebound.example" },
		"another site": func(q *http.Request) { q.Header.Set("Sec-Fetch-Site", "cross-site") },
		"a neighbour":  func(q *http.Request) { q.Header.Set("Sec-Fetch-Site", "same-site") },
	} {
		q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.public+"/dev/rows", http.NoBody)
		require.NoError(t, err)
		change(q)
		resp, err := http.DefaultClient.Do(q)
		require.NoError(t, err)
		_ = resp.Body.Close()
		require.Equal(t, http.StatusForbidden, resp.StatusCode, name)
		require.Empty(t, resp.Header.Get("Access-Control-Allow-Origin"), name)
	}
	strict := start(t, map[string]string{"DATABASE_URL": pgtest.New(t), "MLS_ENV": "production", "EGRESS_ALLOW": "", "PLC_URL": "https://plc.example", "HASH_KEY": "the key of a test that is long enough"})
	for _, path := range []string{"/", "/docs", "/dev/rows"} {
		strict.want(t, path, "", http.StatusNotFound, "NotFound")
	}
}

// TestDevelopmentIdentities: accounts of the playground have a DID of their key, whose document is
// where did:web says and in the server's own resolver; nobody else's can be published.
func TestDevelopmentIdentities(t *testing.T) {
	t.Parallel()
	r := start(t, map[string]string{"DATABASE_URL": pgtest.New(t)})
	ask := func(method, host, path, body string) (int, string) {
		t.Helper()
		q, err := http.NewRequestWithContext(t.Context(), method, "http://"+r.public+path, strings.NewReader(body))
		require.NoError(t, err)
		if host != "" {
			q.Host = host
		}
		resp, err := http.DefaultClient.Do(q)
		require.NoError(t, err)
		defer func() { _ = resp.Body.Close() }()
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(text)
	}
	const key, other = "zDnaembgSGUhZULN2Caob4HLJPaxBh92N7rtH21TErzqf8HQo", "zDnaerDaTF5BXEavCrfRZEk316dpbLsfPDZ3WJ5hRTPFU2169"
	made := func(name, key string) string {
		t.Helper()
		status, body := ask(http.MethodPost, "", "/dev/identities", `{"name":"`+name+`","publicKeyMultibase":"`+key+`"}`)
		require.Equal(t, http.StatusOK, status, body)
		var out struct {
			DID string `json:"did"`
		}
		require.NoError(t, json.Unmarshal([]byte(body), &out))
		return out.DID
	}
	did := made("alice", key)
	require.Regexp(t, `^did:web:alice-[a-z2-7]{16}\.localhost%3A0$`, did)
	require.Equal(t, did, made("alice", key))
	require.NotEqual(t, did, made("alice", other))
	host := strings.Replace(strings.TrimPrefix(did, "did:web:"), "%3A", ":", 1)
	status, document := ask(http.MethodGet, host, "/.well-known/did.json", "")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, document, key)
	status, _ = ask(http.MethodGet, "nobody.localhost:0", "/.well-known/did.json", "")
	require.Equal(t, http.StatusNotFound, status)
	identity, err := r.app.resolver.Resolve(t.Context(), lexrt.DID(did))
	require.NoError(t, err)
	require.NotNil(t, identity.Key)
	for _, bad := range []string{"", "{}", `{"name":"Alice!","publicKeyMultibase":"` + key + `"}`, `{"name":"alice","publicKeyMultibase":"z0"}`} {
		status, _ := ask(http.MethodPost, "", "/dev/identities", bad)
		require.Equal(t, http.StatusBadRequest, status, bad)
	}
}
