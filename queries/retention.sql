-- Statements here name their rows by an array of keys: a join would be planned
-- for a tenth of the table, whatever the limit turns out to be. What was true of
-- a row that may change is asked once more of the row that goes: it may have
-- been written while the statement waited for it.

-- name: TryLockRetention :one
-- TryLockRetention is held by one server process at a time, for one batch.
SELECT pg_try_advisory_xact_lock(7302) AS locked;

-- name: DeleteMessages :execrows
-- DeleteMessages removes a batch of old application messages and proposals.
DELETE FROM messages m
WHERE m.ctid = ANY (ARRAY(
    SELECT o.ctid FROM messages o
    WHERE o.received_bucket_ts < @before::timestamptz AND o.kind <> 3
    LIMIT @max_rows
));

-- name: DeleteCommits :execrows
-- DeleteCommits removes a batch of old commits, with their messages: those that no device on
-- the roster can still need, and all beyond the hard limit.
DELETE FROM messages m
WHERE m.ctid = ANY (ARRAY(
    SELECT o.ctid FROM messages o
    WHERE o.received_bucket_ts < @before::timestamptz AND o.kind = 3
      AND (o.received_bucket_ts < @hard_before::timestamptz OR NOT EXISTS (
          SELECT FROM members d
          LEFT JOIN cursors k ON k.convo_id = d.convo_id AND k.user_did = d.user_did
          WHERE d.convo_id = o.convo_id AND d.left_at IS NULL AND NOT d.vacant AND d.join_seq < o.seq
            -- The position is the user's, whichever device has read so far; another one may still need the commit.
            AND (coalesce(k.seq, 0) < o.seq OR EXISTS (
                SELECT FROM members x
                WHERE x.convo_id = d.convo_id AND x.user_did = d.user_did AND x.device_id <> d.device_id
                  AND x.left_at IS NULL AND NOT x.vacant AND x.join_seq < o.seq
            ))
      ))
    LIMIT @max_rows
));

-- name: DeleteWelcomes :execrows
DELETE FROM welcomes w
WHERE w.id = ANY (ARRAY(SELECT o.id FROM welcomes o WHERE o.created_at < @before::timestamptz LIMIT @max_rows));

-- name: ExpireRequests :many
-- ExpireRequests ends open requests that nobody has fulfilled.
UPDATE pending_welcomes p SET status = 'expired', closed_at = @now::timestamptz
WHERE p.id = ANY (ARRAY(SELECT o.id FROM pending_welcomes o WHERE o.created_at < @before::timestamptz AND o.status = 'open' LIMIT @max_rows FOR UPDATE SKIP LOCKED))
RETURNING p.id;

-- name: DeleteRequests :execrows
-- DeleteRequests removes requests that ended long ago.
DELETE FROM pending_welcomes p
WHERE p.id = ANY (ARRAY(SELECT o.id FROM pending_welcomes o WHERE o.created_at < @before::timestamptz AND o.status <> 'open' LIMIT @max_rows))
  AND p.status <> 'open';

-- name: DeleteKeyPackages :execrows
-- DeleteKeyPackages removes packages that expired.
DELETE FROM key_packages p
WHERE p.id = ANY (ARRAY(SELECT o.id FROM key_packages o WHERE o.expires_at < @before::timestamptz LIMIT @max_rows));

-- name: DeleteDeletedDevices :execrows
-- DeleteDeletedDevices forgets devices whose signature keys need not be refused any longer.
DELETE FROM deleted_devices d
WHERE d.device_id = ANY (ARRAY(SELECT o.device_id FROM deleted_devices o WHERE o.deleted_at < @before::timestamptz AND NOT o.open ORDER BY o.deleted_at LIMIT @max_rows));

-- name: DeleteIdempotencyKeys :execrows
DELETE FROM idempotency_keys i
WHERE i.key_hash = ANY (ARRAY(SELECT o.key_hash FROM idempotency_keys o WHERE o.created_at < @before::timestamptz LIMIT @max_rows))
  AND i.created_at < @before::timestamptz;

-- name: DeleteJTIs :execrows
DELETE FROM used_jtis j
WHERE j.hash = ANY (ARRAY(SELECT o.hash FROM used_jtis o WHERE o.expires_at < @before::timestamptz LIMIT @max_rows))
  AND j.expires_at < @before::timestamptz;

-- name: DeleteEndedConflicts :execrows
-- DeleteEndedConflicts removes what no Jetstream tells of again.
DELETE FROM ended_conflicts e
WHERE e.ctid = ANY (ARRAY(SELECT o.ctid FROM ended_conflicts o WHERE o.ended_at < @before::timestamptz LIMIT @max_rows))
  AND e.ended_at < @before::timestamptz;

-- name: DeleteBlockChecks :execrows
-- DeleteBlockChecks removes look-ups too old to be of use, and with them the blocks that
-- nothing vouches for.
WITH old AS (
    SELECT o.blocker_did, o.blocked_did FROM block_checks o WHERE o.checked_at < @before::timestamptz LIMIT @max_rows
), stale AS (
    DELETE FROM bsky_blocks b USING old o
    WHERE b.blocker_did = o.blocker_did AND (o.blocked_did = '' OR b.blocked_did = o.blocked_did) AND b.seen_at < @before::timestamptz
)
DELETE FROM block_checks c USING old o
WHERE c.blocker_did = o.blocker_did AND c.blocked_did = o.blocked_did AND c.checked_at < @before::timestamptz;
