//go:build mlsdev

package dev

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"io/fs"
	"mime"
	"net"
	"net/http"
	"path"
	"strings"
)

var (
	errNoIdentity        = errors.New("name has to be of 1 to 16 small letters, publicKeyMultibase a key on P-256")
	errTooManyIdentities = errors.New("there are too many accounts; start the server anew")
)

// Pages shows what a server under development is, what it has stored, and a playground with clients
// that run in the browser. It answers this machine alone: requests for another name are of pages
// that have made theirs lead here, requests that come from another site are of pages that a
// developer happens to look at.
type Pages struct {
	// Reference is the reference of the API, one HTML page.
	Reference []byte
	// Rows are what is stored, by table; with whole, bytes are not cut short.
	Rows func(ctx context.Context, whole bool) (any, error)
	// Identities are the accounts of the playground.
	Identities *Identities
}

// site is the playground as it was built (see docs/adr/0042-playground.md), and a page that says
// how to build it.
//
//go:embed site
var site embed.FS

// Over serves the pages, and everything else by next.
func (p *Pages) Over(next http.Handler) http.Handler {
	own, hosts := http.NewServeMux(), http.NewServeMux()
	own.HandleFunc("GET /docs", func(w http.ResponseWriter, _ *http.Request) {
		write(w, "text/html; charset=utf-8", p.Reference) // it says itself what it loads
	})
	own.HandleFunc("GET /dev/rows", p.rows)
	own.HandleFunc("POST /dev/identities", p.Identities.create)
	own.HandleFunc("GET /{$}", play)
	own.HandleFunc("GET /assets/{name}", play)
	hosts.HandleFunc("GET /.well-known/did.json", p.Identities.publish)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mux, allowed := own, isLocal
		if strings.HasSuffix(hostOf(r), ".localhost") {
			mux, allowed = hosts, isAnybodys
		}
		switch page, pattern := mux.Handler(r); {
		case pattern == "":
			next.ServeHTTP(w, r)
		case !allowed(r):
			http.Error(w, "only for this machine", http.StatusForbidden)
		default:
			page.ServeHTTP(w, r)
		}
	})
}

// hostOf is the host that is asked, without its port.
func hostOf(r *http.Request) string {
	if name, _, err := net.SplitHostPort(r.Host); err == nil {
		return name
	}
	return r.Host
}

// isLocal reports whether a request is made for this machine, by one of its own pages or by no
// page.
func isLocal(r *http.Request) bool {
	host := hostOf(r)
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return false
	}
	site := r.Header.Get("Sec-Fetch-Site")
	return site == "" || site == "same-origin" || site == "none" || r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Mode") == "navigate"
}

// isAnybodys is for what is public by its nature.
func isAnybodys(*http.Request) bool { return true }

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

// policy lets the playground load what comes from here, and nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// play serves a file of the playground.
func play(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	if name == "" {
		name = "index.html"
	}
	body, err := site.ReadFile(path.Join("site", name))
	if errors.Is(err, fs.ErrNotExist) && name == "index.html" {
		body, err = site.ReadFile("site/unbuilt.html")
	}
	if err != nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Security-Policy", policy)
	write(w, mime.TypeByExtension(path.Ext(name)), body)
}

func write(w http.ResponseWriter, contentType string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	_, _ = w.Write(body) // the client may be gone
}
