-- name: PutCommitReport :exec
-- PutCommitReport keeps the first commit that a device cannot follow.
INSERT INTO commit_reports AS r (convo_id, generation, user_did, device_id, from_seq, created_at)
VALUES (@convo_id, @generation, @user_did, @device_id, @from_seq, @created_at)
ON CONFLICT ON CONSTRAINT commit_reports_pkey DO UPDATE SET from_seq = least(r.from_seq, excluded.from_seq), created_at = excluded.created_at;

-- name: DropHealedReports :execrows
-- DropHealedReports removes what devices had reported that were added anew, or joined by themselves: they
-- can follow again.
DELETE FROM commit_reports r
USING (SELECT unnest(@user_dids::text[]) AS user_did, unnest(@device_ids::text[]) AS device_id) h
WHERE r.convo_id = @convo_id AND r.user_did = h.user_did AND r.device_id IN ('', h.device_id);

-- name: DropCommitReports :execrows
-- DropCommitReports removes the reports about a commit that was taken back: their devices can follow again.
DELETE FROM commit_reports WHERE convo_id = @convo_id AND generation = @generation AND from_seq >= @seq;

-- name: DropDeviceReports :execrows
-- DropDeviceReports removes what a device that is gone has reported.
DELETE FROM commit_reports WHERE convo_id = @convo_id AND user_did = @user_did AND device_id = @device_id;

-- name: FindCommit :one
-- FindCommit is the commit that an id names.
SELECT k.seq, k.generation, k.epoch, k.sender_did, k.created_at, m.msg_id, (k.void_seq IS NOT NULL)::boolean AS void, (k.joiner_device IS NOT NULL)::boolean AS joins
FROM messages m
JOIN commits k ON k.convo_id = m.convo_id AND k.seq = m.seq
WHERE m.convo_id = @convo_id AND m.msg_id = @msg_id::text;

-- name: FindStandingCommit :one
-- FindStandingCommit is the newest commit of a generation that stands.
SELECT k.seq, k.generation, k.epoch, k.sender_did, k.created_at, m.msg_id, (k.void_seq IS NOT NULL)::boolean AS void, (k.joiner_device IS NOT NULL)::boolean AS joins
FROM commits k
JOIN messages m ON m.convo_id = k.convo_id AND m.seq = k.seq
WHERE k.convo_id = @convo_id AND k.generation = @generation AND k.void_seq IS NULL
ORDER BY k.epoch DESC
LIMIT 1;

-- name: CountVoices :one
-- CountVoices counts who may say that a commit cannot be followed, and who does: the users who were in
-- the group before it and are in it still, without its committer and whom it added; of a conversation's
-- beginning (seq 0), those whom it began with. Where leaves are known, whoever has none was not in the
-- group. Of those who were here lately, or report, a majority decides; all count as here while days have
-- not been noted for long.
SELECT count(*) AS electors,
       count(*) FILTER (WHERE v.seen OR v.reports) AS seen,
       count(*) FILTER (WHERE v.reports) AS reporters,
       coalesce(bool_or(v.admin AND v.reports), false)::boolean AS admin_reports
FROM (
    SELECT e.user_did, e.admin,
           (EXISTS (SELECT FROM user_days d WHERE d.user_did = e.user_did AND d.seen_on >= @since::timestamptz)
            OR NOT EXISTS (SELECT FROM user_days d WHERE d.user_did = '' AND d.seen_on < @since::timestamptz)) AS seen,
           EXISTS (SELECT FROM commit_reports r
                   JOIN members d ON d.convo_id = r.convo_id AND d.user_did = r.user_did AND d.left_at IS NULL
                                 AND r.device_id IN ('', d.device_id)
                   WHERE r.convo_id = @convo_id AND r.generation = @generation AND r.user_did = e.user_did AND r.from_seq <= @seq::bigint
                     AND NOT EXISTS (SELECT FROM pending_welcomes p
                                     WHERE p.convo_id = d.convo_id AND p.user_did = d.user_did AND p.device_id = d.device_id
                                       AND p.kind = 'rejoin' AND p.status = 'open')) AS reports
    FROM (
        SELECT m.user_did, bool_or(m.is_admin) AS admin
        FROM members m
        JOIN conversations c ON c.id = m.convo_id
        WHERE m.convo_id = @convo_id AND m.left_at IS NULL AND m.invited_by IS NULL AND NOT m.vacant
          AND (m.leaf_index IS NOT NULL OR c.verified_epoch IS NULL) AND m.join_seq < greatest(@seq::bigint, 1) AND m.user_did <> @committer::text
          AND NOT EXISTS (SELECT FROM commit_additions a WHERE a.convo_id = m.convo_id AND a.seq = @seq::bigint AND a.user_did = m.user_did)
        GROUP BY m.user_did
    ) e
) v;

