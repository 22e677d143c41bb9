-- name: AppendEvents :execrows
-- AppendEvents writes events of one conversation, in their order. The caller
-- holds the conversation's lock. '' and -1 stand for what an event has not.
WITH stamp AS (
    UPDATE conversations c
    SET log_xid = greatest(c.log_xid, pg_current_xact_id()::text::bigint)
    WHERE c.id = @convo_id::text
    RETURNING c.id, c.log_xid, c.last_seq
)
INSERT INTO event_stream (generation, log_xid, kind, audience, convo_id, audience_did, seq, user_did, device_id, request_id, epoch, commit_id, bucket_ts)
SELECT g.generation, s.log_xid, k.kind, a.audience, s.id, nullif(p.audience_did, ''), s.last_seq, nullif(u.user_did, ''), nullif(d.device_id, ''), nullif(r.request_id, ''), nullif(e.epoch, -1), nullif(m.commit_id, ''), @bucket_ts::timestamptz
FROM unnest(@kinds::smallint[]) WITH ORDINALITY AS k (kind, ord)
JOIN unnest(@audiences::smallint[]) WITH ORDINALITY AS a (audience, ord) USING (ord)
JOIN unnest(@audience_dids::text[]) WITH ORDINALITY AS p (audience_did, ord) USING (ord)
JOIN unnest(@user_dids::text[]) WITH ORDINALITY AS u (user_did, ord) USING (ord)
JOIN unnest(@device_ids::text[]) WITH ORDINALITY AS d (device_id, ord) USING (ord)
JOIN unnest(@request_ids::text[]) WITH ORDINALITY AS r (request_id, ord) USING (ord)
JOIN unnest(@epochs::bigint[]) WITH ORDINALITY AS e (epoch, ord) USING (ord)
JOIN unnest(@commit_ids::text[]) WITH ORDINALITY AS m (commit_id, ord) USING (ord)
CROSS JOIN stamp s
CROSS JOIN event_head g
ORDER BY k.ord;

-- name: AppendRequestEvents :execrows
-- AppendRequestEvents tells the members of many conversations that a device
-- waits to be added. Locks are taken in the order of the ids.
WITH locked AS (
    SELECT c.id FROM conversations c
    WHERE c.id = ANY (@convo_ids::text[])
    ORDER BY c.id
    FOR NO KEY UPDATE
), stamp AS (
    UPDATE conversations c
    SET log_xid = greatest(c.log_xid, pg_current_xact_id()::text::bigint)
    FROM locked l
    WHERE c.id = l.id
    RETURNING c.id, c.log_xid, c.last_seq
)
INSERT INTO event_stream (generation, log_xid, kind, audience, convo_id, seq, user_did, device_id, request_id, bucket_ts)
SELECT g.generation, s.log_xid, @kind::smallint, 1, s.id, s.last_seq, @user_did, @device_id, r.request_id, @bucket_ts::timestamptz
FROM unnest(@convo_ids::text[]) WITH ORDINALITY AS c (convo_id, ord)
JOIN unnest(@request_ids::text[]) WITH ORDINALITY AS r (request_id, ord) USING (ord)
JOIN stamp s ON s.id = c.convo_id
CROSS JOIN event_head g
ORDER BY c.ord;

-- name: ReadLog :many
-- ReadLog is the log after a cursor. settled is false from the first event on
-- that a transaction which is still open could write before. The open
-- transactions of the whole cluster say so in passing; only when one of them is
-- in the way is it asked whether it can be of this database.
SELECT e.generation, e.log_xid, e.position, e.kind, e.audience,
       coalesce(e.convo_id, '')::text AS convo_id, coalesce(e.audience_did, '')::text AS audience_did,
       coalesce(e.seq, 0)::bigint AS seq, coalesce(e.message_id, '')::text AS message_id,
       coalesce(e.user_did, '')::text AS user_did, coalesce(e.device_id, '')::text AS device_id,
       coalesce(e.request_id, '')::text AS request_id, coalesce(e.epoch, -1)::bigint AS epoch, coalesce(e.commit_id, '')::text AS commit_id, e.bucket_ts,
       coalesce((SELECT coalesce(c.first_group_id, c.group_id) FROM conversations c WHERE c.id = e.convo_id), '')::text AS first_group_id,
       (e.generation < g.generation
        OR e.log_xid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint
        OR e.log_xid < (SELECT event_log_horizon(pg_current_snapshot())))::boolean AS settled
