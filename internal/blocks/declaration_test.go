package blocks_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"mls-server/internal/authtest"
	"mls-server/internal/blocks"
	"mls-server/internal/blocks/blockstest"
	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// gate asks for declarations, too.
func (e *env) gate(view *blocks.AppView, incoming blocks.Incoming, failClosed bool) *blocks.Gate {
	return blocks.NewGate(e.service(view, failClosed), blocks.NewDeclarations(blocks.DeclarationsConfig{
		PDS: e.pds, AppView: view, Default: incoming, Clock: e.clock,
	}))
}

// refuses reports whether a gate keeps a user from a caller, by both of its questions, which agree.
func refuses(t *testing.T, g *blocks.Gate, caller, user mls.DID) bool {
	t.Helper()
	refused, err := g.AnyBetween(t.Context(), caller, []mls.DID{caller, user}, nil)
	if err != nil {
		t.Fatal(err)
	}
	listed, err := g.Blocking(t.Context(), caller, []mls.DID{user})
	if err != nil {
		t.Fatal(err)
	}
	if slices.Contains(listed, user) != refused {
		t.Errorf("an addition is refused: %t, a claim: %v", refused, listed)
	}
	return refused
}

// Who wants to hear from nobody, or from those whom it follows, says so itself; who says nothing
// goes by what the operator has chosen.
func TestDeclarations(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	u := e.users(7)
	caller := u[0]
	e.network.Declare(u[1], "all")
	e.network.Declare(u[2], "none")
	e.network.Declare(u[3], "following")
	e.network.Declare(u[4], "following")
	e.network.Follow(u[4], caller)
	e.network.Follow(caller, u[3]) // that is the other way round
	e.network.Declare(u[5], "a word of the future")
	noPDS := e.dir.NewIdentity(authtest.K256)
	noPDS.SetPDS("")
	for _, c := range []struct {
		incoming blocks.Incoming
		silent   bool // what is refused for those who say nothing
	}{{blocks.IncomingAll, false}, {blocks.IncomingFollowing, true}, {blocks.IncomingNone, true}} {
		g := e.gate(e.appview, c.incoming, true)
		for user, want := range map[mls.DID]bool{
			u[1]: false, u[2]: true, u[3]: true, u[4]: false, u[5]: c.silent, u[6]: c.silent, noPDS.DID: c.silent, caller: false,
		} {
			if got := refuses(t, g, caller, user); got != want {
				t.Errorf("%s, by default %s: refused %t", user, c.incoming, got)
			}
		}
	}
	// A declaration is about strangers.
	e.converse(t, caller, u[2])
	if refuses(t, e.gate(e.appview, blocks.IncomingNone, true), caller, u[2]) {
		t.Error("who shares a conversation with the user is refused")
	}
	if refuses(t, blocks.NewGate(e.service(e.appview, true), nil), caller, u[3]) {
		t.Error("a gate without declarations goes by one")
	}
}

// A word is asked for once in five minutes and caller, and is good for a day when the source is
// away; then BLOCKS_FAIL_CLOSED decides.
func TestDeclarationsAreRemembered(t *testing.T) {
	t.Parallel()
	for _, closed := range []bool{true, false} {
		e := newEnv(t)
		u := e.users(3)
		e.network.Declare(u[1], "none")
		g := e.gate(nil, blocks.IncomingAll, closed)
		asked := func(caller mls.DID) int {
			t.Helper()
			before := e.network.Requests(blockstest.GetRecord)
			if !refuses(t, g, caller, u[1]) {
				t.Error("let in")
			}
			return e.network.Requests(blockstest.GetRecord) - before
		}
		for i, want := range []int{1, 0} {
			if got := asked(u[0]); got != want {
				t.Errorf("question %d: %d requests, want %d", i, got, want)
			}
		}
		if got := asked(u[2]); got != 1 {
			t.Errorf("another caller's question: %d requests; an answer out of memory would tell of the first one's", got)
		}
		e.clock.Advance(blocks.FreshFor + time.Second)
		if got := asked(u[0]); got != 1 {
			t.Errorf("later: %d requests", got)
		}
		e.network.SetDown(true, blockstest.GetRecord)
		e.clock.Advance(blocks.FreshFor + time.Second)
		if got := asked(u[0]); got != 1 {
			t.Errorf("the source is away: %d requests", got)
		}
		if got := asked(u[0]); got != 0 {
			t.Errorf("the source was away a moment ago: %d requests", got)
		}
		e.clock.Advance(blocks.UsableFor)
		listed, err := g.Blocking(t.Context(), u[0], []mls.DID{u[1]})
		if err != nil || len(listed) > 0 {
			t.Errorf("a claim is refused for what nobody knows: %v %v", listed, err)
		}
		refused, err := g.AnyBetween(t.Context(), u[0], []mls.DID{u[1]}, nil)
		if refused || errors.Is(err, mls.ErrBlockSourceUnavailable) != closed {
			t.Errorf("fail closed %t: %t %v", closed, refused, err)
		}
	}
}

