-- name: TryLockRequest :one
-- TryLockRequest is false while another transaction works on the same key.
SELECT pg_try_advisory_xact_lock(@lock_key::bigint) AS locked;

-- name: FindRequest :one
SELECT body_hash, status, response FROM idempotency_keys WHERE key_hash = @key_hash AND created_at >= @not_before::timestamptz;

-- name: InsertRequest :exec
-- InsertRequest keeps an answer. A row that is too old to count is replaced.
INSERT INTO idempotency_keys (key_hash, body_hash, status, response, created_at)
VALUES (@key_hash, @body_hash, @status, @response, @created_at)
ON CONFLICT ON CONSTRAINT idempotency_keys_pkey DO UPDATE
SET body_hash = excluded.body_hash, status = excluded.status, response = excluded.response, created_at = excluded.created_at;

-- name: UseJTI :execrows
-- UseJTI is one row for the first use of a token and none for a replay. A row
-- that has expired but not been removed yet does not count.
INSERT INTO used_jtis AS j (hash, expires_at)
VALUES (@hash, @expires_at)
ON CONFLICT ON CONSTRAINT used_jtis_pkey DO UPDATE SET expires_at = excluded.expires_at
WHERE j.expires_at <= @now::timestamptz;
