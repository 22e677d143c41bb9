// Package blocks knows which users block which on Bluesky: it asks the sources
// of block records, keeps what they said for a while, and answers questions
// about pairs of users.
//
// Invariants it keeps:
//   - an answer is at most FreshFor old when the source can be reached, and at
//     most UsableFor old when it cannot; without one, the caller is told so and
//     never given a guess;
//   - "no block" is an answer like "a block" and is kept as long;
//   - work per question is bounded, in requests and in pages.
//
// Blocks are public records. They are asked for through internal/egress and
// kept through the Cache interface. The package must not decide what a block
// means for a conversation, except for the policy of AnyBetween, and must not log.
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
	// CheckedAt is the time of the oldest look-up that the answer rests on.
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

// Cache keeps what sources said. Package store implements it, over the tables
// bsky_blocks and block_checks.
type Cache interface {
	// ListBlocks returns the known blocks among dids, and when the pairs among them
	// and the whole lists of each of them were last looked up.
	ListBlocks(ctx context.Context, dids []mls.DID) ([]store.Block, []store.BlockCheck, error)
	// SaveBlocks records in one transaction what a look-up found: it writes the
	// blocks, drops known blocks within the checked pairs and lists that were not
	// found again, and notes the time of the checks.
	SaveBlocks(ctx context.Context, found store.BlocksFound) error
}

// Source finds out who blocks whom.
type Source interface {
	// Lookup looks the pairs up. It may look up more than it was asked for. With an
	// error, the result holds what could be looked up before; what is missing in its
	// Checked is not known.
	Lookup(ctx context.Context, pairs []store.BlockPair) (store.BlocksFound, error)
}