// TestCallersCannotSendSourcesAway: a caller chooses whom else it asks about, for how long, and how
// fast the servers of its own accounts are. Nothing of that lets in those who do not want to hear
// from it, or who block it, where BLOCKS_FAIL_CLOSED is off.
func TestCallersCannotSendSourcesAway(t *testing.T) {
	t.Parallel()
	nobody := make([]mls.DID, 1000) // of whom nobody has heard
	for i := range nobody {
		nobody[i] = mls.DID(fmt.Sprintf("did:plc:%024d", i))
	}
	for name, c := range map[string]struct {
		refuse func(e *env, caller, user mls.DID)
		spend  func(e *env, g *blocks.Gate, caller mls.DID) error
	}{
		"declarations": {func(e *env, _, user mls.DID) { e.network.Declare(user, "none") }, func(_ *env, g *blocks.Gate, caller mls.DID) error {
			_, err := g.Blocking(t.Context(), caller, nobody)
			return err
		}},
		"followers": {func(e *env, _, user mls.DID) { e.network.Declare(user, "following") }, func(e *env, g *blocks.Gate, caller mls.DID) error {
			e.network.SetDown(true, blockstest.GetRelationships)
			defer e.network.SetDown(false)
			for _, u := range e.users(150) {
				e.network.Declare(u, "following")
				if _, err := g.Blocking(t.Context(), caller, []mls.DID{u}); err != nil {
					return err
				}
			}
			return nil
		}},
		"blocks": {func(e *env, caller, user mls.DID) { e.network.Block(user, caller) }, func(_ *env, g *blocks.Gate, caller mls.DID) error {
			_, err := g.Service.Blocking(t.Context(), caller, nobody)
			return err
		}},
	} {
		t.Run("what the caller may ask is spent: "+name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			u := e.users(3)
			c.refuse(e, u[0], u[1])
			view := e.appview
			if name == "blocks" {
				view = nil
			}
			g := e.gate(view, blocks.IncomingAll, false)
			if err := c.spend(e, g, u[0]); err != nil {
				t.Fatal(err)
			}
			if refused, err := g.AnyBetween(t.Context(), u[0], u[1:2], u[:1]); refused || !errors.Is(err, mls.ErrRateLimitExceeded) {
				t.Errorf("an addition: %t %v", refused, err)
			}
			e.clock.Advance(3 * time.Minute)
			if !refuses(t, g, u[0], u[1]) {
				t.Error("let in later")
			}
		})
	}
}

// TestSlowServersDoNotHurryOthers: who adds many accounts whose servers never answer gets no answer
// about the one that does not want to hear from it, or the right one.
func TestSlowServersDoNotHurryOthers(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	hang := make(chan struct{})
	origin, client := e.upstream(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	})
	t.Cleanup(func() { close(hang) })
	e.client = client
	e.pds = blocks.NewPDS(client, e.resolver(client), e.clock)
	u := e.users(3)
	e.network.Declare(u[1], "none")
	e.network.Block(u[2], u[0])
	slow := make([]mls.DID, 40)
	for i := range slow {
		id := e.dir.NewIdentity(authtest.P256)
		id.SetPDS(origin)
		slow[i] = id.DID
	}
	g := e.gate(nil, blocks.IncomingAll, false)
	for _, user := range u[1:] {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			refused, err := g.AnyBetween(t.Context(), u[0], append(slices.Clone(slow), user), u[:1])
			if !refused && !errors.Is(err, mls.ErrBlockSourceUnavailable) {
				t.Errorf("refused: %t, %v", refused, err)
			}
			// A moment later it is asked again: nothing has said that its server is away.
			if !refuses(t, g, u[0], user) {
				t.Error("let in later")
			}
		})
	}
}

