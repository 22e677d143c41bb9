-- Who began which group of a conversation anew. Databases that followed main for an hour have the table.

-- +goose Up
CREATE TABLE IF NOT EXISTS convo_resets (
    convo_id   text COLLATE "C" NOT NULL,
    generation bigint NOT NULL,
    seq        bigint NOT NULL,
    user_did   text COLLATE "C" NOT NULL,
    by_admin   boolean NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT convo_resets_pkey PRIMARY KEY (convo_id, generation),
    CONSTRAINT convo_resets_convo_id_fkey FOREIGN KEY (convo_id) REFERENCES conversations (id) ON DELETE CASCADE,
    CONSTRAINT convo_resets_generation_positive CHECK (generation > 0),
    CONSTRAINT convo_resets_created_at_bucketed CHECK (created_at = date_bin('2 seconds', created_at, '2000-01-01 00:00:00+00'))
);

COMMENT ON COLUMN convo_resets.generation IS 'The one that the reset began.';
COMMENT ON COLUMN convo_resets.seq IS 'Seq of the notice that tells of it.';

-- +goose Down
DROP TABLE IF EXISTS convo_resets;
