-- name: InsertWelcome :one
INSERT INTO welcomes (convo_id, generation, epoch, commit_seq, welcome, created_at)
VALUES (@convo_id, @generation, @epoch, nullif(@commit_seq::bigint, 0), @welcome, @created_at)
RETURNING id;

-- name: RouteWelcome :exec
-- RouteWelcome routes a Welcome to devices and supersedes what waited for them,
-- so that the newest one is the only one.
WITH routed AS (
    SELECT u.user_did, d.device_id, r.key_package_ref
    FROM unnest(@user_dids::text[]) WITH ORDINALITY AS u (user_did, ord)
    JOIN unnest(@device_ids::text[]) WITH ORDINALITY AS d (device_id, ord) USING (ord)
    JOIN unnest(@key_package_refs::bytea[]) WITH ORDINALITY AS r (key_package_ref, ord) USING (ord)
), superseded AS (
    UPDATE welcome_routes w
    SET superseded_at = @now::timestamptz, superseded_by = @welcome_id::bigint
    FROM routed r
    WHERE w.convo_id = @convo_id::text AND w.user_did = r.user_did AND w.device_id = r.device_id
      AND w.confirmed_at IS NULL AND w.superseded_at IS NULL AND w.welcome_id <> @welcome_id::bigint
)
INSERT INTO welcome_routes (welcome_id, convo_id, user_did, device_id, key_package_ref)
SELECT @welcome_id::bigint, @convo_id::text, r.user_did, r.device_id, r.key_package_ref
FROM routed r
ON CONFLICT ON CONSTRAINT welcome_routes_pkey DO NOTHING;

-- name: FindWaitingWelcome :one
-- FindWaitingWelcome is the newest Welcome that a device, or with any_device
-- any device of the user, has not confirmed.
SELECT r.welcome_id, r.device_id, w.epoch, w.welcome
FROM welcome_routes r
JOIN welcomes w ON w.id = r.welcome_id
WHERE r.convo_id = @convo_id AND r.user_did = @user_did AND (@any_device::boolean OR r.device_id = @device_id)
  AND r.confirmed_at IS NULL AND r.superseded_at IS NULL AND w.created_at > @not_before::timestamptz
ORDER BY r.welcome_id DESC
LIMIT 1;

-- name: ListWaitingWelcomes :many
-- ListWaitingWelcomes is the Welcomes that wait for a device, oldest first, as many as have max_bytes
-- together. Those of conversations that its user has left are superseded (DropWaitingWelcomes).
SELECT q.first_group_id, w.welcome
FROM (
    SELECT r.welcome_id, coalesce(c.first_group_id, c.group_id)::text AS first_group_id,
           sum(octet_length(v.welcome)) OVER (ORDER BY r.welcome_id) AS total
    FROM welcome_routes r
    JOIN welcomes v ON v.id = r.welcome_id
    JOIN conversations c ON c.id = r.convo_id
    WHERE r.user_did = @user_did AND r.device_id = @device_id
      AND r.confirmed_at IS NULL AND r.superseded_at IS NULL AND v.created_at > @not_before::timestamptz
) q
JOIN welcomes w ON w.id = q.welcome_id
WHERE q.total <= @max_bytes::bigint
ORDER BY q.welcome_id;

-- name: ConfirmWelcome :execrows
UPDATE welcome_routes SET confirmed_at = @confirmed_at::timestamptz
WHERE convo_id = @convo_id AND user_did = @user_did AND device_id = @device_id
  AND confirmed_at IS NULL AND superseded_at IS NULL;

-- name: FailWelcome :execrows
UPDATE welcome_routes SET failed_at = @failed_at::timestamptz, error_details = @error_details
WHERE convo_id = @convo_id AND user_did = @user_did AND device_id = @device_id
  AND confirmed_at IS NULL AND superseded_at IS NULL;

