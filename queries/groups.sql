-- name: SupersedeGroupStates :execrows
-- SupersedeGroupStates ends the time of the states of a generation that were the newest.
UPDATE group_states SET superseded_at = @superseded_at::timestamptz, superseded_by = @superseded_by::text
WHERE convo_id = @convo_id AND generation = @generation AND superseded_at IS NULL AND epoch < @epoch;

-- name: PutGroupState :exec
-- PutGroupState keeps the state of an epoch. One of the same epoch, to which a commit that was taken
-- back had led, is replaced.
INSERT INTO group_states AS s (convo_id, generation, epoch, group_info, proven, depositor_did, leaf_indexes, leaf_users, leaf_devices, created_at)
VALUES (@convo_id, @generation, @epoch, @group_info, @proven, @depositor_did, @leaf_indexes, @leaf_users, @leaf_devices, @created_at)
ON CONFLICT ON CONSTRAINT group_states_pkey DO UPDATE
SET group_info = excluded.group_info, proven = excluded.proven, depositor_did = excluded.depositor_did, depositors = '{}', retired = false,
    leaf_indexes = excluded.leaf_indexes, leaf_users = excluded.leaf_users, leaf_devices = excluded.leaf_devices,
    created_at = excluded.created_at, superseded_at = NULL, superseded_by = NULL;

-- name: GetGroupState :one
-- GetGroupState is the state of an epoch.
SELECT group_info, proven, depositor_did, depositors, retired, leaf_indexes, leaf_users, leaf_devices, created_at
FROM group_states
WHERE convo_id = @convo_id AND generation = @generation AND epoch = @epoch;

-- name: FindGroup :one
-- FindGroup is where a group id was ever used.
SELECT convo_id, generation FROM convo_groups WHERE group_id = @group_id;

-- name: ListAdditions :many
-- ListAdditions is the devices that a commit brought onto the roster.
SELECT user_did, device_id, (before IS NOT NULL)::boolean AS existed, coalesce((before->>'left_at') IS NULL, false)::boolean AS was_active
FROM commit_additions
WHERE convo_id = @convo_id AND seq = @seq
ORDER BY user_did, device_id;

-- name: DeleteGroupStates :execrows
-- DeleteGroupStates removes states that no commit which may still be taken back leads away from. The
-- last of them stays until somebody else than the next committer has gone on from there.
DELETE FROM group_states s
WHERE s.ctid = ANY (ARRAY(
    SELECT o.ctid FROM group_states o
    WHERE o.superseded_at < @before::timestamptz
      AND (EXISTS (SELECT FROM commits k
                   WHERE k.convo_id = o.convo_id AND k.generation = o.generation AND k.void_seq IS NULL
                     AND k.epoch > o.epoch AND k.sender_did <> o.superseded_by)
           OR EXISTS (SELECT FROM group_states n
                      WHERE n.convo_id = o.convo_id AND (n.generation, n.epoch) > (o.generation, o.epoch) AND n.superseded_at < @before::timestamptz))
    LIMIT @max_rows
))
  AND s.superseded_at < @before::timestamptz;

-- name: DeleteAdditions :execrows
-- DeleteAdditions removes what commits that can no longer be taken back had changed.
DELETE FROM commit_additions a
WHERE a.ctid = ANY (ARRAY(SELECT o.ctid FROM commit_additions o WHERE o.created_at < @before::timestamptz LIMIT @max_rows));

-- name: DepositGroupInfo :exec
-- DepositGroupInfo keeps the GroupInfo that a user brings for an epoch. What is known of the group's leaves
-- stays; where nothing is known, the GroupInfo proves nothing.
INSERT INTO group_states AS s (convo_id, generation, epoch, group_info, proven, depositor_did, depositors, leaf_indexes, leaf_users, leaf_devices, created_at)
VALUES (@convo_id, @generation, @epoch, @group_info, false, @depositor_did::text, ARRAY[@depositor_did::text], '{}', '{}', '{}', @created_at)
ON CONFLICT ON CONSTRAINT group_states_pkey DO UPDATE
SET group_info = excluded.group_info, depositor_did = excluded.depositor_did,
    depositors = array_append(s.depositors, excluded.depositor_did), retired = false;

-- name: RetireGroupState :exec
-- RetireGroupState hands out the GroupInfo of an epoch no longer.
UPDATE group_states SET retired = true WHERE convo_id = @convo_id AND generation = @generation AND epoch = @epoch;

-- name: RecordJoin :exec
-- RecordJoin notes that a commit was a join, of which device, and whose GroupInfo was handed out then.
UPDATE commits k
SET joiner_device = @device_id::text,
    depositor_did = (SELECT s.depositor_did FROM group_states s
                     WHERE s.convo_id = k.convo_id AND s.generation = k.generation AND s.epoch = k.epoch AND NOT s.retired)
WHERE k.convo_id = @convo_id AND k.seq = @seq;

-- name: CountJoins :one
-- CountJoins counts the joins of a device in a conversation since a time.
SELECT count(*) AS joins, coalesce(min(k.created_at), @since::timestamptz)::timestamptz AS oldest_at
FROM commits k
WHERE k.convo_id = @convo_id AND k.sender_did = @user_did AND k.joiner_device = @device_id::text AND k.created_at > @since::timestamptz;
