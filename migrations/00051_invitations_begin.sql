-- Where an invitation began: who accepts becomes a member with all that it has had since, devices
-- that are gone included.
--
-- Of invitations that were open before, and of those that older servers make meanwhile, all rows count.

-- +goose Up
ALTER TABLE invitations ADD COLUMN IF NOT EXISTS join_seq bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN invitations.join_seq IS 'The place of the commit that has added the user; 0 for a conversation that began with it.';

-- +goose Down
ALTER TABLE invitations DROP COLUMN join_seq;
