-- Devices join groups by themselves.

-- +goose NO TRANSACTION
-- +goose Up
ALTER TABLE commits
    ADD COLUMN IF NOT EXISTS joiner_device text COLLATE "C",
    ADD COLUMN IF NOT EXISTS depositor_did text COLLATE "C",
    ADD COLUMN IF NOT EXISTS blamed_did text COLLATE "C";
COMMENT ON COLUMN commits.joiner_device IS 'The device of sender_did that joined by an external commit, empty for a user without devices; NULL for the commits of members.';
COMMENT ON COLUMN commits.depositor_did IS 'Whose GroupInfo was handed out when an external commit came.';
COMMENT ON COLUMN commits.blamed_did IS 'Against whom a commit that was taken back counts, when that is not its sender.';
SET lock_timeout = 0;
DROP INDEX CONCURRENTLY IF EXISTS commits_joins_idx; -- left by a try that was cut off
CREATE INDEX CONCURRENTLY commits_joins_idx ON commits (convo_id, sender_did) WHERE joiner_device IS NOT NULL;

-- +goose Down
DROP INDEX CONCURRENTLY commits_joins_idx;
ALTER TABLE commits DROP COLUMN blamed_did, DROP COLUMN depositor_did, DROP COLUMN joiner_device;
