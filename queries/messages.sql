-- name: SendMessage :one
-- SendMessage is the whole of a send in one statement: membership, epoch,
-- duplicates, the sequence, the message and its event. The sender is read
-- against the roster and stored nowhere (I7). A sealed send has none (I16): seal is the mark of the
-- keys by which its sender was found to be a member, 0 for other sends.
--
-- sent is 0 when nothing was written; the other columns say why, as the
-- statement's snapshot has it. When they find no fault either, a concurrent
-- change was waited for, and the statement must be run again: the update's
-- WHERE is judged on the newest row, the rest on the snapshot.
WITH convo AS (
    SELECT c.id, c.epoch, c.generation, c.roster_version, c.commit_id, c.reinit_group_id IS NOT NULL AS ended,
           CASE WHEN @framed_group::text = '' THEN c.verified_epoch IS NULL AND c.generation = 0 ELSE c.group_id = @framed_group::text END AS in_group
    FROM conversations c
    WHERE c.id = CASE WHEN @convo_id::text <> '' THEN @convo_id::text ELSE (SELECT g.convo_id FROM convo_groups g WHERE g.group_id = @group_id::text) END
), judged AS (
    SELECT v.id, v.epoch, v.generation, v.roster_version, v.in_group, v.commit_id, v.ended,
           CASE WHEN @seal::bigint = 0
                THEN EXISTS (SELECT FROM members m WHERE m.convo_id = v.id AND m.user_did = @user_did::text AND m.left_at IS NULL AND m.invited_by IS NULL)
                ELSE EXISTS (SELECT FROM send_keys k WHERE k.convo_id = v.id AND k.mark = @seal::bigint AND k.generation = v.generation AND k.epoch = v.epoch)
           END AS is_member,
           twin.seq AS twin_seq, twin.epoch AS twin_epoch, twin.ciphertext = @ciphertext::bytea AS twin_same, twin.received_bucket_ts AS twin_ts
    FROM convo v
    LEFT JOIN messages twin ON twin.convo_id = v.id AND twin.msg_id = @msg_id::text
), locked AS (
    UPDATE conversations c
    SET last_seq = c.last_seq + 1,
        last_activity_at = greatest(c.last_activity_at, @received_at::timestamptz),
        last_message_bucket_ts = greatest(c.last_message_bucket_ts, @received_at::timestamptz),
        log_xid = greatest(c.log_xid, pg_current_xact_id()::text::bigint)
    FROM judged j
    WHERE c.id = j.id
      AND j.is_member AND j.in_group AND j.twin_seq IS NULL
      AND c.roster_version = j.roster_version AND c.generation = j.generation AND c.reinit_group_id IS NULL
      AND @epoch::bigint BETWEEN c.epoch - @grace::bigint AND c.epoch
      AND (@commit_id::text = '' OR coalesce(c.commit_id, @commit_id::text) = @commit_id::text)
    RETURNING c.id, c.last_seq, c.log_xid, c.generation
), stored AS (
    INSERT INTO messages (convo_id, seq, msg_id, kind, generation, epoch, ciphertext, declared_size, padded_size, received_bucket_ts)
    SELECT l.id, l.last_seq, @msg_id::text, 1, l.generation, @epoch::bigint, @ciphertext::bytea, sqlc.narg('declared_size')::bigint, @padded_size::bigint, @received_at::timestamptz
    FROM locked l
    RETURNING seq
), logged AS (
    INSERT INTO event_stream (generation, log_xid, kind, audience, convo_id, seq, message_id, bucket_ts)
    SELECT g.generation, l.log_xid, 1, 1, l.id, l.last_seq, @msg_id::text, @received_at::timestamptz
    FROM locked l CROSS JOIN event_head g
)
SELECT j.id AS convo_id, j.epoch AS convo_epoch, j.is_member::boolean AS is_member, j.in_group::boolean AS in_group,
       CASE WHEN j.in_group THEN false
            ELSE EXISTS (SELECT FROM convo_groups g WHERE g.group_id = @framed_group::text AND g.convo_id = j.id) END::boolean AS in_former,
       coalesce(j.commit_id, '')::text AS convo_commit, j.ended::boolean AS ended,
       (j.is_member OR EXISTS (SELECT FROM members m WHERE m.convo_id = j.id AND m.user_did = @user_did::text))::boolean AS was_member,
       coalesce(j.twin_seq, 0)::bigint AS twin_seq, coalesce(j.twin_epoch, 0)::bigint AS twin_epoch,
       coalesce(j.twin_same, false)::boolean AS twin_same, coalesce(j.twin_ts, to_timestamp(0))::timestamptz AS twin_ts,
       coalesce((SELECT s.seq FROM stored s), 0)::bigint AS sent