FROM event_stream e
CROSS JOIN event_log g
WHERE (e.generation, e.log_xid, e.position) > (@generation::bigint, @log_xid::bigint, @position::bigint)
ORDER BY e.generation, e.log_xid, e.position
LIMIT @max_rows;

-- name: ReadConversationLogs :many
-- ReadConversationLogs is what the log holds for one user after a cursor and up
-- to another: the events of conversations, and the user's own. Each
-- conversation costs one index probe, however long the log is.
SELECT e.generation, e.log_xid, e.position, e.kind, e.audience,
       coalesce(e.convo_id, '')::text AS convo_id, coalesce(e.audience_did, '')::text AS audience_did,
       coalesce(e.seq, 0)::bigint AS seq, coalesce(e.message_id, '')::text AS message_id,
       coalesce(e.user_did, '')::text AS user_did, coalesce(e.device_id, '')::text AS device_id,
       coalesce(e.request_id, '')::text AS request_id, coalesce(e.epoch, -1)::bigint AS epoch, coalesce(e.commit_id, '')::text AS commit_id, e.bucket_ts,
       coalesce((SELECT coalesce(c.first_group_id, c.group_id) FROM conversations c WHERE c.id = e.convo_id), '')::text AS first_group_id
FROM (
    SELECT i.generation, i.log_xid, i.position, i.kind, i.audience, i.convo_id, i.audience_did, i.seq, i.message_id, i.user_did, i.device_id, i.request_id, i.epoch, i.commit_id, i.bucket_ts
    FROM unnest(@convo_ids::text[]) AS w (convo_id)
    CROSS JOIN LATERAL (
        SELECT x.generation, x.log_xid, x.position, x.kind, x.audience, x.convo_id, x.audience_did, x.seq, x.message_id, x.user_did, x.device_id, x.request_id, x.epoch, x.commit_id, x.bucket_ts
        FROM event_stream x
        WHERE x.convo_id = w.convo_id AND x.audience <> 3
          AND (x.generation, x.log_xid, x.position) > (@generation::bigint, @log_xid::bigint, @position::bigint)
          AND (x.generation, x.log_xid, x.position) <= (@until_generation::bigint, @until_log_xid::bigint, @until_position::bigint)
        ORDER BY x.generation, x.log_xid, x.position
        LIMIT @max_rows
    ) i
    UNION ALL
    (
        SELECT y.generation, y.log_xid, y.position, y.kind, y.audience, y.convo_id, y.audience_did, y.seq, y.message_id, y.user_did, y.device_id, y.request_id, y.epoch, y.commit_id, y.bucket_ts
        FROM event_stream y
        WHERE y.audience = 3 AND y.audience_did = @user_did
          AND (y.generation, y.log_xid, y.position) > (@generation::bigint, @log_xid::bigint, @position::bigint)
          AND (y.generation, y.log_xid, y.position) <= (@until_generation::bigint, @until_log_xid::bigint, @until_position::bigint)
        ORDER BY y.generation, y.log_xid, y.position
        LIMIT @max_rows
    )
) e
ORDER BY e.generation, e.log_xid, e.position
LIMIT @max_rows;

