-- Removals that were settled long ago are found by their time, and forgotten; those of a conversation
-- by its id, as the open ones are.

-- +goose NO TRANSACTION
-- +goose Up
SET lock_timeout = 0;
DROP INDEX CONCURRENTLY IF EXISTS removal_debts_settled_at_idx; -- left by a try that was cut off
CREATE INDEX CONCURRENTLY removal_debts_settled_at_idx ON removal_debts (settled_at) WHERE settled_at IS NOT NULL;
DROP INDEX CONCURRENTLY IF EXISTS removal_debts_settled_convo_idx;
CREATE INDEX CONCURRENTLY removal_debts_settled_convo_idx ON removal_debts (convo_id) WHERE settled_at IS NOT NULL;

-- +goose Down
DROP INDEX CONCURRENTLY removal_debts_settled_convo_idx;
DROP INDEX CONCURRENTLY removal_debts_settled_at_idx;
