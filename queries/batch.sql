-- name: SendMessages :many
-- SendMessages is SendMessage for many messages at once, into one or several
-- conversations. Each message is judged as SendMessage judges it, and one that
-- is refused stands in no other's way. Senders are read against the roster and
-- stored nowhere (I7); sealed sends have none (I16).
--
-- The rows of the conversations that will be written are locked in the order of
-- their ids, so that two batches, and a batch and a transaction that locks
-- several conversations, cannot wait for each other in a circle. What was judged
-- before the lock (roster, epoch, whether the group has ended) is compared with the
-- locked row, which is the newest. Under the lock a conversation's messages get consecutive seqs in the
-- order of ord, and their events positions in the same order (I3).
--
-- Of several messages with one id the first is written. For the others, as for
-- those whose conversation was changed by a transaction that was waited for,
-- sent is 0 and the columns find no fault: the caller asks again. A message of
-- an unknown conversation has no row. A twin that another statement writes at
-- the same moment violates messages_msg_id_key and fails the whole statement.
--
-- Ciphertexts stay out of the common tables that are read more than once; only one whose id is
-- taken is compared. The
-- lists go through one SELECT in step, which costs less than joining them.
WITH incoming AS (
    SELECT unnest(@ords::integer[]) AS ord, unnest(@convo_ids::text[]) AS convo_id, unnest(@group_ids::text[]) AS group_id,
           unnest(@framed_groups::text[]) AS framed_group, unnest(@user_dids::text[]) AS user_did, unnest(@msg_ids::text[]) AS msg_id,
           unnest(@commit_ids::text[]) AS commit_id, unnest(@seals::bigint[]) AS seal,
           unnest(@epochs::bigint[]) AS epoch, unnest(@graces::bigint[]) AS grace, unnest(@received_ats::timestamptz[]) AS received_at
), judged AS (
    SELECT i.ord, i.framed_group, i.user_did, i.msg_id, i.commit_id, i.epoch, i.grace, i.received_at, c.id, c.epoch AS convo_epoch, c.generation, c.roster_version,
           coalesce(c.commit_id, '') AS convo_commit, c.reinit_group_id IS NOT NULL AS ended,
           CASE WHEN i.framed_group = '' THEN c.verified_epoch IS NULL AND c.generation = 0 ELSE c.group_id = i.framed_group END AS in_group,
           CASE WHEN i.seal = 0
                THEN EXISTS (SELECT FROM members m WHERE m.convo_id = c.id AND m.user_did = i.user_did AND m.left_at IS NULL AND m.invited_by IS NULL)
                ELSE EXISTS (SELECT FROM send_keys k WHERE k.convo_id = c.id AND k.mark = i.seal AND k.generation = c.generation AND k.epoch = c.epoch)
           END AS is_member,
           twin.seq AS twin_seq, twin.epoch AS twin_epoch, CASE WHEN twin.seq IS NULL THEN false ELSE twin.ciphertext = (@ciphertexts::bytea[])[array_position(@ords::integer[], i.ord)] END AS twin_same, twin.received_bucket_ts AS twin_ts
    FROM incoming i
    JOIN conversations c ON c.id = CASE WHEN i.convo_id <> '' THEN i.convo_id ELSE (SELECT g.convo_id FROM convo_groups g WHERE g.group_id = i.group_id) END
    LEFT JOIN messages twin ON twin.convo_id = c.id AND twin.msg_id = i.msg_id
), passed AS (
    SELECT j.ord, j.msg_id, j.commit_id, j.epoch, j.grace, j.received_at, j.id, j.generation, j.roster_version,
           row_number() OVER (PARTITION BY j.id, j.msg_id ORDER BY j.ord) AS copy
    FROM judged j
    WHERE j.is_member AND j.in_group AND NOT j.ended AND j.twin_seq IS NULL AND j.epoch BETWEEN j.convo_epoch - j.grace AND j.convo_epoch
      AND (j.commit_id = '' OR j.convo_commit IN ('', j.commit_id))
), locked AS (
    SELECT c.id, c.epoch, c.generation, c.roster_version, c.last_seq, c.log_xid, c.commit_id, c.reinit_group_id
    FROM conversations c
    WHERE c.id IN (SELECT p.id FROM passed p)
    ORDER BY c.id
    FOR NO KEY UPDATE OF c
), numbered AS (
    SELECT p.ord, p.msg_id, p.epoch, p.received_at, l.id, l.generation,
           l.last_seq + row_number() OVER (PARTITION BY l.id ORDER BY p.ord) AS seq,
           greatest(l.log_xid, pg_current_xact_id()::text::bigint) AS log_xid
    FROM passed p
    JOIN locked l ON l.id = p.id AND l.roster_version = p.roster_version AND l.generation = p.generation
    WHERE p.copy = 1 AND p.epoch BETWEEN l.epoch - p.grace AND l.epoch AND l.reinit_group_id IS NULL
      AND (p.commit_id = '' OR coalesce(l.commit_id, p.commit_id) = p.commit_id)
), advanced AS (
    UPDATE conversations c
    SET last_seq = n.last_seq,
        last_activity_at = greatest(c.last_activity_at, n.received_at),
        last_message_bucket_ts = greatest(c.last_message_bucket_ts, n.received_at),
        log_xid = n.log_xid
    FROM (SELECT b.id, max(b.seq) AS last_seq, max(b.received_at) AS received_at, max(b.log_xid) AS log_xid FROM numbered b GROUP BY b.id) n
    WHERE c.id = n.id
), payload AS (
    SELECT unnest(@ords::integer[]) AS ord, unnest(@ciphertexts::bytea[]) AS ciphertext,
           unnest(@declared_sizes::bigint[]) AS declared_size
), stored AS (
    INSERT INTO messages (convo_id, seq, msg_id, kind, generation, epoch, ciphertext, declared_size, padded_size, received_bucket_ts)
    SELECT n.id, n.seq, n.msg_id, 1, n.generation, n.epoch, p.ciphertext, nullif(p.declared_size, -1), octet_length(p.ciphertext), n.received_at
    FROM numbered n
    JOIN payload p ON p.ord = n.ord
), logged AS (
    INSERT INTO event_stream (generation, log_xid, kind, audience, convo_id, seq, message_id, bucket_ts)
    SELECT g.generation, n.log_xid, 1, 1, n.id, n.seq, n.msg_id, n.received_at
    FROM numbered n CROSS JOIN event_head g
    ORDER BY n.id, n.seq
)
SELECT j.ord::integer AS ord, j.id AS convo_id, j.convo_epoch, j.is_member::boolean AS is_member, j.in_group::boolean AS in_group,
       CASE WHEN j.in_group THEN false
            ELSE EXISTS (SELECT FROM convo_groups g WHERE g.group_id = j.framed_group AND g.convo_id = j.id) END::boolean AS in_former,
       j.convo_commit::text AS convo_commit, j.ended::boolean AS ended,
       (j.is_member OR EXISTS (SELECT FROM members m WHERE m.convo_id = j.id AND m.user_did = j.user_did))::boolean AS was_member,
       coalesce(j.twin_seq, 0)::bigint AS twin_seq, coalesce(j.twin_epoch, 0)::bigint AS twin_epoch,
       j.twin_same::boolean AS twin_same, coalesce(j.twin_ts, to_timestamp(0))::timestamptz AS twin_ts,
       coalesce(n.seq, 0)::bigint AS sent
FROM judged j
LEFT JOIN numbered n ON n.ord = j.ord;
