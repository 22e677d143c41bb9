-- What a commit that nobody but the members can read is said to have removed: the members confirm it.

-- +goose Up
ALTER TABLE removal_debts
    ADD COLUMN claimed_seq bigint,
    ADD COLUMN claimed_by text COLLATE "C",
    ADD COLUMN confirmed_by text[] NOT NULL DEFAULT '{}',
    ADD COLUMN disputed_by text[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN removal_debts.claimed_seq IS 'Seq of the commit that is said to remove the leaf, claimed_by its committer.';
COMMENT ON COLUMN removal_debts.confirmed_by IS 'Users who say that the leaf is gone.';
COMMENT ON COLUMN removal_debts.disputed_by IS 'Users who have said that it is not, each once for a claim.';

-- +goose Down
ALTER TABLE removal_debts
    DROP COLUMN disputed_by,
    DROP COLUMN confirmed_by,
    DROP COLUMN claimed_by,
    DROP COLUMN claimed_seq;
