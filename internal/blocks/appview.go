package blocks

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/go-json-experiment/json"
	"golang.org/x/sync/errgroup"

	"mls-server/internal/clock"
	"mls-server/internal/egress"
	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

// maxOthers is how many accounts app.bsky.graph.getRelationships takes in a call.
const maxOthers = 30

// maxCalls bounds the requests of one question to an AppView; all pairs of 100
// users take 216.
const maxCalls = 512

// AppView asks an AppView for relationships. It sees both directions at once and
// blocks by way of lists too, a few seconds after they are made. It is safe for
// concurrent use.
type AppView struct {
	client *egress.Client
	origin string
	pds    *PDS
	clock  clock.Clock
}

var _ Source = (*AppView)(nil)

// NewAppView returns a source over the AppView at origin, for example
// "https://public.api.bsky.app". pds, when not nil, is asked when a block was
// made, which an AppView does not tell.
func NewAppView(client *egress.Client, origin string, pds *PDS, c clock.Clock) *AppView {
	if c == nil {
		c = clock.System
	}
	return &AppView{client: client, origin: strings.TrimRight(origin, "/"), pds: pds, clock: c}
}

// Lookup implements Source: it asks for each two users once, in calls of 30.
func (a *AppView) Lookup(ctx context.Context, pairs []store.BlockPair) (store.BlocksFound, error) {
	found := store.BlocksFound{At: a.clock.Now()}
	var mu sync.Mutex
	var failed error
	var g errgroup.Group
	g.SetLimit(parallelism)
	calls := 0
	for _, q := range questions(pairs) {
		for others := range slices.Chunk(q.others, maxOthers) {
			if calls++; calls > maxCalls {
				mu.Lock()
				failed = fmt.Errorf("%w: too many pairs", errSource)
				mu.Unlock()
				break
			}
			g.Go(func() error {
				checked, blocks, err := a.ask(ctx, q.actor, others)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					failed = err
				}
				found.Checked = append(found.Checked, checked...)
				found.Blocks = append(found.Blocks, blocks...)
				return nil
			})
		}
	}
	_ = g.Wait() // the functions return no errors: one call says nothing about the next
	return found, failed
}

// question is one actor and those whose relationship to it is wanted.
type question struct {
	actor  mls.DID
	others []mls.DID
}

// questions covers each two users of the pairs once, with few actors: one that
// stands in many pairs asks for all of them.
func questions(pairs []store.BlockPair) []question {
	neighbours := map[mls.DID]map[mls.DID]struct{}{}
	link := func(a, b mls.DID) {
		if neighbours[a] == nil {
			neighbours[a] = map[mls.DID]struct{}{}
		}
		neighbours[a][b] = struct{}{}
	}
	for _, p := range pairs {
		link(p.Blocker, p.Blocked)
		link(p.Blocked, p.Blocker)
	}
	actors := make([]mls.DID, 0, len(neighbours))
	for a := range neighbours {
		actors = append(actors, a)
	}
	slices.SortFunc(actors, func(x, y mls.DID) int {
		if d := len(neighbours[y]) - len(neighbours[x]); d != 0 {
			return d
		}
		return strings.Compare(string(x), string(y))
	})
	var out []question
	for _, a := range actors {
		q := question{actor: a}
		for other := range neighbours[a] {
			q.others = append(q.others, other)
			delete(neighbours[other], a)
		}
		if len(q.others) > 0 {
			slices.Sort(q.others)
			out = append(out, q)
		}
	}
	return out
}

// relationship is an element of the answer: of type #relationship, or
// #notFoundActor for an account that the AppView does not know.
type relationship struct {
	Type           string `json:"$type"`
	DID            string `json:"did"`
	Actor          string `json:"actor"`
	Blocking       string `json:"blocking"`
	BlockedBy      string `json:"blockedBy"`
	BlockingByList string `json:"blockingByList"`
	BlockedByList  string `json:"blockedByList"`
}

// ask makes one call. With an error, what it returns is what the answer did say.
func (a *AppView) ask(ctx context.Context, actor mls.DID, others []mls.DID) ([]store.BlockPair, []store.Block, error) {
	q := url.Values{"actor": {string(actor)}}
	for _, o := range others {
		q.Add("others", string(o))
	}
	resp, err := a.client.Get(ctx, egress.Request{
		URL: a.origin + "/xrpc/app.bsky.graph.getRelationships?" + q.Encode(), Purpose: egress.PurposeAppView, MaxBody: maxPage,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errSource, err)
	}
	if resp.Status != http.StatusOK {
		if unknownActor(resp) {
			return bothWays(actor, others), nil, nil // who is unknown to the network blocks nobody
		}
		return nil, nil, errSource
	}
	var answer struct {
		Relationships []relationship `json:"relationships"`
	}
	if err := json.Unmarshal(resp.Body, &answer); err != nil {
		return nil, nil, fmt.Errorf("%w: not the JSON that was asked for", errSource)
	}
	asked := make(map[string]struct{}, len(others))
	for _, o := range others {
		asked[string(o)] = struct{}{}
	}
	var checked []store.BlockPair
	var blocks []store.Block
	for _, r := range answer.Relationships {
		id := r.DID
		if strings.HasSuffix(r.Type, "#notFoundActor") {
			id = r.Actor
		}
		if _, ok := asked[id]; !ok {
			continue
		}
		delete(asked, id)
		other := mls.DID(id)
		checked = append(checked, bothWays(actor, []mls.DID{other})...)
		blocks = a.add(ctx, blocks, actor, other, r.Blocking, r.BlockingByList)
		blocks = a.add(ctx, blocks, other, actor, r.BlockedBy, r.BlockedByList)
	}
	if len(asked) > 0 {
		return checked, blocks, fmt.Errorf("%w: incomplete answer", errSource)
	}
	return checked, blocks, nil
}

// unknownActor reports whether the AppView said that it does not know the actor.
func unknownActor(resp *egress.Response) bool {
	var fault struct {
		Error string `json:"error"`
	}
	return resp.Status == http.StatusBadRequest && json.Unmarshal(resp.Body, &fault) == nil && fault.Error == "ActorNotFound"
}

func bothWays(actor mls.DID, others []mls.DID) []store.BlockPair {
	pairs := make([]store.BlockPair, 0, 2*len(others))
	for _, o := range others {
		pairs = append(pairs, store.BlockPair{Blocker: actor, Blocked: o}, store.BlockPair{Blocker: o, Blocked: actor})
	}
	return pairs
}

// add appends a block if the AppView named one, by a record of its own or of a list.
func (a *AppView) add(ctx context.Context, to []store.Block, blocker, blocked mls.DID, direct, byList string) []store.Block {
	named := direct
	if named == "" {
		named = byList
	}
	if named == "" {
		return to
	}
	now := a.clock.Now()
	b := store.Block{BlockPair: store.BlockPair{Blocker: blocker, Blocked: blocked}, CreatedAt: now}
	if uri, err := syntax.ParseATURI(named); err == nil {
		b.URI, b.CreatedAt = uri, keyTime(uri, now)
		if b.URI.Collection() == collection && a.pds != nil {
			b.CreatedAt = a.created(ctx, b)
		}
	}
	return append(to, b)
}

// created asks the record for its time; the time in its key will do instead.
func (a *AppView) created(ctx context.Context, b store.Block) time.Time {
	r, err := a.pds.read(ctx, b.Blocker, recordKey(b.URI))
	if err != nil {
		return b.CreatedAt
	}
	return r.CreatedAt
}

func recordKey(uri lexrt.ATURI) string { return uri.RecordKey().String() }