-- name: FindLastConfirmation :one
-- FindLastConfirmation is when a device last confirmed a Welcome.
SELECT confirmed_at FROM welcome_routes
WHERE convo_id = @convo_id AND user_did = @user_did AND device_id = @device_id AND confirmed_at IS NOT NULL
ORDER BY confirmed_at DESC
LIMIT 1;

-- name: DropWaitingWelcomes :execrows
-- DropWaitingWelcomes supersedes what waits for a user that is gone.
UPDATE welcome_routes SET superseded_at = @now::timestamptz
WHERE convo_id = @convo_id AND user_did = @user_did AND confirmed_at IS NULL AND superseded_at IS NULL;

-- name: DropDeviceWelcomes :execrows
-- DropDeviceWelcomes supersedes what waits for a device that is gone, or has joined by itself.
UPDATE welcome_routes SET superseded_at = @now::timestamptz
WHERE convo_id = @convo_id AND user_did = @user_did AND device_id = @device_id AND confirmed_at IS NULL AND superseded_at IS NULL;

-- name: OpenRequest :execrows
-- OpenRequest makes a request; no row means that the device has an open one.
INSERT INTO pending_welcomes (id, convo_id, user_did, device_id, kind, reason, created_at)
VALUES (@id, @convo_id, @user_did, @device_id, @kind, sqlc.narg('reason'), @created_at)
ON CONFLICT (convo_id, user_did, device_id) WHERE status = 'open' DO NOTHING;

-- name: OpenDeviceRequests :many
-- OpenDeviceRequests asks every conversation of a user to add a device, and
-- returns the requests that were not open before.
WITH mine AS (
    SELECT c.convo_id, i.id
    FROM unnest(@convo_ids::text[]) WITH ORDINALITY AS c (convo_id, ord)
    JOIN unnest(@ids::text[]) WITH ORDINALITY AS i (id, ord) USING (ord)
)
INSERT INTO pending_welcomes (id, convo_id, user_did, device_id, kind, created_at)
SELECT m.id, m.convo_id, @user_did, @device_id, 'device', @created_at::timestamptz
FROM mine m
WHERE NOT EXISTS (SELECT FROM members d WHERE d.convo_id = m.convo_id AND d.user_did = @user_did AND d.device_id = @device_id AND d.left_at IS NULL)
ON CONFLICT (convo_id, user_did, device_id) WHERE status = 'open' DO NOTHING
RETURNING id, convo_id;

-- name: AttachKeyPackage :exec
UPDATE pending_welcomes SET key_package_id = @key_package_id WHERE id = @id;

-- name: FindOpenRequest :one
SELECT id, convo_id, user_did, device_id, kind, status, created_at, approved_at, epoch
FROM pending_welcomes
WHERE convo_id = @convo_id AND user_did = @user_did AND device_id = @device_id AND status = 'open';

-- name: FindRequestOf :one
-- FindRequestOf is a request of a device, whatever became of it.
SELECT created_at, approved_at, kind FROM pending_welcomes
WHERE id = @id AND convo_id = @convo_id AND user_did = @user_did AND device_id = @device_id;

-- name: ListDeviceRequests :many
-- ListDeviceRequests is the conversations that a device waits to be added to.
SELECT p.id, coalesce(c.first_group_id, c.group_id)::text AS first_group_id
FROM pending_welcomes p JOIN conversations c ON c.id = p.convo_id
WHERE p.user_did = @user_did AND p.device_id = @device_id AND p.status = 'open'
ORDER BY p.convo_id;

-- name: ListOpenRequests :many
-- ListOpenRequests is what members of conversations owe: devices and rejoins
-- to add, removals to commit. Oldest first.
SELECT p.id, p.convo_id, p.user_did, p.device_id, p.kind, p.created_at, false AS claimed, NULL::bigint AS leaf_index
FROM pending_welcomes p
WHERE p.convo_id = ANY (@convo_ids::text[]) AND p.status = 'open'
UNION ALL
SELECT d.id, d.convo_id, d.user_did, CASE WHEN d.withheld THEN '' ELSE d.device_id END AS device_id, 'removal' AS kind, d.created_at, d.claimed_seq IS NOT NULL AS claimed, d.leaf_index
FROM removal_debts d
WHERE d.convo_id = ANY (@convo_ids::text[]) AND d.settled_at IS NULL
ORDER BY convo_id, created_at, id;

