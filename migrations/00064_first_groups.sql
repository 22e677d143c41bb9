-- Outside, a conversation's id is the id of its first MLS group, which stays when resetConvo gives
-- it another one. As long as it has its first group, group_id is that, and nothing is written here.

-- +goose NO TRANSACTION
-- +goose Up
ALTER TABLE conversations ADD COLUMN IF NOT EXISTS first_group_id text COLLATE "C";
COMMENT ON COLUMN conversations.first_group_id IS 'The group that the conversation began with, by which clients know it; NULL as long as it is group_id.';

-- Servers of before reset conversations without knowing of it.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION keep_first_group() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    NEW.first_group_id := coalesce(OLD.first_group_id, OLD.group_id);
    RETURN NEW;
END
$$;
-- +goose StatementEnd
CREATE OR REPLACE TRIGGER conversations_keep_first_group BEFORE UPDATE OF group_id ON conversations
FOR EACH ROW WHEN (OLD.group_id IS DISTINCT FROM NEW.group_id) EXECUTE FUNCTION keep_first_group();

UPDATE conversations c SET first_group_id = g.group_id
FROM convo_groups g
WHERE c.generation > 0 AND c.first_group_id IS NULL AND g.convo_id = c.id AND g.generation = 0;

-- Events outlive their conversation; its groups are noted for ever.
SET lock_timeout = 0;
DROP INDEX CONCURRENTLY IF EXISTS convo_groups_first_idx; -- left by a try that was cut off
CREATE INDEX CONCURRENTLY convo_groups_first_idx ON convo_groups (convo_id) WHERE generation = 0;

-- +goose Down
DROP INDEX CONCURRENTLY convo_groups_first_idx;
DROP TRIGGER conversations_keep_first_group ON conversations;
DROP FUNCTION keep_first_group();
ALTER TABLE conversations DROP COLUMN first_group_id;
