-- What streams need of the log beside its order.

-- +goose Up
-- Whether a user was in a conversation at some position follows from the
-- roster and from the user's own joins (2) and leaves (3) around that position.
CREATE INDEX event_stream_membership_idx ON event_stream (user_did, convo_id, generation, log_xid, position) WHERE kind IN (2, 3);

-- Cursors are positions, encrypted under a key that goes with the log: all
-- servers read each other's cursors, a restored dump keeps them valid, and
-- they tell clients nothing about what happens elsewhere on the server. The
-- key protects no content. gen_random_uuid has 122 random bits.
ALTER TABLE event_log ADD COLUMN cursor_key bytea NOT NULL
    DEFAULT sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8'));
ALTER TABLE event_log ADD CONSTRAINT event_log_cursor_key_is_256_bits CHECK (octet_length(cursor_key) = 32);

-- +goose Down
ALTER TABLE event_log DROP COLUMN cursor_key;
DROP INDEX event_stream_membership_idx;
