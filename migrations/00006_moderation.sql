-- Administration, reports and blocks. Audit rows and reports outlive their
-- conversation: no foreign key.

-- +goose Up
CREATE TABLE admin_actions (
    id         bigint GENERATED ALWAYS AS IDENTITY,
    convo_id   text COLLATE "C" NOT NULL,
    actor_did  text COLLATE "C" NOT NULL,
    action     text NOT NULL,
    target_did text COLLATE "C",
    report_id  text COLLATE "C",
    reason     text,
    created_at timestamptz NOT NULL,
    CONSTRAINT admin_actions_pkey PRIMARY KEY (id),
    CONSTRAINT admin_actions_action_known CHECK (action IN ('promote', 'demote', 'remove', 'succeed', 'resolve_report', 'resolve_block_conflict'))
);

CREATE INDEX admin_actions_convo_idx ON admin_actions (convo_id, created_at);
CREATE INDEX admin_actions_created_idx ON admin_actions (created_at);

-- The ids of reported messages are counted, not kept: a row that names a
-- person beside a message is what I7 forbids. Admins find them inside
-- encrypted_content.
CREATE TABLE reports (
    id                text COLLATE "C" NOT NULL,
    convo_id          text COLLATE "C" NOT NULL,
    reporter_did      text COLLATE "C" NOT NULL,
    reported_did      text COLLATE "C" NOT NULL,
    category          text NOT NULL,
    encrypted_content bytea NOT NULL,
    message_count     smallint NOT NULL DEFAULT 0,
    status            text NOT NULL DEFAULT 'pending',
    resolved_by       text COLLATE "C",
    resolved_at       timestamptz,
    action            text,
    notes             text,
    created_at        timestamptz NOT NULL,
    CONSTRAINT reports_pkey PRIMARY KEY (id),
    CONSTRAINT reports_status_known CHECK (status IN ('pending', 'resolved', 'dismissed')),
    CONSTRAINT reports_action_known CHECK (action IN ('removed_member', 'dismissed', 'no_action')),
    CONSTRAINT reports_resolved_together CHECK ((status = 'pending') = (resolved_at IS NULL) AND (resolved_at IS NULL) = (resolved_by IS NULL) AND (resolved_at IS NULL) = (action IS NULL)),
    CONSTRAINT reports_not_about_oneself CHECK (reporter_did <> reported_did),
    CONSTRAINT reports_message_count_not_negative CHECK (message_count >= 0)
);

ALTER TABLE reports ALTER COLUMN encrypted_content SET STORAGE EXTERNAL;

CREATE INDEX reports_convo_idx ON reports (convo_id, created_at DESC, id DESC);
CREATE INDEX reports_pair_idx ON reports (reporter_did, reported_did, created_at);
CREATE INDEX reports_created_idx ON reports (created_at);

-- The cache of block records. A row says that a block exists; block_checks
-- says when that was last looked up, so that "no block" is known too.
CREATE TABLE bsky_blocks (
    blocker_did text COLLATE "C" NOT NULL,
    blocked_did text COLLATE "C" NOT NULL,
    uri         text,
    rkey        text,
    created_at  timestamptz NOT NULL,
    seen_at     timestamptz NOT NULL,
    CONSTRAINT bsky_blocks_pkey PRIMARY KEY (blocker_did, blocked_did),
    CONSTRAINT bsky_blocks_not_oneself CHECK (blocker_did <> blocked_did)
);

CREATE INDEX bsky_blocks_blocked_idx ON bsky_blocks (blocked_did, blocker_did);
-- Jetstream names a deleted record by its author and key alone.
CREATE INDEX bsky_blocks_rkey_idx ON bsky_blocks (rkey, blocker_did);

-- blocked_did '' stands for the whole list of the blocker.
CREATE TABLE block_checks (
    blocker_did text COLLATE "C" NOT NULL,
    blocked_did text COLLATE "C" NOT NULL DEFAULT '',
    checked_at  timestamptz NOT NULL,
    CONSTRAINT block_checks_pkey PRIMARY KEY (blocker_did, blocked_did)
);

CREATE INDEX block_checks_checked_idx ON block_checks (checked_at);

-- +goose Down
DROP TABLE block_checks;
DROP TABLE bsky_blocks;
DROP TABLE reports;
DROP TABLE admin_actions;
