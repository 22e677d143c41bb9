package auth

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"

	"mls-server/internal/clock"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

const (
	// keepInterval is how often kept documents are written, all at once: a row
	// does not tell when within that time its account called.
	keepInterval = time.Minute
	// keepAgain is how old a kept document that has not changed gets before it is
	// written again.
	keepAgain = 6 * time.Hour
	// keepPending bounds the documents that wait to be written, and what is known
	// of those that were.
	keepPending = 32768
	// keepTime is how long the store may take.
	keepTime = 5 * time.Second
)

// keeper writes documents behind, so that no request waits for it, and reads them
// when a directory is away. It is safe for concurrent use.
type keeper struct {
	store *store.Store
	clock clock.Clock

	mu      sync.Mutex
	kept    map[lexrt.DID]store.Document // as they were written last
	pending map[lexrt.DID]store.Document // Fetched is zero for one that is gone
}

func newKeeper(s *store.Store, c clock.Clock) *keeper {
	return &keeper{store: s, clock: c, kept: map[lexrt.DID]store.Document{}, pending: map[lexrt.DID]store.Document{}}
}

// keep notes a document to be written, unless it was not long ago.
func (k *keeper) keep(id *Identity, fetched time.Time) {
	if k.store == nil {
		return
	}
	doc := store.Document{DID: id.DID, PDS: id.PDS, Fetched: fetched.Truncate(time.Hour)}
	if id.Key != nil {
		doc.Key = id.Key.DIDKey()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	old, known := k.kept[id.DID]
	if known && old.Key == doc.Key && old.PDS == id.PDS && fetched.Sub(old.Fetched) < keepAgain {
		return
	}
	if _, waiting := k.pending[id.DID]; !waiting && len(k.pending) >= keepPending {
		return
	}
	k.pending[id.DID] = doc
}

// drop notes a document that is to be removed.
func (k *keeper) drop(did lexrt.DID) {
	if k.store == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.pending) < keepPending {
		k.pending[did] = store.Document{DID: did}
	}
	delete(k.kept, did)
}

// load reads a document, nil when there is none or nobody can say.
func (k *keeper) load(ctx context.Context, did lexrt.DID) (*Identity, time.Time) {
	if k.store == nil {
		return nil, time.Time{}
	}
	ctx, cancel := context.WithTimeout(ctx, keepTime)
	defer cancel()
	doc, err := k.store.FindDocument(ctx, did)
	if err != nil || doc == nil {
		return nil, time.Time{}
	}
	id := &Identity{DID: did, PDS: doc.PDS}
	if doc.Key != "" {
		if id.Key, err = newKey(atcrypto.ParsePublicDIDKey(doc.Key)); err != nil {
			return nil, time.Time{}
		}
	}
	return id, doc.Fetched
}

// flush writes what waits. What cannot be written waits for the next time.
func (k *keeper) flush(ctx context.Context) error {
	k.mu.Lock()
	batch := k.pending
	k.pending = map[lexrt.DID]store.Document{}
	k.mu.Unlock()
	if len(batch) == 0 {
		return nil
	}
	var docs []store.Document
	var gone []lexrt.DID
	for did, doc := range batch {
		if doc.Fetched.IsZero() {
			gone = append(gone, did)
		} else {
			docs = append(docs, doc)
		}
	}
	// In one order for all servers, so that they cannot wait for each other.
	slices.SortFunc(docs, func(a, b store.Document) int { return strings.Compare(string(a.DID), string(b.DID)) })
	slices.Sort(gone)
	ctx, cancel := context.WithTimeout(ctx, keepTime)
	defer cancel()
	err := k.store.SaveDocuments(ctx, docs, gone)

	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil {
		for did, doc := range batch {
			if _, newer := k.pending[did]; !newer {
				k.pending[did] = doc
			}
		}
		return err
	}
	if len(k.kept)+len(docs) > keepPending {
		clear(k.kept) // they are written once more, which is all that it costs
	}
	for _, doc := range docs {
		k.kept[doc.DID] = doc
	}
	return nil
}

// Run writes documents of accounts that called, once a minute and when ctx ends,
// so that the next start knows them while their directory is away. What cannot be
// written is tried again.
func (r *Resolver) Run(ctx context.Context) {
	if r.keeper.store == nil {
		return
	}
	for clock.Pause(ctx, keepInterval) == nil {
		_ = r.keeper.flush(ctx) // tried again the next time
	}
	_ = r.keeper.flush(context.WithoutCancel(ctx)) // the last word
}
