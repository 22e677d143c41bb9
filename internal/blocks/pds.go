package blocks

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/go-json-experiment/json"
	"golang.org/x/sync/singleflight"

	"mls-server/internal/auth"
	"mls-server/internal/clock"
	"mls-server/internal/egress"
	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

const (
	collection     = "app.bsky.graph.block"
	listCollection = "app.bsky.graph.listblock"
	pageSize       = 100
	// maxPages bounds the reading of one list: 10,000 blocks.
	maxPages = 100
	maxPage  = 256 << 10
	// listTimeout bounds the reading of one list.
	listTimeout = 20 * time.Second
)

// errSource says that a source gave no usable answer.
var errSource = errors.New("blocks: source unavailable")

// errNoRecord says that a record does not exist.
var errNoRecord = errors.New("blocks: no such record")

// errTooLong says that a list has more pages than are read.
var errTooLong = fmt.Errorf("%w: list too long", errSource)

// PDS reads block records where their authors keep them. It is authoritative,
// and sees a block as soon as it is made; blocks by way of lists it does not
// see. It is safe for concurrent use.
type PDS struct {
	client   *egress.Client
	resolver *auth.Resolver
	clock    clock.Clock
	flights  singleflight.Group
}

// NewPDS returns a source that finds the authors' servers with the resolver.
func NewPDS(client *egress.Client, resolver *auth.Resolver, c clock.Clock) *PDS {
	return &PDS{client: client, resolver: resolver, clock: c}
}

// want is what is to be read of a user.
type want struct {
	// list is the whole list of blocks; probe is whether there are blocks by way of lists.
	list, probe bool
}

// reading is what was read of a user.
type reading struct {
	// at is when it was read.
	at time.Time
	// list is nil when it was not wanted.
	list            map[mls.DID]store.Block
	byLists, probed bool
}

// read reads about a subject, once for all who ask at the time.
func (p *PDS) read(ctx context.Context, k subject, w want) (reading, error) {
	detached := context.WithoutCancel(ctx)
	ch := p.flights.DoChan(fmt.Sprint(k.caller, " ", k.user, w), func() (any, error) {
		ctx, cancel := context.WithTimeout(detached, listTimeout)
		defer cancel()
		return p.readNow(ctx, k.user, w)
	})
	select {
	case <-ctx.Done():
		return reading{}, fmt.Errorf("%w: %w", errSource, ctx.Err())
	case res := <-ch:
		got, _ := res.Val.(reading)
		return got, res.Err
	}
}

func (p *PDS) readNow(ctx context.Context, author mls.DID, w want) (reading, error) {
	got := reading{at: p.clock.Now()}
	if w.list {
		got.list = map[mls.DID]store.Block{}
		if err := p.walk(ctx, author, func(b store.Block) bool {
			got.list[b.Blocked] = b
			return true
		}); err != nil {
			return reading{}, err
		}
	}
	if !w.probe {
		return got, nil
	}
	var err error
	got.probed = true
	got.byLists, err = p.hasListBlocks(ctx, author)
	return got, err
}

// hasListBlocks reports whether an author blocks by way of lists.
func (p *PDS) hasListBlocks(ctx context.Context, author mls.DID) (bool, error) {
	server, err := p.server(ctx, author)
	if err != nil || server == "" {
		return false, err
	}
	q := url.Values{"repo": {string(author)}, "collection": {listCollection}, "limit": {"1"}}
	var page struct {
		Records []struct{} `json:"records"`
	}
	err = p.get(ctx, server+"/xrpc/com.atproto.repo.listRecords?"+q.Encode(), &page)
	if errors.Is(err, errNoRepo) {
		return false, nil
	}
	return len(page.Records) > 0, err
}

// walk gives each block of an author to visit, newest first, until that returns
// false. An account that is gone, or has no server, has no blocks.
func (p *PDS) walk(ctx context.Context, author mls.DID, visit func(store.Block) bool) error {
	server, err := p.server(ctx, author)
	if err != nil || server == "" {
		return err
	}
	cursor := ""
	seen := map[mls.DID]struct{}{}
	for range maxPages {
		q := url.Values{"repo": {string(author)}, "collection": {collection}, "limit": {fmt.Sprint(pageSize)}}
		if cursor != "" {
			q.Set("cursor", cursor)
		}
		var page struct {
			Cursor  string   `json:"cursor"`
			Records []record `json:"records"`
		}
		if err := p.get(ctx, server+"/xrpc/com.atproto.repo.listRecords?"+q.Encode(), &page); err != nil {
			if errors.Is(err, errNoRepo) {
				return nil
			}
			return err
		}
		for i := range page.Records {
			b, ok := page.Records[i].block(author, p.clock.Now())
			if _, again := seen[b.Blocked]; !ok || again {
				continue
			}
			seen[b.Blocked] = struct{}{}
			if !visit(b) {
				return nil
			}
		}
		if page.Cursor == "" || len(page.Records) == 0 {
			return nil
		}
		cursor = page.Cursor
	}
	return errTooLong
}

