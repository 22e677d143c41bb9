-- +goose Up

-- What was read in DID documents of accounts that called: public data, kept for
-- the hours in which a directory may be away (DID_STALE_HOURS). fetched_at is
-- floored to the hour, and rows are written a minute's worth at a time, so that
-- none stands beside a message (I7).
CREATE TABLE did_documents (
    account_did text NOT NULL,
    signing_key text NOT NULL,
    pds         text NOT NULL,
    fetched_at  timestamptz NOT NULL,
    CONSTRAINT did_documents_pkey PRIMARY KEY (account_did),
    CONSTRAINT did_documents_fetched_is_an_hour CHECK (fetched_at = date_trunc('hour', fetched_at, 'UTC'))
);

CREATE INDEX did_documents_fetched_idx ON did_documents (fetched_at);

-- +goose Down
DROP TABLE did_documents;
