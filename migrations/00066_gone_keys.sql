-- A sealed send that waits for its conversation learns that the keys are gone by which it was judged,
-- whatever has ended them: as other sends do of a change of the roster, by roster_version.

-- +goose Up
-- +goose StatementBegin
CREATE FUNCTION note_gone_send_keys() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE conversations SET roster_version = roster_version + 1 WHERE id = OLD.convo_id;
    RETURN NULL;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER send_keys_note_gone AFTER DELETE ON send_keys FOR EACH ROW EXECUTE FUNCTION note_gone_send_keys();
COMMENT ON COLUMN conversations.roster_version IS 'Grows with every change of the roster, and when keys for sealed sends go. A statement that judged membership before it waited for this row sees here that its judgement is stale.';

-- +goose Down
COMMENT ON COLUMN conversations.roster_version IS 'Grows with every change of the roster. A statement that judged membership before it waited for this row sees here that its judgement is stale.';
DROP TRIGGER send_keys_note_gone ON send_keys;
DROP FUNCTION note_gone_send_keys();