FROM judged j;

-- name: JudgeSend :one
-- JudgeSend judges what is stored nowhere by what SendMessage judges, and writes nothing. The last
-- event of the conversation is the one that whoever is told of the message has to know: by then
-- everybody has left who has left before it.
SELECT c.id AS convo_id, c.epoch AS convo_epoch, m.is_member::boolean AS is_member, m.was_member::boolean AS was_member,
       (CASE WHEN @framed_group::text = '' THEN c.verified_epoch IS NULL AND c.generation = 0 ELSE c.group_id = @framed_group::text END)::boolean AS in_group,
       (@framed_group::text <> '' AND c.group_id <> @framed_group::text
        AND EXISTS (SELECT FROM convo_groups g WHERE g.group_id = @framed_group::text AND g.convo_id = c.id))::boolean AS in_former,
       coalesce(c.commit_id, '')::text AS convo_commit, (c.reinit_group_id IS NOT NULL)::boolean AS ended,
       coalesce(c.first_group_id, c.group_id)::text AS first_group_id,
       coalesce(e.generation, 0)::bigint AS log_generation, coalesce(e.log_xid, 0)::bigint AS log_xid, coalesce(e.position, 0)::bigint AS log_position
FROM conversations c
CROSS JOIN LATERAL (
    SELECT coalesce(bool_or(x.left_at IS NULL AND x.invited_by IS NULL), false) AS is_member, count(*) > 0 AS was_member
    FROM members x WHERE x.convo_id = c.id AND x.user_did = @user_did::text
) m
LEFT JOIN LATERAL (
    SELECT y.generation, y.log_xid, y.position FROM event_stream y
    WHERE y.convo_id = c.id ORDER BY y.generation DESC, y.log_xid DESC, y.position DESC LIMIT 1
) e ON true
WHERE c.id = CASE WHEN @convo_id::text <> '' THEN @convo_id::text ELSE (SELECT g.convo_id FROM convo_groups g WHERE g.group_id = @group_id::text) END;

-- name: AcceptCommit :one
-- AcceptCommit moves a conversation from the commit's epoch to the next one,
-- by compare-and-set, with the commit's message, its row and its event (I1, I2).
-- No row: the conversation is in another epoch or generation, or its kind is another one.
WITH advanced AS (
    UPDATE conversations c
    SET epoch = c.epoch + 1,
        verified_epoch = CASE WHEN @verified::boolean THEN c.epoch + 1 END,
        commit_id = @msg_id::text,
        reinit_group_id = sqlc.narg('reinit_group_id')::text,
        reinit_suite = sqlc.narg('reinit_suite')::integer,
        last_seq = c.last_seq + 1,
        last_activity_at = greatest(c.last_activity_at, @received_at::timestamptz),
        log_xid = greatest(c.log_xid, pg_current_xact_id()::text::bigint)
    WHERE c.id = @convo_id::text AND c.generation = @generation::bigint AND c.epoch = @epoch::bigint
      AND (c.verified_epoch IS NOT NULL) = @verified::boolean AND c.reinit_group_id IS NULL
    RETURNING c.id, c.last_seq, c.log_xid
), stored AS (
    INSERT INTO messages (convo_id, seq, msg_id, kind, generation, epoch, ciphertext, declared_size, padded_size, received_bucket_ts)
    SELECT a.id, a.last_seq, @msg_id::text, 3, @generation::bigint, @epoch::bigint, @ciphertext::bytea, sqlc.narg('declared_size')::bigint, @padded_size::bigint, @received_at::timestamptz
    FROM advanced a
), recorded AS (
    INSERT INTO commits (convo_id, generation, epoch, seq, sender_did, created_at, message_hash)
    SELECT a.id, @generation::bigint, @epoch::bigint, a.last_seq, @sender_did::text, @received_at::timestamptz, @message_hash::bytea
    FROM advanced a
), logged AS (
    INSERT INTO event_stream (generation, log_xid, kind, audience, convo_id, seq, message_id, bucket_ts)
    SELECT g.generation, a.log_xid, 1, 1, a.id, a.last_seq, @msg_id::text, @received_at::timestamptz
    FROM advanced a CROSS JOIN event_head g
)
SELECT last_seq FROM advanced;

