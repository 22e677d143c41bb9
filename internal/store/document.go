package store

import (
	"context"
	"time"

	"mls-server/internal/gen/db"
	"mls-server/internal/mls"
)

// Document is what is kept of a DID document. All of it is public.
type Document struct {
	DID mls.DID
	// Key is the atproto signing key as a did:key, "" when the document has none
	// that can be used.
	Key string
	// PDS is the origin of the account's personal data server, "" for none.
	PDS string
	// Fetched is when the directory was asked, floored to the hour.
	Fetched time.Time
}

// FindDocument returns the kept document of did, nil when there is none.
func (s *Store) FindDocument(ctx context.Context, did mls.DID) (*Document, error) {
	row, err := s.q.GetDIDDocument(ctx, did)
	if isNotFound(err) {
		return nil, nil //nolint:nilnil // absence is an ordinary answer here
	}
	if err != nil {
		return nil, fail("find document", err)
	}
	return &Document{DID: row.AccountDID, Key: row.SigningKey, PDS: row.PDS, Fetched: row.FetchedAt}, nil
}

// SaveDocuments keeps documents in place of older ones of their DIDs, and drops
// those of gone. Both are ordered, so that servers do not wait for each other in
// a circle.
func (s *Store) SaveDocuments(ctx context.Context, docs []Document, gone []mls.DID) error {
	var p db.PutDIDDocumentsParams
	for _, d := range docs {
		p.AccountDids = append(p.AccountDids, string(d.DID))
		p.SigningKeys = append(p.SigningKeys, d.Key)
		p.Pdses = append(p.Pdses, d.PDS)
		p.FetchedAts = append(p.FetchedAts, d.Fetched.UTC().Truncate(time.Hour))
	}
	dids := make([]string, len(gone))
	for i, did := range gone {
		dids[i] = string(did)
	}
	return s.InTx(ctx, func(tx *Tx) error {
		if len(docs) > 0 {
			if err := tx.q.PutDIDDocuments(ctx, p); err != nil {
				return fail("save documents", err)
			}
		}
		if len(gone) > 0 {
			return fail("drop documents", tx.q.DropDIDDocuments(ctx, dids))
		}
		return nil
	})
}
