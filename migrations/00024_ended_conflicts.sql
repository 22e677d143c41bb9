-- Conflicts that are over are known for a while, since a Jetstream may tell of their blocks again.

-- +goose Up
-- A row stands for a block record that the admins of a conversation were told of and that is gone.
CREATE TABLE ended_conflicts (
    convo_id    text COLLATE "C" NOT NULL,
    blocker_did text COLLATE "C" NOT NULL,
    rkey        text COLLATE "C" NOT NULL,
    ended_at    timestamptz NOT NULL,
    CONSTRAINT ended_conflicts_pkey PRIMARY KEY (convo_id, blocker_did, rkey),
    CONSTRAINT ended_conflicts_convo_id_fkey FOREIGN KEY (convo_id) REFERENCES conversations (id) ON DELETE CASCADE,
    CONSTRAINT ended_conflicts_ended_at_bucketed CHECK (ended_at = date_bin('2 seconds', ended_at, '2000-01-01 00:00:00+00'))
);
CREATE INDEX ended_conflicts_ended_idx ON ended_conflicts (ended_at);

-- +goose Down
DROP TABLE ended_conflicts;
