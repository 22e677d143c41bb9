-- Conversations, their rosters and their messages.
--
-- Text that is compared or sorted (DIDs, ids) collates "C": byte order, the
-- same on every machine, and index scans for prefixes.

-- +goose Up
CREATE TABLE conversations (
    id                     text COLLATE "C" NOT NULL,
    group_id               text COLLATE "C" NOT NULL,
    creator_did            text COLLATE "C" NOT NULL,
    cipher_suite           integer NOT NULL,
    epoch                  bigint NOT NULL,
    last_seq               bigint NOT NULL DEFAULT 0,
    roster_version         bigint NOT NULL DEFAULT 0,
    log_xid                bigint NOT NULL DEFAULT 0,
    name                   text,
    description            text,
    created_at             timestamptz NOT NULL,
    last_activity_at       timestamptz NOT NULL,
    last_message_bucket_ts timestamptz,
    CONSTRAINT conversations_pkey PRIMARY KEY (id),
    CONSTRAINT conversations_group_id_key UNIQUE (group_id),
    CONSTRAINT conversations_id_is_tid CHECK (id ~ '^[2-7a-z]{13}$'),
    CONSTRAINT conversations_group_id_is_hex CHECK (group_id ~ '^([0-9a-f]{2})+$'),
    CONSTRAINT conversations_cipher_suite_fits CHECK (cipher_suite BETWEEN 1 AND 65535),
    CONSTRAINT conversations_epoch_not_negative CHECK (epoch >= 0),
    CONSTRAINT conversations_created_at_bucketed CHECK (created_at = date_bin('2 seconds', created_at, '2000-01-01 00:00:00+00')),
    CONSTRAINT conversations_last_activity_at_bucketed CHECK (last_activity_at = date_bin('2 seconds', last_activity_at, '2000-01-01 00:00:00+00')),
    CONSTRAINT conversations_last_message_bucketed CHECK (last_message_bucket_ts = date_bin('2 seconds', last_message_bucket_ts, '2000-01-01 00:00:00+00'))
    -- Every send updates the row. Room on its page, and no index on what
    -- changes, keep those updates heap-only.
) WITH (fillfactor = 50);

COMMENT ON COLUMN conversations.cipher_suite IS 'Number of the MLS cipher suite, RFC 9420 section 17.1.';
COMMENT ON COLUMN conversations.roster_version IS 'Grows with every change of the roster. A statement that judged membership before it waited for this row sees here that its judgement is stale.';
COMMENT ON COLUMN conversations.log_xid IS 'Largest event_stream.log_xid of this conversation; see event_stream.';

-- One row per device. Authority belongs to users: is_admin and the promotion
-- are equal over all active rows of a user.
CREATE TABLE members (
    convo_id        text COLLATE "C" NOT NULL,
    user_did        text COLLATE "C" NOT NULL,
    device_id       text COLLATE "C" NOT NULL DEFAULT '',
    mls_did         text NOT NULL,
    device_name     text,
    joined_at       timestamptz NOT NULL,
    join_epoch      bigint NOT NULL,
    join_seq        bigint NOT NULL,
    left_at         timestamptz,
    left_seq        bigint,
    left_reason     text,
    is_admin        boolean NOT NULL DEFAULT false,
    promoted_at     timestamptz,
    promoted_by_did text COLLATE "C",
    leaf_index      bigint,
    needs_rejoin    boolean NOT NULL DEFAULT false,
    CONSTRAINT members_pkey PRIMARY KEY (convo_id, user_did, device_id),
    CONSTRAINT members_convo_id_fkey FOREIGN KEY (convo_id) REFERENCES conversations (id) ON DELETE CASCADE,
    CONSTRAINT members_left_together CHECK ((left_at IS NULL) = (left_seq IS NULL) AND (left_at IS NULL) = (left_reason IS NULL)),
    CONSTRAINT members_left_reason_known CHECK (left_reason IN ('left', 'removed')),
    CONSTRAINT members_gone_is_no_admin CHECK (left_at IS NULL OR NOT is_admin),
    CONSTRAINT members_leaf_index_not_negative CHECK (leaf_index >= 0),
    CONSTRAINT members_joined_at_bucketed CHECK (joined_at = date_bin('2 seconds', joined_at, '2000-01-01 00:00:00+00')),
    CONSTRAINT members_left_at_bucketed CHECK (left_at = date_bin('2 seconds', left_at, '2000-01-01 00:00:00+00'))
);