-- name: GetLogEnd :one
-- GetLogEnd is the last settled event, or what retention removed last when
-- there is none.
SELECT coalesce(e.generation, g.compacted_generation)::bigint AS generation,
       coalesce(e.log_xid, g.compacted_log_xid)::bigint AS log_xid,
       coalesce(e.position, g.compacted_position)::bigint AS position
FROM event_log g
LEFT JOIN LATERAL (
    SELECT x.generation, x.log_xid, x.position
    FROM event_stream x
    WHERE (x.generation, x.log_xid, x.position) < (g.generation, (SELECT event_log_horizon(pg_current_snapshot())), 0)
    ORDER BY x.generation DESC, x.log_xid DESC, x.position DESC
    LIMIT 1
) e ON true;

-- name: GetLogState :one
-- GetLogState says whether the log's generation is of the history that this
-- connection writes to, and when it began, in seconds since 1970. A standby has
-- no history of its own; a database whose restore has not come to the triggers
-- yet has not all of it.
SELECT pg_is_in_recovery() AS standby, (l.origin = event_log_origin())::boolean AS at_home, l.begun_at,
       (NOT event_log_complete())::boolean AS restoring
FROM event_log l;

-- name: LockLogState :one
-- LockLogState says, while nobody else can begin a generation, whether one has
-- to begin, and whether the log comes from another cluster, whose transaction
-- ids may be larger than those of this one.
SELECT (l.origin <> event_log_origin())::boolean AS ended,
       (split_part(l.origin, '/', 1) <> split_part(event_log_origin(), '/', 1))::boolean AS moved
FROM event_log l
FOR NO KEY UPDATE;

-- name: PassSecond :exec
-- PassSecond waits for the next second, unless the log has nothing that anybody could have a cursor of.
-- Whatever other copy of this database has begun a generation, it has done so before this one was made,
-- so that its number is no later second than that which ends here.
SELECT pg_sleep(floor(now.at) + 1 - now.at)
FROM (SELECT date_part('epoch', clock_timestamp()) AS at) now
WHERE (SELECT e.generation FROM event_stream e ORDER BY e.generation, e.log_xid, e.position LIMIT 1) IS NOT NULL;

-- name: BeginLogGeneration :exec
-- BeginLogGeneration begins a generation. Its number is never that of another
-- history: two restores of one backup begin in different seconds (PassSecond). 2^30 is where
-- cursors of the wide form begin; a clock beyond 2^32 - 2^24 is not believed.
UPDATE event_log
SET generation = greatest(generation + 1, 1073741824,
        CASE WHEN date_part('epoch', clock_timestamp()) < 4278190080 THEN floor(date_part('epoch', clock_timestamp()))::bigint ELSE 0 END),
    origin = event_log_origin();

-- name: ResetConversationStamps :execrows
-- ResetConversationStamps drops stamps that are larger than any transaction id
-- of this cluster: events stamped with them would not settle for a long time.
UPDATE conversations SET log_xid = 0 WHERE log_xid > pg_current_xact_id()::text::bigint;

-- name: DeleteEvents :one
-- DeleteEvents removes a batch of old events and keeps in mind the last of
-- them: a cursor before it has lost events.
WITH gone AS (
    DELETE FROM event_stream e
    WHERE e.ctid = ANY (ARRAY(
        SELECT o.ctid FROM event_stream o
        WHERE o.bucket_ts < @before::timestamptz
        LIMIT @max_rows
    ))
    RETURNING e.generation, e.log_xid, e.position
), newest AS (
    SELECT g.generation, g.log_xid, g.position FROM gone g
    ORDER BY g.generation DESC, g.log_xid DESC, g.position DESC
    LIMIT 1
), noted AS (
    UPDATE event_log l
    SET compacted_generation = n.generation, compacted_log_xid = n.log_xid, compacted_position = n.position
    FROM newest n
    WHERE (l.compacted_generation, l.compacted_log_xid, l.compacted_position) < (n.generation, n.log_xid, n.position)
)
SELECT count(*) FROM gone;
