package blocks_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"mls-server/internal/auth"
	"mls-server/internal/authtest"
	"mls-server/internal/blocks"
	"mls-server/internal/egress"
	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// upstream starts a server that stands for an AppView or a PDS, and returns its
// origin and a client that may ask it and the environment's own servers.
func (e *env) upstream(t *testing.T, h http.HandlerFunc) (string, *egress.Client) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	client, err := egress.New(egress.Config{Allow: append(e.dir.HostPorts(), e.network.HostPort(), strings.TrimPrefix(s.URL, "http://"))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdle)
	return s.URL, client
}

// relationships answers getRelationships about the given accounts, each of which blocks the actor.
func relationships(w http.ResponseWriter, actor string, others ...string) {
	list := make([]map[string]string, len(others))
	for i, o := range others {
		list[i] = map[string]string{
			"$type": "app.bsky.graph.defs#relationship", "did": o, "blockedBy": "at://" + o + "/app.bsky.graph.block/3aaaaaaaaaaaa",
		}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"actor": actor, "relationships": list})
}

// An AppView says nothing about users that it was not asked about.
func TestUnaskedAnswersAreDropped(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	u := e.users(2)
	const victim = "did:plc:vvvvvvvvvvvvvvvvvvvvvvvv"
	origin, client := e.upstream(t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		relationships(w, q.Get("actor"), append(q["others"], victim)...)
	})
	found, err := blocks.NewAppView(client, origin, e.pds, e.clock).Lookup(t.Context(), u[0], []store.BlockPair{{Blocker: u[0], Blocked: u[1]}}, true)
	if err != nil || len(found.Blocks) != 1 || len(found.Checked) != 2 {
		t.Errorf("%+v, %v", found, err)
	}
	if slices.ContainsFunc(found.Checked, func(p store.BlockPair) bool { return p.Blocker == victim || p.Blocked == victim }) {
		t.Errorf("a user that nobody asked about was checked: %+v", found.Checked)
	}
}

// An AppView that leaves a user out has said nothing about it.
func TestAnswersWithHolesAreIncomplete(t *testing.T) {
	t.Parallel()
	for _, failClosed := range []bool{true, false} {
		e := newEnv(t)
		u := e.users(3)
		origin, client := e.upstream(t, func(w http.ResponseWriter, r *http.Request) {
			q := r.URL.Query()
			_ = json.NewEncoder(w).Encode(map[string]any{"actor": q.Get("actor"), "relationships": []any{}})
		})
		view := blocks.NewAppView(client, origin, e.pds, e.clock)
		found, err := view.Lookup(t.Context(), u[0], []store.BlockPair{{Blocker: u[0], Blocked: u[1]}}, true)
		if err == nil || len(found.Checked) != 0 {
			t.Errorf("%+v, %v", found, err)
		}
		s := e.service(view, failClosed)
		e.network.SetDown(true)
		if blocked, err := s.AnyBetween(t.Context(), u[0], u[:1], u[1:]); blocked || errors.Is(err, mls.ErrBlockSourceUnavailable) != failClosed {
			t.Errorf("fail closed %v: %v, %v", failClosed, blocked, err)
		}
	}
}

// A caller makes at most 300 calls of an AppView at once, however many pairs it asks about.
func TestCallsOfOneQuestionAreBounded(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	var calls atomic.Int64
	origin, client := e.upstream(t, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		relationships(w, r.URL.Query().Get("actor"), r.URL.Query()["others"]...)
	})
	pairs := make([]store.BlockPair, 600)
	for i := range pairs {
		pairs[i] = store.BlockPair{Blocker: mls.DID(fmt.Sprintf("did:plc:%024d", 2*i)), Blocked: mls.DID(fmt.Sprintf("did:plc:%024d", 2*i+1))}
	}
	found, err := blocks.NewAppView(client, origin, e.pds, e.clock).Lookup(t.Context(), pairs[0].Blocker, pairs, true)
	if n := calls.Load(); err == nil || n != 300 || len(found.Checked) != 2*300 {
		t.Errorf("%d calls, %d pairs answered, %v", n, len(found.Checked), err)
	}
}

// A PDS whose list never ends is asked for 100 pages of it and no more.
func TestEndlessListsAreGivenUp(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id := e.dir.NewIdentity(authtest.K256)
	var pages atomic.Int64
	origin, client := e.upstream(t, func(w http.ResponseWriter, _ *http.Request) {
		n := pages.Add(1)
		if n > 250 {
			w.WriteHeader(http.StatusTeapot) // or the test would not end either
			return
		}
		_, _ = fmt.Fprintf(w, `{"cursor":"%d","records":[{"uri":"at://%s/app.bsky.graph.block/%d","value":{"subject":"did:plc:%024d"}}]}`, n, id.DID, n, n)
	})
	id.SetPDS(origin)
	pds := blocks.NewPDS(client, auth.NewResolver(auth.ResolverConfig{Client: client, PLCURL: e.dir.URL(), Clock: e.clock}), e.clock)
	s := blocks.New(blocks.Config{Cache: e.store, PDS: pds, Observe: func(string) {}, Clock: e.clock})
	a, err := s.Between(t.Context(), id.DID, []mls.DID{id.DID, e.users(1)[0]})
	if n := pages.Load(); !errors.Is(err, mls.ErrBlockSourceUnavailable) || n != 100 {
		t.Errorf("%d pages, %+v, %v", n, a, err)
	}
}
