-- name: ResetConversation :one
-- ResetConversation gives a conversation its next group, by compare-and-set on generation and epoch,
-- with a notice in the log. No row: it is in another one. A trigger notes the group id for ever.
WITH reset AS (
    UPDATE conversations c
    SET group_id = @group_id::text,
        cipher_suite = @cipher_suite::integer,
        generation = c.generation + 1,
        epoch = @epoch::bigint,
        verified_epoch = @epoch::bigint,
        commit_id = NULL,
        reinit_group_id = NULL,
        reinit_suite = NULL,
        roster_version = c.roster_version + 1,
        last_seq = c.last_seq + 1,
        last_activity_at = greatest(c.last_activity_at, @received_at::timestamptz),
        log_xid = greatest(c.log_xid, pg_current_xact_id()::text::bigint)
    WHERE c.id = @convo_id::text AND c.generation = @expected_generation::bigint AND c.epoch = @expected_epoch::bigint
    RETURNING c.id, c.generation, c.last_seq, c.log_xid
), noticed AS (
    INSERT INTO messages (convo_id, seq, msg_id, kind, generation, epoch, ciphertext, padded_size, received_bucket_ts)
    SELECT r.id, r.last_seq, @msg_id::text, 4, r.generation, @epoch::bigint, ''::bytea, 0, @received_at::timestamptz
    FROM reset r
), kept AS (
    INSERT INTO convo_resets (convo_id, generation, seq, user_did, by_admin, created_at)
    SELECT r.id, r.generation, r.last_seq, @user_did::text, @by_admin::boolean, @received_at::timestamptz
    FROM reset r
), logged AS (
    INSERT INTO event_stream (generation, log_xid, kind, audience, convo_id, seq, message_id, bucket_ts)
    SELECT g.generation, r.log_xid, 1, 1, r.id, r.last_seq, @msg_id::text, @received_at::timestamptz
    FROM reset r CROSS JOIN event_head g
)
SELECT last_seq FROM reset;

-- name: FindReset :one
-- FindReset is how a generation began. Its notice may be older than what is kept of the log.
SELECT r.seq, r.user_did, r.created_at, coalesce(m.msg_id, '')::text AS msg_id
FROM convo_resets r
LEFT JOIN messages m ON m.convo_id = r.convo_id AND m.seq = r.seq
WHERE r.convo_id = @convo_id AND r.generation = @generation;

-- name: LastMemberReset :one
-- LastMemberReset is when somebody who was no admin last began a conversation's group anew.
SELECT coalesce(max(created_at), to_timestamp(0))::timestamptz AS last_at
FROM convo_resets
WHERE convo_id = @convo_id AND NOT by_admin;

-- name: DropFormerStates :execrows
-- DropFormerStates removes the states of the groups that a conversation no longer has.
DELETE FROM group_states WHERE convo_id = @convo_id AND generation < @generation;

-- name: DropFormerReports :execrows
-- DropFormerReports removes the reports about commits of the groups that a conversation no longer has.
DELETE FROM commit_reports WHERE convo_id = @convo_id AND generation < @generation;

-- name: DropAllWaitingWelcomes :execrows
-- DropAllWaitingWelcomes supersedes all Welcomes that wait in a conversation: they lead into a group
-- that it no longer has.
UPDATE welcome_routes SET superseded_at = @now::timestamptz
WHERE welcome_id IN (SELECT w.id FROM welcomes w WHERE w.convo_id = @convo_id)
  AND confirmed_at IS NULL AND superseded_at IS NULL;

-- name: SettleAllDebts :execrows
-- SettleAllDebts closes what is owed to a group that the conversation no longer has.
UPDATE removal_debts SET settled_epoch = @epoch::bigint, settled_seq = @seq::bigint, settled_at = @now::timestamptz
WHERE convo_id = @convo_id AND settled_at IS NULL;

-- name: DropStaleRequests :many
-- DropStaleRequests ends the open requests whose key package is of another suite than the group's.
UPDATE pending_welcomes p SET status = 'expired', closed_at = @now::timestamptz
WHERE p.convo_id = @convo_id AND p.status = 'open'
  AND EXISTS (SELECT FROM key_packages k WHERE k.id = p.key_package_id AND k.cipher_suite <> @cipher_suite)
RETURNING p.id;

-- name: ListReachableDevices :many
-- ListReachableDevices is the devices of users of which a key package of a suite can be claimed. A
-- user without registered devices is one device.
SELECT DISTINCT p.owner_did, p.device_id
FROM key_packages p
WHERE p.owner_did = ANY (@user_dids::text[]) AND p.cipher_suite = @cipher_suite AND p.reserved_request_id IS NULL
  AND p.expires_at > @usable_until::timestamptz
  AND (p.last_resort OR p.claimed_at IS NULL AND p.consumed_at IS NULL)
  AND CASE WHEN p.device_id = '' THEN NOT EXISTS (SELECT FROM user_devices d WHERE d.user_did = p.owner_did)
           ELSE EXISTS (SELECT FROM user_devices d WHERE d.user_did = p.owner_did AND d.device_id = p.device_id) END
ORDER BY p.owner_did, p.device_id;
