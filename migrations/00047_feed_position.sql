-- How far servers have followed the Jetstream: what happens while none runs is heard afterwards.

-- +goose Up
CREATE TABLE feed_position (
    only_row boolean NOT NULL DEFAULT true,
    at       timestamptz NOT NULL,
    CONSTRAINT feed_position_pkey PRIMARY KEY (only_row),
    CONSTRAINT feed_position_only_row CHECK (only_row),
    CONSTRAINT feed_position_at_bucketed CHECK (at = date_bin('2 seconds', at, '2000-01-01 00:00:00+00'))
);

-- +goose Down
DROP TABLE feed_position;
