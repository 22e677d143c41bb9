// Package delivery holds the workflows: the path of a message and of a commit, additions and their
// Welcomes, removals and the debts they leave, rejoins, roles, devices and their key packages,
// reports, block conflicts.
//
// It keeps I2 (an epoch advances by compare-and-set on the commit's own framing epoch, in one
// transaction with all that follows from it) and I5 (each change is written with its events).
// Commits are read, and their signatures verified, before a conversation is locked, and judged
// under the lock. Verbs that take a *store.Tx are those that a handler repeats under an idempotency
// key; all others are one transaction each. Functions in lower case that take a *store.Tx expect
// the conversation's row to be locked. The package must not know HTTP or lexicons.
package delivery

import (
	"context"
	"slices"

	"mls-server/internal/mls"
	"mls-server/internal/ratelimit"
	"mls-server/internal/store"
)

// Blocks finds blocks between users.
type Blocks interface {
	// AnyBetween reports whether a block stands between any of the newcomers and any other newcomer
	// or present user, in either direction, for the caller who puts them together. Whether an
	// unreachable source counts as a block is the implementation's policy; if so, it returns
	// mls.ErrBlockSourceUnavailable.
	AnyBetween(ctx context.Context, caller mls.DID, newcomers, present []mls.DID) (bool, error)
	// Blocking returns those of the users who block the caller, as far as it can be found out.
	Blocking(ctx context.Context, caller mls.DID, dids []mls.DID) ([]mls.DID, error)
}

// Sender stores application messages: *store.Store each by itself, *batch.Sends those that arrive
// at the same time together. The answers are the same.
type Sender interface {
	// SendMessage stores a message and its event. Errors as store.Store.SendMessage.
	SendMessage(ctx context.Context, p store.SendParams) (store.SendResult, error)
}

// Claimer hands out key packages: *store.Store and *batch.Claims.
type Claimer interface {
	// ClaimKeyPackages hands out one package for each device of the owners. Errors as
	// store.Store.ClaimKeyPackages.
	ClaimKeyPackages(ctx context.Context, p store.ClaimParams) ([]store.KeyPackage, error)
}

// Config is what a Service is made of. All fields but Refused are required.
type Config struct {
	Store   *store.Store
	Sender  Sender
	Claimer Claimer
	// Ephemerals takes messages that are stored nowhere.
	Ephemerals Passer
	Blocks     Blocks
	// Turns orders those who race to commit.
	Turns Turns
	// Limits counts what is limited by more than the caller alone.
	Limits ratelimit.Limiter
	// Refused reports whether an account is not to be served: nothing of it is handed out. nil
	// where everybody is.
	Refused func(user mls.DID) bool
	// MaxMembers counts users, not devices.
	MaxMembers int
	// MaxDevices is how many devices a user may have, MaxKeyPackages how many live packages a
	// device.
	MaxDevices, MaxKeyPackages int
	// KeyPackageLow is how many packages a device should have left; below it its owner is told.
	KeyPackageLow int
	// EpochGrace is how many epochs back an application message may be.
	EpochGrace       mls.Epoch
	KeyPackagePolicy mls.KeyPackagePolicy
	// AcceptByWelcome takes the confirmation of a Welcome for the acceptance of an invitation.
	AcceptByWelcome bool
	// ExternalJoin says who may join by a commit from outside.
	ExternalJoin ExternalJoin
	// PublicHandshakes refuses new conversations around groups that the server cannot follow. It
	// may be false.
	PublicHandshakes bool
}

// Service runs the workflows.
type Service struct {
	Config
	store *store.Store
	keys  *keyring
}

// New returns a service.
func New(cfg Config) *Service { return &Service{Config: cfg, store: cfg.Store, keys: newKeyring()} }

// take draws from the bucket of subject in a class. The error is mls.ErrRateLimitExceeded and says
// when to try again.
func (s *Service) take(ctx context.Context, class, subject string, cost int) error {
	if r := s.Limits.Take(ctx, class, subject, cost); !r.Allowed {
		return mls.RateLimited(r.RetryAfter)
	}
	return nil
}

// takeAtMost charges a request that may cost more than a bucket holds: it takes all of it then.
func (s *Service) takeAtMost(ctx context.Context, class, subject string, cost int) error {
	return s.take(ctx, class, subject, min(cost, s.Limits.Peek(class, subject).Limit))
}

// TakeBlockPairs counts a question about all blocks among some users, by its pairs. A question of
// more pairs than the bucket holds takes all of it.
func (s *Service) TakeBlockPairs(ctx context.Context, caller mls.DID, users int) error {
	pairs := users * (users - 1) / 2
	if pairs == 0 {
		return nil
	}
	return s.takeAtMost(ctx, "blockPairs", string(caller), pairs)
}

// Users returns the users of a roster, each once, in the roster's order.
func Users(roster []store.Member) []mls.DID {
	users := make([]mls.DID, 0, len(roster))
	for _, m := range roster {
		users = append(users, m.User)
	}
	return mls.UniqueDIDs(users)
}

// Members is Users without those who are only invited: they have no say.
func Members(roster []store.Member) []mls.DID {
	return Users(slices.DeleteFunc(slices.Clone(roster), func(m store.Member) bool { return m.InvitedBy != "" }))
}

// without returns the DIDs of a that are not in b.
func without(a, b []mls.DID) []mls.DID {
	return slices.DeleteFunc(slices.Clone(a), func(d mls.DID) bool { return slices.Contains(b, d) })
}

// requireOnRoster returns mls.ErrNotMember unless the user is in the conversation or invited to it.
func requireOnRoster(ctx context.Context, tx *store.Tx, convo mls.ConvoID, user mls.DID) error {
	active, err := tx.FindActive(ctx, convo, user)
	if err == nil && len(active) == 0 {
		return mls.ErrNotMember
	}
	return err
}

// requireMember is requireOnRoster for who is more than invited.
func requireMember(ctx context.Context, tx *store.Tx, convo mls.ConvoID, user mls.DID) error {
	active, err := tx.FindActive(ctx, convo, user)
	if err == nil && (len(active) == 0 || active[0].Invited) {
		return mls.ErrNotMember
	}
	return err
}
