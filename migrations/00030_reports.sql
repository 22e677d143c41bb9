-- Who cannot follow a commit, and on which day an account was last here.

-- +goose Up
-- A report holds for the commit at from_seq and all later ones of the generation.
CREATE TABLE commit_reports (
    convo_id   text COLLATE "C" NOT NULL,
    generation bigint NOT NULL,
    user_did   text COLLATE "C" NOT NULL,
    device_id  text COLLATE "C" NOT NULL DEFAULT '',
    from_seq   bigint NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT commit_reports_pkey PRIMARY KEY (convo_id, generation, user_did, device_id),
    CONSTRAINT commit_reports_convo_id_fkey FOREIGN KEY (convo_id) REFERENCES conversations (id) ON DELETE CASCADE,
    CONSTRAINT commit_reports_created_at_bucketed CHECK (created_at = date_bin('2 seconds', created_at, '2000-01-01 00:00:00+00'))
);

-- Written by a timer, never by the request of a message.
CREATE TABLE user_days (
    user_did text COLLATE "C" NOT NULL,
    seen_on  timestamptz NOT NULL,
    CONSTRAINT user_days_pkey PRIMARY KEY (user_did),
    CONSTRAINT user_days_seen_on_is_a_day CHECK (seen_on = date_bin('1 day', seen_on, '2000-01-01 00:00:00+00'))
);
CREATE INDEX user_days_seen_idx ON user_days (seen_on);
-- Since when days are noted: before that nobody is known to be away.
INSERT INTO user_days (user_did, seen_on) VALUES ('', date_bin('1 day', now(), '2000-01-01 00:00:00+00'));

-- +goose Down
DROP TABLE user_days;
DROP TABLE commit_reports;
