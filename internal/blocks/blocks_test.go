package blocks_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"mls-server/internal/authtest"
	"mls-server/internal/blocks"
	"mls-server/internal/clock"
	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// Users' own servers, an AppView, and both together, say the same about the same
// network, to a stranger and to one who knows everybody.
func TestSources(t *testing.T) {
	t.Parallel()
	for _, view := range []bool{false, true} {
		for _, known := range []bool{false, true} {
			t.Run(fmt.Sprint("AppView ", view, ", acquainted ", known), func(t *testing.T) {
				t.Parallel()
				e := newEnv(t)
				s := e.service(nil, true)
				if view {
					s = e.service(e.appview, true)
				}
				u := e.users(6)
				caller := u[5]
				if known {
					e.converse(t, u...)
				}
				uri := e.network.Block(u[0], u[1])
				made := clock.Bucket(e.clock.Now())
				e.network.Block(u[3], u[0])
				e.network.Block(u[4], e.users(1)[0]) // outside
				e.clock.Advance(time.Second)

				a := between(t, s, caller, append([]mls.DID{u[1]}, u[:5]...))
				if len(a.Blocks) != 2 || !a.CheckedAt.Equal(clock.Bucket(e.clock.Now())) {
					t.Fatalf("%+v", a)
				}
				for _, b := range a.Blocks {
					if b.Blocker == u[0] && (b.Blocked != u[1] || b.URI != uri || !b.CreatedAt.Equal(made)) {
						t.Errorf("%+v, want %s at %v", b, uri, made)
					}
				}
				for i, other := range u[:5] {
					got, err := s.AnyBetween(t.Context(), caller, []mls.DID{u[0]}, []mls.DID{other})
					if err != nil || got != (i == 1 || i == 3) {
						t.Errorf("any between 0 and %d: %v, %v", i, got, err)
					}
				}
				who, err := s.Blocking(t.Context(), u[1], u)
				if err != nil || !slices.Equal(who, u[:1]) {
					t.Errorf("blocking: %v, %v", who, err)
				}
				if a := between(t, s, caller, u[:1]); len(a.Blocks) != 0 {
					t.Error("one user alone has blocks")
				}
			})
		}
	}
}

// A question costs one list for each user, whatever the number of pairs, and
// nothing more within FreshFor, whatever is asked about the same users.
func TestUsersAreAskedAboutOnce(t *testing.T) {
	t.Parallel()
	for _, known := range []bool{false, true} {
		e := newEnv(t)
		s := e.service(nil, true)
		u := e.users(100)
		if known {
			e.converse(t, u...)
		}
		uri := e.network.Block(u[98], u[99])
		for range 3 {
			if a := between(t, s, u[0], u); len(a.Blocks) != 1 {
				t.Errorf("%+v", a)
			}
		}
		n := e.lists()
		t.Logf("acquainted %v: %d requests for %d pairs", known, n, 100*99/2)
		if n > 101 { // one of the lists has a second, empty page
			t.Errorf("acquainted %v: %d requests for 100 users", known, n)
		}
		e.network.Unblock(uri)
		e.clock.Advance(blocks.FreshFor - 4*time.Second)
		if a := between(t, s, u[0], u[50:]); len(a.Blocks) != 1 || e.lists() != n {
			t.Errorf("a fresh answer was asked for again: %d requests", e.lists()-n)
		}
		e.clock.Advance(5 * time.Second)
		if a := between(t, s, u[0], u[98:]); len(a.Blocks) != 0 || e.lists() != n+2 {
			t.Errorf("after its time: %+v, %d requests", a, e.lists()-n)
		}
	}
}

