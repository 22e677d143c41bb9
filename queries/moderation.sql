-- name: InsertAdminAction :exec
INSERT INTO admin_actions (convo_id, actor_did, action, target_did, report_id, reason, created_at)
VALUES (@convo_id, @actor_did, @action, sqlc.narg('target_did'), sqlc.narg('report_id'), sqlc.narg('reason'), @created_at);

-- name: InsertReport :exec
INSERT INTO reports (id, convo_id, reporter_did, reported_did, category, encrypted_content, message_count, created_at)
VALUES (@id, @convo_id, @reporter_did, @reported_did, @category, @encrypted_content, @message_count, @created_at);

-- name: CountRecentReports :one
SELECT count(*) AS reports, coalesce(min(created_at), @since::timestamptz)::timestamptz AS oldest_at
FROM reports
WHERE reporter_did = @reporter_did AND reported_did = @reported_did AND created_at > @since::timestamptz;

-- name: ListReports :many
-- ListReports is a page of reports, newest first, without those about the reader.
SELECT id, reporter_did, reported_did, category, encrypted_content, status, resolved_by, resolved_at, created_at
FROM reports
WHERE convo_id = @convo_id AND reported_did <> @reader_did::text
  AND (@status::text = '' OR status = @status::text)
  AND (created_at, id) < (@before_at::timestamptz, @before_id::text)
ORDER BY created_at DESC, id DESC
LIMIT @max_rows;

-- name: FindReport :one
-- FindReport is the report that an admin of its conversation may resolve: the
-- reported user may not, and for anybody else it does not exist.
SELECT r.id, r.convo_id, r.reporter_did, r.reported_did, r.status
FROM reports r
WHERE r.id = @id AND r.reported_did <> @reader_did::text
  AND EXISTS (SELECT FROM members m WHERE m.convo_id = r.convo_id AND m.user_did = @reader_did::text AND m.left_at IS NULL AND m.is_admin);

-- name: ResolveReport :execrows
UPDATE reports
SET status = @status, action = @action, notes = sqlc.narg('notes'), resolved_by = @resolved_by, resolved_at = @resolved_at
WHERE id = @id AND status = 'pending';

-- name: CountModeration :one
-- CountModeration counts reports and actions, of one conversation or (convo_id '') of all.
SELECT r.total, r.pending, r.resolved,
       r.harassment, r.spam, r.hate_speech, r.violence, r.sexual_content, r.impersonation, r.privacy_violation, r.other,
       r.average_hours, a.removals, a.block_conflicts_resolved
FROM (
    SELECT count(*) AS total,
           count(*) FILTER (WHERE status = 'pending') AS pending,
           count(*) FILTER (WHERE status <> 'pending') AS resolved,
           count(*) FILTER (WHERE category = 'harassment') AS harassment,
           count(*) FILTER (WHERE category = 'spam') AS spam,
           count(*) FILTER (WHERE category = 'hate_speech') AS hate_speech,
           count(*) FILTER (WHERE category = 'violence') AS violence,
           count(*) FILTER (WHERE category = 'sexual_content') AS sexual_content,
           count(*) FILTER (WHERE category = 'impersonation') AS impersonation,
           count(*) FILTER (WHERE category = 'privacy_violation') AS privacy_violation,
           count(*) FILTER (WHERE category NOT IN ('harassment', 'spam', 'hate_speech', 'violence', 'sexual_content', 'impersonation', 'privacy_violation')) AS other,
           coalesce(round(avg(extract(epoch FROM resolved_at - created_at)) FILTER (WHERE status <> 'pending') / 3600), -1)::bigint AS average_hours
    FROM reports
    WHERE (@convo_id::text = '' OR convo_id = @convo_id::text) AND created_at >= @since::timestamptz
) r CROSS JOIN (
    SELECT count(*) FILTER (WHERE action = 'remove') AS removals,
           count(*) FILTER (WHERE action = 'resolve_block_conflict') AS block_conflicts_resolved
    FROM admin_actions
    WHERE (@convo_id::text = '' OR convo_id = @convo_id::text) AND created_at >= @since::timestamptz
) a;

