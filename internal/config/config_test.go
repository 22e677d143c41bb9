package config_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"mls-server/internal/clock"
	"mls-server/internal/config"
	"mls-server/internal/ratelimit"
)

func lookup(env map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := env[name]; return v, ok }
}

func TestProductionNeedsItsIdentity(t *testing.T) {
	t.Parallel()
	_, err := config.Load(lookup(nil))
	if err == nil {
		t.Fatal("an empty environment was accepted")
	}
	for _, name := range []string{"SERVICE_DID", "DATABASE_URL"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%v does not name %s", err, name)
		}
	}
}

func TestAllFaultsAreReportedWithoutValues(t *testing.T) {
	t.Parallel()
	env := map[string]string{
		"MLS_ENV": "staging-secretvalue", "SERVER_PORT": "secretvalue", "ENFORCE_LXM": "secretvalue", "SERVICE_DID": "secretvalue",
		"DATABASE_URL": "mysql://secretvalue", "TRUSTED_PROXY_CIDRS": "secretvalue", "RATE_LIMIT_IP": "secretvalue",
		"SUPERADMIN_DIDS": "secretvalue", "PLC_URL": "secretvalue", "EPOCH_GRACE": "4", "LOG_LEVEL": "secretvalue",
		"JWT_SECRET": "secretvalue", "ENABLE_DIRECT_XRPC_PROXY": "1", "EGRESS_ALLOW": "",
	}
	_, err := config.Load(lookup(env))
	if err == nil {
		t.Fatal("accepted")
	}
	for name, value := range env {
		if value != "" && !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not reported", name)
		}
	}
	if strings.Contains(err.Error(), "secretvalue") {
		t.Errorf("a value is repeated: %v", err)
	}
}

// Numbers outside of their bounds are faults, by name, with what is expected.
func TestNumbersHaveBounds(t *testing.T) {
	t.Parallel()
	for name, bounds := range map[string][2]int{
		"DATABASE_MAX_CONNS": {2, 1000}, "MAX_MEMBERS": {2, 10000}, "MAX_DEVICES": {1, 100}, "STREAMS_PER_USER": {1, 1000},
		"MESSAGE_TTL_DAYS": {1, 3650}, "JTI_TTL_SECONDS": {1, 86400}, "BODY_MEMORY_MB": {16, 65536},
	} {
		for n, ok := range map[int]bool{bounds[0] - 1: false, bounds[0]: true, bounds[1]: true, bounds[1] + 1: false} {
			_, err := config.Load(lookup(map[string]string{
				"MLS_ENV": "development", "DATABASE_URL": "postgresql://x/y", name: strconv.Itoa(n),
			}))
			if (err == nil) != ok || err != nil && !strings.Contains(err.Error(), name) {
				t.Errorf("%s=%d: %v", name, n, err)
			}
		}
	}
}

func TestDevelopmentDefaults(t *testing.T) {
	t.Parallel()
	c, err := config.Load(lookup(map[string]string{"MLS_ENV": "development", "DATABASE_URL": "postgresql://x/y", "SERVER_PORT": "3000"}))
	if err != nil {
		t.Fatal(err)
	}
	if c.ServiceDID != "did:web:localhost%3A3000" || c.PublicURL != "http://localhost:3000" || c.LogLevel != "info" {
		t.Errorf("got %s %s %s", c.ServiceDID, c.PublicURL, c.LogLevel)
	}
	if !c.RequireIdempotency || !c.EnforceJTI || !c.EnforceLXM || c.Rates["createConvo"] != (ratelimit.Rate{PerMinute: 5, Burst: 20}) {
		t.Errorf("defaults: %+v", c)
	}
}

