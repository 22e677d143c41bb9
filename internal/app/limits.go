package app

import (
	"mls-server/internal/auth"
	"mls-server/internal/clock"
	"mls-server/internal/ratelimit"
	"mls-server/internal/shared"
)

// maxTokens bounds the tokens that one process remembers.
const maxTokens = 1_000_000

// limiter counts in Redis where there is one, else in the process.
func (a *App) limiter(hasher *shared.Hasher) (ratelimit.Limiter, error) {
	own, err := ratelimit.NewMemory(a.cfg.Rates, clock.System)
	if err != nil || a.redis == nil {
		return own, err
	}
	r := shared.NewRedis(a.redis, shared.RedisTimeout)
	return ratelimit.NewShared(own, r, hasher, clock.System, a.metrics.ObserveRedisFallback), nil
}

// replays remembers used tokens: in Redis, else in PostgreSQL while Redis is
// away; in the process where one server runs alone.
func (a *App) replays() auth.ReplayStore {
	if a.redis == nil {
		return auth.NewMemoryReplays(maxTokens, clock.System)
	}
	fast := auth.NewRedisReplays(shared.NewRedis(a.redis, shared.RedisTimeout))
	return auth.NewReplayChain(fast, a.store.Replays(), clock.System, a.metrics.ObserveRedisFallback)
}
