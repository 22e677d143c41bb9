// Package delivery holds the workflows that two or more endpoints share: the
// path of a commit, additions and their Welcomes, removals and the debts they
// leave.
//
// It keeps I2 (an epoch advances by compare-and-set on the commit's own framing
// epoch, in one transaction with all that follows from it) and I5 (each change
// is written with its events). Functions that take a *store.Tx expect the
// conversation's row to be locked. The package must not know HTTP, lexicons, or
// who is allowed to do what: handlers decide that.
package delivery

import (
	"context"
	"slices"

	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// BlockChecker finds blocks before users are put together.
type BlockChecker interface {
	// AnyBetween reports whether a block stands between any of the newcomers and
	// any other newcomer or present user, in either direction. Whether an
	// unreachable source counts as a block is the implementation's policy; if so,
	// it returns mls.ErrBlockSourceUnavailable.
	AnyBetween(ctx context.Context, newcomers, present []mls.DID) (bool, error)
}

// Sender stores application messages: *store.Store each by itself, *batch.Sends
// those that arrive at the same time together. The answers are the same.
type Sender interface {
	// SendMessage stores a message and its event. Errors as store.Store.SendMessage.
	SendMessage(ctx context.Context, p store.SendParams) (store.SendResult, error)
}

// Claimer hands out key packages: *store.Store and *batch.Claims.
type Claimer interface {
	// ClaimKeyPackages hands out one package for each device of the owners. Errors
	// as store.Store.ClaimKeyPackages.
	ClaimKeyPackages(ctx context.Context, p store.ClaimParams) ([]store.KeyPackage, error)
}

// Service runs the workflows.
type Service struct {
	store      *store.Store
	blocks     BlockChecker
	maxMembers int
}

// New returns a service. maxMembers counts users, not devices.
func New(s *store.Store, blocks BlockChecker, maxMembers int) *Service {
	return &Service{store: s, blocks: blocks, maxMembers: maxMembers}
}

// Users returns the users of a roster, each once, in the roster's order.
func Users(roster []store.Member) []mls.DID {
	users := make([]mls.DID, 0, len(roster))
	for _, m := range roster {
		users = append(users, m.User)
	}
	return mls.UniqueDIDs(users)
}

// without returns the DIDs of a that are not in b.
func without(a, b []mls.DID) []mls.DID {
	return slices.DeleteFunc(slices.Clone(a), func(d mls.DID) bool { return slices.Contains(b, d) })
}
