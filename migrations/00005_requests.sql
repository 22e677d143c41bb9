-- What makes requests safe to repeat and tokens impossible to replay.

-- +goose Up
-- key_hash is a hash of (caller, method, key). Written in the business
-- transaction, so a crash leaves either all of a request or nothing.
CREATE TABLE idempotency_keys (
    key_hash   bytea NOT NULL,
    body_hash  bytea NOT NULL,
    status     smallint NOT NULL,
    response   bytea NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (key_hash),
    CONSTRAINT idempotency_keys_hashes_are_sha256 CHECK (octet_length(key_hash) = 32 AND octet_length(body_hash) = 32)
);

CREATE INDEX idempotency_keys_created_idx ON idempotency_keys (created_at);

-- Keyed hashes of (issuer, jti), without the method (I7).
CREATE TABLE used_jtis (
    hash       bytea NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT used_jtis_pkey PRIMARY KEY (hash),
    CONSTRAINT used_jtis_hash_is_sha256 CHECK (octet_length(hash) = 32)
);

CREATE INDEX used_jtis_expires_idx ON used_jtis (expires_at);

-- +goose Down
DROP TABLE used_jtis;
DROP TABLE idempotency_keys;
