//go:build mlsdev

package dev

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
)

// Pages shows what a server under development is, and what it has stored. It answers this machine
// alone: requests for another name are of pages that have made theirs lead here, requests that come
// from another site are of pages that a developer happens to look at.
type Pages struct {
	// Reference is the reference of the API, one HTML page.
	Reference []byte
	// Rows are what is stored, by table; with whole, bytes are not cut short.
	Rows func(ctx context.Context, whole bool) (any, error)
}

// Over serves the pages, and everything else by next.
func (p *Pages) Over(next http.Handler) http.Handler {
	own := http.NewServeMux()
	own.HandleFunc("GET /docs", func(w http.ResponseWriter, _ *http.Request) {
		write(w, "text/html; charset=utf-8", p.Reference) // it says itself what it loads
	})
	own.HandleFunc("GET /dev/rows", p.rows)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch page, pattern := own.Handler(r); {
		case pattern == "":
			next.ServeHTTP(w, r)
		case !isLocal(r):
			http.Error(w, "only for this machine", http.StatusForbidden)
		default:
			page.ServeHTTP(w, r)
		}
	})
}

// isLocal reports whether a request is made for this machine, by one of its own pages or by no
// page.
func isLocal(r *http.Request) bool {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return false
	}
	site := r.Header.Get("Sec-Fetch-Site")
	return site == "" || site == "same-origin" || site == "none"
}

// rows tells what is stored.
func (p *Pages) rows(w http.ResponseWriter, r *http.Request) {
	tables, err := p.Rows(r.Context(), r.URL.Query().Has("whole"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	body, err := json.Marshal(tables)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	write(w, "application/json", body)
}

func write(w http.ResponseWriter, contentType string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	_, _ = w.Write(body) // the client may be gone
}
