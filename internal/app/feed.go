package app

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"mls-server/internal/blocks"
	"mls-server/internal/clock"
	"mls-server/internal/egress"
	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// newFeed follows a Jetstream where one is configured, else it returns nil.
func (a *App) newFeed(client *egress.Client) *blocks.Feed {
	if a.cfg.JetstreamURL == "" {
		return nil
	}
	return blocks.NewFeed(blocks.FeedConfig{
		Client: client, URL: a.cfg.JetstreamURL, Cache: a.store, Known: a.store.ListUsers,
		Conflict: a.conflict, Observe: a.metrics.ObserveFeed, Clock: clock.System,
	})
}

// runFeed follows the Jetstream until ctx ends.
func (a *App) runFeed(ctx context.Context) {
	if a.feed != nil {
		a.feed.Run(ctx)
	}
}

const (
	// conflictScope keeps the keys of conflicts apart from those of requests. It is no NSID.
	conflictScope = "jetstream block conflict"
	// conflictWait is how long a server waits for another one that tells of the same block.
	conflictWait = 100 * time.Millisecond
)

// conflict tells the admins of the conversations that two users share that one
// has blocked the other. Every server follows the Jetstream, so all of them come
// here with each block; the record is claimed like an idempotency key, in the
// transaction of the events, so one of them tells it and only once.
func (a *App) conflict(ctx context.Context, b store.Block) error {
	convos, err := a.store.ListSharedConvos(ctx, b.Blocker, b.Blocked)
	if err != nil {
		return err
	}
	for _, convo := range convos {
		for {
			err := a.announce(ctx, convo, b)
			if errors.Is(err, mls.ErrRequestInProgress) {
				if err := clock.Pause(ctx, conflictWait); err != nil {
					return err
				}
				continue
			}
			if err != nil && !errors.Is(err, mls.ErrConvoNotFound) {
				a.log.LogAttrs(ctx, slog.LevelError, "block conflict not told yet", slog.String("component", "jetstream"), slog.Any("err", err))
				return err
			}
			break
		}
	}
	return nil
}

// announce writes the event for one conversation, unless a server has written it before.
func (a *App) announce(ctx context.Context, convo mls.ConvoID, b store.Block) error {
	now := clock.System.Now()
	claim := store.IdempotentRequest{
		Key:  store.RequestKey(b.Blocker, conflictScope, string(convo)+" "+string(b.URI)),
		Body: sha256.Sum256(nil), At: now,
	}
	return a.store.InTx(ctx, func(tx *store.Tx) error {
		if answer, err := tx.BeginRequest(ctx, claim); err != nil || answer != nil {
			return err
		}
		if _, err := tx.LockConvo(ctx, mls.ConvoKey{ConvoID: convo}); err != nil {
			return err
		}
		event := store.NewEvent{Kind: store.EventBlockConflict, Audience: store.ToAdmins, User: b.Blocker}
		if err := tx.AppendEvents(ctx, convo, clock.Bucket(now), event); err != nil {
			return err
		}
		return tx.FinishRequest(ctx, claim, store.Answer{Status: http.StatusOK, Body: []byte{}})
	})
}
