package store

import (
	"context"
	"slices"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"mls-server/internal/clock"
	"mls-server/internal/gen/db"
	"mls-server/internal/mls"
)

// BlockPair is a blocker and who it blocks. In what was checked an empty Blocked stands for the
// whole list of the blocker.
type BlockPair struct{ Blocker, Blocked mls.DID }

// Block is a known block record.
type Block struct {
	BlockPair
	// URI is the record's, "" when the source does not say.
	URI syntax.ATURI
	// CreatedAt is the time that the record states, or the time at which the block
	// was first seen when the source does not say.
	CreatedAt time.Time
	// SeenAt is when a source last confirmed it. It is set by ListBlocks and by a Feed.
	SeenAt time.Time
}

// BlockCheck says when a whole list was read, whatever was in it.
type BlockCheck struct {
	BlockPair
	CheckedAt time.Time
}

// BlocksFound is what a source of block records said.
type BlocksFound struct {
	// At is the time of the look-up.
	At time.Time
	// Checked are the pairs that were looked up, or the whole lists (Blocked "").
	Checked []BlockPair
	// Blocks are all blocks within Checked.
	Blocks []Block
}

// ListAcquaintances is those of dids who share an active conversation with the user, the user
// among them if asked for and in any.
func (r *reader) ListAcquaintances(ctx context.Context, user mls.DID, dids []mls.DID) ([]mls.DID, error) {
	found, err := r.q.ListAcquaintances(ctx, user, texts(dids))
	return found, fail("list acquaintances", err)
}

// ListBlocks is the known blocks of blockers against others, and when the whole lists of the
// blockers were last read, both of one moment.
func (r *reader) ListBlocks(ctx context.Context, blockers, others []mls.DID) ([]Block, []BlockCheck, error) {
	rows, err := r.q.ListBlocks(ctx, texts(blockers), texts(others))
	if err != nil {
		return nil, nil, fail("list blocks", err)
	}
	var blocks []Block
	var checks []BlockCheck
	for _, row := range rows {
		pair := BlockPair{row.BlockerDID, row.BlockedDID}
		if row.IsCheck {
			checks = append(checks, BlockCheck{pair, row.At})
			continue
		}
		blocks = append(blocks, Block{BlockPair: pair, URI: syntax.ATURI(orEmpty(row.Uri)), CreatedAt: row.At, SeenAt: row.SeenAt})
	}
	return blocks, checks, nil
}

// SaveBlocks is RecordBlocks in a transaction of its own.
func (s *Store) SaveBlocks(ctx context.Context, found BlocksFound) error {
	return s.InTx(ctx, func(tx *Tx) error { return tx.RecordBlocks(ctx, found) })
}

// RecordBlocks writes what a source said about pairs or whole lists: the blocks that it found are
// kept, those that it no longer has go. That a whole list was read is noted, and that a block was
// seen; that there was none is not, since it would tell who looked for whom. Times are floored to
// clock.BucketSize.
func (tx *Tx) RecordBlocks(ctx context.Context, found BlocksFound) error {
	at := clock.Bucket(found.At)
	if err := tx.dropChecked(ctx, found.Checked, at); err != nil {
		return err
	}
	var upsert db.UpsertBlocksParams
	upsert.SeenAt = at
	for _, b := range found.Blocks {
		upsert.BlockerDids = append(upsert.BlockerDids, string(b.Blocker))
		upsert.BlockedDids = append(upsert.BlockedDids, string(b.Blocked))
		upsert.Uris = append(upsert.Uris, string(b.URI))
		upsert.Rkeys = append(upsert.Rkeys, string(b.URI.RecordKey()))
		upsert.CreatedAts = append(upsert.CreatedAts, clock.Bucket(b.CreatedAt))
	}
	if len(found.Blocks) > 0 {
		if err := tx.q.UpsertBlocks(ctx, upsert); err != nil {
			return fail("keep blocks", err)
		}
	}
	blockers, blocked := pairTexts(slices.DeleteFunc(slices.Clone(found.Checked), func(c BlockPair) bool {
		return c.Blocked != "" && !slices.ContainsFunc(found.Blocks, func(b Block) bool { return b.BlockPair == c })
	}))
	if len(blockers) == 0 {
		return nil
	}
	return fail("keep block checks", tx.q.UpsertBlockChecks(ctx, db.UpsertBlockChecksParams{BlockerDids: blockers, BlockedDids: blocked, CheckedAt: at}))
}

