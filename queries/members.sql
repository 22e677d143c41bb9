-- name: ListMembers :many
-- ListMembers is the devices on the rosters of conversations, oldest first.
SELECT m.convo_id, m.user_did, m.device_id, m.mls_did, m.device_name, m.joined_at, m.join_generation, m.join_epoch, m.join_seq, m.is_admin, m.promoted_at, m.promoted_by_did, m.leaf_index, m.needs_rejoin, m.vacant,
       coalesce(m.invited_by, '')::text AS invited_by, coalesce(u.seen_on, to_timestamp(0))::timestamptz AS last_day
FROM members m
LEFT JOIN LATERAL (SELECT d.seen_on FROM user_days d WHERE d.user_did = m.user_did) u ON true
WHERE m.convo_id = ANY (@convo_ids::text[]) AND m.left_at IS NULL
ORDER BY m.convo_id, m.joined_at, m.user_did, m.device_id;

-- name: FindActiveUsers :many
-- FindActiveUsers is which of the users are on the conversation's roster, a row per device.
SELECT user_did, device_id, joined_at, is_admin, needs_rejoin, leaf_index, vacant, (invited_by IS NOT NULL)::boolean AS invited
FROM members
WHERE convo_id = @convo_id AND user_did = ANY (@user_dids::text[]) AND left_at IS NULL
ORDER BY user_did, device_id;

-- name: CountActiveUsers :one
-- CountActiveUsers counts the members; who is only invited is none.
SELECT count(DISTINCT user_did) FROM members WHERE convo_id = @convo_id AND left_at IS NULL AND invited_by IS NULL;

-- name: UpsertMembers :many
-- UpsertMembers puts devices on the roster and writes an event for each that
-- was not on it. A device that is on it keeps where it joined; a user that is
-- admin is so with its new devices too. What a commit (at join_seq) changes
-- is kept as it was.
--
-- Who is not on the roster and comes with an inviter is invited: it is told so, and the members
-- learn no device of it.
WITH bumped AS (
    UPDATE conversations c
    SET roster_version = c.roster_version + 1,
        log_xid = greatest(c.log_xid, pg_current_xact_id()::text::bigint)
    WHERE c.id = @convo_id::text
    RETURNING c.id, c.log_xid, c.generation
), added AS (
    SELECT t.ord, t.user_did, t.device_id, t.mls_did, nullif(t.device_name, '') AS device_name, nullif(t.leaf_index, -1) AS leaf_index,
           old.user_did IS NOT NULL AND old.left_at IS NULL AS already,
           CASE WHEN s.user_did IS NULL THEN nullif(t.invited_by, '') ELSE s.invited_by END AS invited_by,
           s.user_did IS NULL AND t.nth = 1 AS opens
    FROM (SELECT a.user_did, d.device_id, n.mls_did, e.device_name, l.leaf_index, i.invited_by, a.ord,
                 row_number() OVER (PARTITION BY a.user_did ORDER BY a.ord) AS nth
          FROM unnest(@user_dids::text[]) WITH ORDINALITY AS a (user_did, ord)
          JOIN unnest(@device_ids::text[]) WITH ORDINALITY AS d (device_id, ord) USING (ord)
          JOIN unnest(@mls_dids::text[]) WITH ORDINALITY AS n (mls_did, ord) USING (ord)
          JOIN unnest(@device_names::text[]) WITH ORDINALITY AS e (device_name, ord) USING (ord)
          JOIN unnest(@leaf_indexes::bigint[]) WITH ORDINALITY AS l (leaf_index, ord) USING (ord)
          JOIN unnest(@invited_bys::text[]) WITH ORDINALITY AS i (invited_by, ord) USING (ord)) t
    LEFT JOIN LATERAL (
        SELECT x.user_did, x.invited_by
        FROM members x
        WHERE x.convo_id = @convo_id::text AND x.user_did = t.user_did AND x.left_at IS NULL
        ORDER BY x.device_id
        LIMIT 1
    ) s ON true
    LEFT JOIN members old ON old.convo_id = @convo_id::text AND old.user_did = t.user_did AND old.device_id = t.device_id
), kept AS (
    INSERT INTO commit_additions (convo_id, seq, user_did, device_id, before, created_at)
    SELECT @convo_id::text, @join_seq::bigint, a.user_did, a.device_id, to_jsonb(old), @joined_at::timestamptz
    FROM added a
    LEFT JOIN members old ON old.convo_id = @convo_id::text AND old.user_did = a.user_did AND old.device_id = a.device_id
    WHERE EXISTS (SELECT FROM commits k WHERE k.convo_id = @convo_id::text AND k.seq = @join_seq::bigint)
    ON CONFLICT ON CONSTRAINT commit_additions_pkey DO NOTHING
), logged AS (
    INSERT INTO event_stream (generation, log_xid, kind, audience, convo_id, seq, user_did, device_id, epoch, bucket_ts)
    SELECT g.generation, b.log_xid, CASE WHEN a.invited_by IS NULL THEN 2 ELSE 18 END, 1, b.id, @join_seq::bigint, a.user_did,
           CASE WHEN a.invited_by IS NULL THEN nullif(a.device_id, '') END, @join_epoch::bigint, @joined_at::timestamptz
    FROM added a CROSS JOIN bumped b CROSS JOIN event_head g
    WHERE NOT a.already AND (a.invited_by IS NULL OR a.opens)
    ORDER BY a.ord
), told AS (
    INSERT INTO event_stream (generation, log_xid, kind, audience, audience_did, convo_id, seq, user_did, epoch, bucket_ts)
    SELECT g.generation, b.log_xid, 19, 3, a.user_did, b.id, @join_seq::bigint, a.user_did, @join_epoch::bigint, @joined_at::timestamptz
    FROM added a CROSS JOIN bumped b CROSS JOIN event_head g
    WHERE a.invited_by IS NOT NULL AND a.opens
    ORDER BY a.ord
), invited AS (
    INSERT INTO invitations (convo_id, user_did, inviter_did, created_at, join_seq)
    SELECT b.id, a.user_did, a.invited_by, @joined_at::timestamptz, @join_seq::bigint
    FROM added a CROSS JOIN bumped b
    WHERE a.invited_by IS NOT NULL AND a.opens
)
INSERT INTO members AS m (convo_id, user_did, device_id, mls_did, device_name, joined_at, join_generation, join_epoch, join_seq, is_admin, promoted_at, promoted_by_did, leaf_index, invited_by)
SELECT b.id, a.user_did, a.device_id, a.mls_did, a.device_name, @joined_at::timestamptz, b.generation, @join_epoch::bigint, @join_seq::bigint,
       p.user_did IS NOT NULL, p.promoted_at, p.promoted_by_did, a.leaf_index, a.invited_by