-- name: CountRecentRejoins :one
-- CountRecentRejoins counts a user's rejoin requests in a conversation since a time.
SELECT count(*) AS requests, coalesce(min(created_at), @since::timestamptz)::timestamptz AS oldest_at
FROM pending_welcomes
WHERE convo_id = @convo_id AND user_did = @user_did AND kind = 'rejoin' AND created_at > @since::timestamptz;

-- name: FulfilRequests :many
-- FulfilRequests closes the open requests of devices that a commit has added.
UPDATE pending_welcomes p
SET status = 'fulfilled', approved_at = @now::timestamptz, generation = @generation::bigint, epoch = @epoch::bigint, commit_seq = nullif(@commit_seq::bigint, 0)
FROM unnest(@user_dids::text[]) WITH ORDINALITY AS u (user_did, ord)
JOIN unnest(@device_ids::text[]) WITH ORDINALITY AS d (device_id, ord) USING (ord)
WHERE p.convo_id = @convo_id AND p.user_did = u.user_did AND p.device_id = d.device_id AND p.status = 'open'
RETURNING p.id, p.user_did, p.device_id, p.kind;

-- name: CloseRequests :execrows
-- CloseRequests ends what a device asked for and got (confirmed) or could not use (failed).
UPDATE pending_welcomes SET status = @status, closed_at = @now::timestamptz
WHERE convo_id = @convo_id AND user_did = @user_did AND device_id = @device_id AND status IN ('open', 'fulfilled');

-- name: DropDeviceRequests :many
-- DropDeviceRequests ends the requests of a device that is gone, also those that a commit has fulfilled:
-- were it taken back, they would be open again.
UPDATE pending_welcomes SET status = 'expired', closed_at = @now::timestamptz
WHERE convo_id = @convo_id AND user_did = @user_did AND device_id = @device_id AND status IN ('open', 'fulfilled', 'confirmed')
RETURNING id;

-- name: DropRequests :many
-- DropRequests ends the open requests of a user that is gone.
UPDATE pending_welcomes SET status = 'expired', closed_at = @now::timestamptz
WHERE convo_id = @convo_id AND user_did = @user_did AND status = 'open'
RETURNING id;

-- name: InsertRemovalDebts :exec
INSERT INTO removal_debts (id, convo_id, generation, user_did, device_id, leaf_index, proposed_epoch, created_at, withheld)
SELECT i.id, @convo_id, @generation, @user_did, d.device_id, nullif(l.leaf_index, -1), sqlc.narg('proposed_epoch')::bigint, @created_at::timestamptz, @withheld::boolean
FROM unnest(@ids::text[]) WITH ORDINALITY AS i (id, ord)
JOIN unnest(@device_ids::text[]) WITH ORDINALITY AS d (device_id, ord) USING (ord)
JOIN unnest(@leaf_indexes::bigint[]) WITH ORDINALITY AS l (leaf_index, ord) USING (ord)
ON CONFLICT (convo_id, user_did, device_id) WHERE settled_at IS NULL DO NOTHING;

-- name: ListRemovalDebts :many
SELECT id, user_did, device_id, leaf_index, created_at, (claimed_seq IS NOT NULL)::boolean AS claimed FROM removal_debts
WHERE convo_id = @convo_id AND settled_at IS NULL
ORDER BY created_at, id;

-- name: SettleRemovalDebts :execrows
-- SettleRemovalDebts settles the debts of users.
UPDATE removal_debts SET settled_epoch = @epoch::bigint, settled_seq = @seq::bigint, settled_at = @now::timestamptz
WHERE convo_id = @convo_id AND settled_at IS NULL AND user_did = ANY (@user_dids::text[]);