// With an AppView a user is asked about twice at most: there, and at its own server.
func TestAppViewIsAskedWhereThatIsLess(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.service(e.appview, true)
	u := e.users(100)
	e.network.Block(u[1], u[0])
	// One call answers for thirty users in both directions.
	if who, err := s.Blocking(t.Context(), u[0], u[1:41]); err != nil || !slices.Equal(who, u[1:2]) || e.calls() != 2 || e.lists() != 0 {
		t.Errorf("%v, %v; %d calls, %d lists", who, err, e.calls(), e.lists())
	}
	// All pairs of 60 users would take 90 calls; their lists take 60, and as many
	// requests that say that nobody blocks by way of lists.
	if a := between(t, s, u[0], u[:60]); len(a.Blocks) != 1 || e.calls() != 2 {
		t.Errorf("%+v; %d calls", a, e.calls())
	}
	n := e.lists()
	if n > 2*60+1 {
		t.Errorf("%d requests for 60 users", n)
	}
	for range 5 {
		between(t, s, u[0], u[20:60])
		if got, err := s.AnyBetween(t.Context(), u[0], u[:1], u[30:60]); err != nil || got {
			t.Errorf("%v, %v", got, err)
		}
	}
	if e.calls() != 2 || e.lists() != n {
		t.Errorf("%d calls, %d lists more", e.calls()-2, e.lists()-n)
	}
}

// A stranger's question about a hundred names that it made up costs one call of the directory for
// each, and the AppView next to nothing: it was 216 calls of the AppView, each time.
func TestMadeUpNamesCostLittle(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.service(e.appview, true)
	u := e.users(1)
	for range 99 {
		id := e.dir.NewIdentity(authtest.P256)
		e.dir.Remove(id)
		u = append(u, id.DID)
	}
	for round := range 2 {
		_, err := s.Between(t.Context(), u[0], u)
		if err != nil {
			t.Errorf("question %d: %v", round+1, err)
		}
	}
	if e.calls() > 20 || e.lists() > 200 || e.dir.Asked() > 200 {
		t.Errorf("4,950 pairs, twice: %d calls of the AppView, %d lists of servers, %d documents of the directory", e.calls(), e.lists(), e.dir.Asked())
	}
}

// Adding 50 users to 450 asks about the 50, and about those of the 450 that are
// not fresh, many at a time.
func TestLargeAdditions(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.service(nil, true)
	u := e.users(500)
	present, newcomers := u[:450], u[450:]
	e.converse(t, present...)
	between(t, s, u[0], present[:400])
	n := e.lists()
	e.network.Block(newcomers[7], present[9])
	e.network.Gather(8)
	if got, err := s.AnyBetween(t.Context(), u[0], newcomers, present); err != nil || !got {
		t.Errorf("%v, %v", got, err)
	}
	if got := e.lists() - n; got < 100 || got > 102 {
		t.Errorf("%d requests for 50 newcomers and 50 members that are not fresh", got)
	}
}

func TestStaleAnswers(t *testing.T) {
	t.Parallel()
	for _, failClosed := range []bool{true, false} {
		e := newEnv(t)
		s := e.service(e.appview, failClosed)
		u := e.users(3)
		e.network.Block(u[0], u[1])
		first := between(t, s, u[2], u)
		e.network.SetDown(true)

		e.clock.Advance(blocks.UsableFor - 2*time.Second)
		if a := between(t, s, u[2], u); pairsOf(a) != pairsOf(first) {
			t.Errorf("stale: %+v", a)
		}
		e.clock.Advance(time.Minute)
		if _, err := s.Between(t.Context(), u[2], u); !errors.Is(err, mls.ErrBlockSourceUnavailable) {
			t.Errorf("too old: %v", err)
		}
		got, err := s.AnyBetween(t.Context(), u[2], u[:1], u[1:])
		if got || errors.Is(err, mls.ErrBlockSourceUnavailable) != failClosed {
			t.Errorf("fail closed %v: %v, %v", failClosed, got, err)
		}
		if who, err := s.Blocking(t.Context(), u[1], u); err != nil || len(who) != 0 {
			t.Errorf("blocking: %v, %v", who, err)
		}

		// A dead source is left alone for a while, and asked again after it.
		n := e.network.Requests()
		_, _ = s.Between(t.Context(), u[2], u)
		if got := e.network.Requests() - n; got != 0 {
			t.Errorf("%d requests to sources that just failed", got)
		}
		e.network.SetDown(false)
		e.clock.Advance(time.Minute)
		if a := between(t, s, u[2], u); pairsOf(a) != pairsOf(first) {
			t.Errorf("up again: %+v", a)
		}
	}
}

