//go:build mlsdev

package dev

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/golang-jwt/jwt/v5"

	"mls-server/internal/clock"
	"mls-server/internal/xrpc"
	"mls-server/lexrt"
)

// leeway is how far the clocks of those who sign may be off.
const leeway = 30 * time.Second

// Tokens accepts HS256 tokens, and leaves all others to Next. The claims are
// those of service tokens, iss, aud, exp and lxm, of which lxm may be absent. A
// token may be used any number of times until it expires.
type Tokens struct {
	Next xrpc.Authenticator
	// Secret is the shared key.
	Secret []byte
	// Audience is the service's DID.
	Audience string
	Clock    clock.Clock
}

type claims struct {
	Method string `json:"lxm"`
	jwt.RegisteredClaims
}

// Authenticate implements xrpc.Authenticator.
func (t *Tokens) Authenticate(ctx context.Context, m *lexrt.Method, authorization, address string) (xrpc.Credential, error) {
	raw, ok := strings.CutPrefix(authorization, "Bearer ")
	if !ok {
		return t.Next.Authenticate(ctx, m, authorization, address)
	}
	var c claims
	parsed, _, err := jwt.NewParser().ParseUnverified(raw, &c)
	if err != nil || parsed.Method.Alg() != jwt.SigningMethodHS256.Alg() {
		return t.Next.Authenticate(ctx, m, authorization, address)
	}
	c = claims{}
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), jwt.WithAudience(t.Audience), jwt.WithExpirationRequired(),
		jwt.WithLeeway(leeway), jwt.WithTimeFunc(t.Clock.Now),
	)
	if _, err := parser.ParseWithClaims(raw, &c, func(*jwt.Token) (any, error) { return t.Secret, nil }); err != nil {
		return xrpc.Credential{}, refused("BadJwt", "The HS256 token is not valid here")
	}
	if c.Method != "" && c.Method != m.NSID {
		return xrpc.Credential{}, refused("BadJwtLexiconMethod", "The token is for another method")
	}
	did, err := syntax.ParseDID(c.Issuer)
	if err != nil {
		return xrpc.Credential{}, refused("BadJwtIss", "The token's issuer is not a DID")
	}
	return xrpc.Credential{Caller: lexrt.Caller{DID: did}}, nil
}

// Spend implements xrpc.Authenticator. HS256 tokens may be used again.
func (t *Tokens) Spend(ctx context.Context, c xrpc.Credential) error { return t.Next.Spend(ctx, c) }

func refused(name, message string) *lexrt.Error {
	return &lexrt.Error{Name: name, Status: http.StatusUnauthorized, Message: message}
}
