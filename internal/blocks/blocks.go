// Package blocks knows which users block which on Bluesky: it asks the sources of block records,
// keeps what they said for a while, and answers questions about pairs of users.
//
// Invariants it keeps:
//   - an answer is at most FreshFor old when the sources can be reached, and at most UsableFor old
//     when they cannot; without one, the caller is told so and never given a guess;
//   - "no block" is an answer like "a block" and is kept as long;
//   - nobody learns what others ask: users who share no conversation with the caller are looked up
//     for that caller alone, out of memory that only the caller's own questions fill;
//   - a user is asked about at most twice in FreshFor, once at the AppView and once at the user's
//     own server, whatever the number of pairs and questions; strangers: for each caller;
//   - work is bounded per question, per caller and, at the AppView, for all together, where half is
//     kept for questions on which it depends whether users are put together.
//
// Whether users want to hear from strangers at all, they say in a record of their own; Gate puts
// both together. Blocks are public records. They are asked for through internal/egress and kept
// through the Cache interface, where a row says that a user's list was read, never who wanted to
// know. The package must not decide what a block means for a conversation, except for the policy of
// AnyBetween, and must not log.
package blocks

import (
	"context"
	"time"

	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

// How long an answer of a source is used.
const (
	// FreshFor is how long it is used without asking again.
	FreshFor = 5 * time.Minute
	// UsableFor is how long it is used when asking again fails.
	UsableFor = 24 * time.Hour
)

// Answer is what is known about a set of users.
type Answer struct {
	// Blocks are in the order of the blockers, then of the blocked.
	Blocks []store.Block
	// CheckedAt is the time of the answer, floored to two seconds. The age of what it rests on
	// would tell who has asked before.
	CheckedAt time.Time
}

// Claim is what somebody says about a block.
type Claim struct {
	Blocker, Blocked mls.DID
	// URI is the record's, "" when the claim does not name it.
	URI lexrt.ATURI
	// Exists is true when the block is said to be there, false when it is said to be gone.
	Exists bool
}

// Cache keeps what sources said for all servers and knows who shares conversations. Package store
// implements it.
type Cache interface {
	// ListAcquaintances returns those of dids who share an active conversation with the user.
	ListAcquaintances(ctx context.Context, user mls.DID, dids []mls.DID) ([]mls.DID, error)
	// ListBlocks returns the known blocks of blockers against others, and when the whole list of
	// each of the blockers was last read.
	ListBlocks(ctx context.Context, blockers, others []mls.DID) ([]store.Block, []store.BlockCheck, error)
	// SaveBlocks records in one transaction what a look-up found: it writes the blocks, drops known
	// blocks within the checked pairs and lists that were not found again, and notes when lists
	// were read.
	SaveBlocks(ctx context.Context, found store.BlocksFound) error
}
