-- What is kept of an account, and how it goes. Erasures are rare and their statements may read whole
-- tables; each of them writes the rows of one account or conversation, or @max_rows at most, where
-- those may be many, and what hangs on them.

-- name: BeginErasure :one
-- BeginErasure has an account refused, and ends earlier runs. The salt stays what it was.
INSERT INTO account_states AS a (user_did, erasing, changed, erasure_run, erasure_salt)
VALUES (@user_did, true, @run::bigint, @run::bigint, @salt::bytea)
ON CONFLICT ON CONSTRAINT account_states_pkey DO UPDATE
SET erasing = true, changed = excluded.changed, erasure_run = excluded.erasure_run, erasure_salt = coalesce(a.erasure_salt, excluded.erasure_salt)
RETURNING coalesce(a.erasure_salt, ''::bytea)::bytea AS salt;

-- name: HoldErasure :one
-- HoldErasure finds the account of a run that is the last one to have begun, and holds it: no other begins
-- or ends until the transaction does.
SELECT user_did FROM account_states WHERE user_did = @user_did AND erasing AND erasure_run = @run::bigint FOR SHARE;

-- name: EndErasure :execrows
UPDATE account_states SET erasing = false, changed = @changed, erasure_run = NULL, erasure_salt = NULL
WHERE user_did = @user_did AND erasing AND erasure_run = @run::bigint;

-- name: DropAccountState :execrows
-- DropAccountState forgets an account that only its erasure, or its own leaving, had refused.
DELETE FROM account_states
WHERE user_did = @user_did AND NOT suspended AND NOT erasing AND (host_status IS NULL OR host_status IN ('deactivated', 'deleted'));

-- name: NoteDroppedState :exec
-- NoteDroppedState has servers read all states anew: of rows that are gone no number tells.
UPDATE account_changes SET dropped = last;

-- name: ListConvosOfAccount :many
-- ListConvosOfAccount is every conversation that any row names the account in, but for what is left
-- there on purpose.
SELECT m.convo_id FROM members m WHERE m.user_did = @user_did OR m.promoted_by_did = @user_did::text OR m.invited_by = @user_did::text
UNION SELECT c.id FROM conversations c WHERE c.creator_did = @user_did
UNION SELECT k.convo_id FROM commits k WHERE k.sender_did = @user_did OR k.depositor_did = @user_did::text OR k.blamed_did = @user_did::text
UNION SELECT r.convo_id FROM convo_resets r WHERE r.user_did = @user_did
UNION SELECT u.convo_id FROM cursors u WHERE u.user_did = @user_did
UNION SELECT w.convo_id FROM welcome_routes w WHERE w.user_did = @user_did
UNION SELECT p.convo_id FROM pending_welcomes p WHERE p.user_did = @user_did
UNION SELECT d.convo_id FROM removal_debts d WHERE d.claimed_by = @user_did::text OR @user_did::text = ANY (d.confirmed_by) OR @user_did::text = ANY (d.disputed_by) OR @user_did::text = ANY (d.spent_by)
UNION SELECT o.convo_id FROM commit_reports o WHERE o.user_did = @user_did
UNION SELECT b.convo_id FROM block_conflicts b WHERE b.blocker_did = @user_did OR b.blocked_did = @user_did
UNION SELECT e.convo_id FROM ended_conflicts e WHERE e.blocker_did = @user_did
UNION SELECT g.convo_id FROM group_states g WHERE g.depositor_did = @user_did OR g.superseded_by = @user_did::text OR @user_did::text = ANY (g.depositors)
UNION SELECT n.convo_id FROM commit_additions n WHERE @user_did::text IN (n.before->>'user_did', n.before->>'promoted_by_did', n.before->>'invited_by')
UNION SELECT a.convo_id FROM admin_actions a WHERE a.actor_did = @user_did OR a.target_did = @user_did::text
UNION SELECT t.convo_id FROM reports t WHERE t.reporter_did = @user_did OR t.reported_did = @user_did OR t.resolved_by = @user_did::text
UNION SELECT v.convo_id FROM event_stream v WHERE v.convo_id IS NOT NULL AND (v.user_did = @user_did::text OR v.audience <> 3 AND v.audience_did = @user_did::text)
ORDER BY convo_id;

