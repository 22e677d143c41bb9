-- What an account may have of what is kept about it, a JSON object a line. Nobody else is in it but
-- whom the account itself was shown, or has named. Exports are rare and may read whole tables.

-- name: ExportAccount :many
SELECT json_build_object('record', 'account', 'did', @user_did::text,
    'lastSeenOn', (SELECT d.seen_on FROM user_days d WHERE d.user_did = @user_did::text),
    'refused', (SELECT json_build_object('byOperator', s.suspended, 'erasing', s.erasing, 'hostStatus', s.host_status, 'hostStatusAt', s.host_at)
                FROM account_states s WHERE s.user_did = @user_did::text),
    'didDocument', (SELECT json_build_object('signingKey', o.signing_key, 'pds', o.pds, 'fetchedAt', o.fetched_at)
                    FROM did_documents o WHERE o.account_did = @user_did::text))::text AS line;

-- name: ExportDevices :many
SELECT json_build_object('record', 'device', 'deviceId', d.device_id, 'deviceName', d.device_name, 'deviceUuid', d.device_uuid,
    'signatureKey', encode(d.signature_key, 'base64'), 'credential', d.mls_did, 'registeredAt', coalesce(d.registered_at, d.created_at), 'lastSeenOn', d.seen_on)::text AS line
FROM user_devices d WHERE d.user_did = @user_did
ORDER BY d.device_id;

-- name: ExportDeletedDevices :many
SELECT json_build_object('record', 'deletedDevice', 'deviceId', d.device_id, 'signatureKey', encode(d.signature_key, 'base64'), 'deletedAt', d.deleted_at)::text AS line
FROM deleted_devices d WHERE d.user_did = @user_did
ORDER BY d.device_id;

-- name: ExportKeyPackages :many
SELECT json_build_object('record', 'keyPackage', 'hash', encode(k.ref, 'hex'), 'deviceId', k.device_id, 'cipherSuite', k.cipher_suite, 'lastResort', k.last_resort,
    'publishedOn', k.created_at, 'expiresAt', k.expires_at, 'claimedOn', k.claimed_at, 'usedOn', coalesce(k.consumed_at, k.used_on))::text AS line
FROM key_packages k WHERE k.owner_did = @owner_did
ORDER BY k.id;

-- name: ExportConversations :many
-- ExportConversations shows what the account itself is shown: names and members of conversations that
-- it is in, members alone of those that it is invited to, and of the others, whose present group is not
-- told, that it was there.
SELECT json_build_object('record', 'conversation', 'convoId', c.id, 'firstGroupId', coalesce(c.first_group_id, c.group_id), 'groupId', CASE WHEN w.there OR w.invited THEN c.group_id END, 'member', w.there, 'invited', w.invited,
    'name', CASE WHEN w.there THEN c.name END, 'description', CASE WHEN w.there THEN c.description END,
    'creator', c.creator_did = @user_did, 'admin', w.admin, 'readTo', (SELECT u.seq FROM cursors u WHERE u.convo_id = c.id AND u.user_did = @user_did),
    'devices', w.devices,
    'members', CASE WHEN w.there OR w.invited THEN (SELECT json_agg(DISTINCT o.user_did) FROM members o WHERE o.convo_id = c.id AND o.left_at IS NULL) END)::text AS line
FROM (
    SELECT m.convo_id, bool_or(m.left_at IS NULL AND m.invited_by IS NULL) AS there,
           bool_or(m.left_at IS NULL AND m.invited_by IS NOT NULL) AS invited, bool_or(m.is_admin) AS admin,
           json_agg(json_build_object('deviceId', m.device_id, 'deviceName', m.device_name, 'joinedAt', m.joined_at, 'joinEpoch', m.join_epoch, 'joinSeq', m.join_seq,
                                      'leftAt', m.left_at, 'leftReason', m.left_reason, 'leafIndex', m.leaf_index) ORDER BY m.device_id) AS devices
    FROM members m WHERE m.user_did = @user_did
    GROUP BY m.convo_id
) w
JOIN conversations c ON c.id = w.convo_id
ORDER BY c.id;

-- name: ExportCommits :many
-- ExportCommits is the commits that the account has made: of those, and of nothing else, senders are kept.
SELECT json_build_object('record', 'commit', 'convoId', k.convo_id, 'generation', k.generation, 'epoch', k.epoch, 'seq', k.seq, 'at', k.created_at,
    'void', k.void_seq IS NOT NULL, 'joinedFromOutside', k.joiner_device IS NOT NULL)::text AS line
FROM commits k WHERE k.sender_did = @user_did
ORDER BY k.convo_id, k.seq;

-- name: ExportResets :many
SELECT json_build_object('record', 'reset', 'convoId', r.convo_id, 'generation', r.generation, 'at', r.created_at)::text AS line
FROM convo_resets r WHERE r.user_did = @user_did
ORDER BY r.convo_id, r.generation;