-- name: CountVoided :one
-- CountVoided counts the commits that were taken back in a conversation, in whichever of its groups, and
-- count against a user, and says when the last of them was, and when the last one that the user had sent.
SELECT count(*) FILTER (WHERE coalesce(k.blamed_did, k.sender_did) = @user_did::text) AS commits,
       count(*) FILTER (WHERE k.blamed_did = @user_did::text) AS blamed,
       coalesce(max(n.received_bucket_ts) FILTER (WHERE coalesce(k.blamed_did, k.sender_did) = @user_did::text), to_timestamp(0))::timestamptz AS last_at,
       coalesce(max(n.received_bucket_ts) FILTER (WHERE k.sender_did = @user_did::text), to_timestamp(0))::timestamptz AS last_sent_at
FROM commits k
JOIN messages n ON n.convo_id = k.convo_id AND n.seq = k.void_seq
WHERE k.convo_id = @convo_id AND k.void_seq IS NOT NULL
  AND (k.sender_did = @user_did::text OR k.blamed_did = @user_did::text);

-- name: VoidCommit :exec
-- VoidCommit takes a commit back. void_seq is the place of the notice that says so. The first commit
-- of a joiner that is taken back within a day counts against whoever deposited the GroupInfo.
UPDATE commits k
SET void_seq = @void_seq::bigint,
    blamed_did = CASE WHEN NOT EXISTS (
        SELECT FROM commits o
        WHERE o.convo_id = k.convo_id AND o.sender_did = k.sender_did AND o.joiner_device IS NOT NULL
          AND o.void_seq IS NOT NULL AND o.created_at > k.created_at - interval '1 day'
    ) THEN k.depositor_did END
WHERE k.convo_id = @convo_id AND k.seq = @seq;

-- name: ReopenEpoch :exec
-- ReopenEpoch takes a conversation back to the epoch that a void commit had ended, and says so in its log.
WITH reopened AS (
    UPDATE conversations c
    SET epoch = @epoch::bigint,
        verified_epoch = CASE WHEN c.verified_epoch IS NULL THEN NULL ELSE @epoch::bigint END,
        commit_id = (SELECT m.msg_id FROM commits k JOIN messages m ON m.convo_id = k.convo_id AND m.seq = k.seq
                     WHERE k.convo_id = c.id AND k.generation = c.generation AND k.void_seq IS NULL
                     ORDER BY k.seq DESC LIMIT 1),
        reinit_group_id = NULL,
        reinit_suite = NULL,
        roster_version = c.roster_version + 1,
        last_seq = c.last_seq + 1,
        last_activity_at = greatest(c.last_activity_at, @received_at::timestamptz),
        log_xid = greatest(c.log_xid, pg_current_xact_id()::text::bigint)
    WHERE c.id = @convo_id::text
    RETURNING c.id, c.generation, c.last_seq, c.log_xid
), noticed AS (
    INSERT INTO messages (convo_id, seq, msg_id, kind, generation, epoch, ciphertext, padded_size, received_bucket_ts)
    SELECT r.id, r.last_seq, @msg_id::text, 4, r.generation, @epoch::bigint, ''::bytea, 0, @received_at::timestamptz
    FROM reopened r
)
INSERT INTO event_stream (generation, log_xid, kind, audience, convo_id, seq, message_id, bucket_ts)
SELECT g.generation, r.log_xid, 1, 1, r.id, r.last_seq, @msg_id::text, @received_at::timestamptz
FROM reopened r CROSS JOIN event_head g;

-- name: RestoreState :exec
-- RestoreState makes the group of an epoch the newest one again.
UPDATE group_states SET superseded_at = NULL, superseded_by = NULL
WHERE convo_id = @convo_id AND generation = @generation AND epoch = @epoch;

-- name: DropLaterStates :execrows
-- DropLaterStates removes the groups to which commits led that were taken back.
DELETE FROM group_states WHERE convo_id = @convo_id AND generation = @generation AND epoch > @epoch;

-- name: UndoAdditions :many
-- UndoAdditions takes the devices off the roster that were not on it before a commit added them.
DELETE FROM members m
USING commit_additions a
WHERE a.convo_id = @convo_id AND a.seq = @seq AND a.before IS NULL
  AND m.convo_id = a.convo_id AND m.user_did = a.user_did AND m.device_id = a.device_id
RETURNING m.user_did, m.device_id, (m.invited_by IS NOT NULL)::boolean AS invited, EXISTS (SELECT FROM members x WHERE x.convo_id = m.convo_id AND x.user_did = m.user_did AND x.left_at IS NULL)::boolean AS there, true::boolean AS absent;

