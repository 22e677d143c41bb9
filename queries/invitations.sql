-- name: LockInviter :exec
-- LockInviter serialises what counts the invitations of a user.
SELECT pg_advisory_xact_lock(hashtextextended(@inviter_did::text, 7303));

-- name: WeighInvitations :many
-- WeighInvitations is what stands against inviting some users: how many invitations from the inviter
-- each has open, those that were taken back lately included, and when it last declined one; and how
-- many the inviter has open and has made lately, of all users. Open ones of long ago count no longer.
SELECT u.user_did::text AS user_did, p.pair_open, p.declined_at, a.open, a.recent, a.oldest_at
FROM unnest(@user_dids::text[]) AS u (user_did)
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE i.ended_at IS NULL AND i.created_at > @counted_since::timestamptz OR i.outcome = 'withdrawn' AND i.created_at > @day_ago::timestamptz) AS pair_open,
           coalesce(max(i.ended_at) FILTER (WHERE i.outcome = 'declined'), to_timestamp(0))::timestamptz AS declined_at
    FROM invitations i
    WHERE i.inviter_did = @inviter_did AND i.user_did = u.user_did
) p
CROSS JOIN (
    SELECT count(*) FILTER (WHERE i.ended_at IS NULL AND i.created_at > @counted_since::timestamptz) AS open,
           count(*) FILTER (WHERE i.created_at > @hour_ago::timestamptz) AS recent,
           coalesce(min(i.created_at) FILTER (WHERE i.created_at > @hour_ago::timestamptz), to_timestamp(0))::timestamptz AS oldest_at
    FROM invitations i
    WHERE i.inviter_did = @inviter_did
) a
ORDER BY u.user_did;

-- name: AcceptInvitation :many
-- AcceptInvitation makes an invited user a member, whose streams follow the conversation from here
-- on. It returns its devices. Those that went while it was invited are a member's from now on, too:
-- members learn which ones they have to remove, and so it is when a commit is taken back. Where nothing
-- tells when the invitation began, these are all that it ever had without accepting.
WITH accepted AS (
    UPDATE members m SET invited_by = NULL
    WHERE m.convo_id = @convo_id::text AND m.user_did = @user_did AND m.left_at IS NULL AND m.invited_by IS NOT NULL
    RETURNING m.device_id, m.needs_rejoin, m.vacant
), ended AS (
    UPDATE invitations i SET ended_at = @accepted_at::timestamptz, outcome = 'accepted'
    WHERE i.convo_id = @convo_id::text AND i.user_did = @user_did AND i.ended_at IS NULL
    RETURNING i.join_seq
), began AS (
    SELECT coalesce((SELECT max(e.join_seq) FROM ended e), 0) AS join_seq FROM accepted LIMIT 1
), gone AS (
    UPDATE members m SET invited_by = NULL
    FROM began e
    WHERE m.convo_id = @convo_id::text AND m.user_did = @user_did AND m.left_seq >= e.join_seq AND m.invited_by IS NOT NULL
), kept AS (
    UPDATE commit_additions a SET before = jsonb_set(a.before, '{invited_by}', 'null')
    FROM began e
    WHERE a.convo_id = @convo_id::text AND a.seq > e.join_seq AND a.user_did = @user_did AND (a.before->>'left_seq')::bigint >= e.join_seq
), shown AS (
    UPDATE removal_debts d SET withheld = false
    FROM began e
    WHERE d.convo_id = @convo_id::text AND d.user_did = @user_did AND d.withheld AND (d.settled_at IS NULL OR d.settled_seq >= e.join_seq)
), bumped AS (
    UPDATE conversations c
    SET roster_version = c.roster_version + 1,
        log_xid = greatest(c.log_xid, pg_current_xact_id()::text::bigint)
    WHERE c.id = @convo_id::text
    RETURNING c.id, c.log_xid, c.last_seq, c.epoch
), logged AS (
    INSERT INTO event_stream (generation, log_xid, kind, audience, convo_id, seq, user_did, device_id, epoch, bucket_ts)
    SELECT g.generation, b.log_xid, 2, 1, b.id, b.last_seq, @user_did, nullif(a.device_id, ''), b.epoch, @accepted_at::timestamptz
    FROM accepted a CROSS JOIN bumped b CROSS JOIN event_head g
    ORDER BY a.device_id
)
SELECT a.device_id, a.needs_rejoin, a.vacant FROM accepted a ORDER BY a.device_id;

-- name: WithdrawInvitations :execrows
-- WithdrawInvitations ends the open invitations of users whose addition was taken back.
UPDATE invitations SET ended_at = @ended_at::timestamptz, outcome = 'withdrawn'
WHERE convo_id = @convo_id AND user_did = ANY (@user_dids::text[]) AND ended_at IS NULL;

-- name: ListCrowded :many
-- ListCrowded is the users with more open invitations than are kept, and how many are too many.
SELECT user_did, (count(*) - @kept::bigint)::bigint AS surplus
FROM invitations
WHERE ended_at IS NULL
GROUP BY user_did
HAVING count(*) > @kept::bigint
ORDER BY user_did
LIMIT @max_rows;

-- name: ListSurplus :many
-- ListSurplus is the open invitations of a user in the order in which they go: those of the inviter
-- with the most open invitations first, whoever those invite, and of them the newest.
SELECT i.convo_id
FROM invitations i
CROSS JOIN LATERAL (SELECT count(*) AS open FROM invitations o WHERE o.inviter_did = i.inviter_did AND o.ended_at IS NULL) n
WHERE i.user_did = @user_did AND i.ended_at IS NULL
ORDER BY n.open DESC, i.inviter_did, i.id DESC
LIMIT @max_rows;

-- name: DeleteInvitations :execrows
-- DeleteInvitations forgets invitations that count no longer: declined ones after a month, others after a day.
DELETE FROM invitations i
WHERE i.id = ANY (ARRAY(
    SELECT o.id FROM invitations o
    WHERE o.ended_at < @before::timestamptz AND (o.outcome <> 'declined' OR o.ended_at < @declined_before::timestamptz)
    LIMIT @max_rows
));
