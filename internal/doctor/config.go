package doctor

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"

	"mls-server/internal/config"
)

// fewFiles is below how many open files a server runs short of connections early.
const fewFiles = 10_000

func examineConfig(_ context.Context, p *Patient, r *report) {
	c := p.Config
	r.judge(c.Mode == config.Production, Notice, "mode", string(c.Mode), "set MLS_ENV=production, or leave it out, for a server that others use")
	r.judge(c.LogLevel != "debug" && c.LogLevel != "info", Notice, "log level", c.LogLevel,
		"LOG_LEVEL=warn day to day: at info each request leaves a line with its time")
	r.judge(c.EnforceLXM && c.EnforceJTI, Fault, "tokens", said("bound to their method and used once", c.EnforceLXM && c.EnforceJTI),
		"set ENFORCE_LXM and ENFORCE_JTI: otherwise a token that leaks can be used again, for other methods")
	r.judge(c.RequireIdempotency, Notice, "repeated writes", said("told by their idempotency keys", c.RequireIdempotency),
		"set REQUIRE_IDEMPOTENCY: a client that repeats a write without a key may write twice")
	r.judge(c.HashKey != "", Notice, "HASH_KEY", said("set", c.HashKey != ""),
		"set it, 32 random bytes, the same on all servers: openssl rand -hex 32")
	r.judge(c.RedisURL != "", Notice, "REDIS_URL", said("set", c.RedisURL != ""),
		"needed as soon as there are two servers; a server alone asks for new tokens for an hour after each restart without it")
	r.judge(loopback(c.AdminHost), Notice, "admin port", "listens on "+net.JoinHostPort(c.AdminHost, fmt.Sprint(c.AdminPort)),
		"leave ADMIN_HOST at 127.0.0.1; where it has to be reached from elsewhere, as in a container, keep others from it")
	r.judge(c.AppViewURL != "" || c.BlocksFailClosed, Notice, "blocks", said("unknown ones refuse new members", c.BlocksFailClosed),
		"with BLOCKS_FAIL_CLOSED=false and no APPVIEW_URL, people who were blocked are let in whenever a PDS is away")
	r.judge(connectTimeout(string(c.DatabaseURL)), Notice, "connect_timeout", said("in DATABASE_URL", connectTimeout(string(c.DatabaseURL))),
		"add connect_timeout=5 to DATABASE_URL: with several hosts, one that is gone is given up sooner")
	if p.Files > 0 {
		r.judge(p.Files >= fewFiles, Notice, "open files", fmt.Sprintf("%d at most", p.Files),
			"each connection takes one: raise it with ulimit -n, or LimitNOFILE= in the unit")
	}
}

// said is what is so, or that it is not.
func said(what string, is bool) string {
	if is {
		return what
	}
	return "not " + what
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// connectTimeout says whether a connection string, of either form, bounds the time to connect.
func connectTimeout(text string) bool {
	if u, err := url.Parse(text); err == nil && u.Scheme != "" {
		return u.Query().Get("connect_timeout") != ""
	}
	return strings.Contains(text, "connect_timeout=")
}