FROM added a CROSS JOIN bumped b
LEFT JOIN LATERAL (
    SELECT x.user_did, x.promoted_at, x.promoted_by_did
    FROM members x
    WHERE x.convo_id = b.id AND x.user_did = a.user_did AND x.left_at IS NULL AND x.is_admin
    ORDER BY x.device_id
    LIMIT 1
) p ON true
ON CONFLICT ON CONSTRAINT members_pkey DO UPDATE SET
    mls_did         = excluded.mls_did,
    device_name     = excluded.device_name,
    joined_at       = CASE WHEN m.left_at IS NULL THEN m.joined_at ELSE excluded.joined_at END,
    join_generation = CASE WHEN m.left_at IS NULL THEN m.join_generation ELSE excluded.join_generation END,
    join_epoch      = CASE WHEN m.left_at IS NULL THEN m.join_epoch ELSE excluded.join_epoch END,
    join_seq        = CASE WHEN m.left_at IS NULL THEN m.join_seq ELSE excluded.join_seq END,
    is_admin        = excluded.is_admin,
    promoted_at     = excluded.promoted_at,
    promoted_by_did = excluded.promoted_by_did,
    leaf_index      = excluded.leaf_index,
    needs_rejoin    = false,
    vacant          = false,
    invited_by      = excluded.invited_by,
    left_at         = NULL,
    left_seq        = NULL,
    left_reason     = NULL
RETURNING m.user_did, m.device_id;