-- name: FindAccepted :one
-- FindAccepted is the commit that stands in its epoch, when it is the same one by the same sender.
SELECT m.seq, m.msg_id
FROM commits c JOIN messages m ON m.convo_id = c.convo_id AND m.seq = c.seq
WHERE c.convo_id = @convo_id AND c.epoch = @epoch AND c.sender_did = @sender_did AND m.ciphertext = @ciphertext
  AND c.void_seq IS NULL
LIMIT 1;

-- name: AcceptProposal :one
-- AcceptProposal stores a proposal of the current epoch with its event and, when
-- it is readable, with the reference that commits name it by. No row: the
-- conversation is in another epoch or generation.
WITH advanced AS (
    UPDATE conversations c
    SET last_seq = c.last_seq + 1,
        last_activity_at = greatest(c.last_activity_at, @received_at::timestamptz),
        log_xid = greatest(c.log_xid, pg_current_xact_id()::text::bigint)
    WHERE c.id = @convo_id::text AND c.generation = @generation::bigint AND c.epoch = @epoch::bigint AND c.reinit_group_id IS NULL
    RETURNING c.id, c.last_seq, c.log_xid
), stored AS (
    INSERT INTO messages (convo_id, seq, msg_id, kind, generation, epoch, ciphertext, declared_size, padded_size, received_bucket_ts, proposal_ref)
    SELECT a.id, a.last_seq, @msg_id::text, 2, @generation::bigint, @epoch::bigint, @ciphertext::bytea, sqlc.narg('declared_size')::bigint, @padded_size::bigint, @received_at::timestamptz, sqlc.narg('proposal_ref')::bytea
    FROM advanced a
), logged AS (
    INSERT INTO event_stream (generation, log_xid, kind, audience, convo_id, seq, message_id, bucket_ts)
    SELECT g.generation, a.log_xid, 1, 1, a.id, a.last_seq, @msg_id::text, @received_at::timestamptz
    FROM advanced a CROSS JOIN event_head g
)
SELECT last_seq FROM advanced;

-- name: FindProposals :many
-- FindProposals is the readable proposals of an epoch that a commit names. One that was sent in an
-- epoch which a void commit had begun is none of the epoch's.
SELECT m.ciphertext FROM messages m
WHERE m.convo_id = @convo_id AND m.generation = @generation AND m.epoch = @epoch AND m.kind = 2 AND m.proposal_ref = ANY (@refs::bytea[])
  AND NOT EXISTS (SELECT FROM commits k WHERE k.convo_id = m.convo_id AND k.generation = m.generation AND k.void_seq > m.seq
                    AND k.seq < m.seq AND k.epoch < m.epoch);

-- name: HasUnreadableProposal :one
-- HasUnreadableProposal says whether a commit of an epoch may refer to something
-- that nobody but the members can read.
SELECT EXISTS (SELECT FROM messages WHERE convo_id = @convo_id AND generation = @generation AND epoch = @epoch AND kind = 2 AND proposal_ref IS NULL)::boolean AS unreadable;

-- name: FindMessageSeq :one
-- FindMessageSeq is the place of a message.
SELECT seq FROM messages WHERE convo_id = @convo_id AND msg_id = @msg_id;

