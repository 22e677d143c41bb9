package app

import (
	"mls-server/internal/auth"
	"mls-server/internal/blocks"
	"mls-server/internal/clock"
	"mls-server/internal/egress"
)

// newBlocks asks an AppView first, where there is one, since one call answers
// for thirty users in both directions, and the authors' PDS for the rest.
func (a *App) newBlocks(client *egress.Client, resolver *auth.Resolver) *blocks.Service {
	cfg := a.cfg
	pds := blocks.NewPDS(client, resolver, clock.System)
	source := blocks.Chain{pds}
	if cfg.AppViewURL != "" {
		source = blocks.Chain{blocks.NewAppView(client, cfg.AppViewURL, pds, clock.System), pds}
	}
	return blocks.New(blocks.Config{
		Cache: a.store, Source: source, Records: pds, FailClosed: cfg.BlocksFailClosed, Clock: clock.System,
		Observe: a.metrics.ObserveBlocks,
	})
}