func TestProductionIsQuietAndClosed(t *testing.T) {
	t.Parallel()
	env := map[string]string{"DATABASE_URL": "postgresql://u:secretvalue@x/y", "SERVICE_DID": "did:web:mls.example.org", "RUST_LOG": ""}
	c, err := config.Load(lookup(env))
	if err != nil {
		t.Fatal(err)
	}
	if c.LogLevel != "warn" || c.PublicURL != "https://mls.example.org" {
		t.Errorf("got %s, %s", c.LogLevel, c.PublicURL)
	}
	for _, v := range config.Variables() {
		if strings.Contains(v.Value(c), "secretvalue") {
			t.Errorf("%s prints its secret", v.Name)
		}
	}
	env["EGRESS_ALLOW"] = "127.0.0.1:1"
	if _, err := config.Load(lookup(env)); err == nil {
		t.Error("EGRESS_ALLOW was accepted in production")
	}
	env["EGRESS_ALLOW"], env["REDIS_URL"] = "", "redis://127.0.0.1/0"
	if _, err := config.Load(lookup(env)); err == nil || !strings.Contains(err.Error(), "HASH_KEY") {
		t.Errorf("REDIS_URL without HASH_KEY in production: %v", err)
	}
	env["HASH_KEY"] = "0123456789abcdef"
	if _, err := config.Load(lookup(env)); err != nil {
		t.Errorf("REDIS_URL with HASH_KEY: %v", err)
	}
	env["EGRESS_ALLOW"], env["RUST_LOG"] = "", "debug"
	if c, err = config.Load(lookup(env)); err != nil || c.LogLevel != "debug" {
		t.Errorf("RUST_LOG is not read: %v", err)
	}
}

// What config accepts, a limiter accepts: both know one bound.
func TestRates(t *testing.T) {
	t.Parallel()
	load := func(value string) (*config.Config, error) {
		return config.Load(lookup(map[string]string{
			"MLS_ENV": "development", "DATABASE_URL": "postgresql://x/y", "RATE_LIMIT_IP": value,
		}))
	}
	for value, want := range map[string]ratelimit.Rate{
		"60/30": {PerMinute: 60, Burst: 30}, "7": {PerMinute: 7, Burst: 7}, "1000000/1000000": {PerMinute: ratelimit.MaxRate, Burst: ratelimit.MaxRate},
	} {
		c, err := load(value)
		if err != nil || c.Rates[ratelimit.ClassIP] != want {
			t.Errorf("%s: %v, %v", value, c, err)
			continue
		}
		if _, err := ratelimit.NewMemory(c.Rates, clock.System); err != nil {
			t.Errorf("%s: accepted here and not by the limiter: %v", value, err)
		}
	}
	for _, value := range []string{"0", "1/0", "0/1", "1000001", "1/1000001", "2000000/1", "x", "1/x", "1/", "/1", "1/2/3", "-1", "1.5"} {
		_, err := load(value)
		if err == nil || strings.Count(err.Error(), "RATE_LIMIT_IP") != 1 || !strings.Contains(err.Error(), "60/30") {
			t.Errorf("%s: %v", value, err)
		}
	}
}

func TestFaultsAreReportedOnce(t *testing.T) {
	t.Parallel()
	_, err := config.Load(lookup(map[string]string{"DATABASE_URL": "mysql://x", "SERVICE_DID": "no", "HASH_KEY": "short"}))
	if err == nil {
		t.Fatal("accepted")
	}
	for _, name := range []string{"DATABASE_URL", "SERVICE_DID", "HASH_KEY"} {
		if n := strings.Count(err.Error(), name); n != 1 {
			t.Errorf("%s is named %d times in %v", name, n, err)
		}
	}
	if strings.Contains(err.Error(), "must be set") {
		t.Errorf("a wrong value is reported as a missing one: %v", err)
	}
}

