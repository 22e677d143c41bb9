-- A registration counts for a day, whether its device was deleted since or not.

-- +goose NO TRANSACTION
-- +goose Up
ALTER TABLE deleted_devices ADD COLUMN IF NOT EXISTS registered_at timestamptz;
COMMENT ON COLUMN deleted_devices.registered_at IS 'When the device was registered; NULL for those of before.';
ALTER TABLE deleted_devices
    DROP CONSTRAINT IF EXISTS deleted_devices_registered_at_bucketed,
    ADD CONSTRAINT deleted_devices_registered_at_bucketed CHECK (registered_at = date_bin('2 seconds', registered_at, '2000-01-01 00:00:00+00')) NOT VALID;
ALTER TABLE deleted_devices VALIDATE CONSTRAINT deleted_devices_registered_at_bucketed;
SET lock_timeout = 0;
DROP INDEX CONCURRENTLY IF EXISTS deleted_devices_user_idx; -- left by a try that was cut off
CREATE INDEX CONCURRENTLY deleted_devices_user_idx ON deleted_devices (user_did, registered_at);

-- +goose Down
DROP INDEX CONCURRENTLY deleted_devices_user_idx;
ALTER TABLE deleted_devices DROP COLUMN registered_at;