-- name: MarkUserLeft :many
-- MarkUserLeft takes all of a user's devices off the roster, and writes the
-- event that is the last one this user may see (I10). It returns the devices.
-- The streams of a user who was only invited had no place in the conversation:
-- its invitation ends, and when others did that, it is told so.
WITH place AS (
    SELECT bool_and(x.invited_by IS NOT NULL) AS invited
    FROM members x
    WHERE x.convo_id = @convo_id::text AND x.user_did = @user_did AND x.left_at IS NULL
    HAVING count(*) > 0
), bumped AS (
    UPDATE conversations c
    SET roster_version = c.roster_version + 1,
        log_xid = greatest(c.log_xid, pg_current_xact_id()::text::bigint)
    FROM place p
    WHERE c.id = @convo_id::text
    RETURNING c.id, c.log_xid, c.last_seq, c.epoch, p.invited
), logged AS (
    INSERT INTO event_stream (generation, log_xid, kind, audience, convo_id, seq, user_did, epoch, bucket_ts)
    SELECT g.generation, b.log_xid, CASE WHEN b.invited THEN 18 ELSE 3 END, 1, b.id, b.last_seq, @user_did, b.epoch, @left_at::timestamptz
    FROM bumped b CROSS JOIN event_head g
), told AS (
    INSERT INTO event_stream (generation, log_xid, kind, audience, audience_did, convo_id, seq, user_did, epoch, bucket_ts)
    SELECT g.generation, b.log_xid, 19, 3, @user_did, b.id, b.last_seq, @user_did, b.epoch, @left_at::timestamptz
    FROM bumped b CROSS JOIN event_head g
    WHERE b.invited AND @left_reason::text = 'removed'
), ended AS (
    UPDATE invitations i
    SET ended_at = @left_at::timestamptz, outcome = CASE WHEN @left_reason::text = 'left' THEN 'declined' ELSE 'withdrawn' END
    FROM bumped b
    WHERE i.convo_id = b.id AND i.user_did = @user_did AND i.ended_at IS NULL
)
UPDATE members m
SET left_at = @left_at::timestamptz, left_seq = b.last_seq, left_reason = @left_reason::text,
    is_admin = false, promoted_at = NULL, promoted_by_did = NULL, needs_rejoin = false
FROM bumped b
WHERE m.convo_id = b.id AND m.user_did = @user_did AND m.left_at IS NULL
RETURNING m.device_id, m.leaf_index, m.vacant, (m.invited_by IS NOT NULL)::boolean AS invited;

-- name: MarkDevicesLeft :execrows
-- MarkDevicesLeft takes some of a user's devices off the roster, while the user stays with others.
UPDATE members m
SET left_at = @left_at::timestamptz, left_seq = @left_seq::bigint, left_reason = 'removed',
    is_admin = false, promoted_at = NULL, promoted_by_did = NULL, needs_rejoin = false
WHERE m.convo_id = @convo_id AND m.user_did = @user_did AND m.device_id = ANY (@device_ids::text[]) AND m.left_at IS NULL;

-- name: KeepPlace :exec
-- KeepPlace keeps a user in a conversation whose only device in it goes.
INSERT INTO members AS v (convo_id, user_did, device_id, mls_did, joined_at, join_generation, join_epoch, join_seq, is_admin, promoted_at, promoted_by_did, invited_by, vacant)
SELECT m.convo_id, m.user_did, '', m.user_did, m.joined_at, m.join_generation, m.join_epoch, m.join_seq, m.is_admin, m.promoted_at, m.promoted_by_did, m.invited_by, true
FROM members m
WHERE m.convo_id = @convo_id AND m.user_did = @user_did AND m.device_id = @device_id AND m.left_at IS NULL
  AND NOT EXISTS (SELECT FROM members o WHERE o.convo_id = m.convo_id AND o.user_did = m.user_did AND o.device_id <> m.device_id AND o.left_at IS NULL)
ON CONFLICT ON CONSTRAINT members_pkey DO UPDATE SET
    joined_at       = excluded.joined_at,
    join_generation = excluded.join_generation,
    join_epoch      = excluded.join_epoch,
    join_seq        = excluded.join_seq,
    is_admin        = excluded.is_admin,
    promoted_at     = excluded.promoted_at,
    promoted_by_did = excluded.promoted_by_did,
    leaf_index      = NULL,
    needs_rejoin    = false,
    invited_by      = excluded.invited_by,
    vacant          = true,
    left_at         = NULL,
    left_seq        = NULL,
    left_reason     = NULL;