COMMENT ON COLUMN members.join_seq IS 'Seq of the commit that added the device; history is served from seq > join_seq.';

-- "Which conversations is this user in" (getConvos, streams, registerDevice).
CREATE INDEX members_active_user_idx ON members (user_did, convo_id) WHERE left_at IS NULL;

-- kind is the content type of RFC 9420, section 6: 1 application, 2 proposal,
-- 3 commit.
--
-- sender_did exists so that operators can see that it is empty; the CHECK
-- keeps it so (I7).
--
-- There is no foreign key to conversations: every insert is made by the
-- statement, or under the lock, that updates the conversation's row, and the
-- key's own check would cost a look-up per message on the hottest path.
CREATE TABLE messages (
    convo_id           text COLLATE "C" NOT NULL,
    seq                bigint NOT NULL,
    msg_id             text COLLATE "C" NOT NULL,
    kind               smallint NOT NULL,
    epoch              bigint NOT NULL,
    ciphertext         bytea NOT NULL,
    declared_size      bigint,
    padded_size        bigint NOT NULL,
    received_bucket_ts timestamptz NOT NULL,
    sender_did         text,
    ciphertext_hash    bytea NOT NULL,
    CONSTRAINT messages_pkey PRIMARY KEY (convo_id, seq),
    CONSTRAINT messages_msg_id_key UNIQUE (convo_id, msg_id),
    CONSTRAINT messages_sender_did_is_null CHECK (sender_did IS NULL),
    CONSTRAINT messages_seq_positive CHECK (seq > 0),
    CONSTRAINT messages_kind_known CHECK (kind BETWEEN 1 AND 3),
    CONSTRAINT messages_declared_size_fits CHECK (declared_size BETWEEN 0 AND padded_size),
    CONSTRAINT messages_hash_is_sha256 CHECK (octet_length(ciphertext_hash) = 32),
    CONSTRAINT messages_received_bucketed CHECK (received_bucket_ts = date_bin('2 seconds', received_bucket_ts, '2000-01-01 00:00:00+00'))
);

-- Ciphertext does not compress; trying costs time.
ALTER TABLE messages ALTER COLUMN ciphertext SET STORAGE EXTERNAL;

-- Rows arrive in the order of their times, so a block-range index finds old
-- ones for the retention job at almost no cost per insert.
CREATE INDEX messages_received_brin ON messages USING brin (received_bucket_ts) WITH (autosummarize = on, pages_per_range = 32);

-- The primary key is invariant I1: one accepted commit per conversation and
-- epoch, whatever the code does. The bytes live once, in messages.
CREATE TABLE commits (
    convo_id   text COLLATE "C" NOT NULL,
    epoch      bigint NOT NULL,
    seq        bigint NOT NULL,
    sender_did text COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT commits_one_per_epoch PRIMARY KEY (convo_id, epoch),
    CONSTRAINT commits_seq_key UNIQUE (convo_id, seq),
    CONSTRAINT commits_message_fkey FOREIGN KEY (convo_id, seq) REFERENCES messages (convo_id, seq) ON DELETE CASCADE,
    CONSTRAINT commits_epoch_not_negative CHECK (epoch >= 0),
    CONSTRAINT commits_created_at_bucketed CHECK (created_at = date_bin('2 seconds', created_at, '2000-01-01 00:00:00+00'))
);

COMMENT ON COLUMN commits.epoch IS 'The epoch the commit was made in; accepting it leads to epoch + 1.';

-- How far a user has read. Written by the reader only, never by a send (I7).
CREATE TABLE cursors (
    convo_id text COLLATE "C" NOT NULL,
    user_did text COLLATE "C" NOT NULL,
    seq      bigint NOT NULL,
    CONSTRAINT cursors_pkey PRIMARY KEY (convo_id, user_did),
    CONSTRAINT cursors_convo_id_fkey FOREIGN KEY (convo_id) REFERENCES conversations (id) ON DELETE CASCADE,
    CONSTRAINT cursors_seq_not_negative CHECK (seq >= 0)
);

-- +goose Down
DROP TABLE cursors;
DROP TABLE commits;
DROP TABLE messages;
DROP TABLE members;
DROP TABLE conversations;
