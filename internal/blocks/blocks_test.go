package blocks_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mls-server/internal/auth"
	"mls-server/internal/authtest"
	"mls-server/internal/blocks"
	"mls-server/internal/blocks/blockstest"
	"mls-server/internal/egress"
	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// memoryCache keeps the promises of blocks.Cache in memory.
// users makes accounts with a PDS.
// Both sources, and both together, say the same about the same network.
func TestSources(t *testing.T) {
	t.Parallel()
	for name, pick := range map[string]func(*env) blocks.Source{
		"pds":     func(e *env) blocks.Source { return e.pds },
		"appview": func(e *env) blocks.Source { return e.appview },
		"chain":   func(e *env) blocks.Source { return blocks.Chain{e.appview, e.pds} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			s := e.service(pick(e), true)
			u := e.users(5)
			uri := e.network.Block(u[0], u[1])
			made := e.clock.Now()
			e.network.Block(u[3], u[0])
			e.network.Block(u[4], e.users(1)[0]) // outside
			e.clock.Advance(time.Second)

			a := between(t, s, append([]mls.DID{u[1]}, u...))
			if len(a.Blocks) != 2 || !a.CheckedAt.Equal(e.clock.Now()) {
				t.Fatalf("%+v", a)
			}
			for _, b := range a.Blocks {
				if b.Blocker == u[0] && (b.Blocked != u[1] || b.URI != uri || !b.CreatedAt.Equal(made)) {
					t.Errorf("%+v, want %s at %v", b, uri, made)
				}
			}
			for i, other := range u {
				got, err := s.AnyBetween(t.Context(), []mls.DID{u[0]}, []mls.DID{other})
				if err != nil || got != (i == 1 || i == 3) {
					t.Errorf("any between 0 and %d: %v, %v", i, got, err)
				}
			}
			who, err := s.Blocking(t.Context(), u[1], u)
			if err != nil || len(who) != 1 || who[0] != u[0] {
				t.Errorf("blocking: %v, %v", who, err)
			}
			if a := between(t, s, u[:1]); len(a.Blocks) != 0 {
				t.Error("one user alone has blocks")
			}
		})
	}
}

func TestAnswersAreCached(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.service(e.pds, true)
	u := e.users(3)
	uri := e.network.Block(u[0], u[1])
	first := between(t, s, u)
	n := e.network.Requests()
	e.network.Unblock(uri)
	e.clock.Advance(blocks.FreshFor)
	a := between(t, s, u)
	if e.network.Requests() != n || pairsOf(a) != pairsOf(first) || !a.CheckedAt.Equal(first.CheckedAt) {
		t.Errorf("a fresh answer was asked for again: %d requests", e.network.Requests()-n)
	}
	e.clock.Advance(time.Millisecond)
	if a := between(t, s, u); len(a.Blocks) != 0 || !a.CheckedAt.Equal(e.clock.Now()) {
		t.Errorf("after its time: %+v", a)
	}
	// A user who comes in costs the lists of nobody else.
	n = e.network.Requests()
	between(t, s, append(u, e.users(1)...))
	if got := e.network.Requests() - n; got != 1 {
		t.Errorf("%d requests for one more user, want 1", got)
	}
}

func TestStaleAnswers(t *testing.T) {
	t.Parallel()
	for _, failClosed := range []bool{true, false} {
		e := newEnv(t)
		s := e.service(blocks.Chain{e.appview, e.pds}, failClosed)
		u := e.users(3)
		e.network.Block(u[0], u[1])
		first := between(t, s, u)
		e.network.SetDown(true)

		e.clock.Advance(blocks.UsableFor)
		if a := between(t, s, u); pairsOf(a) != pairsOf(first) || !a.CheckedAt.Equal(first.CheckedAt) {
			t.Errorf("stale: %+v", a)
		}
		e.clock.Advance(time.Millisecond)
		if _, err := s.Between(t.Context(), u); !errors.Is(err, mls.ErrBlockSourceUnavailable) {
			t.Errorf("too old: %v", err)
		}
		got, err := s.AnyBetween(t.Context(), u[:1], u[1:])
		if got || errors.Is(err, mls.ErrBlockSourceUnavailable) != failClosed {
			t.Errorf("fail closed %v: %v, %v", failClosed, got, err)
		}
		if who, err := s.Blocking(t.Context(), u[1], u); err != nil || len(who) != 0 {
			t.Errorf("blocking: %v, %v", who, err)
		}

		// A dead source is left alone for a while, and asked again after it.
		n := e.network.Requests()
		_, _ = s.Between(t.Context(), u)
		if got := e.network.Requests() - n; got != 0 {
			t.Errorf("%d requests to a source that just failed", got)
		}
		e.network.SetDown(false)
		e.clock.Advance(time.Minute)
		if a := between(t, s, u); pairsOf(a) != pairsOf(first) {
			t.Errorf("up again: %+v", a)
		}
	}
}

