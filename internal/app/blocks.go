package app

import (
	"mls-server/internal/auth"
	"mls-server/internal/blocks"
	"mls-server/internal/clock"
	"mls-server/internal/egress"
)

// newBlocks asks users' own servers, and an AppView where there is one.
func (a *App) newBlocks(client *egress.Client, resolver *auth.Resolver) *blocks.Service {
	pds := blocks.NewPDS(client, resolver, clock.System)
	cfg := blocks.Config{
		Cache: a.store, PDS: pds, FailClosed: a.cfg.BlocksFailClosed, Clock: clock.System, Observe: a.metrics.ObserveBlocks,
	}
	if a.cfg.AppViewURL != "" {
		cfg.AppView = blocks.NewAppView(client, a.cfg.AppViewURL, pds, clock.System)
	}
	return blocks.New(cfg)
}