// TestWhoGoesAwaySaysNothing: a question whose caller hangs up is no sign that a server is away.
func TestWhoGoesAwaySaysNothing(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	network, err := url.Parse(e.network.URL())
	if err != nil {
		t.Fatal(err)
	}
	arrived, release := make(chan struct{}, 100), make(chan struct{})
	origin, client := e.upstream(t, func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-release
		httputil.NewSingleHostReverseProxy(network).ServeHTTP(w, r)
	})
	e.pds = blocks.NewPDS(client, e.resolver(client), e.clock)
	users := e.users(1)
	for range 2 {
		id := e.dir.NewIdentity(authtest.P256)
		id.SetPDS(origin)
		e.network.AddAccount(id.DID)
		users = append(users, id.DID)
	}
	e.network.Declare(users[1], "none")
	e.network.Block(users[2], users[0])
	g := e.gate(nil, blocks.IncomingAll, false)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for _, user := range users[1:] {
		wg.Go(func() {
			if _, err := g.AnyBetween(ctx, users[0], []mls.DID{user}, users[:1]); err == nil {
				t.Error("an answer to nobody")
			}
		})
	}
	for range 2 * len(users[1:]) {
		<-arrived
	}
	cancel()
	close(release)
	wg.Wait()
	for _, user := range users[1:] {
		if !refuses(t, g, users[0], user) {
			t.Error("let in")
		}
	}
}

// One claim of many users costs one call of the AppView, and half of its budget is kept for
// additions.
func TestFollowersAreAskedForTogether(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	u := e.users(30)
	for _, user := range u[1:] {
		e.network.Declare(user, "following")
		if user != u[1] {
			e.network.Follow(user, u[0])
		}
	}
	g := blocks.NewGate(e.service(nil, true), blocks.NewDeclarations(blocks.DeclarationsConfig{
		PDS: e.pds, AppView: e.appview, Default: blocks.IncomingAll, Clock: e.clock,
	}))
	listed, err := g.Blocking(t.Context(), u[0], u[1:])
	if err != nil || !slices.Equal(listed, u[1:2]) || e.calls() != 1 {
		t.Errorf("%v %v: %d calls", listed, err, e.calls())
	}
	for i := 0; ; i++ { // others spend what there is for questions that do not admit
		caller := mls.DID(fmt.Sprintf("did:plc:%024d", i))
		_, err := e.appview.Lookup(t.Context(), caller, []store.BlockPair{{Blocker: caller, Blocked: u[0]}}, false)
		if err != nil {
			break
		}
	}
	stranger := e.users(1)[0]
	before := e.calls()
	if listed, err := g.Blocking(t.Context(), stranger, u[1:2]); err != nil || len(listed) > 0 || e.calls() != before {
		t.Errorf("a claim takes of what is kept for additions: %v %v", listed, err)
	}
	if refused, err := g.AnyBetween(t.Context(), stranger, u[1:2], []mls.DID{stranger}); err != nil || !refused || e.calls() != before+1 {
		t.Errorf("an addition: %t %v", refused, err)
	}
}

// Nobody can say whom a user follows without an AppView, or with one that is away.
func TestFollowersNeedAnAppView(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	u := e.users(2)
	e.network.Declare(u[1], "following")
	e.network.SetDown(true, blockstest.GetRelationships)
	for name, view := range map[string]*blocks.AppView{"none": nil, "away": e.appview} {
		for _, closed := range []bool{true, false} {
			refused, err := e.gate(view, blocks.IncomingAll, closed).AnyBetween(t.Context(), u[0], []mls.DID{u[1]}, nil)
			if refused || errors.Is(err, mls.ErrBlockSourceUnavailable) != closed {
				t.Errorf("%s, fail closed %t: %t %v", name, closed, refused, err)
			}
		}
	}
}
