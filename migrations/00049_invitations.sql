-- What bounds invitations. Rows outlive their conversations, since a declined invitation holds for a
-- while wherever the next one would be.

-- +goose Up
CREATE TABLE invitations (
    id          bigint GENERATED ALWAYS AS IDENTITY,
    convo_id    text COLLATE "C" NOT NULL,
    user_did    text COLLATE "C" NOT NULL,
    inviter_did text COLLATE "C" NOT NULL,
    created_at  timestamptz NOT NULL,
    ended_at    timestamptz,
    outcome     text,
    CONSTRAINT invitations_pkey PRIMARY KEY (id),
    CONSTRAINT invitations_ended_together CHECK ((ended_at IS NULL) = (outcome IS NULL)),
    CONSTRAINT invitations_outcome_known CHECK (outcome IN ('accepted', 'declined', 'withdrawn')),
    CONSTRAINT invitations_created_at_bucketed CHECK (created_at = date_bin('2 seconds', created_at, '2000-01-01 00:00:00+00')),
    CONSTRAINT invitations_ended_at_bucketed CHECK (ended_at = date_bin('2 seconds', ended_at, '2000-01-01 00:00:00+00'))
);
CREATE UNIQUE INDEX invitations_one_open_key ON invitations (convo_id, user_did) WHERE ended_at IS NULL;
CREATE INDEX invitations_open_user_idx ON invitations (user_did) WHERE ended_at IS NULL;
CREATE INDEX invitations_inviter_idx ON invitations (inviter_did, user_did);
CREATE INDEX invitations_ended_idx ON invitations (ended_at) WHERE ended_at IS NOT NULL;

-- +goose Down
DROP TABLE invitations;
