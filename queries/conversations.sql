-- name: InsertConversation :exec
-- InsertConversation makes a conversation. The caller holds its lock from then on. A trigger notes
-- its group id for ever.
INSERT INTO conversations (id, group_id, creator_did, cipher_suite, epoch, verified_epoch, name, description, created_at, last_activity_at)
VALUES (@id, @group_id, @creator_did, @cipher_suite, @epoch, sqlc.narg('verified_epoch'), sqlc.narg('name'), sqlc.narg('description'), @created_at, @created_at);

-- name: LockConversation :one
-- LockConversation locks a conversation's row, which comes before any other row of it.
SELECT c.id, c.group_id, c.creator_did, c.cipher_suite, c.epoch, c.last_seq, c.name, c.description, c.created_at, c.last_activity_at, c.last_message_bucket_ts,
       c.generation, c.verified_epoch, c.commit_id, c.reinit_group_id, c.reinit_suite, coalesce(c.first_group_id, c.group_id)::text AS first_group_id
FROM conversations c
WHERE c.id = CASE WHEN @convo_id::text <> '' THEN @convo_id::text ELSE (SELECT g.convo_id FROM convo_groups g WHERE g.group_id = @group_id::text) END
FOR NO KEY UPDATE OF c;

-- name: GetStanding :one
-- GetStanding says what a user is to a conversation. join_seq and join_epoch
-- are the smallest over the user's active devices. No row that has left is an
-- admin's (members_gone_is_no_admin).
SELECT c.id, c.group_id, c.creator_did, c.cipher_suite, c.epoch, c.last_seq, c.name, c.description, c.created_at, c.last_activity_at, c.last_message_bucket_ts,
       c.generation, c.verified_epoch, c.commit_id, c.reinit_group_id, c.reinit_suite, coalesce(c.first_group_id, c.group_id)::text AS first_group_id,
       m.rows_ever, m.rows_active, m.rows_invited, m.is_admin, m.join_seq, m.join_epoch, m.left_reason
FROM conversations c
CROSS JOIN LATERAL (
    SELECT count(*) AS rows_ever,
           count(*) FILTER (WHERE d.left_at IS NULL AND d.invited_by IS NULL) AS rows_active,
           count(*) FILTER (WHERE d.left_at IS NULL AND d.invited_by IS NOT NULL) AS rows_invited,
           coalesce(bool_or(d.is_admin), false)::boolean AS is_admin,
           coalesce(min(d.join_seq) FILTER (WHERE d.left_at IS NULL), 0)::bigint AS join_seq,
           coalesce(min(d.join_epoch) FILTER (WHERE d.left_at IS NULL), 0)::bigint AS join_epoch,
           coalesce((array_agg(d.left_reason ORDER BY d.left_seq DESC NULLS LAST, d.left_reason DESC))[1], '')::text AS left_reason
    FROM members d
    WHERE d.convo_id = c.id AND d.user_did = @user_did
) m
WHERE c.id = CASE WHEN @convo_id::text <> '' THEN @convo_id::text ELSE (SELECT g.convo_id FROM convo_groups g WHERE g.group_id = @group_id::text) END;

-- name: ListConversations :many
-- ListConversations is a page of the conversations that a user is in, newest activity first, and of
-- those that it is invited to, newest invitation first, after them: what happens there is not told to
-- who is invited. state is one of the two, or '' for both. listed_at is by what a page goes on,
-- roster_rows how much there is to read of each.
SELECT c.id, c.group_id, c.creator_did, c.cipher_suite, c.epoch, c.last_seq, c.name, c.description, c.created_at, c.last_activity_at, c.last_message_bucket_ts,
       c.generation, c.verified_epoch, c.commit_id, c.reinit_group_id, c.reinit_suite, coalesce(c.first_group_id, c.group_id)::text AS first_group_id, s.invited_by, p.listed_at,
       (SELECT count(*) FROM members r WHERE r.convo_id = c.id AND r.left_at IS NULL) AS roster_rows
FROM conversations c
JOIN (
    SELECT m.convo_id, coalesce(max(m.invited_by), '')::text AS invited_by, min(m.joined_at) AS joined_at
    FROM members m
    WHERE m.user_did = @user_did AND m.left_at IS NULL
      AND CASE @state::text WHEN 'active' THEN m.invited_by IS NULL WHEN 'invited' THEN m.invited_by IS NOT NULL ELSE true END
    GROUP BY m.convo_id
) s ON s.convo_id = c.id
CROSS JOIN LATERAL (SELECT (CASE WHEN s.invited_by = '' THEN c.last_activity_at ELSE s.joined_at END)::timestamptz AS listed_at) p
WHERE CASE WHEN s.invited_by = '' THEN NOT @among_invitations::boolean AND (p.listed_at, c.id) < (@before_at::timestamptz, @before_id::text)
           ELSE NOT @among_invitations::boolean OR (p.listed_at, c.id) < (@before_at::timestamptz, @before_id::text) END
ORDER BY s.invited_by <> '', p.listed_at DESC, c.id DESC
LIMIT @max_rows;

-- name: GetConversation :one
SELECT c.id, c.group_id, c.creator_did, c.cipher_suite, c.epoch, c.last_seq, c.name, c.description, c.created_at, c.last_activity_at, c.last_message_bucket_ts,
       c.generation, c.verified_epoch, c.commit_id, c.reinit_group_id, c.reinit_suite, coalesce(c.first_group_id, c.group_id)::text AS first_group_id
FROM conversations c
WHERE c.id = @id;

-- name: ListNotedGroups :many
-- ListNotedGroups is the first groups of conversations, those that are gone included.
SELECT g.convo_id, g.group_id FROM convo_groups g
WHERE g.convo_id = ANY (@convo_ids::text[]) AND g.generation = 0;

-- name: LockConversationsOf :exec
-- LockConversationsOf locks the conversations that a user is in or invited to, in the order of their ids.
SELECT c.id FROM conversations c
WHERE c.id IN (SELECT m.convo_id FROM members m WHERE m.user_did = @user_did AND m.left_at IS NULL)
ORDER BY c.id
FOR NO KEY UPDATE;

-- name: ListConversationsOf :many
-- ListConversationsOf is the conversations that a user is a member of.
SELECT DISTINCT m.convo_id FROM members m WHERE m.user_did = @user_did AND m.left_at IS NULL AND m.invited_by IS NULL ORDER BY m.convo_id;

-- name: CountActiveConversations :one
-- CountActiveConversations counts the conversations that had a message since a time.
SELECT count(*) FROM conversations WHERE last_message_bucket_ts >= @since::timestamptz;