-- name: KeepFreshRemovals :execrows
-- KeepFreshRemovals puts settled debts in the place of the roster's rows of leaves that a commit has
-- removed lately: should it be taken back, the leaves are owed again.
INSERT INTO removal_debts (id, convo_id, generation, user_did, device_id, leaf_index, created_at, settled_epoch, settled_seq, settled_at, withheld)
SELECT gen_random_uuid()::text, m.convo_id, k.generation, m.user_did, m.device_id, m.leaf_index, m.left_at, k.epoch + 1, k.seq, m.left_at, m.invited_by IS NOT NULL
FROM members m
JOIN commits k ON k.convo_id = m.convo_id AND k.seq = m.left_seq AND k.void_seq IS NULL
WHERE m.convo_id = @convo_id AND m.user_did = @user_did AND NOT m.vacant AND m.left_at >= @since::timestamptz
  AND NOT EXISTS (SELECT FROM removal_debts d
                  WHERE d.convo_id = m.convo_id AND d.user_did = m.user_did AND d.device_id = m.device_id
                    AND (d.settled_at IS NULL OR d.settled_seq = k.seq));

-- name: EraseMemberRows :execrows
DELETE FROM members WHERE convo_id = @convo_id AND user_did = @user_did;

-- name: ErasePromoter :execrows
-- ErasePromoter takes the name off those whom the account has promoted or invited. They stay what they are.
UPDATE members
SET promoted_by_did = CASE WHEN promoted_by_did = @user_did::text THEN @tombstone::text ELSE promoted_by_did END,
    invited_by = CASE WHEN invited_by = @user_did::text THEN @tombstone::text ELSE invited_by END
WHERE convo_id = @convo_id AND (promoted_by_did = @user_did::text OR invited_by = @user_did::text);

-- name: EraseInviter :execrows
-- EraseInviter takes the name off the account's open invitations of others. They stay open, and count for
-- those who have them.
UPDATE invitations SET inviter_did = @tombstone
WHERE convo_id = @convo_id AND inviter_did = @user_did AND ended_at IS NULL;

-- name: EraseBefore :execrows
-- EraseBefore takes the name off what commits of the last day have changed, in case they are taken back.
-- Of the account's own rows it stays known whether they had left.
UPDATE commit_additions
SET before = CASE WHEN user_did = @user_did::text THEN jsonb_build_object('left_at', before->'left_at') ELSE
        before
        || CASE WHEN before->>'promoted_by_did' = @user_did::text THEN jsonb_build_object('promoted_by_did', @tombstone::text) ELSE '{}'::jsonb END
        || CASE WHEN before->>'invited_by' = @user_did::text THEN jsonb_build_object('invited_by', @tombstone::text) ELSE '{}'::jsonb END
    END
WHERE convo_id = @convo_id AND @user_did::text IN (before->>'user_did', before->>'promoted_by_did', before->>'invited_by');

-- name: EraseInvitations :execrows
-- EraseInvitations forgets what counts of the account's invitations, made and got.
DELETE FROM invitations i
WHERE i.id = ANY (ARRAY(SELECT o.id FROM invitations o WHERE o.user_did = @user_did OR o.inviter_did = @user_did::text LIMIT @max_rows));

-- name: EraseCreator :execrows
UPDATE conversations SET creator_did = @tombstone WHERE id = @convo_id AND creator_did = @user_did;

-- name: EraseCursor :execrows
DELETE FROM cursors WHERE convo_id = @convo_id AND user_did = @user_did;

-- name: EraseWelcomeRoutes :execrows
DELETE FROM welcome_routes r
WHERE r.welcome_id IN (SELECT w.id FROM welcomes w WHERE w.convo_id = @convo_id) AND r.user_did = @user_did;

-- name: EraseUnroutedWelcomes :execrows
-- EraseUnroutedWelcomes removes Welcomes that were for nobody else.
DELETE FROM welcomes w WHERE w.convo_id = @convo_id AND NOT EXISTS (SELECT FROM welcome_routes r WHERE r.welcome_id = w.id);

-- name: EraseRequests :execrows
DELETE FROM pending_welcomes WHERE convo_id = @convo_id AND user_did = @user_did;

-- name: EraseCommitReports :execrows
DELETE FROM commit_reports WHERE convo_id = @convo_id AND user_did = @user_did;

-- name: EraseConflicts :execrows
DELETE FROM block_conflicts WHERE convo_id = @convo_id AND (blocker_did = @user_did OR blocked_did = @user_did);

-- name: EraseEndedConflicts :execrows
DELETE FROM ended_conflicts WHERE convo_id = @convo_id AND blocker_did = @user_did;