// A block that is known and fresh decides, whatever else is unknown.
func TestKnownBlocksCountWhileTheSourceIsDown(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.service(e.pds, true)
	u := e.users(3)
	e.network.Block(u[0], u[1])
	between(t, s, u[:2])
	e.network.SetDown(true)
	if got, err := s.AnyBetween(t.Context(), u, nil); err != nil || !got {
		t.Errorf("%v, %v", got, err)
	}
	// Present members are not checked among each other.
	e.network.SetDown(false)
	e.clock.Advance(time.Hour)
	if got, err := s.AnyBetween(t.Context(), u[2:], u[:2]); err != nil || got {
		t.Errorf("blocks among the present: %v, %v", got, err)
	}
}

func TestLongListsArePaged(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.service(e.pds, true)
	u := e.users(2)
	e.network.Block(u[0], u[1]) // the oldest, so it is on the last page
	for i := range 250 {
		e.network.Block(u[0], mls.DID(fmt.Sprintf("did:plc:%024d", 222222+i)))
	}
	if a := between(t, s, u); len(a.Blocks) != 1 {
		t.Errorf("%+v", a)
	}
	if n := e.network.Requests(blockstest.ListRecords); n != 3+1+1 { // 3 pages, an empty one, the other user
		t.Errorf("%d requests", n)
	}
}

func TestAppViewAsksInThirties(t *testing.T) {
	t.Parallel()
	for n, calls := range map[int]int{2: 1, 31: 31, 50: 68} {
		e := newEnv(t)
		s := e.service(e.appview, true)
		u := e.users(n)
		e.network.Block(u[n-1], u[0])
		if a := between(t, s, u); len(a.Blocks) != 1 {
			t.Errorf("%d users: %+v", n, a)
		}
		want := 0
		for rest := 1; rest < n; rest++ {
			want += (rest + 29) / 30
		}
		if n == 50 && want != calls {
			t.Fatalf("the test counts %d calls", want)
		}
		if got := e.network.Requests(blockstest.GetRelationships); got != want {
			t.Errorf("%d users: %d calls, want %d", n, got, want)
		}
		// One user more asks ceil(n/30) times.
		before := e.network.Requests(blockstest.GetRelationships)
		if _, err := s.AnyBetween(t.Context(), e.users(1), u[:n-1]); err != nil {
			t.Fatal(err)
		}
		if got := e.network.Requests(blockstest.GetRelationships) - before; got != (n-1+29)/30 {
			t.Errorf("one more than %d: %d calls", n-1, got)
		}
	}
}

func TestAppViewSeesListsAndKnowsNotEverybody(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.service(e.appview, true)
	u := e.users(2)
	strangers := []mls.DID{e.dir.NewIdentity(authtest.K256).DID, e.dir.NewIdentity(authtest.K256).DID}
	e.network.BlockByList(u[0], u[1])
	a := between(t, s, append(u, strangers...))
	if len(a.Blocks) != 1 || a.Blocks[0].URI.Collection() != "app.bsky.graph.listblock" || time.Since(a.Blocks[0].CreatedAt).Abs() > time.Hour {
		t.Errorf("%+v", a)
	}
}

// What an AppView cannot say, the authors' servers do.
func TestChainFallsBack(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.service(blocks.Chain{e.appview, e.pds}, true)
	u := e.users(3)
	e.network.Block(u[2], u[0])
	e.network.SetDown(true, blockstest.GetRelationships)
	if a := between(t, s, u); len(a.Blocks) != 1 {
		t.Errorf("%+v", a)
	}
	if _, err := (blocks.Chain{}).Lookup(t.Context(), []store.BlockPair{{Blocker: u[0], Blocked: u[1]}}); err == nil {
		t.Error("no source at all answers")
	}
}

func TestAccountsThatAreGoneBlockNobody(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.service(e.pds, true)
	u := e.users(6)
	e.network.Block(u[0], u[1])
	e.network.Block(u[1], u[0])
	e.network.SetGone(u[0], "RepoDeactivated")
	noPDS := e.dir.NewIdentity(authtest.K256)
	noPDS.SetPDS("")
	unknown := e.dir.NewIdentity(authtest.K256) // the PDS does not know it
	unknown.SetPDS(e.network.URL())
	a := between(t, s, []mls.DID{u[0], u[1], noPDS.DID, unknown.DID, "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"})
	if len(a.Blocks) != 1 || a.Blocks[0].Blocker != u[1] {
		t.Errorf("%+v", a)
	}
}

