package blocks

import (
	"context"
	"errors"
	"fmt"
	"iter"
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

const (
	// maxOthers is how many accounts app.bsky.graph.getRelationships takes in a call.
	maxOthers = 30
	// maxNames is how long the names of these accounts may be in the URL of a call, in bytes, if
	// they are several: servers refuse URLs of more than 8 KiB, and names may be long.
	maxNames = 4 << 10
)

const (
	// callsPerMinute is how many requests all questions of this process may make of an AppView, and
	// maxCallsAtOnce how many after a quiet time: what the public one takes of an address (3,000 in
	// five minutes).
	callsPerMinute = 600
	maxCallsAtOnce = 1500
	// callerCallsPerMinute and maxCallerCalls are what one caller may have of it: all pairs of 100
	// users take 216 calls.
	callerCallsPerMinute = 120
	maxCallerCalls       = 300
	// recordWait bounds the look-ups of when the blocks were made that one answer names: authors
	// choose how fast their servers are.
	recordWait = time.Second
)

var (
	// errSpent says that the AppView's budget is used up.
	errSpent = fmt.Errorf("%w: AppView budget spent", errSource)
	// errCallerSpent says that the caller has used up what it may have of it.
	errCallerSpent = fmt.Errorf("%w: the caller's part of the AppView budget spent", errSource)
)

// AppView asks an AppView for relationships. It sees both directions at once and blocks by way of
// lists too, a few seconds after they are made. It is safe for concurrent use.
type AppView struct {
	client *egress.Client
	origin string
	pds    *PDS
	clock  clock.Clock
	budget *allowance
	// callers are what each may have of the budget.
	callers *allowances
}

// NewAppView returns a source over the AppView at origin, for example
// "https://public.api.bsky.app". pds is asked when a block was made, which an AppView does not
// tell.
func NewAppView(client *egress.Client, origin string, pds *PDS, c clock.Clock) *AppView {
	return &AppView{
		client: client, origin: strings.TrimRight(origin, "/"), pds: pds, clock: c,
		budget: newAllowance(callsPerMinute, maxCallsAtOnce), callers: newAllowances(callerCallsPerMinute, maxCallerCalls),
	}
}

// pay takes a call for a caller, of the half of the budget that is not kept for questions that
// admit unless this is one. Errors: errLate, errCallerSpent, errSpent.
func (a *AppView) pay(ctx context.Context, caller mls.DID, admits bool) error {
	keep := float64(maxCallsAtOnce / 2)
	if admits {
		keep = 0
	}
	switch now := a.clock.Now(); {
	case ctx.Err() != nil:
		return errLate
	case !a.callers.take(caller, now):
		return errCallerSpent
	case !a.budget.take(now, keep):
		return errSpent
	}
	return nil
}

// Looked is what an AppView has said about some pairs.
type Looked struct {
	store.BlocksFound
	// Away are pairs that it was asked about, with time to answer, and said nothing about.
	Away []store.BlockPair
}

// Lookup asks for each two users of the pairs once, in calls of 30. With an error, which is of
// every reason that there was, the result holds what could be looked up all the same; what is
// missing in its Checked is not known. Half of the budget of calls is kept for questions that
// admit, and each caller may have a fifth of it.
func (a *AppView) Lookup(ctx context.Context, caller mls.DID, pairs []store.BlockPair, admits bool) (Looked, error) {
	found := Looked{BlocksFound: store.BlocksFound{At: a.clock.Now()}}
	var mu sync.Mutex
	var faults []error
	fault := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		faults = append(faults, err)
	}
	var g errgroup.Group
	g.SetLimit(parallelism)
	for q, others := range batches(pairs) {
		if err := a.pay(ctx, caller, admits); err != nil {
			fault(err)
			break
		}
		g.Go(func() error {
			own, cancel := context.WithTimeout(ctx, callTime(admits))
			defer cancel()
			checked, blocks, err := a.ask(own, q, others)
			err = lateOr(ctx, err)
			if err != nil {
				fault(err)
			}
			mu.Lock()
			defer mu.Unlock()
			found.Checked = append(found.Checked, checked...)
			found.Blocks = append(found.Blocks, blocks...)
			if err != nil && !errors.Is(err, errLate) {
				found.Away = append(found.Away, without(bothWays(q, others), checked)...)
			}
			return nil
		})
	}
	_ = g.Wait() // the functions return no errors: one call says nothing about the next
	return found, errors.Join(faults...)
}

// callTime is how long a call may take, of a question that leaves half of its time to the lists.
func callTime(admits bool) time.Duration { return answerTime(question{admits: admits}.wait() / 2) }

// without is the pairs of a that are not in b.
func without(a, b []store.BlockPair) []store.BlockPair {
	return slices.DeleteFunc(a, func(p store.BlockPair) bool { return slices.Contains(b, p) })
}

// batches gives each call that it takes to ask about pairs: an actor and the others.
func batches(pairs []store.BlockPair) iter.Seq2[mls.DID, []mls.DID] {
	return func(yield func(mls.DID, []mls.DID) bool) {
		for _, s := range stars(pairs) {
			for others := range parts(s.others) {
				if !yield(s.actor, others) {
					return
				}
			}
		}
	}
}

// parts is users as they are asked about in one call each.
func parts(users []mls.DID) iter.Seq[[]mls.DID] {
	return func(yield func([]mls.DID) bool) {
		for len(users) > 0 {
			n, names := 0, 0
			for n < min(len(users), maxOthers) && (n == 0 || names+len(url.QueryEscape(string(users[n]))) <= maxNames) {
				names += len(url.QueryEscape(string(users[n])))
				n++
			}
			if !yield(users[:n:n]) {
				return
			}
			users = users[n:]
		}
	}
}

