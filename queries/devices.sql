-- name: LockUser :exec
-- LockUser serialises what counts a user's devices and key packages; there is
-- no row that a user without devices could be locked by.
SELECT pg_advisory_xact_lock(hashtextextended(@user_did::text, 7301));

-- name: InsertDevice :exec
INSERT INTO user_devices (user_did, device_id, device_name, signature_key, mls_did, device_uuid, created_at, registered_at)
VALUES (@user_did, @device_id, @device_name, @signature_key, @mls_did, sqlc.narg('device_uuid'), @created_at, @registered_at);

-- name: FindDeviceByKey :one
SELECT user_did, device_id, device_name, signature_key, mls_did, created_at, device_uuid, registered_at, seen_on FROM user_devices WHERE signature_key = @signature_key;

-- name: ListDevices :many
SELECT user_did, device_id, device_name, signature_key, mls_did, created_at, device_uuid, registered_at, seen_on
FROM user_devices WHERE user_did = ANY (@user_dids::text[])
ORDER BY user_did, coalesce(registered_at, created_at), device_id;

-- name: RenameDevice :exec
UPDATE user_devices SET device_name = @device_name, device_uuid = coalesce(sqlc.narg('device_uuid'), device_uuid)
WHERE user_did = @user_did AND device_id = @device_id
  AND (device_name <> @device_name OR device_uuid IS DISTINCT FROM coalesce(sqlc.narg('device_uuid'), device_uuid));

-- name: IsDeviceIDTaken :one
-- IsDeviceIDTaken says whether an id is, or was lately, a device's.
SELECT (EXISTS (SELECT FROM user_devices u WHERE u.device_id = @device_id) OR EXISTS (SELECT FROM deleted_devices d WHERE d.device_id = @device_id))::boolean;

-- name: FindDeletedKey :one
-- FindDeletedKey is the device of a user that was deleted lately and had a signature key.
SELECT device_id, deleted_at FROM deleted_devices
WHERE user_did = @user_did AND signature_key = @signature_key
ORDER BY deleted_at DESC, device_id
LIMIT 1;

-- name: IsDeletedDevice :one
SELECT EXISTS (SELECT FROM deleted_devices WHERE device_id = @device_id AND user_did = @user_did);

-- name: ForgetDeletedKey :exec
-- ForgetDeletedKey lets a key that a user has deleted come back.
UPDATE deleted_devices SET signature_key = ''::bytea WHERE user_did = @user_did AND signature_key = @signature_key;

-- name: ListEndedRegistrations :many
-- ListEndedRegistrations is when devices of a user were registered that were deleted since.
SELECT registered_at::timestamptz AS registered_at FROM deleted_devices
WHERE user_did = @user_did AND registered_at > @since::timestamptz
ORDER BY registered_at;

-- name: DeleteDevice :one
-- DeleteDevice deletes a device and notes that its conversations are to be told.
WITH gone AS (
    DELETE FROM user_devices u WHERE u.user_did = @user_did AND u.device_id = @device_id RETURNING u.user_did, u.device_id, u.signature_key, u.registered_at
)
INSERT INTO deleted_devices (user_did, device_id, signature_key, registered_at, deleted_at)
SELECT g.user_did, g.device_id, g.signature_key, g.registered_at, @deleted_at::timestamptz FROM gone g
RETURNING device_id;

-- name: DeleteDevicePackages :execrows
-- DeleteDevicePackages withdraws all key packages of a device that somebody might still use. It waits for
-- commits that are using one, and locks several in their order.
WITH usable AS MATERIALIZED (
    SELECT p.id FROM key_packages p
    WHERE p.owner_did = @owner_did AND p.device_id = @device_id AND (p.consumed_at IS NULL OR p.last_resort)
    ORDER BY p.id
    FOR UPDATE
)
DELETE FROM key_packages p USING usable u WHERE p.id = u.id;

-- name: AppendPersonalEvent :execrows
-- AppendPersonalEvent tells a user of one of its devices.
INSERT INTO event_stream (generation, log_xid, kind, audience, audience_did, user_did, device_id, bucket_ts)
SELECT g.generation, pg_current_xact_id()::text::bigint, @kind, 3, @user_did, @user_did, @device_id, @bucket_ts::timestamptz FROM event_head g;

-- name: ListOpenDeletions :many
-- ListOpenDeletions is the deleted devices whose conversations may not all be told, oldest first.
SELECT user_did, device_id, deleted_at FROM deleted_devices WHERE open ORDER BY deleted_at, device_id LIMIT @max_rows;

