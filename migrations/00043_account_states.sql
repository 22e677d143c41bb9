-- Accounts that are refused: by the operator, by their own hosts, or because they are being erased.

-- +goose Up
-- A row without any of these only keeps in mind what the account's host said last.
CREATE TABLE account_states (
    user_did    text COLLATE "C" NOT NULL,
    suspended   boolean NOT NULL DEFAULT false,
    erasing     boolean NOT NULL DEFAULT false,
    host_status text,
    host_at     timestamptz,
    changed     bigint NOT NULL,
    CONSTRAINT account_states_pkey PRIMARY KEY (user_did),
    CONSTRAINT account_states_host_status_known CHECK (host_status IN ('takendown', 'suspended', 'deactivated', 'deleted')),
    CONSTRAINT account_states_host_status_timed CHECK (host_status IS NULL OR host_at IS NOT NULL),
    CONSTRAINT account_states_host_at_bucketed CHECK (host_at = date_bin('2 seconds', host_at, '2000-01-01 00:00:00+00'))
);
COMMENT ON COLUMN account_states.suspended IS 'By the operator.';
COMMENT ON COLUMN account_states.host_at IS 'When the host said what it said last, host_status or that the account is active.';
COMMENT ON COLUMN account_states.changed IS 'Number of the change; see account_changes.';
CREATE INDEX account_states_changed_idx ON account_states (changed);
CREATE INDEX account_states_served_idx ON account_states (host_at) WHERE NOT suspended AND NOT erasing AND host_status IS NULL;

-- Changes of states are numbered in the order of their commits: whoever makes one holds this row.
-- Servers read what was changed since the number that they know, and everything anew when rows have
-- gone since.
CREATE TABLE account_changes (
    only_row boolean NOT NULL DEFAULT true,
    last     bigint NOT NULL,
    dropped  bigint NOT NULL,
    CONSTRAINT account_changes_pkey PRIMARY KEY (only_row),
    CONSTRAINT account_changes_only_row CHECK (only_row)
);
COMMENT ON COLUMN account_changes.dropped IS 'Number of the last change that has removed rows.';
INSERT INTO account_changes (last, dropped) VALUES (0, 0);

-- What the operator has done to accounts and conversations. Rows outlive both.
CREATE TABLE operator_actions (
    id         bigint GENERATED ALWAYS AS IDENTITY,
    action     text NOT NULL,
    user_did   text COLLATE "C",
    convo_id   text COLLATE "C",
    reason     text,
    created_at timestamptz NOT NULL,
    CONSTRAINT operator_actions_pkey PRIMARY KEY (id),
    CONSTRAINT operator_actions_action_known CHECK (action IN ('suspend', 'restore', 'export', 'erase', 'close')),
    CONSTRAINT operator_actions_created_at_bucketed CHECK (created_at = date_bin('2 seconds', created_at, '2000-01-01 00:00:00+00'))
);
COMMENT ON COLUMN operator_actions.user_did IS 'NULL for an account that was erased since.';

-- +goose Down
DROP TABLE operator_actions;
DROP TABLE account_changes;
DROP TABLE account_states;
