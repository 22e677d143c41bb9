package app

import (
	"mls-server/internal/auth"
	"mls-server/internal/blocks"
	"mls-server/internal/clock"
	"mls-server/internal/config"
	"mls-server/internal/egress"
)

// newBlocks asks users' own servers, and an AppView where there is one: who blocks whom, and who
// wants to hear from strangers.
func (a *App) newBlocks(client *egress.Client, resolver *auth.Resolver) *blocks.Gate {
	pds := blocks.NewPDS(client, resolver, clock.System)
	var view *blocks.AppView
	if a.cfg.AppViewURL != "" {
		view = blocks.NewAppView(client, a.cfg.AppViewURL, pds, clock.System)
	}
	service := blocks.New(blocks.Config{
		Cache: a.store, PDS: pds, AppView: view, FailClosed: a.cfg.BlocksFailClosed, Clock: clock.System, Observe: a.metrics.ObserveBlocks,
	})
	if a.cfg.ConsentSource == config.ConsentOff {
		return blocks.NewGate(service, nil)
	}
	return blocks.NewGate(service, blocks.NewDeclarations(blocks.DeclarationsConfig{
		PDS: pds, AppView: view, Default: blocks.Incoming(a.cfg.ConsentDefault), Clock: clock.System,
	}))
}