-- name: ListConvosOfDevice :many
-- ListConvosOfDevice is the conversations that have something left of a device.
SELECT m.convo_id FROM members m WHERE m.user_did = @user_did AND m.device_id = @device_id AND m.left_at IS NULL
UNION
SELECT p.convo_id FROM pending_welcomes p WHERE p.user_did = @user_did AND p.device_id = @device_id AND p.status = 'open'
UNION
SELECT r.convo_id FROM welcome_routes r WHERE r.user_did = @user_did AND r.device_id = @device_id AND r.confirmed_at IS NULL AND r.superseded_at IS NULL
ORDER BY convo_id;

-- name: CloseDeletion :exec
UPDATE deleted_devices SET open = false WHERE device_id = @device_id;

-- name: CountDevicePackages :many
-- CountDevicePackages counts what can be claimed of a user's devices.
SELECT device_id,
       count(*) FILTER (WHERE NOT last_resort AND claimed_at IS NULL AND consumed_at IS NULL) AS available,
       coalesce(bool_or(last_resort), false)::boolean AS last_resort
FROM key_packages
WHERE owner_did = @owner_did AND reserved_request_id IS NULL AND expires_at > @now::timestamptz
GROUP BY device_id;

-- name: ListUnusedKeyPackages :many
-- ListUnusedKeyPackages is what can be claimed of a device, the oldest max_rows of it.
SELECT id, ref, key_package FROM key_packages
WHERE owner_did = @owner_did AND device_id = @device_id
  AND claimed_at IS NULL AND (consumed_at IS NULL OR last_resort) AND reserved_request_id IS NULL AND expires_at > @now::timestamptz
ORDER BY id
LIMIT @max_rows;

-- name: WithdrawKeyPackages :execrows
-- WithdrawKeyPackages deletes packages of a device that nobody has claimed meanwhile.
WITH unused AS MATERIALIZED (
    SELECT p.id FROM key_packages p
    WHERE p.id = ANY (@ids::bigint[]) AND p.owner_did = @owner_did AND p.device_id = @device_id
      AND p.claimed_at IS NULL AND (p.consumed_at IS NULL OR p.last_resort) AND p.reserved_request_id IS NULL
    ORDER BY p.id
    FOR UPDATE
)
DELETE FROM key_packages p USING unused u WHERE p.id = u.id;

-- name: DropOldLastResorts :execrows
-- DropOldLastResorts keeps the newest last-resort packages of a device, of each suite.
WITH old AS MATERIALIZED (
    SELECT p.id FROM key_packages p
    WHERE p.id IN (
        SELECT o.id
        FROM (SELECT k.id, row_number() OVER (PARTITION BY k.cipher_suite ORDER BY k.id DESC) AS place
              FROM key_packages k
              WHERE k.owner_did = @owner_did AND k.device_id = @device_id AND k.last_resort AND k.reserved_request_id IS NULL) o
        WHERE o.place > @kept::bigint
    )
    ORDER BY p.id
    FOR UPDATE
)
DELETE FROM key_packages p USING old o WHERE p.id = o.id;

-- name: ListLoosePackages :many
-- ListLoosePackages is what a user has published without a device and has the bytes of a signature key in
-- it, whatever has become of it: first what somebody might still use.
SELECT k.id, k.key_package
FROM (
    SELECT p.id, p.key_package, p.consumed_at FROM key_packages p
    WHERE p.owner_did = @owner_did AND p.device_id = ''
    ORDER BY p.consumed_at IS NOT NULL, p.id DESC
    LIMIT @max_rows
) k
WHERE position(@signature_key::bytea IN k.key_package) > 0
ORDER BY k.consumed_at IS NOT NULL, k.id DESC;

-- name: AdoptKeyPackages :exec
-- AdoptKeyPackages gives packages that a user has published without a device to the one that signed them.
UPDATE key_packages SET device_id = @device_id WHERE id = ANY (@ids::bigint[]) AND owner_did = @owner_did AND device_id = '';

-- name: CountLiveByDevice :many
-- CountLiveByDevice counts what CountLiveKeyPackages does, for all devices of a user.
SELECT device_id, count(*) AS live FROM key_packages
WHERE owner_did = @owner_did
  AND claimed_at IS NULL AND consumed_at IS NULL AND reserved_request_id IS NULL AND NOT last_resort
  AND expires_at > @now::timestamptz
GROUP BY device_id;