-- name: RestoreAdditions :many
-- RestoreAdditions puts the rows of the other devices back as they were. Who has left since stays
-- away, and reads up to where it had left before, if it had: in between it was not there.
UPDATE members m
SET joined_at = (a.before->>'joined_at')::timestamptz,
    join_generation = (a.before->>'join_generation')::bigint,
    join_epoch = (a.before->>'join_epoch')::bigint,
    join_seq = (a.before->>'join_seq')::bigint,
    leaf_index = (a.before->>'leaf_index')::bigint,
    needs_rejoin = (a.before->>'needs_rejoin')::boolean,
    vacant = coalesce((a.before->>'vacant')::boolean, false),
    invited_by = CASE WHEN a.before->>'left_at' IS NULL THEN m.invited_by ELSE a.before->>'invited_by' END,
    left_at = coalesce(m.left_at, (a.before->>'left_at')::timestamptz),
    left_seq = coalesce((a.before->>'left_seq')::bigint, m.left_seq),
    left_reason = coalesce(m.left_reason, a.before->>'left_reason'),
    is_admin = m.is_admin AND a.before->>'left_at' IS NULL,
    promoted_at = CASE WHEN a.before->>'left_at' IS NULL THEN m.promoted_at END,
    promoted_by_did = CASE WHEN a.before->>'left_at' IS NULL THEN m.promoted_by_did END
FROM commit_additions a
JOIN members o ON o.convo_id = a.convo_id AND o.user_did = a.user_did AND o.device_id = a.device_id
WHERE a.convo_id = @convo_id AND a.seq = @seq AND a.before IS NOT NULL
  AND m.convo_id = a.convo_id AND m.user_did = a.user_did AND m.device_id = a.device_id
RETURNING m.user_did, m.device_id, (o.invited_by IS NOT NULL)::boolean AS invited, EXISTS (SELECT FROM members x WHERE x.convo_id = m.convo_id AND x.user_did = m.user_did AND x.left_at IS NULL)::boolean AS there, (a.before->>'left_at' IS NOT NULL)::boolean AS absent;

-- name: MoveUndonePlaces :execrows
-- MoveUndonePlaces gives places that were kept of devices which a commit had added the join point of another
-- device that the user had before.
UPDATE members v
SET joined_at = e.joined_at, join_generation = e.join_generation, join_epoch = e.join_epoch, join_seq = e.join_seq
FROM members e
WHERE v.convo_id = @convo_id AND v.vacant AND v.left_at IS NULL AND v.join_seq = @seq
  AND e.convo_id = v.convo_id AND e.user_did = v.user_did AND e.device_id = (
    SELECT o.device_id FROM members o
    WHERE o.convo_id = v.convo_id AND o.user_did = v.user_did AND o.device_id <> '' AND o.join_seq < @seq
      AND (o.left_seq IS NULL OR o.left_seq >= @seq)
    ORDER BY o.join_seq, o.device_id
    LIMIT 1
  );

-- name: DropUndonePlaces :execrows
-- DropUndonePlaces removes the places that were kept of devices which a commit had added, of users who were
-- not there before.
DELETE FROM members v WHERE v.convo_id = @convo_id AND v.vacant AND v.left_at IS NULL AND v.join_seq = @seq;

-- name: DropUndoneDebts :execrows
-- DropUndoneDebts removes the debts of devices whose leaf was never there, since the commit that
-- added them is void.
DELETE FROM removal_debts d
USING commit_additions a
WHERE a.convo_id = @convo_id AND a.seq = @seq AND (a.before IS NULL OR a.before->>'left_at' IS NOT NULL)
  AND d.convo_id = a.convo_id AND d.user_did = a.user_did AND d.device_id = a.device_id AND d.settled_at IS NULL;

-- name: LogDepartures :exec
-- LogDepartures writes the last events of users who are off the roster because a commit was taken back.
WITH stamp AS (
    UPDATE conversations c
    SET log_xid = greatest(c.log_xid, pg_current_xact_id()::text::bigint)
    WHERE c.id = @convo_id::text
    RETURNING c.id, c.log_xid, c.last_seq, c.epoch
)
INSERT INTO event_stream (generation, log_xid, kind, audience, convo_id, seq, user_did, epoch, bucket_ts)
SELECT g.generation, s.log_xid, 3, 1, s.id, s.last_seq, u.user_did, s.epoch, @bucket_ts::timestamptz
FROM unnest(@user_dids::text[]) WITH ORDINALITY AS u (user_did, ord)
CROSS JOIN stamp s
CROSS JOIN event_head g
ORDER BY u.ord;

