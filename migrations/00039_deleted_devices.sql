-- Devices that their users have deleted. A row is open until every conversation of the device owes its
-- leaf, and stays as long as the signature key is refused.

-- +goose Up
CREATE TABLE deleted_devices (
    user_did      text COLLATE "C" NOT NULL,
    device_id     text COLLATE "C" NOT NULL,
    signature_key bytea NOT NULL,
    deleted_at    timestamptz NOT NULL,
    open          boolean NOT NULL DEFAULT true,
    CONSTRAINT deleted_devices_pkey PRIMARY KEY (device_id),
    CONSTRAINT deleted_devices_deleted_at_bucketed CHECK (deleted_at = date_bin('2 seconds', deleted_at, '2000-01-01 00:00:00+00'))
);
CREATE INDEX deleted_devices_key_idx ON deleted_devices (signature_key);
CREATE INDEX deleted_devices_open_idx ON deleted_devices (deleted_at) WHERE open;
CREATE INDEX deleted_devices_deleted_idx ON deleted_devices (deleted_at);

-- +goose Down
DROP TABLE deleted_devices;