// A filter that other programs understand is no reason not to start.
func TestRustLog(t *testing.T) {
	t.Parallel()
	for filter, want := range map[string]string{
		"debug": "debug", "INFO": "info", "info,hyper=warn": "info", "hyper=warn,error": "error", "mls=debug": "warn", "trace": "debug", "off": "warn", "": "warn",
	} {
		c, err := config.Load(lookup(map[string]string{"DATABASE_URL": "postgresql://x/y", "SERVICE_DID": "did:web:x.example", "RUST_LOG": filter}))
		if err != nil || c.LogLevel != want {
			t.Errorf("RUST_LOG=%s: %v, %v", filter, c, err)
			continue
		}
		plain := filter == "" || filter == "debug" || filter == "INFO"
		if warned := len(c.Warnings) == 1 && strings.HasPrefix(c.Warnings[0], "RUST_LOG "); warned == plain {
			t.Errorf("RUST_LOG=%s: warnings %q", filter, c.Warnings)
		}
	}
	c, err := config.Load(lookup(map[string]string{"DATABASE_URL": "postgresql://x/y", "SERVICE_DID": "did:web:x.example", "RUST_LOG": "mls=debug", "LOG_LEVEL": "error"}))
	if err != nil || c.LogLevel != "error" || len(c.Warnings) != 0 {
		t.Errorf("beside LOG_LEVEL: %v, %v", c, err)
	}
	_, err = config.Load(lookup(map[string]string{"DATABASE_URL": "postgresql://x/y", "SERVICE_DID": "did:web:x.example", "LOG_LEVEL": "info,hyper=warn"}))
	if err == nil || !strings.Contains(err.Error(), "LOG_LEVEL") {
		t.Errorf("LOG_LEVEL is no filter: %v", err)
	}
}

func TestServiceDID(t *testing.T) {
	t.Parallel()
	for did, in := range map[string]string{
		"did:web:mls.example.org":             "production development",
		"did:plc:aaaaaaaaaaaaaaaaaaaaaaaa":    "production development",
		"did:web:localhost%3A3000":            "development",
		"did:web:127.0.0.1%3A3000":            "development",
		"did:web:mls.example.org%3A8443":      "development",
		"did:web:mls.example.org:path":        "",
		"did:web:mls.example.org%2Fpath":      "",
		"did:web:MLS.example.org":             "",
		"did:web:mls.example.org#atproto_mls": "",
		"did:plc:short":                       "",
		"did:key:zQ3shokFTS3brHcDQrn82RUDf":   "",
	} {
		for _, mode := range []config.Mode{config.Production, config.Development} {
			_, err := config.Load(lookup(map[string]string{"MLS_ENV": string(mode), "DATABASE_URL": "postgresql://x/y", "SERVICE_DID": did}))
			if accepted := err == nil; accepted != strings.Contains(in, string(mode)) {
				t.Errorf("%s in %s: %v", did, mode, err)
			}
			if err != nil && strings.Count(err.Error(), "SERVICE_DID") != 1 {
				t.Errorf("%s: %v", did, err)
			}
		}
	}
}

func TestMisspelt(t *testing.T) {
	t.Parallel()
	got := config.Misspelt([]string{
		"MESAGE_TTL_DAYS=5", "MESSAGE_TTL_DAY=5", "MESSAGEE_TTL_DAYS=5", "MESSAGE_TTL_DAYZ=secret", "MESSGAE_TTL_DAYS=5", "MESSAGE_TTL_DAYS=5",
		"RUST_LOGS=x", "PATH=/bin", "SERVICE_PORT=1", "MSGAE_TTL_DAYS=5", "HOME", "",
	})
	var names []string
	for _, w := range got {
		name, rest, _ := strings.Cut(w, " ")
		names = append(names, name)
		if strings.Contains(w, "secret") || !strings.Contains(rest, "did you mean MESSAGE_TTL_DAYS?") && !strings.Contains(rest, "did you mean RUST_LOG?") {
			t.Errorf("%q", w)
		}
	}
	want := []string{"MESAGE_TTL_DAYS", "MESSAGEE_TTL_DAYS", "MESSAGE_TTL_DAY", "MESSAGE_TTL_DAYZ", "MESSGAE_TTL_DAYS", "RUST_LOGS"}
	if !slices.Equal(names, want) {
		t.Errorf("%v, want %v", names, want)
	}
}
