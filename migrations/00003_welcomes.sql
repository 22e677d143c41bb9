-- Welcomes, and what members still owe: devices to add, members to add again,
-- leaves to remove.

-- +goose Up
CREATE TABLE welcomes (
    id         bigint GENERATED ALWAYS AS IDENTITY,
    convo_id   text COLLATE "C" NOT NULL,
    epoch      bigint NOT NULL,
    welcome    bytea NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT welcomes_pkey PRIMARY KEY (id),
    CONSTRAINT welcomes_convo_id_fkey FOREIGN KEY (convo_id) REFERENCES conversations (id) ON DELETE CASCADE,
    CONSTRAINT welcomes_created_at_bucketed CHECK (created_at = date_bin('2 seconds', created_at, '2000-01-01 00:00:00+00'))
);

COMMENT ON COLUMN welcomes.epoch IS 'The epoch that the Welcome leads into.';

CREATE INDEX welcomes_created_idx ON welcomes (created_at);

-- A Welcome's bytes are stored once; a row here routes it to one device.
CREATE TABLE welcome_routes (
    welcome_id      bigint NOT NULL,
    convo_id        text COLLATE "C" NOT NULL,
    user_did        text COLLATE "C" NOT NULL,
    device_id       text COLLATE "C" NOT NULL,
    key_package_ref bytea NOT NULL,
    confirmed_at    timestamptz,
    failed_at       timestamptz,
    error_details   text,
    superseded_at   timestamptz,
    CONSTRAINT welcome_routes_pkey PRIMARY KEY (welcome_id, key_package_ref),
    CONSTRAINT welcome_routes_welcome_id_fkey FOREIGN KEY (welcome_id) REFERENCES welcomes (id) ON DELETE CASCADE
);

CREATE INDEX welcome_routes_waiting_idx ON welcome_routes (user_did, convo_id, device_id, welcome_id)
    WHERE confirmed_at IS NULL AND superseded_at IS NULL;
CREATE INDEX welcome_routes_confirmed_idx ON welcome_routes (convo_id, user_did, device_id, confirmed_at)
    WHERE confirmed_at IS NOT NULL;

-- Requests that another member has to fulfil with a commit. id is the API's
-- requestId.
CREATE TABLE pending_welcomes (
    id             text COLLATE "C" NOT NULL,
    convo_id       text COLLATE "C" NOT NULL,
    user_did       text COLLATE "C" NOT NULL,
    device_id      text COLLATE "C" NOT NULL DEFAULT '',
    kind           text NOT NULL,
    status         text NOT NULL DEFAULT 'open',
    key_package_id bigint,
    reason         text,
    created_at     timestamptz NOT NULL,
    approved_at    timestamptz,
    closed_at      timestamptz,
    epoch          bigint,
    CONSTRAINT pending_welcomes_pkey PRIMARY KEY (id),
    CONSTRAINT pending_welcomes_convo_id_fkey FOREIGN KEY (convo_id) REFERENCES conversations (id) ON DELETE CASCADE,
    CONSTRAINT pending_welcomes_key_package_fkey FOREIGN KEY (key_package_id) REFERENCES key_packages (id) ON DELETE SET NULL,
    CONSTRAINT pending_welcomes_kind_known CHECK (kind IN ('device', 'rejoin')),
    CONSTRAINT pending_welcomes_status_known CHECK (status IN ('open', 'fulfilled', 'confirmed', 'expired', 'failed'))
);

COMMENT ON COLUMN pending_welcomes.epoch IS 'The epoch that the fulfilling commit led into.';

CREATE UNIQUE INDEX pending_welcomes_one_open_key ON pending_welcomes (convo_id, user_did, device_id) WHERE status = 'open';
CREATE INDEX pending_welcomes_device_idx ON pending_welcomes (user_did, device_id) WHERE status = 'open';
CREATE INDEX pending_welcomes_recent_idx ON pending_welcomes (convo_id, user_did, created_at);
CREATE INDEX pending_welcomes_created_idx ON pending_welcomes (created_at);
CREATE INDEX pending_welcomes_key_package_idx ON pending_welcomes (key_package_id) WHERE key_package_id IS NOT NULL;

-- Leaves of users that are gone from the roster but not yet from the group:
-- a later commit settles them.
CREATE TABLE removal_debts (
    id             text COLLATE "C" NOT NULL,
    convo_id       text COLLATE "C" NOT NULL,
    user_did       text COLLATE "C" NOT NULL,
    device_id      text COLLATE "C" NOT NULL DEFAULT '',
    leaf_index     bigint,
    created_at     timestamptz NOT NULL,
    proposed_epoch bigint,
    settled_epoch  bigint,
    settled_at     timestamptz,
    CONSTRAINT removal_debts_pkey PRIMARY KEY (id),
    CONSTRAINT removal_debts_convo_id_fkey FOREIGN KEY (convo_id) REFERENCES conversations (id) ON DELETE CASCADE,
    CONSTRAINT removal_debts_settled_together CHECK ((settled_at IS NULL) = (settled_epoch IS NULL)),
    CONSTRAINT removal_debts_created_at_bucketed CHECK (created_at = date_bin('2 seconds', created_at, '2000-01-01 00:00:00+00'))
);

COMMENT ON COLUMN removal_debts.proposed_epoch IS 'The epoch in which the leaver proposed its own removal: an opaque commit of that epoch has to contain it.';

CREATE UNIQUE INDEX removal_debts_one_open_key ON removal_debts (convo_id, user_did, device_id) WHERE settled_at IS NULL;

-- +goose Down
DROP TABLE removal_debts;
DROP TABLE pending_welcomes;
DROP TABLE welcome_routes;
DROP TABLE welcomes;
