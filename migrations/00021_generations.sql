-- A conversation outlives its MLS group, and an epoch its commit.
--
-- A generation is one MLS group of a conversation; resetConvo begins the next. Within a generation
-- at most one commit of an epoch stands; those that were taken back stay in the log and are void.
-- The server follows the groups of verified conversations by their GroupInfos.
--
-- Each statement locks one table for a moment, and may be run again after a try that was cut off.

-- +goose NO TRANSACTION
-- +goose Up
ALTER TABLE conversations
    ADD COLUMN IF NOT EXISTS generation bigint NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS verified_epoch bigint,
    ADD COLUMN IF NOT EXISTS commit_id text COLLATE "C",
    ADD COLUMN IF NOT EXISTS reinit_group_id text COLLATE "C",
    ADD COLUMN IF NOT EXISTS reinit_suite integer;
COMMENT ON COLUMN conversations.generation IS 'Which MLS group of the conversation it is, from 0. The groups are in convo_groups.';
COMMENT ON COLUMN conversations.verified_epoch IS 'The epoch whose group state was verified; NULL for an opaque conversation.';
COMMENT ON COLUMN conversations.commit_id IS 'Message id of the newest commit that stands; NULL before the first one of the generation.';
COMMENT ON COLUMN conversations.reinit_group_id IS 'The group that a ReInit commit announced (RFC 9420 12.1.5), reinit_suite its suite: this one has ended.';

-- No commit moves a verified conversation without the state of the epoch that it leads to, whatever
-- the code does: servers of before know nothing of that state.
ALTER TABLE conversations
    DROP CONSTRAINT IF EXISTS conversations_state_is_current,
    ADD CONSTRAINT conversations_state_is_current CHECK (verified_epoch = epoch) NOT VALID;
ALTER TABLE conversations VALIDATE CONSTRAINT conversations_state_is_current;
ALTER TABLE conversations
    DROP CONSTRAINT IF EXISTS conversations_reinit_complete,
    ADD CONSTRAINT conversations_reinit_complete CHECK ((reinit_group_id IS NULL) = (reinit_suite IS NULL)) NOT VALID;
ALTER TABLE conversations VALIDATE CONSTRAINT conversations_reinit_complete;

-- Kind 4 is a notice of the server's, without a ciphertext: it takes commits back, or says that the
-- group was begun anew.
ALTER TABLE messages ADD COLUMN IF NOT EXISTS generation bigint NOT NULL DEFAULT 0;
ALTER TABLE messages
    DROP CONSTRAINT IF EXISTS messages_kind_known,
    ADD CONSTRAINT messages_kind_known CHECK (kind BETWEEN 1 AND 4) NOT VALID;
ALTER TABLE messages VALIDATE CONSTRAINT messages_kind_known;

ALTER TABLE commits
    ADD COLUMN IF NOT EXISTS generation bigint NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS void_seq bigint,
    ADD COLUMN IF NOT EXISTS message_hash bytea;
COMMENT ON COLUMN commits.message_hash IS 'SHA-256 of the MLSMessage without padding, by which a commit that was taken back is known again.';
COMMENT ON COLUMN commits.void_seq IS 'Seq of the notice that took the commit back; NULL while it stands. What was sent between the two in a later epoch is void, too.';
ALTER TABLE commits
    DROP CONSTRAINT IF EXISTS commits_void_later,
    ADD CONSTRAINT commits_void_later CHECK (void_seq > seq) NOT VALID;
ALTER TABLE commits VALIDATE CONSTRAINT commits_void_later;

ALTER TABLE members ADD COLUMN IF NOT EXISTS join_generation bigint NOT NULL DEFAULT 0;

-- What a commit has done is found again by its seq when it is taken back.
ALTER TABLE welcomes ADD COLUMN IF NOT EXISTS generation bigint NOT NULL DEFAULT 0, ADD COLUMN IF NOT EXISTS commit_seq bigint;
ALTER TABLE pending_welcomes ADD COLUMN IF NOT EXISTS generation bigint NOT NULL DEFAULT 0, ADD COLUMN IF NOT EXISTS commit_seq bigint;
COMMENT ON COLUMN pending_welcomes.commit_seq IS 'Seq of the fulfilling commit.';
ALTER TABLE removal_debts
    ADD COLUMN IF NOT EXISTS generation bigint NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS settled_seq bigint;

ALTER TABLE event_stream ADD COLUMN IF NOT EXISTS commit_id text COLLATE "C";
COMMENT ON COLUMN event_stream.commit_id IS 'Message id of the commit that stands in the epoch before the event''s.';

-- Every group id that was ever used. Rows outlive their conversations: an id is never used twice.
CREATE TABLE IF NOT EXISTS convo_groups (
    group_id   text COLLATE "C" NOT NULL,
    convo_id   text COLLATE "C" NOT NULL,
    generation bigint NOT NULL,
    CONSTRAINT convo_groups_pkey PRIMARY KEY (group_id)
);

-- Whoever writes conversations, the ids are noted.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION note_convo_group() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO convo_groups (group_id, convo_id, generation) VALUES (NEW.group_id, NEW.id, NEW.generation);
    RETURN NULL;
