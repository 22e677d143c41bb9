//go:build mlsdev

package dev

import (
	"net/http"
	"strings"

	"mls-server/internal/egress"
)

// maxAnswer is how much of an answer is passed on, in bytes.
const maxAnswer = 4 << 20

// Proxy passes queries that this server has no method for on to an AppView, so
// that a client under development needs one address only. Nothing of the caller
// goes with them: no token, no cookie, no address.
type Proxy struct {
	// Next serves everything else.
	Next http.Handler
	// Prefix is that of the methods which are this server's own, "blue.catbird.mls.".
	Prefix string
	// AppView is the base URL to ask.
	AppView string
	Client  *egress.Client
}

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	nsid, ok := strings.CutPrefix(r.URL.Path, "/xrpc/")
	if !ok || r.Method != http.MethodGet || strings.HasPrefix(nsid, p.Prefix) || strings.HasPrefix(nsid, "_") || strings.Contains(nsid, "/") {
		p.Next.ServeHTTP(w, r)
		return
	}
	link := p.AppView + "/xrpc/" + nsid
	if r.URL.RawQuery != "" {
		link += "?" + r.URL.RawQuery
	}
	resp, err := p.Client.Get(r.Context(), egress.Request{URL: link, Purpose: egress.PurposeAppView, MaxBody: maxAnswer})
	if err != nil {
		http.Error(w, `{"error":"UpstreamFailure","message":"The AppView did not answer"}`, http.StatusBadGateway)
		return
	}
	w.Header().Set("Content-Type", resp.ContentType)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(resp.Status)
	_, _ = w.Write(resp.Body) // the client may be gone
}