-- name: SettleDeviceDebts :execrows
-- SettleDeviceDebts settles the debts of devices that a commit adds anew.
UPDATE removal_debts d SET settled_epoch = @epoch::bigint, settled_seq = @seq::bigint, settled_at = @now::timestamptz
FROM unnest(@user_dids::text[]) WITH ORDINALITY AS u (user_did, ord)
JOIN unnest(@device_ids::text[]) WITH ORDINALITY AS v (device_id, ord) USING (ord)
WHERE d.convo_id = @convo_id AND d.settled_at IS NULL AND d.user_did = u.user_did AND d.device_id = v.device_id;

-- name: SettleLeafDebts :execrows
-- SettleLeafDebts settles the debts whose leaf a readable commit removes.
UPDATE removal_debts SET settled_epoch = @epoch::bigint, settled_seq = @seq::bigint, settled_at = @now::timestamptz
WHERE convo_id = @convo_id AND settled_at IS NULL AND leaf_index = ANY (@leaf_indexes::bigint[]);

-- name: ClaimDebts :execrows
-- ClaimDebts notes which commit is said to remove the leaves of users.
UPDATE removal_debts SET claimed_seq = @seq::bigint, claimed_by = @claimed_by::text, confirmed_by = '{}', disputed_by = '{}', spent_by = '{}'
WHERE convo_id = @convo_id AND settled_at IS NULL AND user_did = ANY (@user_dids::text[]);

-- name: ClaimProposedDebts :execrows
-- ClaimProposedDebts is ClaimDebts for the leaves whose removal was proposed in the epoch that a commit
-- has ended.
UPDATE removal_debts SET claimed_seq = @seq::bigint, claimed_by = @claimed_by::text, confirmed_by = '{}', disputed_by = '{}', spent_by = '{}'
WHERE convo_id = @convo_id AND settled_at IS NULL AND proposed_epoch = @epoch::bigint;

-- name: FindDebt :one
-- FindDebt is a removal that the members of a conversation owe, or owed.
SELECT user_did, device_id, withheld, generation, coalesce(claimed_by, '')::text AS claimed_by, confirmed_by, disputed_by, spent_by,
       (settled_at IS NOT NULL)::boolean AS settled, (cardinality(confirmed_by) > 0)::boolean AS confirmed
FROM removal_debts
WHERE id = @id AND convo_id = @convo_id;

-- name: ConfirmDebt :exec
-- ConfirmDebt notes that a user sees the leaf gone.
UPDATE removal_debts SET confirmed_by = array_append(confirmed_by, @user_did::text)
WHERE id = @id AND convo_id = @convo_id;

-- name: CloseDebt :exec
-- CloseDebt settles a debt by the members' word, at the place of the commit that they speak of; where none
-- was named it is one of those that stand. Whoever has objected before may do so again.
UPDATE removal_debts d
SET settled_epoch = @epoch::bigint,
    settled_seq = coalesce(d.claimed_seq, (
        SELECT k.seq FROM commits k
        WHERE k.convo_id = d.convo_id AND k.generation = d.generation AND k.void_seq IS NULL
        ORDER BY k.epoch DESC LIMIT 1
    )),
    settled_at = @now::timestamptz, disputed_by = '{}'
WHERE d.id = @id AND d.convo_id = @convo_id;

-- name: DisputeDebt :exec
-- DisputeDebt opens a debt that was claimed, or closed by the members' word, which is spent.
UPDATE removal_debts
SET settled_epoch = NULL, settled_seq = NULL, settled_at = NULL, claimed_seq = NULL, claimed_by = NULL,
    confirmed_by = '{}', spent_by = spent_by || confirmed_by,
    disputed_by = array_append(disputed_by, @user_did::text)
WHERE id = @id AND convo_id = @convo_id;

-- name: SettleDebts :execrows
-- SettleDebts settles debts whose leaves are gone from a group that the server follows.
UPDATE removal_debts SET settled_epoch = @epoch::bigint, settled_seq = @seq::bigint, settled_at = @now::timestamptz
WHERE convo_id = @convo_id AND settled_at IS NULL AND id = ANY (@ids::text[]);
