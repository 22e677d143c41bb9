package blocks_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"mls-server/internal/blocks"
	"mls-server/internal/mls"
	"mls-server/lexrt"
)

func TestVerify(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.service(e.appview, true)
	u := e.users(4)
	a, b, c := u[0], u[1], u[2]
	uri := e.network.Block(a, b)
	other := e.network.Block(a, c)
	theirs := e.network.Block(b, a)
	missing := lexrt.ATURI("at://" + string(a) + "/app.bsky.graph.block/3aaaaaaaaaaaa")
	check := func(what string, claim blocks.Claim, want error) {
		t.Helper()
		if err := s.Verify(t.Context(), claim); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	not := mls.ErrBlockNotVerified

	check("created, by record", blocks.Claim{Blocker: a, Blocked: b, URI: uri, Exists: true}, nil)
	check("created, by list", blocks.Claim{Blocker: a, Blocked: b, Exists: true}, nil)
	check("created, record of another subject", blocks.Claim{Blocker: a, Blocked: b, URI: other, Exists: true}, not)
	check("created, record of another author", blocks.Claim{Blocker: a, Blocked: b, URI: theirs, Exists: true}, not)
	check("created, record of another collection", blocks.Claim{Blocker: a, Blocked: b, URI: lexrt.ATURI(strings.Replace(string(uri), "block", "follow", 1)), Exists: true}, not)
	check("created, no such record", blocks.Claim{Blocker: a, Blocked: b, URI: missing, Exists: true}, not)
	check("created, repository alone", blocks.Claim{Blocker: a, Blocked: b, URI: lexrt.ATURI("at://" + string(a)), Exists: true}, not)
	check("created, none in the list", blocks.Claim{Blocker: a, Blocked: u[3], Exists: true}, not)
	check("created, oneself", blocks.Claim{Blocker: a, Blocked: a, Exists: true}, not)

	check("removed, but it is there", blocks.Claim{Blocker: a, Blocked: b, URI: uri}, not)
	check("removed, but the list has it", blocks.Claim{Blocker: a, Blocked: b}, not)
	check("removed, a record that never was", blocks.Claim{Blocker: a, Blocked: b, URI: missing}, not)
	check("removed, never was", blocks.Claim{Blocker: a, Blocked: u[3]}, nil)
	check("removed, not yet known, a record that never was", blocks.Claim{Blocker: a, Blocked: c, URI: missing}, not)
	e.network.Unblock(uri)
	check("removed, by record", blocks.Claim{Blocker: a, Blocked: b, URI: uri}, nil)
	check("removed, by list", blocks.Claim{Blocker: a, Blocked: b}, nil)
	check("created, but it is gone", blocks.Claim{Blocker: a, Blocked: b, URI: uri, Exists: true}, not)

	e.network.SetDown(true)
	check("down, created", blocks.Claim{Blocker: a, Blocked: c, URI: other, Exists: true}, mls.ErrBlockSourceUnavailable)
	check("down, removed", blocks.Claim{Blocker: a, Blocked: c, URI: other}, mls.ErrBlockSourceUnavailable)
}

func TestVerifyUpdatesTheCache(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.service(nil, true)
	u := e.users(2)
	blocked := func() bool {
		t.Helper()
		got, err := s.AnyBetween(t.Context(), u[0], u[:1], u[1:])
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if blocked() {
		t.Error("a block before there was one")
	}
	uri := e.network.Block(u[0], u[1])
	e.clock.Advance(time.Second)
	if err := s.Verify(t.Context(), blocks.Claim{Blocker: u[0], Blocked: u[1], URI: uri, Exists: true}); err != nil || !blocked() {
		t.Errorf("created: %v", err)
	}
	e.network.Unblock(uri)
	e.clock.Advance(time.Second)
	if err := s.Verify(t.Context(), blocks.Claim{Blocker: u[0], Blocked: u[1], URI: uri}); err != nil || blocked() {
		t.Errorf("removed: %v", err)
	}
}

func TestVerifyRemovedOfADoubleBlock(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.service(nil, true)
	u := e.users(2)
	first, second := e.network.Block(u[0], u[1]), e.network.Block(u[0], u[1])
	between(t, s, u[0], u) // the cache knows the newer one
	e.network.Unblock(first)
	claim := blocks.Claim{Blocker: u[0], Blocked: u[1], URI: first}
	if err := s.Verify(t.Context(), claim); !errors.Is(err, mls.ErrBlockNotVerified) {
		t.Errorf("one of two is gone: %v", err)
	}
	e.network.Unblock(second)
	if err := s.Verify(t.Context(), claim); err != nil {
		t.Errorf("both are gone: %v", err)
	}
}