-- name: EraseVoices :execrows
-- EraseVoices takes the name off what the account has said of others' removals. The voices count on.
UPDATE removal_debts
SET claimed_by = CASE WHEN claimed_by = @user_did::text THEN @tombstone::text ELSE claimed_by END,
    confirmed_by = array_replace(confirmed_by, @user_did::text, @tombstone::text),
    disputed_by = array_replace(disputed_by, @user_did::text, @tombstone::text),
    spent_by = array_replace(spent_by, @user_did::text, @tombstone::text)
WHERE id IN (SELECT o.id FROM removal_debts o WHERE o.convo_id = @convo_id AND o.settled_at IS NULL
             UNION ALL SELECT s.id FROM removal_debts s WHERE s.convo_id = @convo_id AND s.settled_at IS NOT NULL)
  AND (claimed_by = @user_did::text OR @user_did::text = ANY (confirmed_by) OR @user_did::text = ANY (disputed_by) OR @user_did::text = ANY (spent_by));

-- name: EraseDepositor :execrows
UPDATE group_states
SET depositor_did = CASE WHEN depositor_did = @user_did::text THEN @tombstone::text ELSE depositor_did END,
    superseded_by = CASE WHEN superseded_by = @user_did::text THEN @tombstone::text ELSE superseded_by END,
    depositors = array_replace(depositors, @user_did::text, @tombstone::text)
WHERE convo_id = @convo_id AND (depositor_did = @user_did::text OR superseded_by = @user_did::text OR @user_did::text = ANY (depositors));

-- name: EraseCommitters :execrows
UPDATE commits
SET sender_did = CASE WHEN sender_did = @user_did::text THEN @tombstone::text ELSE sender_did END,
    depositor_did = CASE WHEN depositor_did = @user_did::text THEN @tombstone::text ELSE depositor_did END,
    blamed_did = CASE WHEN blamed_did = @user_did::text THEN @tombstone::text ELSE blamed_did END
WHERE convo_id = @convo_id AND (sender_did = @user_did::text OR depositor_did = @user_did::text OR blamed_did = @user_did::text);

-- name: EraseResetters :execrows
UPDATE convo_resets SET user_did = @tombstone WHERE convo_id = @convo_id AND user_did = @user_did;

-- name: EraseAuditNames :execrows
-- EraseAuditNames takes the name off the audit; what was done stays. Reasons go, those that the account
-- gave and those that were given for what was done to it.
UPDATE admin_actions
SET actor_did = CASE WHEN actor_did = @user_did::text THEN @tombstone::text ELSE actor_did END,
    target_did = CASE WHEN target_did = @user_did::text THEN @tombstone::text ELSE target_did END,
    reason = NULL
WHERE convo_id = @convo_id AND (actor_did = @user_did::text OR target_did = @user_did::text);

-- name: EraseReportNames :execrows
-- EraseReportNames takes the name off reports. What was reported of others stays with their admins,
-- what others have written about the account goes.
UPDATE reports
SET reporter_did = CASE WHEN reporter_did = @user_did::text THEN @tombstone::text ELSE reporter_did END,
    encrypted_content = CASE WHEN reported_did = @user_did::text THEN ''::bytea ELSE encrypted_content END,
    notes = CASE WHEN reported_did = @user_did::text THEN NULL ELSE notes END,
    reported_did = CASE WHEN reported_did = @user_did::text THEN @tombstone::text ELSE reported_did END,
    resolved_by = CASE WHEN resolved_by = @user_did::text THEN @tombstone::text ELSE resolved_by END
WHERE convo_id = @convo_id AND (reporter_did = @user_did::text OR reported_did = @user_did::text OR resolved_by = @user_did::text);

-- name: EraseEventNames :execrows
-- EraseEventNames takes the name off events. Those that tell of the removal itself (left, removal
-- pending) keep it for a moment, so that every stream has told it.
UPDATE event_stream
SET user_did = CASE WHEN user_did = @user_did::text THEN @tombstone::text ELSE user_did END,
    device_id = CASE WHEN user_did = @user_did::text THEN NULL ELSE device_id END,
    audience_did = CASE WHEN audience_did = @user_did::text THEN @tombstone::text ELSE audience_did END
WHERE (generation, log_xid, position) IN (
    SELECT e.generation, e.log_xid, e.position FROM event_stream e
    WHERE e.convo_id = @convo_id::text AND (e.user_did = @user_did::text AND (e.kind NOT IN (3, 9, 18) OR e.bucket_ts < @told_before::timestamptz)
                                            OR e.audience <> 3 AND e.audience_did = @user_did::text)
    LIMIT @max_rows
);