// A block that is known and fresh decides, whatever else is unknown.
func TestKnownBlocksCountWhileTheSourceIsDown(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.service(nil, true)
	u := e.users(3)
	e.network.Block(u[0], u[1])
	between(t, s, u[2], u[:2])
	e.network.SetDown(true)
	if got, err := s.AnyBetween(t.Context(), u[2], u, nil); err != nil || !got {
		t.Errorf("%v, %v", got, err)
	}
	// Present members are not checked among each other.
	e.network.SetDown(false)
	e.clock.Advance(time.Hour)
	if got, err := s.AnyBetween(t.Context(), u[2], u[2:], u[:2]); err != nil || got {
		t.Errorf("blocks among the present: %v, %v", got, err)
	}
}

func TestLongListsArePaged(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.service(nil, true)
	u := e.users(2)
	e.network.Block(u[0], u[1]) // the oldest, so it is on the last page
	for i := range 250 {
		e.network.Block(u[0], mls.DID(fmt.Sprintf("did:plc:%024d", 222222+i)))
	}
	if a := between(t, s, u[1], u); len(a.Blocks) != 1 {
		t.Errorf("%+v", a)
	}
	if n := e.network.Requests(); n != 3+1+1 { // 3 pages, an empty one, the other user
		t.Errorf("%d requests", n)
	}
}

// What a user's list makes the server write is bounded; a longer one is known all the same.
func TestLongListsAreNotSaved(t *testing.T) {
	t.Parallel()
	const most = 2000
	e := newEnv(t)
	s := e.service(nil, true)
	u := e.users(4)
	e.converse(t, u...)
	e.network.Block(u[0], u[1])
	e.network.Block(u[2], u[1])
	for i := range most {
		e.network.Block(u[0], mls.DID(fmt.Sprintf("did:plc:%024d", i)))
		if i > 0 {
			e.network.Block(u[2], mls.DID(fmt.Sprintf("did:plc:%024d", i)))
		}
	}
	for range 2 {
		if a := between(t, s, u[3], u); len(a.Blocks) != 2 {
			t.Errorf("%+v", a.Blocks)
		}
	}
	for i, want := range map[int]int{0: 0, 2: most} {
		saved, _, err := e.store.ListBlocks(t.Context(), u[i:i+1], everybody(most, u[1]))
		if err != nil || len(saved) != want {
			t.Errorf("user %d: %d blocks were saved, want %d (%v)", i, len(saved), want, err)
		}
	}
}

func everybody(n int, others ...mls.DID) []mls.DID {
	for i := range n {
		others = append(others, mls.DID(fmt.Sprintf("did:plc:%024d", i)))
	}
	return others
}

// Blocks by way of moderation lists are seen by the AppView alone. It is asked
// about users who have such, and not about the others.
func TestBlocksByLists(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.service(e.appview, true)
	u := e.users(100)
	e.network.BlockByList(u[7], u[80])
	a := between(t, s, u[0], u)
	if len(a.Blocks) != 1 || a.Blocks[0].Blocker != u[7] || a.Blocks[0].Blocked != u[80] || a.Blocks[0].URI.Collection() != "app.bsky.graph.listblock" {
		t.Errorf("%+v", a)
	}
	if n := e.calls(); n != 4 { // 99 others in thirties
		t.Errorf("%d calls of the AppView", n)
	}
	if got, err := s.AnyBetween(t.Context(), u[0], u[80:81], u[5:8]); err != nil || !got {
		t.Errorf("%v, %v", got, err)
	}
	// Without the AppView the users' own records decide.
	e.network.SetDown(true, "app.bsky.graph.getRelationships")
	e.clock.Advance(blocks.UsableFor + time.Minute)
	if a := between(t, s, u[0], u); len(a.Blocks) != 0 {
		t.Errorf("%+v", a)
	}
}

func TestStrangersOfTheNetworkBlockNobody(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.service(e.appview, true)
	u := e.users(1)
	strangers := []mls.DID{e.dir.NewIdentity(authtest.K256).DID, e.dir.NewIdentity(authtest.K256).DID}
	if a := between(t, s, u[0], append(u, strangers...)); len(a.Blocks) != 0 {
		t.Errorf("%+v", a)
	}
}

