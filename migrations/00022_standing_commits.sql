-- Indexes for what 00021 added, built beside requests.

-- +goose NO TRANSACTION
-- +goose Up
SET lock_timeout = 0;
DROP INDEX CONCURRENTLY IF EXISTS commits_standing_key;
CREATE UNIQUE INDEX CONCURRENTLY commits_standing_key ON commits (convo_id, generation, epoch) WHERE void_seq IS NULL;
DROP INDEX CONCURRENTLY IF EXISTS commits_void_idx;
CREATE INDEX CONCURRENTLY commits_void_idx ON commits (convo_id, generation) WHERE void_seq IS NOT NULL;
DROP INDEX CONCURRENTLY IF EXISTS commits_row_key;
CREATE UNIQUE INDEX CONCURRENTLY commits_row_key ON commits (convo_id, seq);
DROP INDEX CONCURRENTLY IF EXISTS welcomes_commit_idx;
CREATE INDEX CONCURRENTLY welcomes_commit_idx ON welcomes (convo_id, commit_seq);
DROP INDEX CONCURRENTLY IF EXISTS pending_welcomes_commit_idx;
CREATE INDEX CONCURRENTLY pending_welcomes_commit_idx ON pending_welcomes (convo_id, commit_seq) WHERE commit_seq IS NOT NULL;
DROP INDEX CONCURRENTLY IF EXISTS removal_debts_settled_idx;
CREATE INDEX CONCURRENTLY removal_debts_settled_idx ON removal_debts (convo_id, settled_seq) WHERE settled_seq IS NOT NULL;
DROP INDEX CONCURRENTLY IF EXISTS group_states_superseded_idx;
CREATE INDEX CONCURRENTLY group_states_superseded_idx ON group_states (superseded_at) WHERE superseded_at IS NOT NULL;
DROP INDEX CONCURRENTLY IF EXISTS commit_additions_created_idx;
CREATE INDEX CONCURRENTLY commit_additions_created_idx ON commit_additions (created_at);

-- +goose Down
DROP INDEX commit_additions_created_idx;
DROP INDEX group_states_superseded_idx;
DROP INDEX removal_debts_settled_idx;
DROP INDEX pending_welcomes_commit_idx;
DROP INDEX welcomes_commit_idx;
DROP INDEX IF EXISTS commits_row_key;
DROP INDEX commits_void_idx;
DROP INDEX commits_standing_key;
