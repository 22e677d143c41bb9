-- Devices and their key packages.

-- +goose Up
CREATE TABLE user_devices (
    user_did      text COLLATE "C" NOT NULL,
    device_id     text COLLATE "C" NOT NULL,
    device_name   text NOT NULL,
    signature_key bytea NOT NULL,
    mls_did       text NOT NULL,
    created_at    timestamptz NOT NULL,
    CONSTRAINT user_devices_pkey PRIMARY KEY (user_did, device_id),
    CONSTRAINT user_devices_device_id_key UNIQUE (device_id),
    CONSTRAINT user_devices_signature_key_key UNIQUE (signature_key),
    CONSTRAINT user_devices_device_id_is_uuid CHECK (device_id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$')
);

-- device_id is '' for packages whose credential names the user alone.
--
-- A package is live until it is claimed (handed out) or consumed (named by a
-- Welcome); a last-resort package stays live. Reserved ones wait for the
-- request that brought them.
CREATE TABLE key_packages (
    id                  bigint GENERATED ALWAYS AS IDENTITY,
    owner_did           text COLLATE "C" NOT NULL,
    device_id           text COLLATE "C" NOT NULL DEFAULT '',
    ref                 bytea NOT NULL,
    sha256              bytea NOT NULL,
    cipher_suite        integer NOT NULL,
    key_package         bytea NOT NULL,
    expires_at          timestamptz NOT NULL,
    last_resort         boolean NOT NULL DEFAULT false,
    created_at          timestamptz NOT NULL,
    claimed_at          timestamptz,
    consumed_at         timestamptz,
    reserved_request_id text COLLATE "C",
    CONSTRAINT key_packages_pkey PRIMARY KEY (id),
    CONSTRAINT key_packages_sha256_key UNIQUE (sha256),
    CONSTRAINT key_packages_sha256_is_sha256 CHECK (octet_length(sha256) = 32)
);

-- Claims take the package that expires first (I4: FOR UPDATE SKIP LOCKED).
CREATE INDEX key_packages_claim_idx ON key_packages (owner_did, device_id, expires_at, id)
    WHERE claimed_at IS NULL AND consumed_at IS NULL AND reserved_request_id IS NULL AND NOT last_resort;
CREATE INDEX key_packages_last_resort_idx ON key_packages (owner_did, device_id, expires_at)
    WHERE last_resort AND reserved_request_id IS NULL;
-- Welcomes name packages by reference.
CREATE INDEX key_packages_ref_idx ON key_packages (ref);
CREATE INDEX key_packages_owner_idx ON key_packages (owner_did, cipher_suite);
CREATE INDEX key_packages_expires_idx ON key_packages (expires_at);
CREATE INDEX key_packages_reserved_idx ON key_packages (reserved_request_id) WHERE reserved_request_id IS NOT NULL;

-- Hashes of every init_key ever seen. They stay for ever: an init_key must
-- never be used twice (RFC 9420, section 10).
CREATE TABLE used_init_keys (
    hash bytea NOT NULL,
    CONSTRAINT used_init_keys_pkey PRIMARY KEY (hash),
    CONSTRAINT used_init_keys_hash_is_sha256 CHECK (octet_length(hash) = 32)
);

-- +goose Down
DROP TABLE used_init_keys;
DROP TABLE key_packages;
DROP TABLE user_devices;
