package app

import (
	"context"
	"log/slog"
	"time"

	"mls-server/internal/blocks"
	"mls-server/internal/clock"
	"mls-server/internal/delivery"
	"mls-server/internal/egress"
	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// newFeed follows a Jetstream where one is configured, else it returns nil.
func (a *App) newFeed(client *egress.Client, workflows *delivery.Service) *blocks.Feed {
	if a.cfg.JetstreamURL == "" {
		return nil
	}
	heard := blockNews{a.store, workflows}
	return blocks.NewFeed(blocks.FeedConfig{
		Client: client, URL: a.cfg.JetstreamURL, Cache: heard, Known: a.store.ListUsers,
		Conflict: func(ctx context.Context, b store.Block) error {
			err := heard.tell(ctx, b)
			if err != nil {
				a.log.LogAttrs(ctx, slog.LevelError, "block conflict not told yet", slog.String("component", "jetstream"), slog.Any("err", err))
			}
			return err
		},
		Account: a.store.HearHostStatus, Position: a.store,
		Observe: a.metrics.ObserveFeed, Clock: clock.System,
	})
}

// runFeed follows the Jetstream until ctx ends.
func (a *App) runFeed(ctx context.Context) {
	if a.feed != nil {
		a.feed.Run(ctx)
	}
}

// blockNews hands what a Jetstream says to the cache of blocks and to the workflow of conflicts.
type blockNews struct {
	*store.Store
	workflows *delivery.Service
}

func (n blockNews) tell(ctx context.Context, b store.Block) error {
	_, err := n.workflows.ChangeBlock(ctx, delivery.BlockChange{
		BlockPair: b.BlockPair, Key: b.URI.RecordKey().String(), Exists: true, SeenAt: b.SeenAt, At: clock.Bucket(clock.System.Now()),
	})
	return err
}

// DropBlock implements blocks.FeedCache.
func (n blockNews) DropBlock(ctx context.Context, blocker mls.DID, key string, gone time.Time) error {
	return n.workflows.DropBlock(ctx, blocker, key, gone, clock.Bucket(clock.System.Now()))
}