-- name: SeeDevices :exec
-- SeeDevices notes on which day calls named devices.
UPDATE user_devices u SET seen_on = @seen_on::timestamptz
FROM unnest(@user_dids::text[]) WITH ORDINALITY AS d (user_did, ord)
JOIN unnest(@device_ids::text[]) WITH ORDINALITY AS i (device_id, ord) USING (ord)
WHERE u.user_did = d.user_did AND u.device_id = i.device_id AND (u.seen_on IS NULL OR u.seen_on < @seen_on::timestamptz);

-- name: FindInitKeys :many
-- FindInitKeys is those of the hashes that were seen before.
SELECT hash FROM used_init_keys WHERE hash = ANY (@hashes::bytea[]);

-- name: InsertInitKeys :many
-- InsertInitKeys keeps the hashes that were never seen before, and returns those.
INSERT INTO used_init_keys (hash)
SELECT DISTINCT unnest(@hashes::bytea[])
ON CONFLICT ON CONSTRAINT used_init_keys_pkey DO NOTHING
RETURNING hash;

-- name: InsertKeyPackages :many
INSERT INTO key_packages (owner_did, device_id, ref, sha256, cipher_suite, key_package, expires_at, last_resort, created_at, reserved_request_id)
SELECT @owner_did, @device_id, r.ref, s.sha256, c.cipher_suite, k.key_package, e.expires_at, l.last_resort, @created_at::timestamptz, sqlc.narg('reserved_request_id')
FROM unnest(@refs::bytea[]) WITH ORDINALITY AS r (ref, ord)
JOIN unnest(@sha256s::bytea[]) WITH ORDINALITY AS s (sha256, ord) USING (ord)
JOIN unnest(@cipher_suites::integer[]) WITH ORDINALITY AS c (cipher_suite, ord) USING (ord)
JOIN unnest(@key_packages::bytea[]) WITH ORDINALITY AS k (key_package, ord) USING (ord)
JOIN unnest(@expires_ats::timestamptz[]) WITH ORDINALITY AS e (expires_at, ord) USING (ord)
JOIN unnest(@last_resorts::boolean[]) WITH ORDINALITY AS l (last_resort, ord) USING (ord)
ORDER BY r.ord
RETURNING id;

-- name: FindKeyPackagesByHash :many
-- FindKeyPackagesByHash says of packages that are published again whether they are still live.
SELECT sha256, owner_did, device_id,
       (claimed_at IS NULL AND consumed_at IS NULL AND expires_at > @now::timestamptz)::boolean AS live
FROM key_packages WHERE sha256 = ANY (@sha256s::bytea[]) ORDER BY id;

-- name: CountLiveKeyPackages :one
SELECT count(*) FROM key_packages
WHERE owner_did = @owner_did AND device_id = @device_id
  AND claimed_at IS NULL AND consumed_at IS NULL AND reserved_request_id IS NULL AND NOT last_resort
  AND expires_at > @now::timestamptz;

-- name: UnclaimKeyPackages :execrows
-- UnclaimKeyPackages gives back what was claimed and was handed to nobody.
UPDATE key_packages SET claimed_at = NULL
WHERE id = ANY (@ids::bigint[]) AND NOT last_resort AND consumed_at IS NULL;

