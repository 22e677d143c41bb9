// Package config reads the server's configuration from the environment, all of
// it at once and nowhere else.
//
// A value that cannot be used is refused, and all faults are reported together.
// A message about a fault never repeats the value.
package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
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

// Handshakes says which conversations may be made.
type Handshakes string

// The values of HANDSHAKES.
const (
	AnyHandshakes    Handshakes = "any"
	PublicHandshakes Handshakes = "public"
)

// ExternalJoin says who may join a group by a commit from outside.
type ExternalJoin string

// The values of EXTERNAL_JOIN.
const (
	JoinNobody  ExternalJoin = "none"
	JoinDevices ExternalJoin = "device"
	JoinOpen    ExternalJoin = "open"
)

// ConsentSource says where users declare from whom they accept messages.
type ConsentSource string

// The values of CONSENT_SOURCE.
const (
	ConsentRecords ConsentSource = "record"
	ConsentOff     ConsentSource = "off"
)

// Incoming is from whom a user accepts messages.
type Incoming string

// The values of CONSENT_DEFAULT.
const (
	IncomingAll       Incoming = "all"
	IncomingFollowing Incoming = "following"
	IncomingNone      Incoming = "none"
)

// Config is everything that the environment decides. The zero value is not usable; see Load.
type Config struct {
	// Warnings are about values that were passed over, one sentence each, in the
	// operator's words and without the value.
	Warnings []string

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
	ConsentByWelcome bool
	ConsentSource    ConsentSource
	ConsentDefault   Incoming

	RequireIdempotency bool
	// BytesPadding pads the base64 of bytes in answers.
	BytesPadding   bool
	EpochGrace     int
	Handshakes     Handshakes
	ExternalJoin   ExternalJoin
	MaxMembers     int
	MaxDevices     int
	MaxKeyPackages int
	KeyPackageLow  int
	MaxLifetime    time.Duration
	CompressedKeys bool
	SuperadminDIDs []syntax.DID
	Links          []string

	MessageTTL     time.Duration
	EventStreamTTL time.Duration
	SSEBuffer      int
	StreamsPerUser int
	DrainDelay     time.Duration
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
	c.Warnings = r.warnings
	if err := r.err(); err != nil {
		return nil, err
	}
	return c, nil
}

// check applies the rules that span several variables.
func (c *Config) check(r *reader) {
	c.checkServiceDID(r)
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

// checkServiceDID refuses what no client of atproto resolves: another method than
// plc and web, a path, and, in production, a port or a host that is not a domain
// (https://atproto.com/specs/did).
func (c *Config) checkServiceDID(r *reader) {
	if c.ServiceDID == "" {
		if c.Mode == Production {
			r.fault("SERVICE_DID", "must be set in production: the DID that tokens name as their audience")
			return
		}
		c.ServiceDID = syntax.DID(fmt.Sprintf("did:web:localhost%%3A%d", c.ServerPort))
		return
	}
	pattern, want := serviceDID, "must be did:web: and a domain, without port and path, or did:plc: and 24 characters: nothing else is resolved by atproto"
	if c.Mode == Development {
		pattern, want = developmentDID, "must be did:web: and a host, with %3A before a port and without a path, or did:plc: and 24 characters: nothing else is resolved by atproto"
	}
	if !pattern.MatchString(c.ServiceDID.String()) {
		r.fault("SERVICE_DID", want)
	}
}

var (
	serviceDID     = regexp.MustCompile(`^did:(plc:[a-z2-7]{24}|web:([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]([a-z0-9-]*[a-z0-9])?)$`)
	developmentDID = regexp.MustCompile(`^did:(plc:[a-z2-7]{24}|web:[a-z0-9]([a-z0-9.-]*[a-z0-9])?(%3A[0-9]{1,5})?)$`)
)

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
