-- What a commit names by reference is found again (RFC 9420 5.2, 12.4).

-- +goose NO TRANSACTION
-- +goose Up
ALTER TABLE messages ADD COLUMN IF NOT EXISTS proposal_ref bytea;
COMMENT ON COLUMN messages.proposal_ref IS 'ProposalRef of a readable proposal (RFC 9420 5.2); NULL for everything else.';
SET lock_timeout = 0;
DROP INDEX CONCURRENTLY IF EXISTS messages_proposals_idx; -- left by a try that was cut off
CREATE INDEX CONCURRENTLY messages_proposals_idx ON messages (convo_id, epoch, proposal_ref) WHERE kind = 2;

-- +goose Down
DROP INDEX CONCURRENTLY messages_proposals_idx;
ALTER TABLE messages DROP COLUMN proposal_ref;
