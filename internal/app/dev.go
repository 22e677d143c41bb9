//go:build mlsdev

package app

import (
	"context"
	"net/http"

	"mls-server/docs"
	"mls-server/internal/clock"
	"mls-server/internal/config"
	"mls-server/internal/dev"
	"mls-server/internal/egress"
	"mls-server/internal/xrpc"
	"mls-server/lexrt"
)

// development is what an App has in development builds only.
type development struct{ identities dev.Identities }

// document returns the document of an account of the playground, nil for all others.
func (d *development) document(did lexrt.DID) []byte { return d.identities.Document(did) }

// devTokens puts HS256 tokens in front of service tokens where JWT_SECRET is set.
func (a *App) devTokens(next xrpc.Authenticator) xrpc.Authenticator {
	if a.cfg.JWTSecret == "" {
		return next
	}
	return &dev.Tokens{Next: next, Secret: []byte(a.cfg.JWTSecret), Audience: string(a.cfg.ServiceDID), Clock: clock.System}
}

// devProxy puts the XRPC proxy in front of the methods where ENABLE_DIRECT_XRPC_PROXY says so.
func (a *App) devProxy(next http.Handler, client *egress.Client) http.Handler {
	if !a.cfg.DirectProxy || a.cfg.AppViewURL == "" {
		return next
	}
	return &dev.Proxy{Next: next, Prefix: "blue.catbird.mls.", AppView: a.cfg.AppViewURL, Client: client}
}

// devPages puts pages for developers in front of the methods, in development mode.
func (a *App) devPages(next http.Handler) http.Handler {
	if a.cfg.Mode != config.Development {
		return next
	}
	a.development.identities.Port = a.cfg.ServerPort
	pages := &dev.Pages{
		Reference: docs.Reference, Identities: &a.development.identities,
		Rows: func(ctx context.Context, whole bool) (any, error) { return a.store.Rows(ctx, whole) },
	}
	return pages.Over(next)
}

// devHints are commands to try that only development builds answer.
func devHints(base string) [][2]string {
	return [][2]string{
		{"open " + base, "the playground: clients in the browser, and what the server sees of them"},
		{"open " + base + "/docs", "every method, to read and search"},
	}
}