-- name: WithdrawWelcomes :execrows
-- WithdrawWelcomes removes the Welcomes of a commit. Those that they had superseded wait again, for devices
-- that are still on the roster.
WITH withdrawn AS (
    SELECT w.id FROM welcomes w WHERE w.convo_id = @convo_id AND w.commit_seq = @seq::bigint
), again AS (
    UPDATE welcome_routes r
    SET superseded_at = NULL, superseded_by = NULL
    FROM withdrawn w
    WHERE r.superseded_by = w.id
      AND EXISTS (SELECT FROM members m
                  WHERE m.convo_id = r.convo_id AND m.user_did = r.user_did AND m.device_id = r.device_id AND m.left_at IS NULL)
)
DELETE FROM welcomes w USING withdrawn x WHERE w.id = x.id;

-- name: ReopenRequests :execrows
-- ReopenRequests opens again what a commit had fulfilled, unless the device has asked again since.
UPDATE pending_welcomes p
SET status = 'open', approved_at = NULL, closed_at = NULL, epoch = NULL, commit_seq = NULL
WHERE p.convo_id = @convo_id AND p.commit_seq = @seq::bigint AND p.status IN ('fulfilled', 'confirmed')
  AND EXISTS (SELECT FROM members m WHERE m.convo_id = p.convo_id AND m.user_did = p.user_did AND m.left_at IS NULL AND m.invited_by IS NULL)
  AND NOT EXISTS (SELECT FROM pending_welcomes o
                  WHERE o.convo_id = p.convo_id AND o.user_did = p.user_did AND o.device_id = p.device_id AND o.status = 'open');

-- name: ReopenDebts :execrows
-- ReopenDebts opens the debts again that a commit had settled, or was said to.
UPDATE removal_debts d
SET settled_epoch = NULL, settled_seq = NULL, settled_at = NULL, claimed_seq = NULL, claimed_by = NULL,
    confirmed_by = '{}', disputed_by = '{}', spent_by = '{}'
WHERE d.convo_id = @convo_id AND (d.settled_seq = @seq::bigint OR d.settled_at IS NULL AND d.claimed_seq = @seq::bigint)
  AND NOT EXISTS (SELECT FROM removal_debts o
                  WHERE o.convo_id = d.convo_id AND o.user_did = d.user_did AND o.device_id = d.device_id AND o.settled_at IS NULL
                    AND o.id <> d.id);

-- name: ForgetProposedDebts :execrows
-- ForgetProposedDebts takes back that debts were proposed in epochs that are void: another commit leads
-- to epochs of those numbers now, and has nothing to do with the proposals.
UPDATE removal_debts SET proposed_epoch = NULL
WHERE convo_id = @convo_id AND settled_at IS NULL AND proposed_epoch > @epoch::bigint;

-- name: MoveDebts :execrows
-- MoveDebts writes down which leaves the devices have whose removal is due, in a group that is back.
UPDATE removal_debts d
SET leaf_index = t.leaf_index
FROM (SELECT unnest(@user_dids::text[]) AS user_did, unnest(@device_ids::text[]) AS device_id, unnest(@leaf_indexes::bigint[]) AS leaf_index) t
WHERE d.convo_id = @convo_id AND d.settled_at IS NULL AND d.user_did = t.user_did AND d.device_id = t.device_id
  AND d.leaf_index IS DISTINCT FROM t.leaf_index;

-- name: ListRemovedBy :many
-- ListRemovedBy is the devices that left the roster with a commit and owe their leaves to nobody. Places
-- that were kept have no leaf.
SELECT m.user_did, m.device_id, m.leaf_index, (m.invited_by IS NOT NULL)::boolean AS invited
FROM members m
WHERE m.convo_id = @convo_id AND m.left_seq = @seq::bigint AND NOT m.vacant
  AND NOT EXISTS (SELECT FROM removal_debts d
                  WHERE d.convo_id = m.convo_id AND d.user_did = m.user_did AND d.device_id = m.device_id AND d.settled_at IS NULL)
ORDER BY m.user_did, m.device_id;

-- name: SeeUsers :exec
-- SeeUsers notes on which day users were here.
INSERT INTO user_days AS d (user_did, seen_on)
SELECT u.user_did, @seen_on::timestamptz FROM unnest(@user_dids::text[]) AS u (user_did)
ON CONFLICT ON CONSTRAINT user_days_pkey DO UPDATE SET seen_on = excluded.seen_on
WHERE d.seen_on < excluded.seen_on;

-- name: DeleteUserDays :execrows
-- DeleteUserDays forgets users who have not been here for long.
DELETE FROM user_days u
WHERE u.ctid = ANY (ARRAY(SELECT o.ctid FROM user_days o WHERE o.seen_on < @before::timestamptz AND o.user_did <> '' ORDER BY o.seen_on LIMIT @max_rows))
  AND u.seen_on < @before::timestamptz;
