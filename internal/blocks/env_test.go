package blocks_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"mls-server/internal/auth"
	"mls-server/internal/authtest"
	"mls-server/internal/blocks"
	"mls-server/internal/blocks/blockstest"
	"mls-server/internal/clock/clocktest"
	"mls-server/internal/egress"
	"mls-server/internal/mls"
	"mls-server/internal/store"
)

type memoryCache struct {
	mu     sync.Mutex
	blocks map[store.BlockPair]savedBlock
	checks map[store.BlockPair]time.Time
	err    error
}

type savedBlock struct {
	store.Block
	seen time.Time
}

func newMemoryCache() *memoryCache {
	return &memoryCache{blocks: map[store.BlockPair]savedBlock{}, checks: map[store.BlockPair]time.Time{}}
}

func (m *memoryCache) ListBlocks(_ context.Context, dids []mls.DID) ([]store.Block, []store.BlockCheck, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	in := map[mls.DID]bool{}
	for _, d := range dids {
		in[d] = true
	}
	var kept []store.Block
	var checks []store.BlockCheck
	for p, b := range m.blocks {
		if in[p.Blocker] && in[p.Blocked] {
			kept = append(kept, b.Block)
		}
	}
	for p, at := range m.checks {
		if in[p.Blocker] && (p.Blocked == "" || in[p.Blocked]) {
			checks = append(checks, store.BlockCheck{BlockPair: p, CheckedAt: at})
		}
	}
	return kept, checks, m.err
}

func (m *memoryCache) SaveBlocks(_ context.Context, f store.BlocksFound) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, b := range f.Blocks {
		m.blocks[store.BlockPair{Blocker: b.Blocker, Blocked: b.Blocked}] = savedBlock{b, f.At}
	}
	for _, c := range f.Checked {
		for p, b := range m.blocks {
			if p.Blocker == c.Blocker && (c.Blocked == "" || c.Blocked == p.Blocked) && b.seen.Before(f.At) {
				delete(m.blocks, p)
			}
		}
		if f.At.After(m.checks[c]) {
			m.checks[c] = f.At
		}
	}
	return m.err
}

type env struct {
	clock   *clocktest.Manual
	dir     *authtest.Directory
	network *blockstest.Server
	client  *egress.Client
	cache   *memoryCache
	pds     *blocks.PDS
	appview *blocks.AppView
}

func newEnv(t *testing.T) *env {
	t.Helper()
	clk := clocktest.New()
	dir, network := authtest.NewDirectory(t, clk), blockstest.New(t, clk)
	client, err := egress.New(egress.Config{Allow: append(dir.HostPorts(), network.HostPort())})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdle)
	resolver := auth.NewResolver(auth.ResolverConfig{Client: client, PLCURL: dir.URL(), Clock: clk})
	pds := blocks.NewPDS(client, resolver, clk)
	return &env{
		clock: clk, dir: dir, network: network, client: client, cache: newMemoryCache(), pds: pds,
		appview: blocks.NewAppView(client, network.URL()+"/", pds, clk),
	}
}

func (e *env) service(source blocks.Source, failClosed bool) *blocks.Service {
	return blocks.New(blocks.Config{Cache: e.cache, Source: source, Records: e.pds, FailClosed: failClosed, Clock: e.clock})
}

func (e *env) users(n int) []mls.DID {
	out := make([]mls.DID, n)
	for i := range out {
		id := e.dir.NewIdentity(authtest.P256)
		id.SetPDS(e.network.URL())
		e.network.AddAccount(id.DID)
		out[i] = id.DID
	}
	return out
}

func between(t *testing.T, s *blocks.Service, dids []mls.DID) blocks.Answer {
	t.Helper()
	a, err := s.Between(t.Context(), dids)
	if err != nil {
		t.Fatalf("between: %v", err)
	}
	return a
}

func pairsOf(a blocks.Answer) string {
	var b strings.Builder
	for _, x := range a.Blocks {
		fmt.Fprintf(&b, "%s>%s ", x.Blocker, x.Blocked)
	}
	return b.String()
}
