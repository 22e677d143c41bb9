//go:build mlsdev

package e2e_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
)

// A development build accepts HS256 tokens and proxies queries, when it is told to.
func TestDevelopmentBuildServes(t *testing.T) {
	t.Parallel()
	secret := strings.Repeat("s", 32)
	s := e2e.Start(t, e2e.Env{"JWT_SECRET": secret, "ENABLE_DIRECT_XRPC_PROXY": "true"})
	alice := s.Users(1)[0]
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iss": string(alice.DID), "aud": s.DID, "exp": time.Now().Add(time.Minute).Unix(),
	}).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := alice.Open(t.Context(), mlsapi.MethodGetConvos, e2e.Request{Authorization: "Bearer " + token})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("HS256 in development: %d", resp.StatusCode)
	}
	alice.Convos(t) // service tokens go on
	if resp, body := fetch(t, s.URL+"/xrpc/app.bsky.graph.getRelationships?actor="+string(alice.DID)); resp.StatusCode != http.StatusOK || !strings.Contains(body, "relationships") {
		t.Errorf("the proxy: %d %s", resp.StatusCode, body)
	}
}