-- name: MarkDeviceDeleted :one
-- MarkDeviceDeleted takes a device off the roster that its user has deleted.
UPDATE members m
SET left_at = @left_at::timestamptz, left_seq = c.last_seq, left_reason = 'left',
    is_admin = false, promoted_at = NULL, promoted_by_did = NULL, needs_rejoin = false
FROM conversations c
WHERE c.id = m.convo_id AND m.convo_id = @convo_id AND m.user_did = @user_did AND m.device_id = @device_id AND m.left_at IS NULL
RETURNING m.leaf_index, (m.invited_by IS NOT NULL)::boolean AS invited;

-- name: SetLeaves :execrows
-- SetLeaves writes down which leaf of the group each device on the roster has; the others have none.
UPDATE members m
SET leaf_index = x.leaf_index
FROM (
    SELECT d.user_did, d.device_id, t.leaf_index
    FROM members d
    LEFT JOIN (
        SELECT u.user_did, v.device_id, l.leaf_index
        FROM unnest(@user_dids::text[]) WITH ORDINALITY AS u (user_did, ord)
        JOIN unnest(@device_ids::text[]) WITH ORDINALITY AS v (device_id, ord) USING (ord)
        JOIN unnest(@leaf_indexes::bigint[]) WITH ORDINALITY AS l (leaf_index, ord) USING (ord)
    ) t ON t.user_did = d.user_did AND t.device_id = d.device_id
    WHERE d.convo_id = @convo_id AND d.left_at IS NULL
) x
WHERE m.convo_id = @convo_id AND m.user_did = x.user_did AND m.device_id = x.device_id AND m.leaf_index IS DISTINCT FROM x.leaf_index;

-- name: SetAdmin :execrows
-- SetAdmin makes a user an admin with all its devices.
UPDATE members
SET is_admin = true, promoted_at = @promoted_at, promoted_by_did = @promoted_by_did
WHERE convo_id = @convo_id AND user_did = @user_did AND left_at IS NULL AND NOT is_admin;

-- name: ClearAdmin :execrows
UPDATE members
SET is_admin = false, promoted_at = NULL, promoted_by_did = NULL
WHERE convo_id = @convo_id AND user_did = @user_did AND left_at IS NULL AND is_admin;

-- name: ListAdmins :many
-- ListAdmins is the users, not the devices, that are admins, and whether only a place is kept for one.
SELECT user_did, bool_and(vacant)::boolean AS vacant FROM members
WHERE convo_id = @convo_id AND left_at IS NULL AND is_admin
GROUP BY user_did
ORDER BY user_did;

-- name: FindLongestStanding :one
-- FindLongestStanding is the member that has been in the conversation longest, of those with a device if
-- there are any.
SELECT user_did, vacant FROM members
WHERE convo_id = @convo_id AND left_at IS NULL AND invited_by IS NULL AND user_did <> @except_did::text
ORDER BY vacant, join_seq, joined_at, user_did
LIMIT 1;

-- name: SetNeedsRejoin :execrows
UPDATE members SET needs_rejoin = @needs_rejoin
WHERE convo_id = @convo_id AND user_did = @user_did AND device_id = @device_id AND left_at IS NULL;

-- name: WasMemberSince :one
-- WasMemberSince says whether a user is in the conversation or left it after since.
SELECT EXISTS (
    SELECT FROM members
    WHERE convo_id = @convo_id AND user_did = @user_did AND (left_at IS NULL OR left_at >= @since::timestamptz)
);

-- name: ListSharedConversations :many
-- ListSharedConversations is the conversations that two users are both members of.
SELECT DISTINCT a.convo_id
FROM members a
WHERE a.user_did = @first_did AND a.left_at IS NULL AND a.invited_by IS NULL
  AND EXISTS (SELECT FROM members b WHERE b.convo_id = a.convo_id AND b.user_did = @second_did::text AND b.left_at IS NULL AND b.invited_by IS NULL)
ORDER BY a.convo_id;

-- name: ListUsers :many
-- ListUsers is every user that is on a roster, out of an index alone.
SELECT DISTINCT user_did FROM members WHERE left_at IS NULL ORDER BY user_did;
