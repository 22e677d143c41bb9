// Package handlers holds the bodies of the endpoints, one file for each method.
//
// A body does: parse, membership, lock, rule, write, event, reply, in this
// order. It returns errors as they are; errors.go gives them their names. It
// must not speak HTTP or SQL, must not log, and must not start anything that
// outlives the request. What two or more methods share is in package delivery.
package handlers

import (
	"context"
	"time"

	"mls-server/internal/blocks"
	"mls-server/internal/clock"
	"mls-server/internal/delivery"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/ratelimit"
	"mls-server/internal/store"
	"mls-server/internal/stream"
)

// Blocks answers questions about block records. Package blocks implements it.
type Blocks interface {
	// Between returns the blocks among the users and the age of the oldest answer
	// it used, or mls.ErrBlockSourceUnavailable.
	Between(ctx context.Context, dids []mls.DID) (blocks.Answer, error)
	// Blocking returns those of the users who block the user.
	Blocking(ctx context.Context, user mls.DID, dids []mls.DID) ([]mls.DID, error)
	// Verify checks that a block record was made or is gone, or returns mls.ErrBlockNotVerified.
	Verify(ctx context.Context, claim blocks.Claim) error
}

// Config is what the operator decides about the rules.
type Config struct {
	RequireIdempotency bool
	EpochGrace         mls.Epoch
	MaxDevices         int
	MaxKeyPackages     int
	KeyPackageLow      int
	KeyPackagePolicy   mls.KeyPackagePolicy
	SuperadminDIDs     []mls.DID
}

// Handlers implements every method of the lexicons. All fields are required.
type Handlers struct {
	Store    *store.Store
	Delivery *delivery.Service
	// Sender stores application messages: Store itself, or batch.Sends over it.
	Sender delivery.Sender
	// Claimer hands out key packages: Store itself, or batch.Claims over it.
	Claimer delivery.Claimer
	Blocks  Blocks
	// Limits counts what is limited by more than the caller alone.
	Limits  ratelimit.Limiter
	Streams *stream.Hub
	Clock   clock.Clock
	Config  Config
}

var _ mlsapi.Service = (*Handlers)(nil)

// now returns the time that everything of this request is stamped with (I8).
func (h *Handlers) now() time.Time { return clock.Bucket(h.Clock.Now()) }

// take draws from the bucket of subject in a class, or returns an error that
// says when to try again.
func (h *Handlers) take(ctx context.Context, class, subject string, cost int) error {
	if r := h.Limits.Take(ctx, class, subject, cost); !r.Allowed {
		return mls.RateLimited(r.RetryAfter)
	}
	return nil
}
