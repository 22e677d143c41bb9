-- Times that are stored are floored to two seconds, or to the day where nothing needs
-- them finer. Servers before this version write finer ones, so no CHECK says so yet.
-- What is claimed while this runs is left alone, and so are rows that expire soon.

-- +goose Up
UPDATE user_devices SET created_at = date_bin('1 day', created_at, '2000-01-01 00:00:00+00');
UPDATE key_packages
SET created_at = date_bin('1 day', created_at, '2000-01-01 00:00:00+00'), claimed_at = date_bin('1 day', claimed_at, '2000-01-01 00:00:00+00'),
    consumed_at = date_bin('1 day', consumed_at, '2000-01-01 00:00:00+00')
WHERE claimed_at IS NOT NULL OR consumed_at IS NOT NULL;
UPDATE bsky_blocks SET created_at = date_bin('2 seconds', created_at, '2000-01-01 00:00:00+00'), seen_at = date_bin('2 seconds', seen_at, '2000-01-01 00:00:00+00');

-- Who looked for whom.
DELETE FROM block_checks c
WHERE c.blocked_did <> '' AND NOT EXISTS (SELECT FROM bsky_blocks b WHERE b.blocker_did = c.blocker_did AND b.blocked_did = c.blocked_did);
UPDATE block_checks SET checked_at = date_bin('2 seconds', checked_at, '2000-01-01 00:00:00+00');

-- +goose Down
SELECT 1;
