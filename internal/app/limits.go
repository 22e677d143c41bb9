package app

import (
	"maps"
	"time"

	"mls-server/internal/auth"
	"mls-server/internal/clock"
	"mls-server/internal/delivery"
	"mls-server/internal/egress"
	"mls-server/internal/ratelimit"
	"mls-server/internal/shared"
	"mls-server/internal/stream"
	"mls-server/internal/turns"
)

// maxTokens bounds the tokens that one process remembers.
const maxTokens = 1_000_000

// limiter counts in Redis where there is one, else in the process.
func (a *App) limiter(hasher *shared.Hasher) (ratelimit.Limiter, error) {
	rates := maps.Clone(a.cfg.Rates)
	each := rates[delivery.ClassSealedConvo]
	units := func(sends int) int { return min(sends*delivery.SealedUnits, ratelimit.MaxRate) }
	rates[delivery.ClassSealedConvo] = ratelimit.Rate{PerMinute: units(each.PerMinute), Burst: units(each.Burst)}
	own, err := ratelimit.NewMemory(rates, clock.System)
	if err != nil || a.redis == nil {
		return own, err
	}
	return ratelimit.NewShared(ratelimit.SharedConfig{
		Own: own, Redis: shared.NewRedis(a.redis, shared.RedisTimeout), Hasher: hasher, Private: a.private, OnAway: a.refusals.note, Clock: clock.System,
	}), nil
}

// turns orders those who race to commit, over all servers where there is Redis.
func (a *App) turns(hasher *shared.Hasher) *turns.Turns {
	if a.redis == nil {
		return turns.New(nil, hasher, func(error) {}, clock.System)
	}
	return turns.New(shared.NewRedis(a.redis, shared.RedisTimeout), hasher, a.refusals.note, clock.System)
}

// places counts streams in Redis where there is one, else the process knows all of them.
func (a *App) places(hasher *shared.Hasher) stream.Places {
	if a.redis == nil {
		return nil
	}
	return ratelimit.NewPlaces(ratelimit.PlacesConfig{
		Redis: shared.NewRedis(a.redis, shared.RedisTimeout), Hasher: hasher, OnAway: a.refusals.note, Clock: clock.System,
	})
}

// authenticator checks service tokens, and makes the resolver of their issuers.
func (a *App) authenticator(client *egress.Client, limiter ratelimit.Limiter, hasher *shared.Hasher) (*auth.ServiceAuth, error) {
	a.resolver = auth.NewResolver(auth.ResolverConfig{
		Client: client, PLCURL: a.cfg.PLCURL, StaleFor: a.cfg.DIDStale, Documents: a.store, Clock: clock.System, Local: a.development.document,
		Open: func(address string) bool { return limiter.Peek(ratelimit.ClassIP, address).Allowed },
	})
	replays, began := a.replays()
	// A ticket is used up in the database where tokens are in the process: it works on each server,
	// and after a restart, and no more than once.
	used := auth.ReplayStore(a.store.Replays())
	if a.redis != nil {
		used = replays
	}
	tickets, err := auth.NewTickets(auth.TicketsConfig{Hasher: hasher, Used: used, Began: a.store.GenerationBegan, Clock: clock.System})
	if err != nil {
		return nil, err
	}
	a.tickets = tickets
	return auth.New(auth.Config{
		ServiceDID: a.cfg.ServiceDID, ServiceID: a.cfg.ServiceID, EnforceLXM: a.cfg.EnforceLXM, EnforceJTI: a.cfg.EnforceJTI,
		JTITTL: a.cfg.JTITTL, Resolver: a.resolver, Replays: replays, Began: began, Unknown: a.metrics.ObserveUnknownToken,
		Hasher: hasher, Tickets: tickets, Clock: clock.System,
	})
}

// replays remembers used tokens, and says since when: in Redis, else in PostgreSQL
// while Redis is away, whose memory a restore takes back; in the process where one
// server runs alone, since its start.
func (a *App) replays() (store auth.ReplayStore, began func() time.Time) {
	a.tokensFull = func() bool { return false }
	if a.redis == nil {
		memory := auth.NewMemoryReplays(maxTokens, clock.System)
		a.tokensFull = memory.Full
		// Tokens say when they were issued to the second: none that was issued in the
		// second of the start may be believed, so the server answers from the next on.
		a.opens = clock.System.Now().Truncate(time.Second).Add(time.Second)
		return memory, func() time.Time { return a.opens }
	}
	fast := auth.NewRedisReplays(shared.NewRedis(a.redis, shared.RedisTimeout))
	return auth.NewReplayChain(fast, a.store.Replays(), clock.System, a.refusals.note), a.store.GenerationBegan
}