-- name: ListBlocks :many
-- ListBlocks is the known blocks of some users against others, and when the whole
-- lists of the former were last read. Both are of one moment: a reading never
-- stands without what it found.
SELECT false AS is_check, blocker_did, blocked_did, uri, rkey, created_at AS at, seen_at
FROM bsky_blocks
WHERE blocker_did = ANY (@blocker_dids::text[]) AND blocked_did = ANY (@blocked_dids::text[])
UNION ALL
SELECT true AS is_check, blocker_did, blocked_did, NULL AS uri, NULL AS rkey, checked_at AS at, checked_at AS seen_at
FROM block_checks
WHERE blocker_did = ANY (@blocker_dids::text[]) AND blocked_did = ''
ORDER BY is_check, blocker_did, blocked_did;

-- name: ListAcquaintances :many
-- ListAcquaintances is those of some users who share a conversation with a user that both have accepted.
SELECT DISTINCT o.user_did
FROM members m JOIN members o ON o.convo_id = m.convo_id
WHERE m.user_did = @user_did AND m.left_at IS NULL AND m.invited_by IS NULL
  AND o.user_did = ANY (@dids::text[]) AND o.left_at IS NULL AND o.invited_by IS NULL
ORDER BY o.user_did;

-- name: UpsertBlocks :exec
INSERT INTO bsky_blocks (blocker_did, blocked_did, uri, rkey, created_at, seen_at)
SELECT a.blocker_did, b.blocked_did, nullif(u.uri, ''), nullif(r.rkey, ''), c.created_at, @seen_at::timestamptz
FROM unnest(@blocker_dids::text[]) WITH ORDINALITY AS a (blocker_did, ord)
JOIN unnest(@blocked_dids::text[]) WITH ORDINALITY AS b (blocked_did, ord) USING (ord)
JOIN unnest(@uris::text[]) WITH ORDINALITY AS u (uri, ord) USING (ord)
JOIN unnest(@rkeys::text[]) WITH ORDINALITY AS r (rkey, ord) USING (ord)
JOIN unnest(@created_ats::timestamptz[]) WITH ORDINALITY AS c (created_at, ord) USING (ord)
ORDER BY a.blocker_did, b.blocked_did
ON CONFLICT ON CONSTRAINT bsky_blocks_pkey DO UPDATE
SET uri = excluded.uri, rkey = excluded.rkey, created_at = excluded.created_at, seen_at = excluded.seen_at;

-- name: DeleteBlock :execrows
DELETE FROM bsky_blocks WHERE blocker_did = @blocker_did AND blocked_did = @blocked_did;

-- name: DeleteBlockByKey :many
DELETE FROM bsky_blocks WHERE blocker_did = @blocker_did AND rkey = @rkey RETURNING blocked_did;

-- name: DeleteBlocksSeenBefore :execrows
-- DeleteBlocksSeenBefore removes the blocks of a checked pair, or of a blocker whose whole
-- list was read, but those that were seen after that. What the look-up found is written anew.
DELETE FROM bsky_blocks b
USING unnest(@blocker_dids::text[]) WITH ORDINALITY AS x (blocker_did, ord)
JOIN unnest(@blocked_dids::text[]) WITH ORDINALITY AS y (blocked_did, ord) USING (ord)
WHERE b.blocker_did = x.blocker_did AND (y.blocked_did = '' OR b.blocked_did = y.blocked_did) AND b.seen_at <= @checked_at::timestamptz;

-- name: UpsertBlockChecks :exec
-- UpsertBlockChecks notes when whole lists were read, and when single blocks were seen. Who
-- wanted to know about whom is kept nowhere.
INSERT INTO block_checks (blocker_did, blocked_did, checked_at)
SELECT a.blocker_did, b.blocked_did, @checked_at::timestamptz
FROM unnest(@blocker_dids::text[]) WITH ORDINALITY AS a (blocker_did, ord)
JOIN unnest(@blocked_dids::text[]) WITH ORDINALITY AS b (blocked_did, ord) USING (ord)
ORDER BY a.blocker_did, b.blocked_did
ON CONFLICT ON CONSTRAINT block_checks_pkey DO UPDATE SET checked_at = greatest(block_checks.checked_at, excluded.checked_at);

