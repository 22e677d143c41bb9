package xrpc

import (
	"context"
	"net/http"
	"strings"

	"mls-server/internal/ratelimit"
)

// maxAskedHeaders is how many bytes of header names a preflight may ask for.
const maxAskedHeaders = 4 << 10

// usualHeaders are what is allowed to those who ask for no headers by name.
const usualHeaders = "Authorization, Content-Type, Content-Encoding, Last-Event-ID, Atproto-Accept-Labelers"

// options answers OPTIONS requests of a path that allows the given verbs. A
// browser sends preflights for each URL by itself, so they are not counted: they
// cost less than a 429. All other OPTIONS count against the client's address.
func (x *exchange) options(ctx context.Context, allow string) {
	headers, preflight := askedHeaders(x.r)
	if !preflight {
		if err := x.takeAddress(ctx, ratelimit.ClassRefused); err != nil {
			x.fail(err)
			return
		}
	}
	x.permit(allow, headers)
}

// everyVerb is what preflights of paths that are none are allowed, so that a page may read the
// answer that says so.
const everyVerb = "GET,HEAD,POST"

// permit tells the verbs and the headers that a page of any origin may send.
func (x *exchange) permit(allow, headers string) {
	h := x.w.Header()
	h.Set("Vary", "Access-Control-Request-Headers")
	h.Set("Allow", allow)
	h.Set("Access-Control-Allow-Methods", allow)
	h.Set("Access-Control-Allow-Headers", headers)
	h.Set("Access-Control-Max-Age", "86400")
	h.Set("Content-Length", "0")
	x.linger()
	x.begin(http.StatusOK)
}

// askedHeaders returns the header names that a preflight asks for, and whether
// the request is one. Allowing them all opens nothing: no answer depends on a
// cookie, and tokens are given to scripts by name.
func askedHeaders(r *http.Request) (names string, preflight bool) {
	if r.Header.Get("Origin") == "" || r.Header.Get("Access-Control-Request-Method") == "" {
		return usualHeaders, false
	}
	asked := strings.Join(r.Header.Values("Access-Control-Request-Headers"), ", ")
	if asked == "" {
		return usualHeaders, true
	}
	if len(asked) > maxAskedHeaders || strings.ContainsFunc(asked, notInHeaderList) {
		return usualHeaders, false
	}
	return asked, true
}

// notInHeaderList reports whether a character stands in no list of header names (RFC 9110 5.6).
func notInHeaderList(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		return false
	}
	return !strings.ContainsRune("!#$%&'*+-.^_`|~, \t", r)
}
