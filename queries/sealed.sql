-- name: FindSendKeys :one
-- FindSendKeys is the keys of a conversation. Where there are none, or no such conversation, there
-- is a row of the same size all the same, with the noise in the place of keys.
SELECT coalesce(k.convo_id, '2222222222222')::text AS convo_id, coalesce(k.epoch, -1)::bigint AS epoch, coalesce(k.mark, 0)::bigint AS mark,
       coalesce(k.present, @noise::bytea)::bytea AS present, coalesce(k.former, @noise::bytea)::bytea AS former, coalesce(k.users, 0)::bigint AS users
FROM (SELECT CASE WHEN @convo_id::text <> '' THEN @convo_id::text ELSE (SELECT g.convo_id FROM convo_groups g WHERE g.group_id = @group_id::text) END AS id) named
LEFT JOIN send_keys k ON k.convo_id = named.id;

-- name: LockSendKeys :one
-- LockSendKeys is the keys of the conversation's epoch, and who has given them.
SELECT present, givers FROM send_keys
WHERE convo_id = @convo_id AND generation = @generation AND epoch = @epoch
FOR UPDATE;

-- name: PutSendKeys :exec
-- PutSendKeys writes the keys of the conversation's epoch, with the number of its members.
INSERT INTO send_keys AS k (convo_id, generation, epoch, mark, present, former, givers, users)
SELECT @convo_id::text, @generation, @epoch, @mark, @present, @noise::bytea, @givers::text[],
       (SELECT count(DISTINCT m.user_did) FROM members m WHERE m.convo_id = @convo_id::text AND m.left_at IS NULL AND m.invited_by IS NULL)
ON CONFLICT ON CONSTRAINT send_keys_pkey DO UPDATE
SET generation = excluded.generation, epoch = excluded.epoch, present = excluded.present, givers = excluded.givers, users = excluded.users,
    mark = CASE WHEN k.generation = excluded.generation AND k.epoch = excluded.epoch THEN k.mark ELSE excluded.mark END,
    former = CASE WHEN k.generation = excluded.generation AND k.epoch = excluded.epoch THEN k.former ELSE excluded.former END;

-- name: PassSendKeys :exec
-- PassSendKeys makes the keys of an epoch those of the epoch before, as a commit that is seen to
-- remove nobody does. There are none of the new one yet.
UPDATE send_keys
SET epoch = epoch + 1, mark = @mark, former = present, present = @noise::bytea, givers = '{}'
WHERE convo_id = @convo_id AND generation = @generation AND epoch = @epoch;

-- name: DropSendKeys :exec
DELETE FROM send_keys WHERE convo_id = @convo_id;

-- name: HasStrayLeaf :one
-- HasStrayLeaf says whether somebody knows the secrets of the group's epoch who is no member of the
-- conversation: leaves that nobody has removed yet, nor says so, and devices that were deleted.
SELECT (EXISTS (SELECT FROM removal_debts d WHERE d.convo_id = @convo_id AND d.settled_at IS NULL AND d.claimed_by IS NULL)
     OR EXISTS (SELECT FROM members m WHERE m.convo_id = @convo_id AND m.left_at IS NULL AND m.device_id <> ''
                  AND NOT EXISTS (SELECT FROM user_devices u WHERE u.user_did = m.user_did AND u.device_id = m.device_id)))::boolean AS stray;

-- name: IsBranched :one
-- IsBranched says whether a commit that was made in an epoch was taken back.
SELECT EXISTS (SELECT FROM commits k WHERE k.convo_id = @convo_id AND k.generation = @generation AND k.epoch = @epoch AND k.void_seq IS NOT NULL)::boolean AS branched;