-- name: WasDemotedBy :one
-- WasDemotedBy says whether one user has taken the other's admin role since a time.
SELECT EXISTS (
    SELECT FROM admin_actions a
    WHERE a.convo_id = @convo_id AND a.created_at >= @since::timestamptz
      AND a.action = 'demote' AND a.actor_did = @actor_did AND a.target_did = @target_did::text
);

-- name: FindReportRepeat :one
-- FindReportRepeat is a report that a user has filed with the same content. One without content
-- repeats nothing once the first was resolved: it may be about something else.
SELECT id, created_at FROM reports
WHERE reporter_did = @reporter_did AND reported_did = @reported_did AND convo_id = @convo_id
  AND category = @category AND encrypted_content = @encrypted_content
  AND (status = 'pending' OR octet_length(encrypted_content) > 0)
ORDER BY created_at
LIMIT 1;

-- name: WasResolvedSo :one
-- WasResolvedSo says whether a user has resolved a report in the same way.
SELECT EXISTS (
    SELECT FROM reports
    WHERE id = @id AND resolved_by = @resolved_by::text AND action = @action::text AND notes IS NOT DISTINCT FROM sqlc.narg('notes')::text
);

-- name: FindBlockKey :one
-- FindBlockKey is the record by which the cache knows a block, '' when the source did not say.
SELECT coalesce(rkey, '')::text AS rkey FROM bsky_blocks WHERE blocker_did = @blocker_did AND blocked_did = @blocked_did;

-- name: FindBlockConflict :one
-- FindBlockConflict is when the admins of a conversation were told of a block that stands.
SELECT told_at FROM block_conflicts WHERE convo_id = @convo_id AND blocker_did = @blocker_did AND blocked_did = @blocked_did;

-- name: PutBlockConflict :exec
-- PutBlockConflict records that the admins of a conversation are told of a block, and its record. Of
-- one that was told before it renews the record.
INSERT INTO block_conflicts (convo_id, blocker_did, blocked_did, rkey, told_at)
VALUES (@convo_id, @blocker_did, @blocked_did, @rkey, @told_at)
ON CONFLICT ON CONSTRAINT block_conflicts_pkey DO UPDATE SET rkey = excluded.rkey;

-- name: EndBlockConflict :one
-- EndBlockConflict counts the conflicts that it ends, 0 or 1, and notes the record that is gone.
WITH ended AS (
    DELETE FROM block_conflicts b
    WHERE b.convo_id = @convo_id AND b.blocker_did = @blocker_did AND b.blocked_did = @blocked_did
    RETURNING b.convo_id, b.blocker_did, b.rkey
), noted AS (
    INSERT INTO ended_conflicts (convo_id, blocker_did, rkey, ended_at)
    SELECT e.convo_id, e.blocker_did, e.rkey, @ended_at::timestamptz FROM ended e WHERE e.rkey <> ''
    ON CONFLICT ON CONSTRAINT ended_conflicts_pkey DO UPDATE SET ended_at = greatest(ended_conflicts.ended_at, excluded.ended_at)
)
SELECT count(*) FROM ended;

-- name: IsConflictOver :one
-- IsConflictOver says whether the record of a conflict was seen to be gone, at a time or later.
SELECT EXISTS (
    SELECT FROM ended_conflicts
    WHERE convo_id = @convo_id AND blocker_did = @blocker_did AND rkey = @rkey AND ended_at >= @seen_at::timestamptz
);

-- name: DropBlockConflicts :execrows
-- DropBlockConflicts ends the conflicts of a user who leaves a conversation.
DELETE FROM block_conflicts WHERE convo_id = @convo_id AND (blocker_did = @user_did::text OR blocked_did = @user_did::text);

-- name: ListBlockedByRecord :many
-- ListBlockedByRecord is whom admins were told that a record blocks.
SELECT DISTINCT blocked_did FROM block_conflicts WHERE blocker_did = @blocker_did AND rkey = @rkey ORDER BY blocked_did;
