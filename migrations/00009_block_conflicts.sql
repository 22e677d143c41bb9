-- Which blocks the admins of a conversation have been told of.

-- +goose Up
-- A row stands for a block between two members that was told and is not over. It
-- goes when the block does, or one of the two leaves; then the next block is told
-- anew. rkey is the record's, '' where it is not known.
CREATE TABLE block_conflicts (
    convo_id    text COLLATE "C" NOT NULL,
    blocker_did text COLLATE "C" NOT NULL,
    blocked_did text COLLATE "C" NOT NULL,
    rkey        text COLLATE "C" NOT NULL DEFAULT '',
    told_at     timestamptz NOT NULL,
    CONSTRAINT block_conflicts_pkey PRIMARY KEY (convo_id, blocker_did, blocked_did),
    CONSTRAINT block_conflicts_convo_id_fkey FOREIGN KEY (convo_id) REFERENCES conversations (id) ON DELETE CASCADE,
    CONSTRAINT block_conflicts_told_at_bucketed CHECK (told_at = date_bin('2 seconds', told_at, '2000-01-01 00:00:00+00'))
);

-- Jetstream names a deleted record by its author and key alone.
CREATE INDEX block_conflicts_record_idx ON block_conflicts (rkey, blocker_did);

-- +goose Down
DROP TABLE block_conflicts;
