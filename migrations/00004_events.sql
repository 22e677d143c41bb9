-- The event log: what streams are fed from, in one total order that is safe
-- to resume.
--
-- The order is (generation, log_xid, position). log_xid is the larger of the
-- writing transaction's id and the conversation's log_xid, taken and stored
-- while the conversation's row is locked; position is drawn under the same
-- lock. So the events of one conversation are in the order of its locks,
-- which is the order of seq (I3), and position alone orders one conversation: ordering by the transaction id alone would
-- not do, because a transaction may get its id long before the lock.
--
-- No transaction writes a log_xid smaller than its own id. So what lies below
-- pg_snapshot_xmin(pg_current_snapshot()) is complete and for ever, and
-- readers stop there. A generation begins when transaction ids may have begun
-- anew (a restore, a promoted replica): cursors of older ones sort before it.

-- +goose Up
CREATE TABLE event_stream (
    generation   bigint NOT NULL,
    log_xid      bigint NOT NULL,
    position     bigint GENERATED ALWAYS AS IDENTITY (CACHE 1),
    kind         smallint NOT NULL,
    audience     smallint NOT NULL,
    convo_id     text COLLATE "C",
    audience_did text COLLATE "C",
    seq          bigint,
    message_id   text COLLATE "C",
    user_did     text COLLATE "C",
    device_id    text COLLATE "C",
    request_id   text COLLATE "C",
    epoch        bigint,
    bucket_ts    timestamptz NOT NULL,
    CONSTRAINT event_stream_pkey PRIMARY KEY (generation, log_xid, position),
    CONSTRAINT event_stream_audience_known CHECK (audience BETWEEN 1 AND 3),
    -- 1 all members, 2 the admins but for audience_did, 3 audience_did alone.
    CONSTRAINT event_stream_audience_complete CHECK (CASE audience WHEN 3 THEN audience_did IS NOT NULL ELSE convo_id IS NOT NULL END),
    CONSTRAINT event_stream_message_complete CHECK ((kind = 1) = (message_id IS NOT NULL) AND (kind <> 1 OR seq IS NOT NULL)),
    -- An event of a message names no person (I7).
    CONSTRAINT event_stream_message_names_nobody CHECK (kind <> 1 OR (user_did IS NULL AND device_id IS NULL AND audience_did IS NULL AND request_id IS NULL)),
    CONSTRAINT event_stream_bucketed CHECK (bucket_ts = date_bin('2 seconds', bucket_ts, '2000-01-01 00:00:00+00'))
);

CREATE INDEX event_stream_bucket_brin ON event_stream USING brin (bucket_ts) WITH (autosummarize = on, pages_per_range = 32);
-- Replay of a stream reads the log by conversation, so that its cost does not
-- grow with what others say.
CREATE INDEX event_stream_convo_idx ON event_stream (convo_id, generation, log_xid, position) WHERE convo_id IS NOT NULL;
CREATE INDEX event_stream_personal_idx ON event_stream (audience_did, generation, log_xid, position) WHERE audience = 3;

-- One row: the generation that events are written in, and the database it
-- belongs to. compacted_* is the last event that retention removed; a cursor
-- before it has lost events.
CREATE TABLE event_log (
    only_row             boolean NOT NULL DEFAULT true,
    generation           bigint NOT NULL,
    origin               text NOT NULL,
    compacted_generation bigint NOT NULL DEFAULT 0,
    compacted_log_xid    bigint NOT NULL DEFAULT 0,
    compacted_position   bigint NOT NULL DEFAULT 0,
    CONSTRAINT event_log_pkey PRIMARY KEY (only_row),
    CONSTRAINT event_log_only_row CHECK (only_row)
);

-- What identifies the history of transaction ids: the cluster, and the
-- timeline that a promoted replica begins.
-- +goose StatementBegin
CREATE FUNCTION event_log_origin() RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT system_identifier::text || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8) FROM pg_control_system()
$$;
-- +goose StatementEnd

INSERT INTO event_log (generation, origin) VALUES (1, event_log_origin());

-- +goose Down
DROP TABLE event_log;
DROP FUNCTION event_log_origin();
DROP TABLE event_stream;