-- name: ClaimKeyPackages :many
-- ClaimKeyPackages hands out one live package for every device of the owners,
-- the one that expires first. Claims that run at once skip each other's rows,
-- so no package goes out twice (I4). A device that has none left gets its
-- last-resort package, which stays.
--
-- The owner is told when low packages or fewer were there before the claim.
--
-- Owners among scarce_dids give their last-resort packages only.
--
-- An empty device id stands for the packages of a user without devices.
-- cipher_suite 0 is any suite, an empty device_ids all devices.
WITH wanted AS (
    SELECT o.owner_did, d.device_id, o.owner_did = ANY (@scarce_dids::text[]) AS scarce
    FROM (SELECT DISTINCT unnest(@owner_dids::text[]) AS owner_did) o
    CROSS JOIN LATERAL (
        SELECT u.device_id FROM user_devices u WHERE u.user_did = o.owner_did
        UNION ALL
        SELECT '' AS device_id WHERE NOT EXISTS (SELECT FROM user_devices x WHERE x.user_did = o.owner_did)
    ) d
    WHERE cardinality(@device_ids::text[]) = 0 OR d.device_id = ANY (@device_ids::text[])
), single AS MATERIALIZED (
    SELECT w.owner_did, w.device_id, k.id
    FROM wanted w
    CROSS JOIN LATERAL (
        SELECT p.id
        FROM key_packages p
        WHERE p.owner_did = w.owner_did AND p.device_id = w.device_id
          AND p.claimed_at IS NULL AND p.consumed_at IS NULL AND p.reserved_request_id IS NULL AND NOT p.last_resort
          AND p.expires_at > @usable_until::timestamptz
          AND (@cipher_suite::integer = 0 OR p.cipher_suite = @cipher_suite::integer)
        ORDER BY p.expires_at, p.id
        LIMIT 1
        FOR UPDATE SKIP LOCKED
    ) k
    WHERE NOT w.scarce
), claimed AS (
    UPDATE key_packages p
    SET claimed_at = @claimed_at::timestamptz
    FROM single s
    WHERE p.id = s.id
    RETURNING p.id
), last AS (
    SELECT w.owner_did, w.device_id, k.id
    FROM wanted w
    CROSS JOIN LATERAL (
        SELECT p.id
        FROM key_packages p
        WHERE p.owner_did = w.owner_did AND p.device_id = w.device_id
          AND p.last_resort AND p.reserved_request_id IS NULL
          AND p.expires_at > @usable_until::timestamptz
          AND (@cipher_suite::integer = 0 OR p.cipher_suite = @cipher_suite::integer)
        ORDER BY p.expires_at DESC, p.id DESC
        LIMIT 1
    ) k
    WHERE NOT EXISTS (SELECT FROM single s WHERE s.owner_did = w.owner_did AND s.device_id = w.device_id)
), used AS (
    UPDATE key_packages p
    SET used_on = @claimed_at::timestamptz
    FROM last l
    WHERE p.id = l.id AND p.used_on IS DISTINCT FROM @claimed_at::timestamptz
), logged AS (
    INSERT INTO event_stream (generation, log_xid, kind, audience, audience_did, user_did, device_id, bucket_ts)
    SELECT g.generation, pg_current_xact_id()::text::bigint, 10, 3, w.owner_did, w.owner_did, nullif(w.device_id, ''), @bucket_ts::timestamptz
    FROM (SELECT s.owner_did, s.device_id FROM single s UNION ALL SELECT l.owner_did, l.device_id FROM last l) w
    CROSS JOIN event_head g
    WHERE sqlc.arg('low')::bigint > 0 AND (
        SELECT count(*)
        FROM (
            SELECT FROM key_packages p
            WHERE p.owner_did = w.owner_did AND p.device_id = w.device_id
              AND p.claimed_at IS NULL AND p.consumed_at IS NULL AND p.reserved_request_id IS NULL AND NOT p.last_resort
              AND p.expires_at > @usable_until::timestamptz
            LIMIT sqlc.arg('low')::bigint + 1
        ) few
    ) <= sqlc.arg('low')::bigint
)
SELECT p.id, p.owner_did, p.device_id, p.ref, p.cipher_suite, p.key_package, p.expires_at, p.last_resort
FROM key_packages p
WHERE p.id IN (SELECT c.id FROM claimed c UNION ALL SELECT l.id FROM last l)
ORDER BY p.owner_did, p.device_id;

-- name: CountClaimable :many
-- CountClaimable counts, for each owner and suite, the asked devices that have a package: one that goes out
-- once, a last resort, either. An empty device_ids is all devices.
SELECT o.owner_did::text AS owner_did, c.cipher_suite::integer AS cipher_suite,
       count(*) FILTER (WHERE h.once) AS once,
       count(*) FILTER (WHERE h.last_resort) AS last_resort,
       count(*) AS devices
FROM (SELECT DISTINCT unnest(@owner_dids::text[]) AS owner_did) o
CROSS JOIN LATERAL (
    SELECT u.device_id FROM user_devices u WHERE u.user_did = o.owner_did
    UNION ALL
    SELECT '' AS device_id WHERE NOT EXISTS (SELECT FROM user_devices x WHERE x.user_did = o.owner_did)
) d
CROSS JOIN unnest(@cipher_suites::integer[]) AS c (cipher_suite)
CROSS JOIN LATERAL (
    SELECT EXISTS (
        SELECT FROM key_packages p
        WHERE p.owner_did = o.owner_did AND p.cipher_suite = c.cipher_suite AND p.device_id = d.device_id
          AND p.claimed_at IS NULL AND p.consumed_at IS NULL AND p.reserved_request_id IS NULL AND NOT p.last_resort
          AND p.expires_at > @usable_until::timestamptz
    ) AS once, EXISTS (
        SELECT FROM key_packages p
        WHERE p.owner_did = o.owner_did AND p.cipher_suite = c.cipher_suite AND p.device_id = d.device_id
          AND p.last_resort AND p.reserved_request_id IS NULL
          AND p.expires_at > @usable_until::timestamptz
    ) AS last_resort
) h
WHERE (cardinality(@device_ids::text[]) = 0 OR d.device_id = ANY (@device_ids::text[])) AND (h.once OR h.last_resort)
GROUP BY o.owner_did, c.cipher_suite
ORDER BY o.owner_did, c.cipher_suite;

