package app

import (
	"net/http"
	"testing"

	"mls-server/internal/pgtest"
)

// TestReferenceIsServed: in development the server shows the reference of its API.
func TestReferenceIsServed(t *testing.T) {
	t.Parallel()
	r := start(t, map[string]string{"DATABASE_URL": pgtest.New(t)})
	r.want(t, "/docs", "", http.StatusOK, "<h2 id=\"createConvo\">createConvo</h2>")
}
