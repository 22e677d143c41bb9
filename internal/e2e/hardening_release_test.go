//go:build !mlsdev

package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
)

// developmentOnly are symbols that a released binary must not have: the package
// of the two features, and the verification of HMACs in the JWT library, which
// the linker drops while nothing can reach it.
var developmentOnly = []string{"mls-server/internal/dev.", "jwt/v5.(*SigningMethodHMAC).Verify", "jwt/v5.(*Parser).ParseWithClaims"}

// The released binary has no code of the development features (I12): its
// symbols say so, and, stripped as in the image, its strings.
func TestReleaseHasNoDevelopmentCode(t *testing.T) {
	t.Parallel()
	release, development := e2e.Build(t), e2e.Build(t, "-tags=mlsdev")
	for path, want := range map[string]bool{release: false, development: true} {
		symbols, err := exec.CommandContext(t.Context(), "go", "tool", "nm", path).Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, symbol := range developmentOnly {
			if got := bytes.Contains(symbols, []byte(symbol)); got != want {
				t.Errorf("symbol %s in the build with features %v: %v", symbol, want, got)
			}
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{"mls-server/internal/dev.", "The HS256 token is not valid here", "The AppView did not answer"} {
			if got := bytes.Contains(data, []byte(text)); got != want {
				t.Errorf("text %q in the build with features %v: %v", text, want, got)
			}
		}
	}

	// Each forbidden variable is refused with one line, whatever the mode.
	for _, mode := range []string{"production", "development"} {
		for name, value := range map[string]string{
			"ENABLE_DIRECT_XRPC_PROXY": "true", "JWT_SECRET": "0123456789abcdef0123456789abcdef",
		} {
			code, text := startBinary(t, release, "MLS_ENV="+mode, name+"="+value)
			if code != 1 || strings.Count(text, "\n") != 1 || !strings.Contains(text, name+" is not allowed") || strings.Contains(text, value+"\n") {
				t.Errorf("%s in %s: exit code %d, %q", name, mode, code, text)
			}
			if code, text := startBinary(t, development, "MLS_ENV=production", name+"="+value); code != 1 || !strings.Contains(text, name+" is not allowed") {
				t.Errorf("%s, development build in production: exit code %d, %q", name, code, text)
			}
		}
	}
	if code, text := startBinary(t, release, "ENABLE_DIRECT_XRPC_PROXY=false"); code != 1 || !strings.Contains(text, "ENABLE_DIRECT_XRPC_PROXY") {
		t.Errorf("the proxy's variable set to false: exit code %d, %q", code, text)
	}
	if code, text := startBinary(t, release, "EGRESS_ALLOW=127.0.0.1:1"); code != 1 || !strings.Contains(text, "EGRESS_ALLOW is not allowed in production") {
		t.Errorf("EGRESS_ALLOW in production: exit code %d, %q", code, text)
	}
}

// startBinary runs the server with an environment of its own, which it must
// refuse, and returns its exit code and what it wrote.
func startBinary(t *testing.T, path string, env ...string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "serve")
	// No database is there: a server that is not refused fails to become ready, and is killed.
	cmd.Env = append([]string{
		"SERVICE_DID=did:web:mls.example.org", "DATABASE_URL=postgresql://mls@127.0.0.1:1/mls", "SERVER_HOST=127.0.0.1", "SERVER_PORT=0", "ADMIN_PORT=0",
	}, env...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// A released server refuses symmetric and unsigned tokens, and passes nothing on.
func TestReleaseRefusesDevelopmentRequests(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	alice := s.Users(1)[0]
	claims := jwt.MapClaims{
		"iss": string(alice.DID), "aud": s.DID, "exp": time.Now().Add(time.Minute).Unix(), "lxm": mlsapi.MethodGetConvos.NSID, "jti": "x",
	}
	for _, tc := range []struct {
		method jwt.SigningMethod
		key    any
	}{
		{jwt.SigningMethodHS256, []byte(strings.Repeat("s", 32))},
		{jwt.SigningMethodHS384, []byte(strings.Repeat("s", 48))},
		{jwt.SigningMethodHS512, []byte(strings.Repeat("s", 64))},
		{jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType},
	} {
		token, err := jwt.NewWithClaims(tc.method, claims).SignedString(tc.key)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := alice.Open(t.Context(), mlsapi.MethodGetConvos, e2e.Request{Authorization: "Bearer " + token})
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: %d", tc.method.Alg(), resp.StatusCode)
		}
	}
	if resp, _ := fetch(t, s.URL+"/xrpc/app.bsky.graph.getRelationships?actor="+string(alice.DID)); resp.StatusCode != http.StatusNotImplemented {
		t.Errorf("a foreign method: %d", resp.StatusCode)
	}
}