// record fetches one block record.
func (p *PDS) record(ctx context.Context, author mls.DID, rkey string) (store.Block, error) {
	var r record
	if err := p.getRecord(ctx, author, collection, rkey, &r); err != nil {
		return store.Block{}, err
	}
	b, ok := r.block(author, p.clock.Now())
	if !ok || b.URI.RecordKey().String() != rkey {
		return store.Block{}, errSource
	}
	return b, nil
}

// declaration is from whom a user says that it accepts messages, "" for who does not say.
func (p *PDS) declaration(ctx context.Context, user mls.DID) (Incoming, error) {
	var r struct {
		URI   string `json:"uri"`
		Value struct {
			AllowIncoming Incoming `json:"allowIncoming"`
		} `json:"value"`
	}
	err := p.getRecord(ctx, user, declarationCollection, declarationKey, &r)
	switch {
	case errors.Is(err, errNoRecord):
		return "", nil
	case err != nil:
		return "", err
	case r.URI != "at://"+string(user)+"/"+declarationCollection+"/"+declarationKey:
		return "", errSource
	}
	return r.Value.AllowIncoming, nil
}

// getRecord reads a record of an author. An account that is gone, or has no server, has none.
func (p *PDS) getRecord(ctx context.Context, author mls.DID, collection, rkey string, into any) error {
	server, err := p.server(ctx, author)
	switch {
	case err != nil:
		return err
	case server == "":
		return errNoRecord
	}
	q := url.Values{"repo": {string(author)}, "collection": {collection}, "rkey": {rkey}}
	err = p.get(ctx, server+"/xrpc/com.atproto.repo.getRecord?"+q.Encode(), into)
	if errors.Is(err, errNoRepo) {
		return errNoRecord
	}
	return err
}

// server finds the author's personal data server, "" when there is none.
func (p *PDS) server(ctx context.Context, author mls.DID) (string, error) {
	server, err := p.resolver.PDSEndpoint(ctx, author)
	switch {
	case err == nil:
		return server, nil
	case errors.Is(err, auth.ErrDIDNotFound), errors.Is(err, auth.ErrBadDocument), errors.Is(err, auth.ErrUnsupportedDID):
		return "", nil
	}
	return "", fmt.Errorf("%w: %w", errSource, err)
}

// errNoRepo says that the server does not, or no longer, serve the account.
var errNoRepo = errors.New("blocks: no such repository")

func (p *PDS) get(ctx context.Context, link string, into any) error {
	resp, err := p.client.Get(ctx, egress.Request{URL: link, Purpose: egress.PurposePDS, MaxBody: maxPage})
	if err != nil {
		return fmt.Errorf("%w: %w", errSource, err)
	}
	if resp.Status == http.StatusOK {
		if err := json.Unmarshal(resp.Body, into); err != nil {
			return fmt.Errorf("%w: not the JSON that was asked for", errSource)
		}
		return nil
	}
	var fault struct {
		Error   string `json:"error"`
		Message string `json:"message"`
	}
	if resp.Status < 400 || resp.Status >= 500 || json.Unmarshal(resp.Body, &fault) != nil {
		return errSource
	}
	switch fault.Error {
	case "RecordNotFound":
		return errNoRecord
	case "RepoNotFound", "RepoDeactivated", "RepoTakendown", "RepoSuspended":
		return errNoRepo
	case "InvalidRequest": // atproto's own server has no name for it
		if strings.HasPrefix(fault.Message, "Could not find repo") {
			return errNoRepo
		}
		if strings.HasPrefix(fault.Message, "Could not locate record") {
			return errNoRecord
		}
	}
	return errSource
}

// record is a block record as a repository answers with it.
type record struct {
	URI   string `json:"uri"`
	Value struct {
		Subject   string `json:"subject"`
		CreatedAt string `json:"createdAt"`
	} `json:"value"`
}

// block reads the record, or says that it is not a block by the author.
func (r *record) block(author mls.DID, now time.Time) (store.Block, bool) {
	uri, err := syntax.ParseATURI(r.URI)
	if err != nil || uri.Authority().String() != string(author) || uri.Collection() != collection || uri.RecordKey() == "" {
		return store.Block{}, false
	}
	subject, err := syntax.ParseDID(r.Value.Subject)
	if err != nil || subject == author {
		return store.Block{}, false
	}
	created := keyTime(uri, now)
	if d, err := syntax.ParseDatetimeLenient(r.Value.CreatedAt); err == nil && !d.Time().After(now) {
		created = d.Time()
	}
	return store.Block{BlockPair: store.BlockPair{Blocker: author, Blocked: subject}, CreatedAt: clock.Bucket(created), URI: uri}, true
}

// keyTime is the time in a record's key, which usually is a TID, else now.
func keyTime(uri lexrt.ATURI, now time.Time) time.Time {
	if tid, err := syntax.ParseTID(uri.RecordKey().String()); err == nil && !tid.Time().After(now) {
		return tid.Time().UTC()
	}
	return now
}
