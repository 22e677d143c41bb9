package app

import (
	"context"
	"time"

	"mls-server/internal/auth"
	"mls-server/internal/clock"
	"mls-server/internal/mls"
	"mls-server/internal/ratelimit"
	"mls-server/internal/xrpc"
)

const (
	// maxBuckets bounds the memory of limits in the process: some 100 bytes each.
	maxBuckets = 200_000
	// maxTokens bounds the tokens that one process remembers.
	maxTokens = 1_000_000
	// redisTimeout is how long a decision waits for Redis before it is taken without.
	redisTimeout = 250 * time.Millisecond
)

// limiter counts in Redis where there is one, else in the process.
func (a *App) limiter(secret []byte) (ratelimit.Limiter, error) {
	rates := make(map[string]ratelimit.Rate, len(a.cfg.Rates))
	for class, r := range a.cfg.Rates {
		rates[class] = ratelimit.Rate{PerMinute: r.PerMinute, Burst: r.Burst}
	}
	local, err := ratelimit.NewMemory(rates, maxBuckets, clock.System)
	if err != nil || a.redis == nil {
		return local, err
	}
	shared, err := ratelimit.NewRedis(a.redis, rates, secret, clock.System)
	if err != nil {
		return nil, err
	}
	return ratelimit.NewFallback(local, shared, clock.System, a.metrics.ObserveRedisFallback), nil
}

// replays remembers used tokens: in Redis, else in PostgreSQL while Redis is
// away; in the process where one server runs alone.
func (a *App) replays() auth.ReplayStore {
	if a.redis == nil {
		return auth.NewMemoryReplays(maxTokens, clock.System)
	}
	return auth.NewReplayChain(auth.NewRedisReplays(a.redis, redisTimeout), a.store.Replays(), clock.System, a.metrics.ObserveRedisFallback)
}

// requestLimits gives the runtime the limits of requests.
type requestLimits struct{ ratelimit.Limiter }

// Take implements xrpc.Limiter.
func (l requestLimits) Take(ctx context.Context, class, subject string) xrpc.Limit {
	r, err := l.Limiter.Take(ctx, class, subject)
	if err != nil {
		// Neither limiter that is used here fails; should one, nothing opens.
		return xrpc.Limit{RetryAfter: time.Second, Window: time.Minute}
	}
	return xrpc.Limit{
		Allowed: r.Allowed, Limit: r.Limit, Remaining: r.Remaining, Window: r.Window, Reset: r.Reset, RetryAfter: r.RetryAfter,
	}
}

// domainLimits gives handlers the limits of what has more than one subject.
type domainLimits struct{ ratelimit.Limiter }

// Check implements handlers.Limits.
func (l domainLimits) Check(ctx context.Context, class, subject string) error {
	r, err := l.Limiter.Take(ctx, class, subject)
	switch {
	case err != nil:
		return err
	case !r.Allowed:
		return mls.RateLimited(r.RetryAfter)
	}
	return nil
}
