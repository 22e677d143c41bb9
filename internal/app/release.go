//go:build !mlsdev

package app

import (
	"net/http"

	"mls-server/internal/egress"
	"mls-server/internal/xrpc"
	"mls-server/lexrt"
)

// development has fields in development builds only (I12).
type development struct{}

// document has a body in development builds only (I12).
func (d *development) document(lexrt.DID) []byte { return nil }

// devTokens has a body in development builds only (I12).
func (a *App) devTokens(next xrpc.Authenticator) xrpc.Authenticator { return next }

// devProxy has a body in development builds only (I12).
func (a *App) devProxy(next http.Handler, _ *egress.Client) http.Handler { return next }

// devPages has a body in development builds only (I12).
func (a *App) devPages(next http.Handler) http.Handler { return next }

// devHints are none in a released binary.
func devHints(string) [][2]string { return nil }