-- name: FindMessage :one
-- FindMessage is what repeats of a message are compared with.
SELECT m.seq, m.kind, m.generation, m.epoch, m.received_bucket_ts, (m.ciphertext = @ciphertext)::boolean AS same,
       EXISTS (SELECT FROM commits k WHERE k.convo_id = m.convo_id AND k.generation = m.generation AND k.void_seq > m.seq
                 AND (k.seq = m.seq OR k.seq < m.seq AND k.epoch < m.epoch)) AS void
FROM messages m
WHERE m.convo_id = @convo_id AND m.msg_id = @msg_id;

-- name: HasVoidCommit :one
-- HasVoidCommit says whether a commit was taken back, by its bytes without padding.
SELECT EXISTS (
    SELECT FROM commits
    WHERE convo_id = @convo_id AND generation = @generation AND void_seq IS NOT NULL AND message_hash = @message_hash
)::boolean AS void;

-- name: ListMessages :many
-- ListMessages is a page in the order of seq, cut where the ciphertexts would
-- exceed max_bytes; the first one always fits. void is a commit that was taken
-- back, and what was sent in an epoch that only such a commit had begun. All is
-- as it was at until_seq. Ciphertexts beyond the cut are not read: large ones lie out of line.
SELECT p.convo_id, p.seq, p.msg_id, p.kind, p.epoch, p.ciphertext, p.received_bucket_ts,
       (void.any AND EXISTS (SELECT FROM commits k WHERE k.convo_id = p.convo_id AND k.generation = p.generation AND k.void_seq > p.seq AND k.void_seq <= @until_seq::bigint
                               AND (k.seq = p.seq OR k.seq < p.seq AND k.epoch < p.epoch)))::boolean AS void
FROM (
    SELECT q.convo_id, q.seq, q.msg_id, q.kind, q.generation, q.epoch, q.ciphertext, q.received_bucket_ts, q.padded_size,
           sum(q.padded_size) OVER (ORDER BY q.seq ROWS UNBOUNDED PRECEDING) AS total
    FROM (
        SELECT i.convo_id, i.seq, i.msg_id, i.kind, i.generation, i.epoch, i.ciphertext, i.received_bucket_ts, i.padded_size
        FROM messages i
        WHERE i.convo_id = @convo_id AND i.seq > @after_seq AND i.seq <= @until_seq::bigint
        ORDER BY i.seq
        LIMIT @max_rows
    ) q
) p
CROSS JOIN (SELECT EXISTS (SELECT FROM commits w WHERE w.convo_id = @convo_id AND w.void_seq IS NOT NULL) AS any) void
WHERE p.total <= @max_bytes::bigint OR p.total = p.padded_size
ORDER BY p.seq;

-- name: GetReadingStanding :one
-- GetReadingStanding is GetStanding with the seq of a message to read on from,
-- 0 when the conversation has no such message.
SELECT c.id, coalesce(c.first_group_id, c.group_id)::text AS first_group_id, c.epoch, c.last_seq, m.rows_ever, m.rows_active, m.join_seq, coalesce(since.seq, 0)::bigint AS since_seq
FROM conversations c
CROSS JOIN LATERAL (
    SELECT count(*) AS rows_ever,
           count(*) FILTER (WHERE d.left_at IS NULL AND d.invited_by IS NULL) AS rows_active,
           coalesce(min(d.join_seq) FILTER (WHERE d.left_at IS NULL), 0)::bigint AS join_seq
    FROM members d
    WHERE d.convo_id = c.id AND d.user_did = @user_did
) m
LEFT JOIN messages since ON since.convo_id = c.id AND since.msg_id = @since_msg_id::text
WHERE c.id = CASE WHEN @convo_id::text <> '' THEN @convo_id::text ELSE (SELECT g.convo_id FROM convo_groups g WHERE g.group_id = @group_id::text) END;

