package store

import (
	"context"
	"time"

	"mls-server/internal/gen/db"
	"mls-server/internal/mls"
)

// BlockPair is a blocker and who it blocks. In checks an empty Blocked stands
// for the whole list of the blocker.
type BlockPair struct{ Blocker, Blocked mls.DID }

// Block is a known block record.
type Block struct {
	BlockPair
	// URI and Key of the record are "" where the source does not tell them.
	URI, Key  string
	CreatedAt time.Time
	// SeenAt is when a source last confirmed it.
	SeenAt time.Time
}

// BlockCheck is a look-up that was made, whatever it found.
type BlockCheck struct {
	BlockPair
	CheckedAt time.Time
}

// ListBlocks is the known blocks among users, and the look-ups that say how
// fresh that knowledge is, both of one moment.
func (r *reader) ListBlocks(ctx context.Context, dids []mls.DID) ([]Block, []BlockCheck, error) {
	rows, err := r.q.ListBlocks(ctx, texts(dids))
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
		blocks = append(blocks, Block{BlockPair: pair, URI: orEmpty(row.Uri), Key: orEmpty(row.Rkey), CreatedAt: row.At, SeenAt: row.SeenAt})
	}
	return blocks, checks, nil
}

// RecordBlocks writes what a source said at a time about pairs (or whole
// lists): the blocks that it found are kept, those that it no longer has go.
func (tx *Tx) RecordBlocks(ctx context.Context, checked []BlockPair, found []Block, at time.Time) error {
	var upsert db.UpsertBlocksParams
	upsert.SeenAt = at
	for _, b := range found {
		upsert.BlockerDids = append(upsert.BlockerDids, string(b.Blocker))
		upsert.BlockedDids = append(upsert.BlockedDids, string(b.Blocked))
		upsert.Uris = append(upsert.Uris, b.URI)
		upsert.Rkeys = append(upsert.Rkeys, b.Key)
		upsert.CreatedAts = append(upsert.CreatedAts, b.CreatedAt)
	}
	if len(found) > 0 {
		if err := tx.q.UpsertBlocks(ctx, upsert); err != nil {
			return fail("keep blocks", err)
		}
	}
	if len(checked) == 0 {
		return nil
	}
	blockers, blocked := make([]string, len(checked)), make([]string, len(checked))
	for i, pair := range checked {
		blockers[i], blocked[i] = string(pair.Blocker), string(pair.Blocked)
	}
	if _, err := tx.q.DeleteBlocksUnseen(ctx, db.DeleteBlocksUnseenParams{BlockerDids: blockers, BlockedDids: blocked, CheckedAt: at}); err != nil {
		return fail("drop blocks", err)
	}
	return fail("keep block checks", tx.q.UpsertBlockChecks(ctx, db.UpsertBlockChecksParams{BlockerDids: blockers, BlockedDids: blocked, CheckedAt: at}))
}

// DeleteBlockByKey removes a block by its record's author and key, which is
// all that a deletion on the firehose names. It returns who was blocked, ""
// when the record was not known.
func (tx *Tx) DeleteBlockByKey(ctx context.Context, blocker mls.DID, key string) (mls.DID, error) {
	gone, err := tx.q.DeleteBlockByKey(ctx, blocker, &key)
	if err != nil || len(gone) == 0 {
		return "", fail("delete block", err)
	}
	return gone[0], nil
}
