package auth

import (
	"context"
	"errors"
	"time"

	"mls-server/internal/clock"
	"mls-server/internal/shared"
)

// ReplayStore remembers used tokens.
type ReplayStore interface {
	// Use records key until expires and reports whether it was unknown before.
	// Of any number of concurrent calls with one key, one gets true. An error
	// means that nothing is known: the token must not be accepted on its strength.
	Use(ctx context.Context, key [32]byte, expires time.Time) (fresh bool, err error)
}

// ErrReplayStoreFull says that a MemoryReplays has no room for another token.
var ErrReplayStoreFull = errors.New("auth: store of used tokens is full")

// MemoryReplays remembers used tokens in this process, in bounded memory. On its
// own it protects a single process that is not restarted; in front of a shared
// store it is one more guard (see ReplayChain). It is safe for concurrent use.
type MemoryReplays struct{ until *shared.Bounded }

var _ ReplayStore = (*MemoryReplays)(nil)

// NewMemoryReplays returns a store for about maxTokens. When it is full of
// tokens that have not expired, Use returns ErrReplayStoreFull: it would rather
// turn callers away than forget.
func NewMemoryReplays(maxTokens int, c clock.Clock) *MemoryReplays {
	return &MemoryReplays{until: shared.NewBounded(maxTokens, shared.Refuse, c)}
}

// Use implements ReplayStore.
func (m *MemoryReplays) Use(_ context.Context, key [32]byte, expires time.Time) (fresh bool, err error) {
	err = m.until.Change(tokenKey(key), func(now, end time.Time) time.Time {
		if end.After(now) {
			return end
		}
		fresh = true
		return expires
	})
	if err != nil {
		return false, ErrReplayStoreFull
	}
	return fresh, nil
}

// Len is how many tokens are remembered.
func (m *MemoryReplays) Len() int { return m.until.Len() }

// Full reports whether there is no room for another token.
func (m *MemoryReplays) Full() bool { return m.until.Full() }

// forget drops key.
func (m *MemoryReplays) forget(key [32]byte) {
	// takes no room
	_ = m.until.Change(tokenKey(key), func(now, _ time.Time) time.Time { return now })
}

// tokenKey is half of a key: 128 bits of a keyed hash, because there may be millions.
func tokenKey(key [32]byte) shared.Key { return shared.Key(key[:16]) }
