package config

import (
	"fmt"
	"strings"
	"time"

	"mls-server/internal/ratelimit"
)

// Variable is one environment variable that the server reads.
type Variable struct {
	// Name of the variable; Alias, when not empty, is read if Name is not set.
	Name, Alias string
	// Default as it would be written in the environment, "" for none.
	Default string
	// Help is one sentence for the operator.
	Help string
	// Secret values are not printed.
	Secret bool

	set func(c *Config, r *reader, name, value string)
	get func(c *Config) any
}

func (v Variable) read(r *reader, c *Config) {
	name := v.Name
	value, _ := r.lookup(name)
	if value == "" && v.Alias != "" {
		if value, _ = r.lookup(v.Alias); value != "" {
			name = v.Alias
		}
	}
	if value == "" {
		value = v.Default
	}
	v.set(c, r, name, strings.TrimSpace(value))
}

// Value returns the effective value as text, hidden when it is a secret.
func (v Variable) Value(c *Config) string {
	switch value := v.get(c).(type) {
	case []string:
		return strings.Join(value, ",")
	default:
		return fmt.Sprint(value)
	}
}

// Variables lists all variables in the order in which documentation shows them.
func Variables() []Variable { return variables }

const day = 24 * time.Hour

var variables = []Variable{
	oneOf("MLS_ENV", "production", "production or development; only development runs without SERVICE_DID.",
		func(c *Config) *Mode { return &c.Mode }, Production, Development),
	{
		Name: "LOG_LEVEL", Alias: "RUST_LOG",
		Help: "debug, info, warn or error. When not set: warn in production, info in development.",
		set:  setLogLevel, get: func(c *Config) any { return c.LogLevel },
	},
	text("SERVER_HOST", "", "Address of the public port; empty for all interfaces.", func(c *Config) *string { return &c.ServerHost }),
	number("SERVER_PORT", 3000, limits{0, 65535}, "Public port.", func(c *Config) *int { return &c.ServerPort }),
	text("ADMIN_HOST", "127.0.0.1", "Address of the admin port.", func(c *Config) *string { return &c.AdminHost }),
	number("ADMIN_PORT", 9090, limits{0, 65535}, "Port of metrics and profiles; never expose it.", func(c *Config) *int { return &c.AdminPort }),
	secretURL("DATABASE_URL", "PostgreSQL 15 or later, a postgresql:// URL.", func(c *Config) *Secret { return &c.DatabaseURL }, "postgresql", "postgres"),
	number("DATABASE_MAX_CONNS", 20, limits{2, 1000}, "Connections to PostgreSQL at most, besides one that is kept for what must not wait.", func(c *Config) *int { return &c.DatabaseMaxConns }),
	secretURL("REDIS_URL", "Redis that several servers share, a redis:// URL of one node, not of a Redis Cluster; without it limits and replay checks are per process. Needs HASH_KEY in production.",
		func(c *Config) *Secret { return &c.RedisURL }, "redis", "rediss", "unix"),
	didValue("SERVICE_DID", "DID of this service: the audience of every token.", func(c *Config) *did { return &c.ServiceDID }),
	text("SERVICE_ID", "atproto_mls", "Service id in the DID document, without the #.", func(c *Config) *string { return &c.ServiceID }),
	httpURL("PUBLIC_URL", "", "Where clients reach this server; derived from a did:web SERVICE_DID when not set.", func(c *Config) *string { return &c.PublicURL }),
	boolean("ENFORCE_LXM", true, "Bind tokens to the method they name.", func(c *Config) *bool { return &c.EnforceLXM }),
	boolean("ENFORCE_JTI", true, "Refuse a token that was used before.", func(c *Config) *bool { return &c.EnforceJTI }),
	duration("JTI_TTL_SECONDS", 300, limits{1, 86400}, time.Second, "How long a used token is remembered at least, in seconds.",
		func(c *Config) *time.Duration { return &c.JTITTL }),
	secret("HASH_KEY", "Key of the hashes in logs, replay and limit stores, 16 bytes or more, the same on all servers; random per process when not set, which production refuses beside REDIS_URL.",
		func(c *Config) *Secret { return &c.HashKey }),
	httpURL("PLC_URL", "https://plc.directory", "Directory of did:plc documents.", func(c *Config) *string { return &c.PLCURL }),
	duration("DID_STALE_HOURS", 24, limits{0, 168}, time.Hour, "For how many hours a DID document is used when its directory does not answer.",
		func(c *Config) *time.Duration { return &c.DIDStale }),
	httpURL("APPVIEW_URL", "https://public.api.bsky.app", "AppView that is asked for block relationships; none asks the authors' PDS only.",
		func(c *Config) *string { return &c.AppViewURL }),
	socketURL("JETSTREAM_URL", "Jetstream subscription that keeps the block cache live; empty for none.", func(c *Config) *string { return &c.JetstreamURL }),
	list("EGRESS_ALLOW", "Comma-separated host:port that outbound requests may reach although private or plain http; development only.",
		func(c *Config) *[]string { return &c.EgressAllow }),
	prefixes("TRUSTED_PROXY_CIDRS", "Comma-separated networks whose X-Forwarded-For is believed.", func(c *Config) *prefixList { return &c.TrustedProxies }),
	boolean("BLOCKS_FAIL_CLOSED", true, "Refuse new members when no source of blocks or declarations answers and nothing is cached.", func(c *Config) *bool { return &c.BlocksFailClosed }),
	oneOf("CONSENT_SOURCE", "record", "Where users say from whom they accept messages: record, their own record chat.bsky.actor.declaration; off, nowhere: strangers may invite everybody who does not block them.",
		func(c *Config) *ConsentSource { return &c.ConsentSource }, ConsentRecords, ConsentOff),
	oneOf("CONSENT_DEFAULT", "all", "Who may invite users who have no such record: all, following (whom the user follows), or none; those who share a conversation with them always may.",
		func(c *Config) *Incoming { return &c.ConsentDefault }, IncomingAll, IncomingFollowing, IncomingNone),
	boolean("CONSENT_BY_WELCOME", true, "Take the confirmation of a Welcome for the acceptance of an invitation, for clients that do not know acceptConvo.",
		func(c *Config) *bool { return &c.ConsentByWelcome }),
	boolean("REQUIRE_IDEMPOTENCY", true, "Require idempotencyKey on createConvo, resetConvo, addMembers, removeMember, sendMessage and publishKeyPackage.",
		func(c *Config) *bool { return &c.RequireIdempotency }),
	boolean("BYTES_PADDING", false, "Pad the base64 of bytes in answers, as released Swift clients need it; the data model of atproto has it unpadded, and indigo refuses padding.",
		func(c *Config) *bool { return &c.BytesPadding }),
	number("EPOCH_GRACE", 0, limits{0, 3}, "How many epochs an application message may be behind.", func(c *Config) *int { return &c.EpochGrace }),
	oneOf("HANDSHAKES", "any", "any, or public: only conversations whose handshakes the server can read and follow may be made, those that begin with a groupInfo.",
		func(c *Config) *Handshakes { return &c.Handshakes }, AnyHandshakes, PublicHandshakes),
	oneOf("EXTERNAL_JOIN", "device", "Who may join a group by a commit of its own: none; device, a device that replaces its own leaf or that another device of its user vouches for; open, any device of a member.",
		func(c *Config) *ExternalJoin { return &c.ExternalJoin }, JoinNobody, JoinDevices, JoinOpen),
	number("MAX_MEMBERS", 500, limits{2, 10000}, "Users in a conversation at most.", func(c *Config) *int { return &c.MaxMembers }),
	number("MAX_DEVICES", 10, limits{1, 100}, "Devices of a user at most.", func(c *Config) *int { return &c.MaxDevices }),
	number("MAX_KEY_PACKAGES", 200, limits{1, 10000}, "Live key packages of a device at most.", func(c *Config) *int { return &c.MaxKeyPackages }),
	number("KEY_PACKAGE_LOW", 20, limits{1, 1000}, "Below this number of key packages their owner is told to publish more.", func(c *Config) *int { return &c.KeyPackageLow }),
	duration("KEY_PACKAGE_MAX_LIFETIME_DAYS", 120, limits{1, 3650}, day, "Longest lifetime of a key package, in days.",
		func(c *Config) *time.Duration { return &c.MaxLifetime }),
	boolean("ACCEPT_COMPRESSED_KEYS", false, "Accept compressed ECDSA keys in key packages, against RFC 9420 5.1.1.", func(c *Config) *bool { return &c.CompressedKeys }),
	didList("SUPERADMIN_DIDS", "Comma-separated DIDs that may read statistics of the whole service.", func(c *Config) *dids { return &c.SuperadminDIDs }),
	links("SERVICE_LINKS", "Comma-separated URLs of pages about this service (documentation, terms, privacy), which describeServer tells.",
		func(c *Config) *[]string { return &c.Links }),
	duration("MESSAGE_TTL_DAYS", 30, limits{1, 3650}, day, "How long messages are kept, in days.", func(c *Config) *time.Duration { return &c.MessageTTL }),
	duration("EVENT_STREAM_TTL_DAYS", 30, limits{1, 3650}, day, "How long events can be resumed, in days.", func(c *Config) *time.Duration { return &c.EventStreamTTL }),
	number("SSE_BUFFER_SIZE", 5000, limits{1, 100000}, "Events that wait for a slow stream before it is closed.", func(c *Config) *int { return &c.SSEBuffer }),
	duration("DRAIN_DELAY_SECONDS", 0, limits{0, 300}, time.Second,
		"After SIGTERM: how long the server still accepts requests, though it is no longer ready, before it drains; time for load balancers to notice.",
		func(c *Config) *time.Duration { return &c.DrainDelay }),
	number("STREAMS_PER_USER", 64, limits{1, 1000}, "Event streams of a user at most, over all servers of one Redis.", func(c *Config) *int { return &c.StreamsPerUser }),
	boolean("ENABLE_ACTOR_SYSTEM", true, "Batch concurrent sends and key package claims of a process; results are the same without.", func(c *Config) *bool { return &c.ActorSystem }),
	megabytes("BODY_MEMORY_MB", 256, limits{16, 65536}, "Memory that request bodies over 64 KiB may take, in MiB, each counted six times while it is handled; answers over 64 KiB may take a quarter as much besides. One account has a quarter of each. More waits, then gets 503.", func(c *Config) *int64 { return &c.BodyBudget }),
	boolean("ENABLE_DIRECT_XRPC_PROXY", false, "Development builds only.", func(c *Config) *bool { return &c.DirectProxy }),
	secret("JWT_SECRET", "Development builds only.", func(c *Config) *Secret { return &c.JWTSecret }),
	rate("RATE_LIMIT_SEND_MESSAGE", "sendMessage", ratelimit.Rate{PerMinute: 100, Burst: 100}),
	explained(rate("RATE_LIMIT_EPHEMERAL", "ephemeral", ratelimit.Rate{PerMinute: 300, Burst: 300}),
		"Ephemeral messages a minute of an account, and after a slash how many at once. They take nothing of what it may send."),
	explained(rate("RATE_LIMIT_SEALED", "sealed", ratelimit.Rate{PerMinute: 600, Burst: 600}),
		"Sealed sends a minute of an address, and after a slash how many at once. Each server counts for itself."),
	explained(rate("RATE_LIMIT_SEALED_BYTES", "sealedBytes", ratelimit.Rate{PerMinute: 64 << 10, Burst: 64 << 10}),
		"KiB of sealed sends a minute of an address, and after a slash how many at once. Each server counts for itself."),
	explained(rate("RATE_LIMIT_SEALED_CONVO", "sealedConvo", ratelimit.Rate{PerMinute: 100, Burst: 100}),
		"Sealed sends a minute to a conversation for each of its members, and after a slash how many at once. More than 1000 count as 1000."),
	rate("RATE_LIMIT_PUBLISH_KEY_PACKAGE", "publishKeyPackage", ratelimit.Rate{PerMinute: 20, Burst: 20}),
	rate("RATE_LIMIT_ADD_MEMBERS", "addMembers", ratelimit.Rate{PerMinute: 10, Burst: 10}),
	rate("RATE_LIMIT_REMOVE_MEMBER", "removeMember", ratelimit.Rate{PerMinute: 10, Burst: 10}),
	rate("RATE_LIMIT_CREATE_CONVO", "createConvo", ratelimit.Rate{PerMinute: 5, Burst: 20}),
	rate("RATE_LIMIT_REPORT_MEMBER", "reportMember", ratelimit.Rate{PerMinute: 5, Burst: 5}),
	rate("RATE_LIMIT_DEFAULT", ratelimit.ClassDefault, ratelimit.Rate{PerMinute: 200, Burst: 200}),
	explained(rate("RATE_LIMIT_CLAIM", "claim", ratelimit.Rate{PerMinute: 30, Burst: 30}),
		"Key packages a minute that a caller may claim of one owner, and after a slash how many at once."),
	explained(rate("RATE_LIMIT_CLAIMED_PACKAGES", "claimedPackages", ratelimit.Rate{PerMinute: 600, Burst: 600}),
		"Key packages a minute that a caller may claim of all owners, and after a slash how many at once."),
	explained(rate("RATE_LIMIT_STRANGER_CLAIMS", "strangerClaims", ratelimit.Rate{PerMinute: 1, Burst: 60}),
		"Key packages of one owner that strangers may claim between them; each package costs three tokens, so that 1/60 is twenty at once and twenty an hour. Beyond that they get the last-resort package."),
	rate("RATE_LIMIT_DEVICE", "device", ratelimit.Rate{PerMinute: 10, Burst: 10}),
	explained(rate("RATE_LIMIT_PUBLISHED_PACKAGES", "publishedPackages", ratelimit.Rate{PerMinute: 200, Burst: 400}),
		"Key packages a minute that an account may publish by registerDevice and publishKeyPackages, and after a slash how many at once. A registration brings 200 at most, and may be repeated."),
	rate("RATE_LIMIT_BLOCK_PAIRS", "blockPairs", ratelimit.Rate{PerMinute: 5000, Burst: 5000}),
	rate("RATE_LIMIT_COMMIT", "commit", ratelimit.Rate{PerMinute: 30, Burst: 30}),
	rate("RATE_LIMIT_REPORT_COMMIT", "reportCommit", ratelimit.Rate{PerMinute: 10, Burst: 10}),
	rate("RATE_LIMIT_GROUP_INFO", "groupInfo", ratelimit.Rate{PerMinute: 20, Burst: 20}),
	rate("RATE_LIMIT_CONSENT", "consent", ratelimit.Rate{PerMinute: 30, Burst: 30}),
	rate("RATE_LIMIT_TICKET", "ticket", ratelimit.Rate{PerMinute: 20, Burst: 20}),
	rate("RATE_LIMIT_DESCRIBE", "describe", ratelimit.Rate{PerMinute: 60, Burst: 60}),
	addressRate("RATE_LIMIT_IP", ratelimit.Rate{PerMinute: 60, Burst: 30}),
}