// What an AppView cannot say, the authors' servers do, and the other way round.
func TestSourcesStandInForEachOther(t *testing.T) {
	t.Parallel()
	for _, down := range []string{"app.bsky.graph.getRelationships", "com.atproto.repo.listRecords"} {
		e := newEnv(t)
		s := e.service(e.appview, true)
		u := e.users(40)
		e.network.Block(u[2], u[0])
		e.network.SetDown(true, down)
		for _, some := range [][]mls.DID{u[:3], u} {
			if a := between(t, s, u[1], some); len(a.Blocks) != 1 {
				t.Errorf("without %s: %+v", down, a)
			}
		}
	}
}

// Half of the AppView's budget is kept for questions on which it depends whether
// users are put together.
func TestAppViewBudget(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	pair := e.users(2)
	calls := 0
	ask := func(admits bool) (n int) {
		for i := range 1600 {
			calls++ // each by a caller of its own
			caller := mls.DID(fmt.Sprintf("did:plc:%024d", calls))
			// Nobody has heard of the second one, so that no answer is kept.
			_, err := e.appview.Lookup(t.Context(), caller, []store.BlockPair{{Blocker: pair[i%2], Blocked: pair[1-i%2]}}, admits)
			if err != nil {
				return n
			}
			n++
		}
		return n
	}
	if open, admit := ask(false), ask(true); open != 750 || admit != 750 {
		t.Errorf("%d open calls and %d that admit, want 750 of each", open, admit)
	}
	e.clock.Advance(time.Minute)
	if open, admit := ask(false), ask(true); open != 0 || admit != 600 {
		t.Errorf("a minute later: %d and %d, want 0 and 600", open, admit)
	}
}

// One caller has a thousand users looked up in a minute at most.
func TestCallersAreBounded(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.service(nil, true)
	crowd := func(i int) []mls.DID {
		out := make([]mls.DID, 100)
		for j := range out {
			out[j] = mls.DID(fmt.Sprintf("did:plc:%024d", 100*i+j)) // nobody has heard of them
		}
		return out
	}
	u := e.users(2)
	for i := range 10 {
		between(t, s, u[0], crowd(i))
	}
	if _, err := s.Between(t.Context(), u[0], u); !errors.Is(err, mls.ErrRateLimitExceeded) || e.lists() != 0 {
		t.Errorf("%v; %d lists were read", err, e.lists())
	}
	between(t, s, u[1], u)
	e.clock.Advance(time.Minute)
	between(t, s, u[0], u)
}

func TestCacheErrorsArePassedOn(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.service(nil, true)
	u := e.users(2)
	e.store.Close()
	if _, err := s.Between(t.Context(), u[0], u); err == nil {
		t.Error("between")
	}
	if _, err := s.AnyBetween(t.Context(), u[0], u, nil); err == nil {
		t.Error("any")
	}
	if _, err := s.Blocking(t.Context(), u[0], u); err == nil {
		t.Error("blocking")
	}
	if err := s.Verify(t.Context(), blocks.Claim{Blocker: u[0], Blocked: u[1]}); err == nil {
		t.Error("verify")
	}
}

// Many questions at once read each list once.
func TestConcurrentQuestionsShareLookups(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.service(nil, true)
	u := e.users(4)
	e.converse(t, u...)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if _, err := s.Between(t.Context(), u[i%4], u); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := e.lists(); n > 4*20/2 {
		t.Errorf("%d requests for 4 lists", n)
	}
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	var got []string
	s := blocks.New(blocks.Config{Cache: e.store, PDS: e.pds, Clock: e.clock, Observe: func(o string) { got = append(got, o) }})
	u := e.users(2)
	between(t, s, u[0], u)
	between(t, s, u[0], u)
	e.clock.Advance(time.Hour)
	e.network.SetDown(true)
	between(t, s, u[0], u)
	e.clock.Advance(48 * time.Hour)
	_, _ = s.Between(t.Context(), u[0], u)
	if fmt.Sprint(got) != "[fetched fresh stale unavailable]" {
		t.Errorf("%v", got)
	}
}