func pairTexts(pairs []BlockPair) (blockers, blocked []string) {
	blockers, blocked = make([]string, len(pairs)), make([]string, len(pairs))
	for i, p := range pairs {
		blockers[i], blocked[i] = string(p.Blocker), string(p.Blocked)
	}
	return blockers, blocked
}

// dropChecked removes the known blocks within pairs and lists that were checked at a time.
func (tx *Tx) dropChecked(ctx context.Context, checked []BlockPair, at time.Time) error {
	if len(checked) == 0 {
		return nil
	}
	blockers, blocked := pairTexts(checked)
	_, err := tx.q.DeleteBlocksSeenBefore(ctx, db.DeleteBlocksSeenBeforeParams{BlockerDids: blockers, BlockedDids: blocked, CheckedAt: at})
	return fail("drop blocks", err)
}

// DropBlock is DeleteBlockByKey in a transaction of its own. It is no error when
// the record was not known.
func (s *Store) DropBlock(ctx context.Context, blocker mls.DID, key string) error {
	return s.InTx(ctx, func(tx *Tx) error {
		_, err := tx.DeleteBlockByKey(ctx, blocker, key)
		return err
	})
}

// DeleteBlockByKey removes a block by its record's author and key, which is
// all that a deletion on the firehose names. It returns who was blocked, ""
// when the record was not known.
func (tx *Tx) DeleteBlockByKey(ctx context.Context, blocker mls.DID, key string) (mls.DID, error) {
	blocked, err := tx.q.DeleteBlockByKey(ctx, blocker, &key)
	if err != nil || len(blocked) == 0 {
		return "", fail("delete block", err)
	}
	return blocked[0], nil
}

// BlockTelling is news of a block for the admins of a conversation.
type BlockTelling struct {
	BlockPair
	// Key is the record's, "" when the source does not say: then it is the one that the cache has.
	Key string
	// SeenAt is the time of which the source says that the block stood.
	SeenAt time.Time
	// At is when the admins are told.
	At time.Time
}

// TellBlockConflict records that the admins of a conversation are told of a block, and returns when
// they were: at b.At, or with fresh false the time when they had been. The time is zero when the
// news are older than the end of that conflict, and nothing is recorded: servers follow a Jetstream
// each at its own pace, and hear of the same events again after a connection was lost. The caller
// holds the conversation's lock.
func (tx *Tx) TellBlockConflict(ctx context.Context, convo mls.ConvoID, b BlockTelling) (told time.Time, fresh bool, err error) {
	told, err = tx.q.FindBlockConflict(ctx, db.FindBlockConflictParams{ConvoID: convo, BlockerDID: b.Blocker, BlockedDID: b.Blocked})
	fresh = isNotFound(err)
	if err != nil && !fresh {
		return time.Time{}, false, fail("find block conflict", err)
	}
	key := b.Key
	if key == "" {
		if key, err = tx.q.FindBlockKey(ctx, b.Blocker, b.Blocked); err != nil && !isNotFound(err) {
			return time.Time{}, false, fail("find block", err)
		}
	}
	if fresh {
		over, err := tx.q.IsConflictOver(ctx, db.IsConflictOverParams{ConvoID: convo, BlockerDID: b.Blocker, Rkey: key, SeenAt: bucket(b.SeenAt)})
		if err != nil || over {
			return time.Time{}, false, fail("look for the end of a block conflict", err)
		}
		told = bucket(b.At)
	}
	err = tx.q.PutBlockConflict(ctx, db.PutBlockConflictParams{
		ConvoID: convo, BlockerDID: b.Blocker, BlockedDID: b.Blocked, Rkey: key, ToldAt: told,
	})
	return told, fresh, fail("record block conflict", err)
}

// EndBlockConflict is true when the admins of a conversation had been told of a block, which was
// gone at a time.
func (tx *Tx) EndBlockConflict(ctx context.Context, convo mls.ConvoID, pair BlockPair, gone time.Time) (bool, error) {
	n, err := tx.q.EndBlockConflict(ctx, db.EndBlockConflictParams{
		EndedAt: bucket(gone), ConvoID: convo, BlockerDID: pair.Blocker, BlockedDID: pair.Blocked,
	})
	return n > 0, fail("end block conflict", err)
}

// ListBlockedByRecord is whom a record blocks, as far as admins were told of it:
// a deletion on the firehose names no more than author and key.
func (r *reader) ListBlockedByRecord(ctx context.Context, blocker mls.DID, key string) ([]mls.DID, error) {
	dids, err := r.q.ListBlockedByRecord(ctx, blocker, key)
	return dids, fail("list blocked users", err)
}
