package app

import (
	"context"

	"mls-server/internal/auth"
	"mls-server/internal/blocks"
	"mls-server/internal/clock"
	"mls-server/internal/egress"
	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/lexrt"
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
		Cache: blockCache{a.store}, Source: source, Records: pds, FailClosed: cfg.BlocksFailClosed, Clock: clock.System,
		Observe: a.metrics.ObserveBlocks,
	})
}

// blockCache keeps what sources said in the database.
type blockCache struct{ store *store.Store }

// LoadBlocks implements blocks.Cache.
func (c blockCache) LoadBlocks(ctx context.Context, dids []mls.DID) ([]blocks.Block, []blocks.Check, error) {
	kept, checks, err := c.store.ListBlocks(ctx, dids)
	if err != nil {
		return nil, nil, err
	}
	found := make([]blocks.Block, len(kept))
	for i, b := range kept {
		found[i] = blocks.Block{Blocker: b.Blocker, Blocked: b.Blocked, CreatedAt: b.CreatedAt, URI: lexrt.ATURI(b.URI)}
	}
	checked := make([]blocks.Check, len(checks))
	for i, k := range checks {
		checked[i] = blocks.Check{Pair: blocks.Pair{Blocker: k.Blocker, Blocked: k.Blocked}, At: k.CheckedAt}
	}
	return found, checked, nil
}

// SaveBlocks implements blocks.Cache.
func (c blockCache) SaveBlocks(ctx context.Context, f blocks.Found) error {
	checked := make([]store.BlockPair, len(f.Checked))
	for i, p := range f.Checked {
		checked[i] = store.BlockPair{Blocker: p.Blocker, Blocked: p.Blocked}
	}
	found := make([]store.Block, len(f.Blocks))
	for i, b := range f.Blocks {
		found[i] = store.Block{
			BlockPair: store.BlockPair{Blocker: b.Blocker, Blocked: b.Blocked}, URI: string(b.URI),
			Key: string(b.URI.RecordKey()), CreatedAt: b.CreatedAt,
		}
	}
	return c.store.InTx(ctx, func(tx *store.Tx) error { return tx.RecordBlocks(ctx, checked, found, f.At) })
}
