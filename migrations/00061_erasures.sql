-- What the runs of an erasure tell each other.

-- +goose Up
ALTER TABLE account_states
    ADD COLUMN IF NOT EXISTS erasure_run bigint,
    ADD COLUMN IF NOT EXISTS erasure_salt bytea;
COMMENT ON COLUMN account_states.erasure_run IS 'Number of the change with which the last run of the erasure has begun: earlier runs end.';
COMMENT ON COLUMN account_states.erasure_salt IS 'From which the names are made that stand in the account''s place, until the erasure has ended.';

-- +goose Down
ALTER TABLE account_states DROP COLUMN erasure_salt, DROP COLUMN erasure_run;