-- name: ExportWelcomes :many
SELECT json_build_object('record', 'welcome', 'convoId', r.convo_id, 'deviceId', r.device_id, 'keyPackageHash', encode(r.key_package_ref, 'hex'), 'epoch', w.epoch,
    'at', w.created_at, 'confirmedAt', r.confirmed_at, 'failedAt', r.failed_at, 'errorDetails', r.error_details, 'supersededAt', r.superseded_at)::text AS line
FROM welcome_routes r JOIN welcomes w ON w.id = r.welcome_id
WHERE r.user_did = @user_did
ORDER BY r.convo_id, r.welcome_id, r.key_package_ref;

-- name: ExportRequests :many
SELECT json_build_object('record', 'request', 'requestId', p.id, 'convoId', p.convo_id, 'deviceId', p.device_id, 'kind', p.kind, 'status', p.status, 'reason', p.reason,
    'at', p.created_at, 'approvedAt', p.approved_at, 'closedAt', p.closed_at)::text AS line
FROM pending_welcomes p WHERE p.user_did = @user_did
ORDER BY p.convo_id, p.id;

-- name: ExportRemovals :many
-- ExportRemovals is the leaves of the account that members have to remove, or have removed.
SELECT json_build_object('record', 'removal', 'requestId', d.id, 'convoId', d.convo_id, 'deviceId', d.device_id, 'leafIndex', d.leaf_index, 'at', d.created_at,
    'settledAt', d.settled_at)::text AS line
FROM removal_debts d WHERE d.user_did = @user_did
ORDER BY d.convo_id, d.id;

-- name: ExportCommitReports :many
SELECT json_build_object('record', 'commitReport', 'convoId', r.convo_id, 'generation', r.generation, 'deviceId', r.device_id, 'fromSeq', r.from_seq, 'at', r.created_at)::text AS line
FROM commit_reports r WHERE r.user_did = @user_did
ORDER BY r.convo_id, r.generation, r.device_id;

-- name: ExportReports :many
-- ExportReports is what the account has reported. Who has reported the account is not told to it.
SELECT json_build_object('record', 'report', 'reportId', r.id, 'convoId', r.convo_id, 'reported', r.reported_did, 'category', r.category,
    'content', encode(r.encrypted_content, 'base64'), 'messageCount', r.message_count, 'status', r.status, 'at', r.created_at)::text AS line
FROM reports r WHERE r.reporter_did = @user_did
ORDER BY r.id;

-- name: ExportActions :many
-- ExportActions is what the account has done as an admin, and what was done to it, without by whom.
SELECT json_build_object('record', 'action', 'convoId', a.convo_id, 'action', a.action, 'byTheAccount', a.actor_did = @user_did,
    'target', CASE WHEN a.actor_did = @user_did THEN a.target_did END, 'reason', CASE WHEN a.actor_did = @user_did THEN a.reason END, 'at', a.created_at)::text AS line
FROM admin_actions a WHERE a.actor_did = @user_did OR a.target_did = @user_did::text
ORDER BY a.id;

-- name: ExportInvitations :many
-- ExportInvitations is the invitations that the account has had, or made.
SELECT json_build_object('record', 'invitation', 'convoId', i.convo_id, 'invited', i.user_did, 'inviter', i.inviter_did, 'at', i.created_at, 'endedAt', i.ended_at,
    'outcome', CASE WHEN i.user_did = @user_did THEN i.outcome END)::text AS line
FROM invitations i WHERE i.user_did = @user_did OR i.inviter_did = @user_did
ORDER BY i.id;

-- name: ExportSendKeys :many
-- ExportSendKeys is for which epochs the account has given a key for sealed sends. The key is the group's.
SELECT json_build_object('record', 'sendKey', 'convoId', k.convo_id, 'generation', k.generation, 'epoch', k.epoch)::text AS line
FROM send_keys k WHERE @user_did::text = ANY (k.givers)
ORDER BY k.convo_id;

-- name: ExportBlocks :many
-- ExportBlocks is the account's own public block records, as far as they are kept here.
SELECT json_build_object('record', 'block', 'blocked', b.blocked_did, 'uri', b.uri, 'createdAt', b.created_at, 'seenAt', b.seen_at)::text AS line
FROM bsky_blocks b WHERE b.blocker_did = @user_did
ORDER BY b.blocked_did;

-- name: ExportOperatorActions :many
SELECT json_build_object('record', 'operatorAction', 'action', o.action, 'at', o.created_at)::text AS line
FROM operator_actions o WHERE o.user_did = @user_did::text
ORDER BY o.id;

-- name: ListMemberships :many
-- ListMemberships is the conversations that an account is in, or was.
SELECT DISTINCT m.convo_id FROM members m WHERE m.user_did = @user_did ORDER BY m.convo_id;
