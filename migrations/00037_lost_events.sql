-- What retention takes out of the log is noted by whom it was for, so that a stream which resumes
-- from before is told that events are missing only when some of the user's are.

-- +goose Up
-- The last event that is gone: of a conversation (user_did is ''), of what its admins alone could
-- see ('admins'), and of what was about one user's membership or for one user only. What was for a
-- user and of no conversation has '' for the conversation. The row of '' and '' holds for everybody:
-- what was gone before such notes were kept.
CREATE TABLE lost_events (
    convo_id   text COLLATE "C" NOT NULL,
    user_did   text COLLATE "C" NOT NULL,
    generation bigint NOT NULL,
    log_xid    bigint NOT NULL,
    position   bigint NOT NULL,
    CONSTRAINT lost_events_pkey PRIMARY KEY (convo_id, user_did)
);
CREATE INDEX lost_events_user_idx ON lost_events (user_did) WHERE user_did <> '';

-- Whoever removes events, it is noted.
-- +goose StatementBegin
CREATE FUNCTION note_lost_events() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO lost_events AS l (convo_id, user_did, generation, log_xid, position)
    SELECT DISTINCT ON (n.convo_id, n.user_did) n.convo_id, n.user_did, n.generation, n.log_xid, n.position
    FROM (
        SELECT coalesce(g.convo_id, '') AS convo_id, CASE g.audience WHEN 1 THEN '' WHEN 2 THEN 'admins' ELSE g.audience_did END AS user_did,
               g.generation, g.log_xid, g.position
        FROM gone g
        UNION ALL
        SELECT g.convo_id, g.user_did, g.generation, g.log_xid, g.position
        FROM gone g
        WHERE g.kind IN (2, 3)
    ) n
    ORDER BY n.convo_id, n.user_did, n.generation DESC, n.log_xid DESC, n.position DESC
    ON CONFLICT ON CONSTRAINT lost_events_pkey DO UPDATE
    SET generation = excluded.generation, log_xid = excluded.log_xid, position = excluded.position
    WHERE (l.generation, l.log_xid, l.position) < (excluded.generation, excluded.log_xid, excluded.position);
    RETURN NULL;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER event_stream_note_lost AFTER DELETE ON event_stream REFERENCING OLD TABLE AS gone
FOR EACH STATEMENT EXECUTE FUNCTION note_lost_events();

-- Nothing is removed now that the trigger is there, so this is all that went without a note.
INSERT INTO lost_events (convo_id, user_did, generation, log_xid, position)
SELECT '', '', l.compacted_generation, l.compacted_log_xid, l.compacted_position
FROM event_log l
WHERE l.compacted_generation > 0;

-- +goose Down
DROP TRIGGER event_stream_note_lost ON event_stream;
DROP FUNCTION note_lost_events();
DROP TABLE lost_events;
