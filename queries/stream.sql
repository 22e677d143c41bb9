-- name: GetStreamLog :one
-- GetStreamLog is what a server must know of the log, and what it says of a
-- position that this service once gave out. intact: the position is of the
-- history that this database has, so that whatever was written after it is
-- still ahead of it.
SELECT l.generation, l.cursor_key, l.compacted_generation, l.compacted_log_xid, l.compacted_position, l.begun_at,
       pg_is_in_recovery() AS standby, (l.origin = event_log_origin())::boolean AS at_home,
       (CASE WHEN l.generation = @generation::bigint
             THEN @log_xid::bigint < pg_snapshot_xmax(pg_current_snapshot())::text::bigint
             ELSE (SELECT (e.log_xid, e.position) >= (@log_xid::bigint, @position::bigint) FROM event_log_last(@generation::bigint) e)
        END)::boolean AS intact
FROM event_log l;

-- name: ListStreamConversations :many
-- ListStreamConversations is the conversations that a user is in or was in after a position of
-- the log, and whether it was in them at that position. One statement: the
-- roster and the events that changed it are of the same snapshot, so what came
-- after the position can be taken back exactly.
--
-- The first change after the position decides, since a leave (3) ends the
-- membership of a user with all its devices. A join (2) may be that of one more device, so the
-- change before the position decides then; where retention has removed that,
-- an active device that did not join since.
WITH moved AS (
    SELECT e.convo_id, e.kind, coalesce(e.device_id, '') AS device_id, e.generation, e.log_xid, e.position
    FROM event_stream e
    WHERE e.user_did = @user_did::text AND e.kind IN (2, 3)
      AND (e.generation, e.log_xid, e.position) > (@generation::bigint, @log_xid::bigint, @position::bigint)
), opening AS (
    SELECT DISTINCT ON (m.convo_id) m.convo_id, m.kind
    FROM moved m
    ORDER BY m.convo_id, m.generation, m.log_xid, m.position
), present AS (
    SELECT DISTINCT d.convo_id FROM members d WHERE d.user_did = @user_did::text AND d.left_at IS NULL AND d.invited_by IS NULL
)
SELECT coalesce(p.convo_id, o.convo_id)::text AS convo_id,
       (p.convo_id IS NOT NULL)::boolean AS member_now,
       (CASE
           WHEN o.convo_id IS NULL OR o.kind = 3 THEN true
           ELSE coalesce(
               (SELECT b.kind = 2
                FROM event_stream b
                WHERE b.user_did = @user_did::text AND b.kind IN (2, 3) AND b.convo_id = o.convo_id
                  AND (b.generation, b.log_xid, b.position) <= (@generation::bigint, @log_xid::bigint, @position::bigint)
                ORDER BY b.generation DESC, b.log_xid DESC, b.position DESC
                LIMIT 1),
               EXISTS (SELECT FROM members d
                       WHERE d.convo_id = o.convo_id AND d.user_did = @user_did::text AND d.left_at IS NULL AND d.invited_by IS NULL
                         AND NOT EXISTS (SELECT FROM moved m WHERE m.convo_id = d.convo_id AND m.kind = 2 AND m.device_id = d.device_id)))
       END)::boolean AS member_then
FROM present p
FULL JOIN opening o ON o.convo_id = p.convo_id
ORDER BY 1;

-- name: HasLostEvents :one
-- HasLostEvents says whether retention has removed anything after a position that a user could have
-- seen: of the conversations that the user was in then, of those that it has joined since and what
-- came after that, and of its own. only_convo restricts it to one conversation. What was for admins
-- counts for those who are admins now.
SELECT (
    EXISTS (
        SELECT FROM lost_events l
        WHERE l.convo_id = '' AND l.user_did = ''
          AND (l.generation, l.log_xid, l.position) > (@generation::bigint, @log_xid::bigint, @position::bigint)
    ) OR EXISTS (
        SELECT FROM lost_events l
        WHERE l.user_did = @user_did::text AND l.user_did <> '' AND (@only_convo::text = '' OR l.convo_id = @only_convo::text)
          AND (l.generation, l.log_xid, l.position) > (@generation::bigint, @log_xid::bigint, @position::bigint)
    ) OR EXISTS (
        SELECT FROM unnest(@convo_ids::text[]) AS w (convo_id)
        JOIN lost_events l ON l.convo_id = w.convo_id AND l.user_did IN ('', 'admins')
        WHERE (l.generation, l.log_xid, l.position) > (@generation::bigint, @log_xid::bigint, @position::bigint)
          AND (l.user_did = '' OR EXISTS (SELECT FROM members m
                                          WHERE m.convo_id = l.convo_id AND m.user_did = @user_did::text AND m.left_at IS NULL AND m.is_admin))
    ) OR EXISTS (
        SELECT FROM unnest(@joined_ids::text[]) AS w (convo_id)
        JOIN lost_events l ON l.convo_id = w.convo_id AND l.user_did IN ('', 'admins')
        JOIN event_stream j ON j.user_did = @user_did::text AND j.convo_id = w.convo_id AND j.kind = 2
        WHERE (j.generation, j.log_xid, j.position) > (@generation::bigint, @log_xid::bigint, @position::bigint)
          AND (l.generation, l.log_xid, l.position) > (j.generation, j.log_xid, j.position)
    )
)::boolean AS lost;

-- name: ReadStreamMessages :many
-- ReadStreamMessages is messages by their seqs, in the order asked for, for a
-- page of events. Ciphertexts beyond max_bytes are left out, to be asked for
-- again, the first too unless force says otherwise. Messages that are gone
-- have no row.
SELECT s.ord, s.convo_id, s.seq, s.msg_id, s.kind, s.epoch, s.void, s.received_bucket_ts,
       (s.total <= @max_bytes::bigint OR (@force::boolean AND s.total = s.padded_size))::boolean AS fits,
       (CASE WHEN s.total <= @max_bytes::bigint OR (@force::boolean AND s.total = s.padded_size) THEN s.ciphertext ELSE ''::bytea END)::bytea AS ciphertext
FROM (
    SELECT (w.ord - 1)::bigint AS ord, m.convo_id, m.seq, m.msg_id, m.kind, m.epoch, m.received_bucket_ts, m.padded_size, m.ciphertext,
           EXISTS (SELECT FROM commits k WHERE k.convo_id = m.convo_id AND k.generation = m.generation AND k.void_seq > m.seq
                     AND (k.seq = m.seq OR k.seq < m.seq AND k.epoch < m.epoch)) AS void,
           (sum(m.padded_size) OVER (ORDER BY w.ord))::bigint AS total
    FROM unnest(@convo_ids::text[]) WITH ORDINALITY AS w (convo_id, ord)
    JOIN unnest(@seqs::bigint[]) WITH ORDINALITY AS x (seq, ord) USING (ord)
    JOIN messages m ON m.convo_id = w.convo_id AND m.seq = x.seq
) s
ORDER BY s.ord;

-- name: ListStreamAdmins :many
-- ListStreamAdmins is the admins, users not devices, of conversations.
SELECT DISTINCT m.convo_id, m.user_did
FROM members m
WHERE m.convo_id = ANY (@convo_ids::text[]) AND m.left_at IS NULL AND m.is_admin
ORDER BY m.convo_id, m.user_did;

-- name: FindConversationID :one
-- FindConversationID is a conversation's id by its id or its group id.
SELECT c.id FROM conversations c
WHERE c.id = CASE WHEN @convo_id::text <> '' THEN @convo_id::text ELSE (SELECT g.convo_id FROM convo_groups g WHERE g.group_id = @group_id::text) END;
