// Package config reads the server's configuration from the environment, all of
// it at once and nowhere else.
//
// A value that cannot be used is refused, and all faults are reported together.
// A message about a fault never repeats the value.
package config

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"mls-server/internal/ratelimit"
	"mls-server/internal/shared"
)

// Mode says which promises the server has to keep.
type Mode string

// The modes of MLS_ENV.
const (
	Production  Mode = "production"
	Development Mode = "development"
)

// Config is everything that the environment decides. The zero value is not usable; see Load.
type Config struct {
	Mode     Mode
	LogLevel string

	ServerHost string
	ServerPort int
	AdminHost  string
	AdminPort  int

	DatabaseURL      Secret
	DatabaseMaxConns int
	RedisURL         Secret

	ServiceDID syntax.DID
	ServiceID  string
	PublicURL  string

	EnforceLXM bool
	EnforceJTI bool
	JTITTL     time.Duration
	HashKey    Secret

	PLCURL           string
	DIDStale         time.Duration
	AppViewURL       string
	JetstreamURL     string
	EgressAllow      []string
	TrustedProxies   []netip.Prefix
	BlocksFailClosed bool

	RequireIdempotency bool
	EpochGrace         int
	MaxMembers         int
	MaxDevices         int
	MaxKeyPackages     int
	KeyPackageLow      int
	MaxLifetime        time.Duration
	CompressedKeys     bool
	SuperadminDIDs     []syntax.DID

	MessageTTL     time.Duration
	EventStreamTTL time.Duration
	SSEBuffer      int
	StreamsPerUser int
	ActorSystem    bool
	BodyBudget     int64
	Rates          map[string]ratelimit.Rate

	DirectProxy bool
	JWTSecret   Secret
}

// Secret is a value that is never printed.
type Secret string

// String hides the value.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "(set)"
}

// GoString hides the value from %#v.
func (s Secret) GoString() string { return s.String() }

// Load reads the configuration through lookup, which is os.LookupEnv outside of
// tests. The error lists every fault, one a line.
func Load(lookup func(string) (string, bool)) (*Config, error) {
	r := &reader{lookup: lookup}
	c := &Config{Rates: map[string]ratelimit.Rate{}}
	for _, v := range variables {
		v.read(r, c)
	}
	c.check(r)
	if len(r.faults) == 1 {
		return nil, fmt.Errorf("configuration: %w", r.faults[0])
	}
	if len(r.faults) > 0 {
		return nil, fmt.Errorf("configuration:\n%w", errors.Join(r.faults...))
	}
	return c, nil
}

// check applies the rules that span several variables.
func (c *Config) check(r *reader) {
	if c.ServiceDID == "" {
		if c.Mode == Production {
			r.fault("SERVICE_DID", "must be set in production: the DID that tokens name as their audience")
		} else {
			c.ServiceDID = syntax.DID(fmt.Sprintf("did:web:localhost%%3A%d", c.ServerPort))
		}
	}
	if c.DatabaseURL == "" {
		r.fault("DATABASE_URL", "must be set: a postgresql:// URL (make run starts a private PostgreSQL and sets it)")
	}
	if c.Mode == Production && len(c.EgressAllow) > 0 {
		r.fault("EGRESS_ALLOW", "is not allowed in production: it opens private addresses to outbound requests")
	}
	if n := len(c.HashKey); n > 0 && n < shared.MinSecret {
		r.fault("HASH_KEY", "must be at least 16 bytes, such as 32 random ones in hex")
	}
	if c.Mode == Production {
		c.checkHashKey(r)
	}
	checkForbidden(r, c)
	if c.PublicURL == "" {
		c.PublicURL = defaultPublicURL(c.ServiceDID)
	}
}

// checkHashKey refuses keys under which servers that share a Redis would not
// recognise each other's used tokens and limits, and keys that everybody knows.
func (c *Config) checkHashKey(r *reader) {
	if c.HashKey == "" && c.RedisURL != "" {
		r.fault("HASH_KEY", "must be set with REDIS_URL, the same on all servers: openssl rand -hex 32")
	}
	if strings.HasPrefix(string(c.HashKey), "change-me") {
		r.fault("HASH_KEY", "is still the example's: openssl rand -hex 32")
	}
}

// defaultPublicURL derives where clients reach the server from its did:web, "" for other methods.
func defaultPublicURL(did syntax.DID) string {
	host, ok := strings.CutPrefix(did.String(), "did:web:")
	if !ok {
		return ""
	}
	host, err := url.PathUnescape(host)
	if err != nil {
		return ""
	}
	if name, _, _ := strings.Cut(host, ":"); name == "localhost" {
		return "http://" + host
	}
	return "https://" + host
}
