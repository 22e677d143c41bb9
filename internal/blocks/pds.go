package blocks

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/go-json-experiment/json"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"

	"mls-server/internal/auth"
	"mls-server/internal/clock"
	"mls-server/internal/egress"
	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

const (
	collection = "app.bsky.graph.block"
	pageSize   = 100
	// maxPages bounds the reading of one list: 20,000 blocks.
	maxPages = 200
	maxPage  = 256 << 10
	// parallelism is how many requests one question has under way.
	parallelism = 8
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

var _ Source = (*PDS)(nil)

// NewPDS returns a source that finds the authors' servers with the resolver.
func NewPDS(client *egress.Client, resolver *auth.Resolver, c clock.Clock) *PDS {
	if c == nil {
		c = clock.System
	}
	return &PDS{client: client, resolver: resolver, clock: c}
}

// Lookup implements Source: it reads the whole lists of all blockers.
func (p *PDS) Lookup(ctx context.Context, pairs []store.BlockPair) (store.BlocksFound, error) {
	found := store.BlocksFound{At: p.clock.Now()}
	var mu sync.Mutex
	var failed error
	var g errgroup.Group
	g.SetLimit(parallelism)
	for _, blocker := range blockersOf(pairs) {
		g.Go(func() error {
			list, err := p.list(ctx, blocker)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = err
				return nil
			}
			found.Checked = append(found.Checked, store.BlockPair{Blocker: blocker})
			found.Blocks = append(found.Blocks, list...)
			return nil
		})
	}
	_ = g.Wait() // the functions return no errors: one list says nothing about the next
	return found, failed
}

func blockersOf(pairs []store.BlockPair) []mls.DID {
	seen := make(map[mls.DID]struct{}, len(pairs))
	var out []mls.DID
	for _, p := range pairs {
		if _, ok := seen[p.Blocker]; !ok {
			seen[p.Blocker] = struct{}{}
			out = append(out, p.Blocker)
		}
	}
	return out
}

// list reads all blocks of an author, once for all who ask at the time.
func (p *PDS) list(ctx context.Context, author mls.DID) ([]store.Block, error) {
	detached := context.WithoutCancel(ctx)
	ch := p.flights.DoChan(string(author), func() (any, error) {
		ctx, cancel := context.WithTimeout(detached, listTimeout)
		defer cancel()
		var all []store.Block
		err := p.walk(ctx, author, func(b store.Block) bool {
			all = append(all, b)
			return true
		})
		return all, err
	})
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", errSource, ctx.Err())
	case res := <-ch:
		if res.Err != nil {
			return nil, res.Err
		}
		list, ok := res.Val.([]store.Block)
		if !ok {
			return nil, errSource
		}
		return list, nil
	}
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

// read fetches one block record.
func (p *PDS) read(ctx context.Context, author mls.DID, rkey string) (store.Block, error) {
	server, err := p.server(ctx, author)
	if err != nil {
		return store.Block{}, err
	}
	if server == "" {
		return store.Block{}, errNoRecord
	}
	q := url.Values{"repo": {string(author)}, "collection": {collection}, "rkey": {rkey}}
	var r record
	if err := p.get(ctx, server+"/xrpc/com.atproto.repo.getRecord?"+q.Encode(), &r); err != nil {
		if errors.Is(err, errNoRepo) {
			err = errNoRecord
		}
		return store.Block{}, err
	}
	b, ok := r.block(author, p.clock.Now())
	if !ok || b.URI.RecordKey().String() != rkey {
		return store.Block{}, errSource
	}
	return b, nil
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

// block reads the record, or says that it is no block of the author's.
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
	return store.Block{BlockPair: store.BlockPair{Blocker: author, Blocked: subject}, CreatedAt: created.UTC(), URI: uri}, true
}

// keyTime is the time in a record's key, which usually is a TID, else now.
func keyTime(uri lexrt.ATURI, now time.Time) time.Time {
	if tid, err := syntax.ParseTID(uri.RecordKey().String()); err == nil && !tid.Time().After(now) {
		return tid.Time().UTC()
	}
	return now
}
