//go:build mlsdev

package app

import (
	"net/http"

	"mls-server/internal/clock"
	"mls-server/internal/dev"
	"mls-server/internal/egress"
	"mls-server/internal/xrpc"
)

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
