-- A commit is its place in the sequence; of those of an epoch one stands (I1).

-- +goose Up
ALTER TABLE commits
    DROP CONSTRAINT commits_one_per_epoch,
    ADD CONSTRAINT commits_pkey PRIMARY KEY USING INDEX commits_row_key,
    DROP CONSTRAINT commits_seq_key;

-- +goose Down
DELETE FROM commits WHERE void_seq IS NOT NULL OR generation > 0;
ALTER TABLE commits
    DROP CONSTRAINT commits_pkey,
    ADD CONSTRAINT commits_one_per_epoch PRIMARY KEY (convo_id, epoch),
    ADD CONSTRAINT commits_seq_key UNIQUE (convo_id, seq);
