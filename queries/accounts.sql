-- name: LockAccount :exec
-- LockAccount serialises the changes of an account's state, and waits for the step of its erasure that is
-- under way.
SELECT pg_advisory_xact_lock(hashtextextended(@user_did::text, 7304));

-- name: HoldAccount :exec
-- HoldAccount keeps LockAccount waiting until the transaction ends.
SELECT pg_advisory_xact_lock_shared(hashtextextended(@user_did::text, 7304));

-- name: NextAccountChange :one
-- NextAccountChange numbers a change of an account's state. Until the transaction ends nobody else
-- makes one, so that the numbers are in the order of the commits: whatever is to be waited for comes
-- before.
UPDATE account_changes SET last = last + 1 RETURNING last;

-- name: SuspendAccount :execrows
INSERT INTO account_states AS a (user_did, suspended, changed)
VALUES (@user_did, true, @changed)
ON CONFLICT ON CONSTRAINT account_states_pkey DO UPDATE SET suspended = true, changed = excluded.changed
WHERE NOT a.suspended;

-- name: RestoreAccount :execrows
-- RestoreAccount ends what the operator has said and what the host has. Older news of the host change
-- nothing any more.
UPDATE account_states SET suspended = false, host_status = NULL, host_at = greatest(host_at, @now::timestamptz), changed = @changed
WHERE user_did = @user_did AND (suspended OR host_status IS NOT NULL);

-- name: SetHostStatus :execrows
-- SetHostStatus keeps what an account's host says, unless it is known to have said something else since.
INSERT INTO account_states AS a (user_did, host_status, host_at, changed)
VALUES (@user_did, @host_status::text, @host_at::timestamptz, @changed)
ON CONFLICT ON CONSTRAINT account_states_pkey DO UPDATE SET host_status = excluded.host_status, host_at = excluded.host_at, changed = excluded.changed
WHERE a.host_at IS NULL OR a.host_at <= excluded.host_at;

-- name: ClearHostStatus :execrows
-- ClearHostStatus keeps that an account is active by its host's word.
UPDATE account_states SET host_status = NULL, host_at = @host_at::timestamptz, changed = @changed
WHERE user_did = @user_did AND (host_at IS NULL OR host_at <= @host_at::timestamptz);

-- name: GetAccountState :one
SELECT user_did, suspended, erasing, coalesce(host_status, '')::text AS host_status, coalesce(host_at, to_timestamp(0))::timestamptz AS told_at, changed
FROM account_states WHERE user_did = @user_did;

-- name: GetAccountChanges :one
-- GetAccountChanges is how far the changes have come, in which history of the database.
SELECT l.generation, c.last, c.dropped FROM account_changes c CROSS JOIN event_log l;

-- name: ListAccountStates :many
-- ListAccountStates is a page of the states that have changed after a number, in the order of the changes.
SELECT user_did, suspended, erasing, coalesce(host_status, '')::text AS host_status, coalesce(host_at, to_timestamp(0))::timestamptz AS told_at, changed
FROM account_states
WHERE changed > @after
ORDER BY changed
LIMIT @max_rows;

-- name: DeleteAccountStates :execrows
-- DeleteAccountStates forgets what hosts said of accounts that nobody refuses.
DELETE FROM account_states a
WHERE a.user_did = ANY (ARRAY(
    SELECT o.user_did FROM account_states o
    WHERE NOT o.suspended AND NOT o.erasing AND o.host_status IS NULL AND o.host_at < @before::timestamptz
    LIMIT @max_rows
))
  AND NOT a.suspended AND NOT a.erasing AND a.host_status IS NULL AND a.host_at < @before::timestamptz;

-- name: InsertOperatorAction :exec
INSERT INTO operator_actions (action, user_did, convo_id, reason, created_at)
VALUES (@action, nullif(@user_did::text, ''), nullif(@convo_id::text, ''), nullif(@reason::text, ''), @created_at);

-- name: IsAccountKnown :one
-- IsAccountKnown says whether anything of an account is here.
SELECT (EXISTS (SELECT FROM members m WHERE m.user_did = @user_did AND m.left_at IS NULL)
        OR EXISTS (SELECT FROM user_devices d WHERE d.user_did = @user_did)
        OR EXISTS (SELECT FROM key_packages k WHERE k.owner_did = @user_did)
        OR EXISTS (SELECT FROM account_states s WHERE s.user_did = @user_did))::boolean AS known;

-- name: GetFeedPosition :one
-- GetFeedPosition is how far servers have followed the Jetstream.
SELECT at FROM feed_position;

-- name: PutFeedPosition :exec
INSERT INTO feed_position AS p (at) VALUES (@at::timestamptz)
ON CONFLICT ON CONSTRAINT feed_position_pkey DO UPDATE SET at = greatest(p.at, excluded.at);

-- name: InsertClosure :exec
-- InsertClosure writes down once that a conversation was closed.
INSERT INTO operator_actions (action, convo_id, reason, created_at)
SELECT 'close', @convo_id::text, nullif(@reason::text, ''), @created_at::timestamptz
WHERE NOT EXISTS (SELECT FROM operator_actions o WHERE o.action = 'close' AND o.convo_id = @convo_id::text);
