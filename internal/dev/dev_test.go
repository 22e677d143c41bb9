//go:build mlsdev

package dev_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"mls-server/internal/clock"
	"mls-server/internal/dev"
	"mls-server/internal/egress"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/xrpc"
	"mls-server/lexrt"
)

const (
	service = "did:web:mls.test"
	secret  = "0123456789abcdef0123456789abcdef"
)

type serviceTokens struct{}

// Authenticate says that it was asked.
func (serviceTokens) Authenticate(context.Context, *lexrt.Method, string, string) (xrpc.Credential, error) {
	return xrpc.Credential{}, &lexrt.Error{Name: "AskedNext", Status: http.StatusUnauthorized}
}

func (serviceTokens) Spend(context.Context, xrpc.Credential) error { return nil }

func TestTokens(t *testing.T) {
	t.Parallel()
	tokens := &dev.Tokens{Next: serviceTokens{}, Secret: []byte(secret), Audience: service, Clock: clock.System}
	good := func() jwt.MapClaims {
		return jwt.MapClaims{"iss": "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "aud": service, "exp": time.Now().Add(time.Minute).Unix()}
	}
	with := func(key string, value any) jwt.MapClaims {
		c := good()
		if c[key] = value; value == nil {
			delete(c, key)
		}
		return c
	}
	for name, tc := range map[string]struct {
		method jwt.SigningMethod
		key    any
		claims jwt.MapClaims
		want   string
	}{
		"good":           {jwt.SigningMethodHS256, []byte(secret), good(), ""},
		"right method":   {jwt.SigningMethodHS256, []byte(secret), with("lxm", mlsapi.MethodGetConvos.NSID), ""},
		"wrong method":   {jwt.SigningMethodHS256, []byte(secret), with("lxm", mlsapi.MethodGetEpoch.NSID), "BadJwtLexiconMethod"},
		"wrong secret":   {jwt.SigningMethodHS256, []byte("x" + secret), good(), "BadJwt"},
		"no expiry":      {jwt.SigningMethodHS256, []byte(secret), with("exp", nil), "BadJwt"},
		"expired":        {jwt.SigningMethodHS256, []byte(secret), with("exp", time.Now().Add(-time.Hour).Unix()), "BadJwt"},
		"other audience": {jwt.SigningMethodHS256, []byte(secret), with("aud", "did:web:other.test"), "BadJwt"},
		"no DID":         {jwt.SigningMethodHS256, []byte(secret), with("iss", "alice"), "BadJwtIss"},
		"other hash":     {jwt.SigningMethodHS512, []byte(secret), good(), "AskedNext"},
		"unsigned":       {jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, good(), "AskedNext"},
	} {
		raw, err := jwt.NewWithClaims(tc.method, tc.claims).SignedString(tc.key)
		if err != nil {
			t.Fatal(err)
		}
		cred, err := tokens.Authenticate(t.Context(), mlsapi.MethodGetConvos, "Bearer "+raw, "")
		var named *lexrt.Error
		if tc.want == "" && (err != nil || cred.Caller.DID != "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa") {
			t.Errorf("%s: %v", name, err)
		}
		if tc.want != "" && (!errors.As(err, &named) || named.Name != tc.want) {
			t.Errorf("%s: %v, want %s", name, err, tc.want)
		}
	}
	for _, header := range []string{"", "Basic x", "Bearer garbage"} {
		var named *lexrt.Error
		if _, err := tokens.Authenticate(t.Context(), mlsapi.MethodGetConvos, header, ""); !errors.As(err, &named) || named.Name != "AskedNext" {
			t.Errorf("%q: %v", header, err)
		}
	}
}

func TestProxy(t *testing.T) {
	t.Parallel()
	var leaked []string
	view := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, h := range []string{"Authorization", "Cookie", "X-Forwarded-For", "Atproto-Proxy"} {
			if r.Header.Get(h) != "" {
				leaked = append(leaked, h)
			}
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"asked":"` + r.URL.Path + "?" + r.URL.RawQuery + `"}`))
	}))
	defer view.Close()
	client, err := egress.New(egress.Config{Allow: []string{strings.TrimPrefix(view.URL, "http://")}})
	if err != nil {
		t.Fatal(err)
	}
	own := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	p := &dev.Proxy{Next: own, Prefix: "blue.catbird.mls.", AppView: view.URL, Client: client}
	for _, tc := range []struct {
		verb, path string
		status     int
	}{
		{"GET", "/xrpc/app.bsky.actor.getProfile?actor=x", http.StatusOK},
		{"POST", "/xrpc/app.bsky.actor.putPreferences", http.StatusTeapot},
		{"GET", "/xrpc/blue.catbird.mls.getConvos", http.StatusTeapot},
		{"GET", "/xrpc/_health", http.StatusTeapot},
		{"GET", "/xrpc/../admin", http.StatusTeapot},
		{"GET", "/health", http.StatusTeapot},
	} {
		r := httptest.NewRequestWithContext(t.Context(), tc.verb, tc.path, nil)
		for _, h := range []string{"Authorization", "Cookie", "X-Forwarded-For", "Atproto-Proxy"} {
			r.Header.Set(h, "secret")
		}
		w := httptest.NewRecorder()
		p.ServeHTTP(w, r)
		if w.Code != tc.status {
			t.Errorf("%s %s: %d, want %d", tc.verb, tc.path, w.Code, tc.status)
		}
		if w.Code == http.StatusOK && !strings.Contains(w.Body.String(), tc.path) {
			t.Errorf("%s: %s", tc.path, w.Body)
		}
	}
	if len(leaked) > 0 {
		t.Errorf("passed on: %v", leaked)
	}
	view.Close()
	w := httptest.NewRecorder()
	p.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/xrpc/app.bsky.actor.getProfile", nil))
	if w.Code != http.StatusBadGateway {
		t.Errorf("without the AppView: %d", w.Code)
	}
}
