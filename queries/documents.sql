-- name: GetDIDDocument :one
SELECT d.account_did, d.signing_key, d.pds, d.fetched_at FROM did_documents d
WHERE d.account_did = @account_did;

-- name: PutDIDDocuments :exec
-- PutDIDDocuments writes documents in place of those that are not newer. The arrays
-- are parallel, and their DIDs are in order, so that two servers lock rows alike.
INSERT INTO did_documents AS d (account_did, signing_key, pds, fetched_at)
SELECT unnest(@account_dids::text[]), unnest(@signing_keys::text[]), unnest(@pdses::text[]), unnest(@fetched_ats::timestamptz[])
ON CONFLICT ON CONSTRAINT did_documents_pkey DO UPDATE
SET signing_key = excluded.signing_key, pds = excluded.pds, fetched_at = excluded.fetched_at
WHERE d.fetched_at <= excluded.fetched_at;

-- name: DropDIDDocuments :exec
DELETE FROM did_documents d WHERE d.account_did = ANY (@account_dids::text[]);

-- name: DeleteDIDDocuments :execrows
-- DeleteDIDDocuments removes documents that are too old to be used.
DELETE FROM did_documents d
WHERE d.account_did = ANY (ARRAY(SELECT o.account_did FROM did_documents o WHERE o.fetched_at < @before::timestamptz LIMIT @max_rows))
  AND d.fetched_at < @before::timestamptz;
