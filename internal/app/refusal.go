package app

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"mls-server/internal/clock"
	"mls-server/internal/delivery"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/redact"
	"mls-server/internal/shared"
	"mls-server/internal/stream"
)

const (
	// refusalPause is what follows the first line about a refusal; it doubles from
	// line to line, up to refusalPauses.
	refusalPause  = time.Minute
	refusalPauses = time.Hour
)

// redisRefusals says why Redis is of no use: at once, and again at doubling
// intervals for as long as it stays so. A server without Redis goes on by itself,
// so that nobody would notice a wrong password.
type redisRefusals struct {
	log   *slog.Logger
	clock clock.Clock
	count func() // each decision that is taken without Redis

	mu    sync.Mutex
	last  string
	next  time.Time
	pause time.Duration
}

// note is told of each decision that was taken without Redis: what Redis said, or
// shared.ErrAway when it was not asked.
func (r *redisRefusals) note(err error) {
	r.count()
	if errors.Is(err, shared.ErrAway) {
		return
	}
	word := refusal(err)
	if !r.due(word) {
		return
	}
	ctx := context.Background()
	if word == "" {
		r.log.WarnContext(ctx, "Redis does not answer; serving without it", slog.String("component", "redis"), slog.Any("fault", err))
		return
	}
	r.log.WarnContext(ctx, "Redis refuses; serving without it", slog.String("component", "redis"), slog.String("refusal", word))
}

// due reports whether a refusal is to be told now.
func (r *redisRefusals) due(word string) bool {
	now := r.clock.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	again := word == r.last && now.Before(r.next.Add(r.pause))
	if again && now.Before(r.next) {
		return false
	}
	if again {
		r.pause = min(2*r.pause, refusalPauses)
	} else {
		r.pause = refusalPause
	}
	r.last, r.next = word, now.Add(r.pause)
	return true
}

// refusal is the word that Redis' answer begins with, one of redact.RedisRefusals,
// "" when it gave no answer.
func refusal(err error) string {
	var answer redis.Error
	if !errors.As(err, &answer) {
		return ""
	}
	word, _, _ := strings.Cut(answer.Error(), " ")
	if slices.Contains(redact.RedisRefusals(), word) {
		return word
	}
	return "ERR"
}

// private reports whether a class is counted in this process alone: that of sends,
// while there is no other server, so that the command stream of Redis does not say
// when somebody sent a message (I7); and always those that count sealed sends by
// address (I16).
func (a *App) private(class string) bool {
	if class == mlsapi.MethodSendSealed.RateClass || class == mlsapi.MethodSendSealed.ByteClass {
		return true
	}
	bus, ok := a.bus.(*stream.RedisBus)
	return ok && (class == "sendMessage" || class == "ephemeral" || class == delivery.ClassSealedConvo) && bus.Alone()
}
