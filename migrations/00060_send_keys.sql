-- Keys for sealed sends: who knows the key of an epoch is a member, and need not say which.
--
-- A row is a set of keys, of one epoch. It is replaced with the epoch, and gone with it where
-- somebody leaves. The slots that hold no key hold noise, so that every row, and the answer that
-- stands for none, costs the same to read and to try.

-- +goose Up
CREATE TABLE send_keys (
    convo_id   text COLLATE "C" NOT NULL,
    generation bigint NOT NULL,
    epoch      bigint NOT NULL,
    mark       bigint NOT NULL,
    present    bytea NOT NULL,
    former     bytea NOT NULL,
    givers     text[] NOT NULL DEFAULT '{}',
    users      bigint NOT NULL,
    CONSTRAINT send_keys_pkey PRIMARY KEY (convo_id),
    CONSTRAINT send_keys_convo_id_fkey FOREIGN KEY (convo_id) REFERENCES conversations (id) ON DELETE CASCADE,
    CONSTRAINT send_keys_slots CHECK (octet_length(present) = 128 AND octet_length(former) = 128),
    CONSTRAINT send_keys_givers_fit CHECK (cardinality(givers) <= 4)
);
-- Keys do not compress; trying costs time.
ALTER TABLE send_keys ALTER COLUMN present SET STORAGE PLAIN, ALTER COLUMN former SET STORAGE PLAIN;
COMMENT ON COLUMN send_keys.mark IS 'Another one with each set of keys: a send that was judged by one set is not stored once it is gone.';
COMMENT ON COLUMN send_keys.present IS 'Four slots of 32 bytes; the first cardinality(givers) hold keys of the epoch, the others noise.';
COMMENT ON COLUMN send_keys.former IS 'Likewise, those of the epoch before.';
COMMENT ON COLUMN send_keys.givers IS 'Who has given the keys, in their order.';
COMMENT ON COLUMN send_keys.users IS 'How many members there were when the last key was given.';

-- Whoever is no longer on a roster knows the keys: they go with it, whatever the code does.
-- +goose StatementBegin
CREATE FUNCTION drop_send_keys() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM send_keys WHERE convo_id = OLD.convo_id;
    RETURN NULL;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER members_drop_send_keys AFTER UPDATE OF left_at ON members
FOR EACH ROW WHEN (OLD.left_at IS NULL AND NEW.left_at IS NOT NULL) EXECUTE FUNCTION drop_send_keys();
CREATE TRIGGER members_delete_send_keys AFTER DELETE ON members
FOR EACH ROW WHEN (OLD.left_at IS NULL) EXECUTE FUNCTION drop_send_keys();

-- A device that is deleted leaves its conversations one after the other; its keys go at once. The
-- rows are locked in their order, so that two deletions do not wait for each other in a circle.
-- +goose StatementBegin
CREATE FUNCTION drop_send_keys_of_device() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM send_keys k
    USING (SELECT s.convo_id FROM send_keys s JOIN members m ON m.convo_id = s.convo_id
           WHERE m.user_did = OLD.user_did AND m.device_id = OLD.device_id AND m.left_at IS NULL
           ORDER BY s.convo_id FOR UPDATE OF s) known
    WHERE k.convo_id = known.convo_id;
    RETURN NULL;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER user_devices_drop_send_keys AFTER DELETE ON user_devices
FOR EACH ROW EXECUTE FUNCTION drop_send_keys_of_device();

-- +goose Down
DROP TRIGGER user_devices_drop_send_keys ON user_devices;
DROP TRIGGER members_delete_send_keys ON members;
DROP TRIGGER members_drop_send_keys ON members;
DROP FUNCTION drop_send_keys_of_device();
DROP FUNCTION drop_send_keys();
DROP TABLE send_keys;
