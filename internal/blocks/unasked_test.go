package blocks_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mls-server/internal/blocks"
	"mls-server/internal/blocks/blockstest"
	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// That an AppView was not asked, or had no time to answer, says nothing: who might be blocked is
// refused, also where BLOCKS_FAIL_CLOSED is off.

// TestSpentBudgetLetsNobodyIn: others can spend what the AppView may be asked, and an asker choose
// the moment.
func TestSpentBudgetLetsNobodyIn(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		block func(e *env, blocker, blocked mls.DID)
		down  string
	}{
		"only the AppView knows of the block":   {func(e *env, blocker, blocked mls.DID) { e.network.BlockByList(blocker, blocked) }, ""},
		"the blocker's own server is away, too": {func(e *env, blocker, blocked mls.DID) { e.network.Block(blocker, blocked) }, blockstest.ListRecords},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			s := e.service(e.appview, false)
			u := e.users(2)
			c.block(e, u[1], u[0])
			for i := 0; ; i++ {
				other := mls.DID(fmt.Sprintf("did:plc:%024d", i))
				if _, err := e.appview.Lookup(t.Context(), other, []store.BlockPair{{Blocker: other, Blocked: u[0]}}, true); err != nil {
					break
				}
			}
			if c.down != "" {
				e.network.SetDown(true, c.down)
			}
			if blocked, err := s.AnyBetween(t.Context(), u[0], u[1:], u[:1]); blocked || !errors.Is(err, mls.ErrBlockSourceUnavailable) {
				t.Errorf("%t, %v", blocked, err)
			}
			e.clock.Advance(time.Minute)
			if blocked, err := s.AnyBetween(t.Context(), u[0], u[1:], u[:1]); err != nil || !blocked {
				t.Errorf("a minute later: %t, %v", blocked, err)
			}
		})
	}
}

// TestSpentCallersAreRefusedWhateverElseFails: calls that fail beside one that was not made do not
// hide that it was not.
func TestSpentCallersAreRefusedWhateverElseFails(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	const left = 8
	var mu sync.Mutex
	answered := map[string]bool{}
	arrived, all := 0, make(chan struct{})
	origin, client := e.upstream(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		first := r.URL.Query().Get("actor")
		known := answered[first]
		mu.Unlock()
		if known {
			relationships(w, first, r.URL.Query()["others"]...)
			return
		}
		mu.Lock()
		if arrived++; arrived == left {
			close(all)
		}
		mu.Unlock()
		<-all
		w.WriteHeader(http.StatusInternalServerError)
	})
	e.network.SetDown(true, blockstest.ListRecords)
	u := e.users(40)
	caller := u[0]
	before := make([]store.BlockPair, 300-left)
	for i := range before {
		before[i] = store.BlockPair{Blocker: mls.DID(fmt.Sprintf("did:plc:%024d", 2*i)), Blocked: mls.DID(fmt.Sprintf("did:plc:%024d", 2*i+1))}
		answered[string(before[i].Blocker)] = true
	}
	view := blocks.NewAppView(client, origin, e.pds, e.clock)
	if _, err := view.Lookup(t.Context(), caller, before, true); err != nil {
		t.Fatal(err)
	}
	if blocked, err := e.service(view, false).AnyBetween(t.Context(), caller, u, nil); blocked || !errors.Is(err, mls.ErrRateLimitExceeded) {
		t.Errorf("%t, %v", blocked, err)
	}
}

