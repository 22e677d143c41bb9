package app

import (
	"context"
	"sync"

	"github.com/redis/go-redis/v9"

	"mls-server/internal/store"
)

// messageKinds names kinds of messages in metrics.
var messageKinds = map[store.MessageKind]string{
	store.KindApplication: "app", store.KindCommit: "commit", store.KindProposal: "proposal",
}

// stored counts a message that the store has committed.
func (a *App) stored(kind store.MessageKind, size int) {
	a.metrics.ObserveMessage(messageKinds[kind], size)
}

// silenceRedis keeps go-redis from logging by itself: its texts hold addresses
// (I9). What fails is counted where it matters, in mls_redis_fallbacks_total.
var silenceRedis = sync.OnceFunc(func() { redis.SetLogger(noLogger{}) })

type noLogger struct{}

// Printf writes nothing.
func (noLogger) Printf(context.Context, string, ...any) {}
