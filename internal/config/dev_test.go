//go:build mlsdev

package config_test

import (
	"strings"
	"testing"

	"mls-server/internal/config"
)

func TestDevelopmentBuild(t *testing.T) {
	t.Parallel()
	env := map[string]string{
		"MLS_ENV": "development", "DATABASE_URL": "postgresql://x/y", "JWT_SECRET": strings.Repeat("x", 32), "ENABLE_DIRECT_XRPC_PROXY": "true",
	}
	c, err := config.Load(lookup(env))
	if err != nil || !c.DirectProxy || !config.DevBuild {
		t.Fatalf("refused in development: %v", err)
	}
	env["MLS_ENV"], env["SERVICE_DID"] = "production", "did:web:mls.example.org"
	if _, err = config.Load(lookup(env)); err == nil || !strings.Contains(err.Error(), "JWT_SECRET") || !strings.Contains(err.Error(), "ENABLE_DIRECT_XRPC_PROXY") {
		t.Errorf("accepted in production: %v", err)
	}
	env["MLS_ENV"], env["JWT_SECRET"] = "development", "short"
	if _, err = config.Load(lookup(env)); err == nil {
		t.Error("a short secret is accepted")
	}
}