-- name: FindReservedHash :one
-- FindReservedHash is the SHA-256 of the package that waits for a request.
SELECT sha256 FROM key_packages WHERE reserved_request_id = @request_id::text AND consumed_at IS NULL;

-- name: FindReservation :one
-- FindReservation is the request that a package of a device was brought for, whatever became of both.
SELECT reserved_request_id::text AS request_id FROM key_packages
WHERE sha256 = @sha256 AND owner_did = @owner_did AND device_id = @device_id AND reserved_request_id IS NOT NULL;

-- name: FindReservedKeyPackage :one
-- FindReservedKeyPackage is the package of an open request, for members of its
-- conversation.
SELECT p.id, p.owner_did, p.device_id, p.ref, p.cipher_suite, p.key_package, p.expires_at, p.last_resort, w.convo_id
FROM pending_welcomes w
JOIN key_packages p ON p.id = w.key_package_id AND p.consumed_at IS NULL
WHERE w.id = @request_id AND w.status = 'open'
  AND EXISTS (SELECT FROM members m WHERE m.convo_id = w.convo_id AND m.user_did = @caller_did::text AND m.left_at IS NULL AND m.invited_by IS NULL);

-- name: ResolveKeyPackages :many
-- ResolveKeyPackages finds packages by KeyPackageRef or SHA-256 and locks them
-- for the one commit that consumes them. Packages that a Welcome consumed
-- before are not found, except for last-resort ones.
SELECT id, owner_did, device_id, ref, sha256, cipher_suite, key_package, expires_at, last_resort, reserved_request_id
FROM key_packages
WHERE (ref = ANY (@hashes::bytea[]) OR sha256 = ANY (@hashes::bytea[]))
  AND (consumed_at IS NULL OR last_resort)
ORDER BY id
FOR NO KEY UPDATE;

-- name: ConsumeKeyPackages :exec
-- ConsumeKeyPackages uses up packages that ResolveKeyPackages has locked.
UPDATE key_packages SET consumed_at = @consumed_at::timestamptz
WHERE id = ANY (@ids::bigint[]);

-- name: ReleaseKeyPackages :execrows
-- ReleaseKeyPackages throws the packages of requests away that nobody will fulfil.
DELETE FROM key_packages WHERE reserved_request_id = ANY (@request_ids::text[]) AND consumed_at IS NULL;

-- name: CountKeyPackages :many
-- CountKeyPackages counts a user's packages by suite: what can be claimed, what is gone and since when.
-- lately and last_week are the days from which consumption counts as such.
SELECT cipher_suite,
       count(*) FILTER (WHERE claimed_at IS NULL AND (consumed_at IS NULL OR last_resort) AND reserved_request_id IS NULL AND expires_at > @now::timestamptz) AS available,
       count(*) FILTER (WHERE NOT last_resort AND (consumed_at IS NOT NULL OR claimed_at IS NOT NULL)) AS consumed,
       count(*) FILTER (WHERE NOT last_resort AND coalesce(claimed_at, consumed_at) >= @lately::timestamptz) AS consumed_lately,
       count(*) FILTER (WHERE NOT last_resort AND coalesce(claimed_at, consumed_at) >= @last_week::timestamptz) AS consumed_last_week,
       coalesce(bool_or(last_resort AND used_on IS NOT NULL AND expires_at > @now::timestamptz), false)::boolean AS last_resort_used,
       coalesce(min(expires_at) FILTER (WHERE claimed_at IS NULL AND (consumed_at IS NULL OR last_resort) AND reserved_request_id IS NULL AND expires_at > @now::timestamptz), to_timestamp(0))::timestamptz AS oldest_expires_at
FROM key_packages
WHERE owner_did = @owner_did AND (@cipher_suite::integer = 0 OR cipher_suite = @cipher_suite::integer)
  AND (@device_id::text = '' OR device_id = @device_id::text)
GROUP BY cipher_suite
ORDER BY cipher_suite;

-- name: ReserveKeyPackage :one
-- ReserveKeyPackage takes a live package out of circulation for a request.
UPDATE key_packages SET reserved_request_id = @request_id::text
WHERE sha256 = @sha256 AND claimed_at IS NULL AND consumed_at IS NULL
RETURNING id;
