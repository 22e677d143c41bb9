-- What admins do about reports is an open set: their clients have words of their own for it.

-- +goose NO TRANSACTION
-- +goose Up
ALTER TABLE reports DROP CONSTRAINT IF EXISTS reports_action_known;
ALTER TABLE reports
    DROP CONSTRAINT IF EXISTS reports_action_is_a_word,
    ADD CONSTRAINT reports_action_is_a_word CHECK (octet_length(action) BETWEEN 1 AND 64) NOT VALID;
ALTER TABLE reports VALIDATE CONSTRAINT reports_action_is_a_word;

-- +goose Down
ALTER TABLE reports DROP CONSTRAINT reports_action_is_a_word;
ALTER TABLE reports ADD CONSTRAINT reports_action_known CHECK (action IN ('removed_member', 'dismissed', 'no_action')) NOT VALID;
