-- Devices come and go.
--
-- Each statement locks one table for a moment, and may be run again after a try that was cut off.

-- +goose NO TRANSACTION
-- +goose Up
ALTER TABLE user_devices
    ADD COLUMN IF NOT EXISTS device_uuid text,
    ADD COLUMN IF NOT EXISTS registered_at timestamptz,
    ADD COLUMN IF NOT EXISTS seen_on timestamptz;
COMMENT ON COLUMN user_devices.device_uuid IS 'What its client wants to know it by; NULL for nothing.';
COMMENT ON COLUMN user_devices.registered_at IS 'Which of two devices was there before the other; NULL for those of before, which have created_at.';
COMMENT ON COLUMN user_devices.seen_on IS 'Day on which a call last named the device; NULL until one does.';
ALTER TABLE user_devices
    DROP CONSTRAINT IF EXISTS user_devices_registered_at_bucketed,
    ADD CONSTRAINT user_devices_registered_at_bucketed CHECK (registered_at = date_bin('2 seconds', registered_at, '2000-01-01 00:00:00+00')) NOT VALID;
ALTER TABLE user_devices VALIDATE CONSTRAINT user_devices_registered_at_bucketed;
ALTER TABLE user_devices
    DROP CONSTRAINT IF EXISTS user_devices_seen_on_is_a_day,
    ADD CONSTRAINT user_devices_seen_on_is_a_day CHECK (seen_on = date_bin('1 day', seen_on, '2000-01-01 00:00:00+00')) NOT VALID;
ALTER TABLE user_devices VALIDATE CONSTRAINT user_devices_seen_on_is_a_day;

ALTER TABLE members ADD COLUMN IF NOT EXISTS vacant boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN members.vacant IS 'The row keeps the place of a user whose device was deleted; it stands for no leaf.';
ALTER TABLE members
    DROP CONSTRAINT IF EXISTS members_vacant_is_no_device,
    ADD CONSTRAINT members_vacant_is_no_device CHECK (NOT vacant OR (device_id = '' AND leaf_index IS NULL)) NOT VALID;
ALTER TABLE members VALIDATE CONSTRAINT members_vacant_is_no_device;

-- Those who are on a roster by now are taken to have said so.
ALTER TABLE members ADD COLUMN IF NOT EXISTS confirmed boolean NOT NULL DEFAULT true;
ALTER TABLE members ALTER COLUMN confirmed SET DEFAULT false;
COMMENT ON COLUMN members.confirmed IS 'The device has said that it has joined, by confirming its Welcome. Others can put a user on a roster.';

ALTER TABLE key_packages ADD COLUMN IF NOT EXISTS used_on timestamptz;
COMMENT ON COLUMN key_packages.used_on IS 'Day on which a last-resort package was last handed out; NULL when it never was.';
ALTER TABLE key_packages
    DROP CONSTRAINT IF EXISTS key_packages_used_on_is_a_day,
    ADD CONSTRAINT key_packages_used_on_is_a_day CHECK (used_on = date_bin('1 day', used_on, '2000-01-01 00:00:00+00')) NOT VALID;
ALTER TABLE key_packages VALIDATE CONSTRAINT key_packages_used_on_is_a_day;

-- +goose Down
ALTER TABLE key_packages DROP COLUMN used_on;
ALTER TABLE members DROP COLUMN vacant, DROP COLUMN confirmed;
ALTER TABLE user_devices DROP COLUMN device_uuid, DROP COLUMN registered_at, DROP COLUMN seen_on;