// What Verify learns is at once what the other questions go by.
// A block that was made twice is gone when both records are.
// A server that lies about its accounts, loops, or answers with junk harms
// nothing but the answers about its own accounts.
func TestHostileServers(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	victims := e.users(2)
	for name, tc := range map[string]struct {
		body string
		ok   bool // a usable answer without blocks
	}{
		"foreign records": {`{"records":[{"uri":"at://` + string(victims[0]) + `/app.bsky.graph.block/3aaaaaaaaaaaa","value":{"subject":"` + string(victims[1]) + `"}}]}`, true},
		"no records":      {`{}`, true},
		"an endless list": {`{"cursor":"x","records":[{"uri":"x","value":{}}]}`, false},
		"not JSON":        {`<html>`, false},
		"too much":        {`{"records":[],"pad":"` + strings.Repeat("x", 300<<10) + `"}`, false},
		"wrong shape":     {`{"records":{}}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bad := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write([]byte(tc.body))
			}))
			t.Cleanup(bad.Close)
			client, err := egress.New(egress.Config{Allow: append(e.dir.HostPorts(), e.network.HostPort(), strings.TrimPrefix(bad.URL, "http://"))})
			if err != nil {
				t.Fatal(err)
			}
			resolver := auth.NewResolver(auth.ResolverConfig{Client: client, PLCURL: e.dir.URL(), Clock: e.clock})
			pds := blocks.NewPDS(client, resolver, nil)
			s := blocks.New(blocks.Config{Cache: newMemoryCache(), Source: pds, Records: pds})
			id := e.dir.NewIdentity(authtest.K256)
			id.SetPDS(bad.URL)
			a, err := s.Between(t.Context(), []mls.DID{id.DID, victims[0], victims[1]})
			if (err == nil) != tc.ok || len(a.Blocks) != 0 {
				t.Errorf("%v, %v", a, err)
			}
			if a, err := s.Between(t.Context(), victims); err != nil || len(a.Blocks) != 0 {
				t.Errorf("others: %v, %v", a, err)
			}
		})
	}
}

// Accounts name their servers themselves; none of these may be dialled.
func TestAccountsCannotMakeTheServerDialInside(t *testing.T) {
	t.Parallel()
	var touched atomic.Bool
	inside := httptest.NewUnstartedServer(http.NotFoundHandler())
	inside.Config.ConnState = func(net.Conn, http.ConnState) { touched.Store(true) }
	inside.Start()
	t.Cleanup(inside.Close)
	_, port, _ := strings.Cut(strings.TrimPrefix(inside.URL, "http://"), ":")
	e := newEnv(t)
	s := e.service(e.pds, true)
	honest := e.users(1)[0]
	for _, host := range []string{"127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "127.0.0.1."} {
		for _, scheme := range []string{"https", "http"} {
			id := e.dir.NewIdentity(authtest.K256)
			id.SetPDS(scheme + "://" + host + ":" + port)
			if _, err := s.Between(t.Context(), []mls.DID{id.DID, honest}); !errors.Is(err, mls.ErrBlockSourceUnavailable) {
				t.Errorf("%s://%s: %v", scheme, host, err)
			}
			claim := blocks.Claim{Blocker: id.DID, Blocked: honest, Exists: true}
			if err := s.Verify(t.Context(), claim); !errors.Is(err, mls.ErrBlockSourceUnavailable) {
				t.Errorf("verify at %s://%s: %v", scheme, host, err)
			}
		}
	}
	if touched.Load() {
		t.Error("a forbidden address was dialled")
	}
}

func TestCacheErrorsArePassedOn(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.service(e.pds, true)
	u := e.users(2)
	e.cache.err = errors.New("cache is broken")
	if _, err := s.Between(t.Context(), u); !errors.Is(err, e.cache.err) {
		t.Errorf("between: %v", err)
	}
	if _, err := s.AnyBetween(t.Context(), u, nil); !errors.Is(err, e.cache.err) {
		t.Errorf("any: %v", err)
	}
	if _, err := s.Blocking(t.Context(), u[0], u); !errors.Is(err, e.cache.err) {
		t.Errorf("blocking: %v", err)
	}
	if err := s.Verify(t.Context(), blocks.Claim{Blocker: u[0], Blocked: u[1]}); !errors.Is(err, e.cache.err) {
		t.Errorf("verify: %v", err)
	}
}

// Many questions at once read each list once.
func TestConcurrentQuestionsShareLookups(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.service(e.pds, true)
	u := e.users(4)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := s.Between(t.Context(), u); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := e.network.Requests(); n > 4*20/2 {
		t.Errorf("%d requests for 4 lists", n)
	}
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	var got []string
	s := blocks.New(blocks.Config{Cache: e.cache, Source: e.pds, Records: e.pds, Clock: e.clock, Observe: func(o string) { got = append(got, o) }})
	u := e.users(2)
	between(t, s, u)
	between(t, s, u)
	e.clock.Advance(time.Hour)
	e.network.SetDown(true)
	between(t, s, u)
	e.clock.Advance(48 * time.Hour)
	_, _ = s.Between(t.Context(), u)
	if fmt.Sprint(got) != "[fetched fresh stale unavailable]" {
		t.Errorf("%v", got)
	}
}