-- name: FindLastReads :one
-- FindLastReads is what a user who is off the roster may still read: after join_seq, where its last
-- membership began, up to left_seq, where it ended. There the conversation was in the generation and
-- epoch; the epoch is -1 where no commit had led to it, or the log is not kept that far back. A
-- user whose last membership was an invitation it never accepted reads nothing.
SELECT l.join_seq, l.left_seq, coalesce(g.generation, 0)::bigint AS generation, coalesce(k.epoch + 1, -1)::bigint AS epoch
FROM (
    SELECT coalesce(min(d.join_seq) FILTER (WHERE d.left_seq = d.last_seq), 0)::bigint AS join_seq, coalesce(max(d.left_seq), 0)::bigint AS left_seq
    FROM (SELECT x.join_seq, x.left_seq, x.invited_by IS NOT NULL AS invited, max(x.left_seq) OVER () AS last_seq
          FROM members x
          WHERE x.convo_id = @convo_id AND x.user_did = @user_did) d
    HAVING bool_and(d.left_seq IS NOT NULL) AND NOT bool_or(d.invited AND d.left_seq = d.last_seq)
) l
LEFT JOIN LATERAL (
    SELECT m.generation FROM messages m
    WHERE m.convo_id = @convo_id AND m.seq <= l.left_seq
    ORDER BY m.seq DESC
    LIMIT 1
) g ON true
LEFT JOIN LATERAL (
    SELECT c.epoch FROM commits c
    WHERE c.convo_id = @convo_id AND c.seq <= l.left_seq AND c.generation = g.generation AND (c.void_seq IS NULL OR c.void_seq > l.left_seq)
    ORDER BY c.seq DESC
    LIMIT 1
) k ON true;

-- name: ListCommits :many
-- ListCommits is the commits of a generation that stand, by the epoch they were
-- made in, ascending, cut where their bytes would exceed max_bytes; the first one
-- always fits.
SELECT p.epoch, p.sender_did, m.ciphertext, p.created_at
FROM (
    SELECT q.convo_id, q.seq, q.epoch, q.sender_did, q.created_at, q.padded_size,
           sum(q.padded_size) OVER (ORDER BY q.epoch) AS total
    FROM (
        SELECT c.convo_id, c.seq, c.epoch, c.sender_did, c.created_at, i.padded_size
        FROM commits c
        JOIN messages i ON i.convo_id = c.convo_id AND i.seq = c.seq
        WHERE c.convo_id = @convo_id AND c.generation = @generation AND c.void_seq IS NULL
          AND c.epoch >= @from_epoch AND c.epoch <= @to_epoch::bigint AND c.seq > @after_seq::bigint AND c.seq <= @until_seq::bigint
        ORDER BY c.epoch
        LIMIT @max_rows
    ) q
) p
JOIN messages m ON m.convo_id = p.convo_id AND m.seq = p.seq
WHERE p.total <= @max_bytes::bigint OR p.total = p.padded_size
ORDER BY p.epoch;

-- name: ListLastCommits :many
-- ListLastCommits is ListCommits for who has left: the commits that stood at until_seq, whatever has
-- become of them since.
SELECT p.epoch, p.sender_did, m.ciphertext, p.created_at
FROM (
    SELECT q.convo_id, q.seq, q.epoch, q.sender_did, q.created_at, q.padded_size,
           sum(q.padded_size) OVER (ORDER BY q.seq) AS total
    FROM (
        SELECT c.convo_id, c.seq, c.epoch, c.sender_did, c.created_at, i.padded_size
        FROM commits c
        JOIN messages i ON i.convo_id = c.convo_id AND i.seq = c.seq
        WHERE c.convo_id = @convo_id AND c.generation = @generation
          AND c.epoch >= @from_epoch AND c.epoch <= @to_epoch::bigint AND c.seq > @after_seq::bigint AND c.seq <= @until_seq::bigint
          AND (c.void_seq IS NULL OR c.void_seq > @until_seq::bigint)
        ORDER BY c.seq
        LIMIT @max_rows
    ) q
) p
JOIN messages m ON m.convo_id = p.convo_id AND m.seq = p.seq
WHERE p.total <= @max_bytes::bigint OR p.total = p.padded_size
ORDER BY p.seq;

-- name: SetCursor :exec
-- SetCursor moves a user's reading position forward, never back.
INSERT INTO cursors AS k (convo_id, user_did, seq)
VALUES (@convo_id, @user_did, @seq)
ON CONFLICT ON CONSTRAINT cursors_pkey DO UPDATE SET seq = excluded.seq
WHERE k.seq < excluded.seq;
