package blocks_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"mls-server/internal/authtest"
	"mls-server/internal/blocks"
	"mls-server/internal/blocks/blockstest"
	"mls-server/internal/mls"
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