// callsFor is how many calls it takes to ask about pairs.
func callsFor(pairs []store.BlockPair) (n int) {
	for range batches(pairs) {
		n++
	}
	return n
}

// star is one actor and those whose relationship to it is wanted.
type star struct {
	actor  mls.DID
	others []mls.DID
}

// stars covers each two users of the pairs once, with few actors: one that
// stands in many pairs asks for all of them.
func stars(pairs []store.BlockPair) []star {
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
	var out []star
	for _, a := range actors {
		q := star{actor: a}
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
	FollowedBy     string `json:"followedBy"`
}

// ask makes one call. With an error, what it returns is what the answer did say.
func (a *AppView) ask(ctx context.Context, actor mls.DID, others []mls.DID) ([]store.BlockPair, []store.Block, error) {
	answer, unknown, err := a.relationships(ctx, actor, others)
	switch {
	case err != nil:
		return nil, nil, err
	case unknown:
		return bothWays(actor, others), nil, nil // who is unknown to the network blocks nobody
	}
	asked := make(map[string]struct{}, len(others))
	for _, o := range others {
		asked[string(o)] = struct{}{}
	}
	ctx, cancel := context.WithTimeout(ctx, recordWait)
	defer cancel()
	var checked []store.BlockPair
	var blocks []store.Block
	for _, r := range answer {
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

// relationships is what the AppView says of an actor and others. unknown: it does not know the
// actor.
func (a *AppView) relationships(ctx context.Context, actor mls.DID, others []mls.DID) (answer []relationship, unknown bool, err error) {
	q := url.Values{"actor": {string(actor)}}
	for _, o := range others {
		q.Add("others", string(o))
	}
	resp, err := a.client.Get(ctx, egress.Request{
		URL: a.origin + "/xrpc/app.bsky.graph.getRelationships?" + q.Encode(), Purpose: egress.PurposeAppView, MaxBody: maxPage,
	})
	switch {
	case err != nil:
		return nil, false, fmt.Errorf("%w: %w", errSource, err)
	case resp.Status != http.StatusOK && unknownActor(resp):
		return nil, true, nil
	case resp.Status != http.StatusOK:
		return nil, false, errSource
	}
	var body struct {
		Relationships []relationship `json:"relationships"`
	}
	if err := json.Unmarshal(resp.Body, &body); err != nil {
		return nil, false, fmt.Errorf("%w: not the JSON that was asked for", errSource)
	}
	return body.Relationships, false, nil
}

// followers is whether each of the users follows a caller, or why that is not known: the errors are
// errLate, errSpent, errCallerSpent and those of a source that is away.
func (a *AppView) followers(ctx context.Context, caller mls.DID, users []mls.DID, admits bool) []finding {
	found := make([]finding, len(users))
	var g errgroup.Group
	g.SetLimit(parallelism)
	rest := found
	for others := range parts(users) {
		some := rest[:len(others)]
		rest = rest[len(others):]
		if err := a.pay(ctx, caller, admits); err != nil {
			for j := range some {
				some[j].err = err
			}
			continue
		}
		g.Go(func() error {
			own, cancel := context.WithTimeout(ctx, callTime(admits))
			defer cancel()
			follow, err := a.follow(own, caller, others)
			err = lateOr(ctx, err)
			for j, user := range others {
				var known bool
				if some[j].willing, known = follow[user]; !known {
					some[j].err = err
				}
			}
			return nil
		})
	}
	_ = g.Wait() // the functions return no errors: one call says nothing about the next
	return found
}

// follow makes one call about who follows a caller. Those that are missing are not known, for the
// reason that the error gives.
func (a *AppView) follow(ctx context.Context, caller mls.DID, others []mls.DID) (map[mls.DID]bool, error) {
	answer, unknown, err := a.relationships(ctx, caller, others)
	if err != nil {
		return nil, err
	}
	follow := make(map[mls.DID]bool, len(others))
	if unknown { // nobody follows who is unknown to the network
		for _, o := range others {
			follow[o] = false
		}
		return follow, nil
	}
	for _, r := range answer {
		id := mls.DID(r.DID)
		if strings.HasSuffix(r.Type, "#notFoundActor") {
			id = mls.DID(r.Actor)
		}
		if slices.Contains(others, id) {
			follow[id] = id == mls.DID(r.DID) && r.FollowedBy != ""
		}
	}
	if len(follow) < len(others) {
		err = fmt.Errorf("%w: incomplete answer", errSource)
	}
	return follow, err
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
	b := store.Block{BlockPair: store.BlockPair{Blocker: blocker, Blocked: blocked}, CreatedAt: clock.Bucket(now)}
	if uri, err := syntax.ParseATURI(named); err == nil {
		b.URI, b.CreatedAt = uri, clock.Bucket(keyTime(uri, now))
		if b.URI.Collection() == collection {
			b.CreatedAt = a.created(ctx, b)
		}
	}
	return append(to, b)
}

// created asks the record for its time; the time in its key will do instead.
func (a *AppView) created(ctx context.Context, b store.Block) time.Time {
	r, err := a.pds.record(ctx, b.Blocker, recordKey(b.URI))
	if err != nil {
		return b.CreatedAt
	}
	return r.CreatedAt
}

func recordKey(uri lexrt.ATURI) string { return uri.RecordKey().String() }