// TestHangingAppViewIsNotEveryCallsFault: a call that found no time, because others before it took
// it, is no sign that the AppView is away.
func TestHangingAppViewIsNotEveryCallsFault(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	hang := make(chan struct{})
	origin, client := e.upstream(t, func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-hang:
			relationships(w, r.URL.Query().Get("actor"), r.URL.Query()["others"]...)
		case <-r.Context().Done():
		}
	})
	e.network.SetDown(true, blockstest.ListRecords)
	s := e.service(blocks.NewAppView(client, origin, e.pds, e.clock), false)
	u := e.users(40) // 49 calls, of which sixteen at a time
	if blocked, err := s.AnyBetween(t.Context(), u[0], u, nil); blocked || !errors.Is(err, mls.ErrBlockSourceUnavailable) {
		t.Errorf("%t, %v", blocked, err)
	}
	close(hang)
	e.clock.Advance(time.Minute)
	if blocked, err := s.AnyBetween(t.Context(), u[0], u, nil); err != nil || !blocked {
		t.Errorf("a minute later: %t, %v", blocked, err)
	}
}

// TestFollowersAreAskedAtOnce: of many users, those of whom there was no time to ask whether they
// follow the caller are asked a moment later.
func TestFollowersAreAskedAtOnce(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	var mu sync.Mutex
	waiting := 0
	together := make(chan struct{})
	origin, client := e.upstream(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		if waiting++; waiting == 3 {
			close(together)
		}
		mu.Unlock()
		select {
		case <-together:
			relationships(w, r.URL.Query().Get("actor"), r.URL.Query()["others"]...)
		case <-r.Context().Done():
		}
	})
	u := e.users(80) // 79 others in thirties
	for _, user := range u[1:] {
		e.network.Declare(user, "following")
	}
	view := blocks.NewAppView(client, origin, e.pds, e.clock)
	g := blocks.NewGate(e.service(nil, false), blocks.NewDeclarations(blocks.DeclarationsConfig{
		PDS: e.pds, AppView: view, Default: blocks.IncomingAll, Clock: e.clock,
	}))
	listed, err := g.Blocking(t.Context(), u[0], u[1:])
	slices.Sort(listed)
	want := slices.Sorted(slices.Values(u[1:]))
	if err != nil || !slices.Equal(listed, want) {
		t.Errorf("%d of %d refuse, %v", len(listed), len(want), err)
	}
}

// TestLongNamesHideNobody: an AppView refuses URLs that are too long. Who names accounts with long
// names beside one that blocks it, or wants no messages of it, is found out all the same.
func TestLongNamesHideNobody(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	u := e.users(3)
	e.network.Declare(u[2], "following")
	origin, client := e.upstream(t, func(w http.ResponseWriter, r *http.Request) {
		if len(r.URL.RequestURI()) > 8<<10 {
			w.WriteHeader(http.StatusRequestURITooLong)
			return
		}
		q := r.URL.Query()
		relationships(w, q.Get("actor"), q["others"]...)
	})
	long := make([]mls.DID, 29)
	for i := range long {
		long[i] = mls.DID(fmt.Sprintf("did:web:%s%d.example", strings.Repeat("x", 1900), i))
	}
	view := blocks.NewAppView(client, origin, e.pds, e.clock)
	found, err := view.Lookup(t.Context(), u[0], pairsWith(u[0], append(slices.Clone(long), u[1])), true)
	if err != nil || !slices.ContainsFunc(found.Blocks, func(b store.Block) bool { return b.Blocker == u[1] }) {
		t.Errorf("%d blocks, %v", len(found.Blocks), err)
	}
	g := blocks.NewGate(e.service(nil, false), blocks.NewDeclarations(blocks.DeclarationsConfig{
		PDS: e.pds, AppView: view, Default: blocks.IncomingFollowing, Clock: e.clock,
	}))
	if refused, err := g.AnyBetween(t.Context(), u[0], append(slices.Clone(long), u[2]), u[:1]); err != nil || !refused {
		t.Errorf("refused %t, %v", refused, err)
	}
}

// pairsWith is the blocks that may be between one user and others.
func pairsWith(user mls.DID, others []mls.DID) (pairs []store.BlockPair) {
	for _, o := range others {
		pairs = append(pairs, store.BlockPair{Blocker: o, Blocked: user})
	}
	return pairs
}
