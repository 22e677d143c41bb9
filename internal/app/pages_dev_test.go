//go:build mlsdev

package app

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"mls-server/internal/pgtest"
)

// TestDevelopmentPages: a development build shows the reference of its API and what is stored, to
// this machine alone, and in production to nobody.
func TestDevelopmentPages(t *testing.T) {
	t.Parallel()
	r := start(t, map[string]string{"DATABASE_URL": pgtest.New(t)})
	r.want(t, "/docs", "", http.StatusOK, "<h2 id=\"createConvo\">createConvo</h2>")
	r.want(t, "/dev/rows", "", http.StatusOK, `"messages":{"count":0,"columns":["convo_id","seq"`)
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
	for _, path := range []string{"/docs", "/dev/rows"} {
		strict.want(t, path, "", http.StatusNotFound, "NotFound")
	}
}