-- name: EraseDevices :execrows
DELETE FROM user_devices WHERE user_did = @user_did;

-- name: EraseDeletedDevices :execrows
DELETE FROM deleted_devices WHERE user_did = @user_did;

-- name: EraseKeyPackages :execrows
DELETE FROM key_packages k
WHERE k.id = ANY (ARRAY(SELECT o.id FROM key_packages o WHERE o.owner_did = @owner_did ORDER BY o.id LIMIT @max_rows));

-- name: ErasePersonalEvents :execrows
DELETE FROM event_stream
WHERE (generation, log_xid, position) IN (
    SELECT e.generation, e.log_xid, e.position FROM event_stream e
    WHERE e.audience = 3 AND e.audience_did = @user_did::text
    LIMIT @max_rows
);

-- name: EraseLostEvents :execrows
DELETE FROM lost_events WHERE user_did = @user_did AND user_did <> '';

-- name: EraseUserDay :execrows
DELETE FROM user_days WHERE user_did = @user_did AND user_did <> '';

-- name: EraseDocument :execrows
DELETE FROM did_documents WHERE account_did = @account_did;

-- name: EraseBlocks :one
-- EraseBlocks counts the blocks that it removes. That the lists of the others were read goes with them:
-- else it would be known that they do not block the account.
WITH gone AS (
    DELETE FROM bsky_blocks b
    WHERE b.ctid = ANY (ARRAY(SELECT o.ctid FROM bsky_blocks o WHERE o.blocker_did = @user_did OR o.blocked_did = @user_did LIMIT @max_rows))
    RETURNING b.blocker_did
), unread AS (
    DELETE FROM block_checks c USING gone g WHERE c.blocker_did = g.blocker_did
)
SELECT count(*) FROM gone;

-- name: EraseBlockChecks :execrows
DELETE FROM block_checks c
WHERE c.ctid = ANY (ARRAY(SELECT o.ctid FROM block_checks o WHERE o.blocker_did = @user_did OR o.blocked_did = @user_did LIMIT @max_rows));

-- name: EraseOperatorAudit :execrows
UPDATE operator_actions SET user_did = NULL WHERE user_did = @user_did::text;

-- name: CountRemains :one
-- CountRemains counts what is left of an account on purpose.
SELECT (SELECT count(*) FROM removal_debts d WHERE d.user_did = @user_did AND d.settled_at IS NULL) AS open_debts,
       (SELECT count(*) FROM removal_debts d WHERE d.user_did = @user_did AND d.settled_at IS NOT NULL) AS settled_debts,
       (SELECT count(*) FROM group_states g WHERE @user_did::text = ANY (g.leaf_users)) AS group_states,
       (SELECT count(*) FROM commit_additions a WHERE a.user_did = @user_did) AS additions,
       (SELECT count(*) FROM event_stream e WHERE e.user_did = @user_did::text) AS events,
       EXISTS (SELECT FROM account_states s WHERE s.user_did = @user_did) AS state;

-- name: ListSomeUsers :many
-- ListSomeUsers is some of the users of a conversation, admins first.
SELECT user_did FROM members
WHERE convo_id = @convo_id AND left_at IS NULL
GROUP BY user_did
ORDER BY bool_or(is_admin) DESC, user_did
LIMIT @max_rows;

-- name: DeleteConvoMessages :execrows
-- DeleteConvoMessages removes a batch of the messages of a conversation, with their commits.
DELETE FROM messages m
WHERE m.ctid = ANY (ARRAY(SELECT o.ctid FROM messages o WHERE o.convo_id = @convo_id LIMIT @max_rows));

-- name: DeleteConversation :execrows
-- DeleteConversation removes a conversation that nobody is in, with all that belongs to it.
DELETE FROM conversations c
WHERE c.id = @convo_id::text AND NOT EXISTS (SELECT FROM members m WHERE m.convo_id = c.id AND m.left_at IS NULL);

-- name: DeleteDebts :execrows
-- DeleteDebts forgets removals that were settled long ago.
DELETE FROM removal_debts d
WHERE d.id = ANY (ARRAY(SELECT o.id FROM removal_debts o WHERE o.settled_at < @before::timestamptz LIMIT @max_rows))
  AND d.settled_at < @before::timestamptz;