END
$$;
-- +goose StatementEnd
CREATE OR REPLACE TRIGGER conversations_note_group AFTER INSERT ON conversations
FOR EACH ROW EXECUTE FUNCTION note_convo_group();
CREATE OR REPLACE TRIGGER conversations_note_next_group AFTER UPDATE OF group_id ON conversations
FOR EACH ROW WHEN (OLD.group_id IS DISTINCT FROM NEW.group_id) EXECUTE FUNCTION note_convo_group();
INSERT INTO convo_groups (group_id, convo_id, generation)
SELECT c.group_id, c.id, c.generation FROM conversations c
ON CONFLICT ON CONSTRAINT convo_groups_pkey DO NOTHING;

-- A group as the server knows it in one epoch. group_info holds ratchet_tree and external_pub, bare,
-- without the header of an MLSMessage. The lists go together: whose device each member's leaf is.
CREATE TABLE IF NOT EXISTS group_states (
    convo_id      text COLLATE "C" NOT NULL,
    generation    bigint NOT NULL,
    epoch         bigint NOT NULL,
    group_info    bytea NOT NULL,
    proven        boolean NOT NULL,
    depositor_did text COLLATE "C" NOT NULL,
    depositors    text[] NOT NULL DEFAULT '{}',
    retired       boolean NOT NULL DEFAULT false,
    leaf_indexes  bigint[] NOT NULL,
    leaf_users    text[] NOT NULL,
    leaf_devices  text[] NOT NULL,
    created_at    timestamptz NOT NULL,
    superseded_at timestamptz,
    superseded_by text COLLATE "C",
    CONSTRAINT group_states_pkey PRIMARY KEY (convo_id, generation, epoch),
    CONSTRAINT group_states_convo_id_fkey FOREIGN KEY (convo_id) REFERENCES conversations (id) ON DELETE CASCADE,
    CONSTRAINT group_states_leaves_together CHECK (cardinality(leaf_indexes) = cardinality(leaf_users) AND cardinality(leaf_indexes) = cardinality(leaf_devices)),
    CONSTRAINT group_states_superseded_together CHECK ((superseded_at IS NULL) = (superseded_by IS NULL)),
    CONSTRAINT group_states_created_at_bucketed CHECK (created_at = date_bin('2 seconds', created_at, '2000-01-01 00:00:00+00')),
    CONSTRAINT group_states_superseded_at_bucketed CHECK (superseded_at = date_bin('2 seconds', superseded_at, '2000-01-01 00:00:00+00'))
);
-- Keys do not compress; trying costs time.
ALTER TABLE group_states ALTER COLUMN group_info SET STORAGE EXTERNAL;
COMMENT ON COLUMN group_states.proven IS 'It was held against every commit that led here. A proposed state of an opaque conversation was checked in itself only.';
COMMENT ON COLUMN group_states.depositors IS 'Who has replaced the GroupInfo in this epoch.';
COMMENT ON COLUMN group_states.retired IS 'A commit that joined by this GroupInfo was taken back: it is given to nobody.';

-- Rows of the roster as they were before a commit added their devices; NULL for none.
CREATE TABLE IF NOT EXISTS commit_additions (
    convo_id   text COLLATE "C" NOT NULL,
    seq        bigint NOT NULL,
    user_did   text COLLATE "C" NOT NULL,
    device_id  text COLLATE "C" NOT NULL,
    before     jsonb,
    created_at timestamptz NOT NULL,
    CONSTRAINT commit_additions_pkey PRIMARY KEY (convo_id, seq, user_did, device_id),
    CONSTRAINT commit_additions_convo_id_fkey FOREIGN KEY (convo_id) REFERENCES conversations (id) ON DELETE CASCADE,
    CONSTRAINT commit_additions_created_at_bucketed CHECK (created_at = date_bin('2 seconds', created_at, '2000-01-01 00:00:00+00'))
);

-- +goose Down
DROP TABLE commit_additions;
DROP TABLE group_states;
DROP TRIGGER conversations_note_next_group ON conversations;
DROP TRIGGER conversations_note_group ON conversations;
DROP FUNCTION note_convo_group();
DROP TABLE convo_groups;
ALTER TABLE event_stream DROP COLUMN commit_id;
ALTER TABLE removal_debts DROP COLUMN settled_seq, DROP COLUMN generation;
ALTER TABLE pending_welcomes DROP COLUMN commit_seq, DROP COLUMN generation;
ALTER TABLE welcomes DROP COLUMN commit_seq, DROP COLUMN generation;
ALTER TABLE members DROP COLUMN join_generation;
ALTER TABLE commits DROP CONSTRAINT commits_void_later, DROP COLUMN message_hash, DROP COLUMN void_seq, DROP COLUMN generation;
ALTER TABLE messages
    DROP CONSTRAINT messages_kind_known,
    ADD CONSTRAINT messages_kind_known CHECK (kind BETWEEN 1 AND 3),
    DROP COLUMN generation;
ALTER TABLE conversations
    DROP CONSTRAINT conversations_reinit_complete,
    DROP CONSTRAINT conversations_state_is_current,
    DROP COLUMN reinit_suite, DROP COLUMN reinit_group_id, DROP COLUMN commit_id, DROP COLUMN verified_epoch, DROP COLUMN generation;
