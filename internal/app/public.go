package app

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"mls-server/internal/clock"
	"mls-server/internal/config"
	"mls-server/internal/store"
)

// pages mounts what the public port answers besides the methods.
func (a *App) pages() {
	live := func(context.Context) (int, any) { return http.StatusOK, map[string]string{"status": "ok"} }
	a.api.HandlePage("/health", live)
	a.api.HandlePage("/health/live", live)
	a.api.HandlePage("/xrpc/_health", live)
	a.api.HandlePage("/health/ready", a.health.ready)
	if doc := didDocument(a.cfg); doc != nil {
		a.api.HandlePage("/.well-known/did.json", func(context.Context) (int, any) { return http.StatusOK, doc })
	}
}

// didDocument publishes the server's own did:web, nil for other methods, whose
// documents live elsewhere.
func didDocument(cfg *config.Config) map[string]any {
	if cfg.ServiceDID.Method() != "web" {
		return nil
	}
	return map[string]any{
		"@context": []string{"https://www.w3.org/ns/did/v1"},
		"id":       cfg.ServiceDID,
		"service": []map[string]any{{
			"id": "#" + cfg.ServiceID, "type": "AtprotoMlsDeliveryService", "serviceEndpoint": cfg.PublicURL,
		}},
	}
}

// health answers load balancers and orchestrators.
type health struct {
	store *store.Store
	// lag is how long events have waited that streams were not given yet.
	lag      func() time.Duration
	clock    clock.Clock
	full     func() bool                // no used token can be remembered
	known    func(context.Context) bool // it is known which accounts are refused
	age      func() time.Duration       // how old that is
	draining atomic.Bool

	mu       sync.Mutex
	migrated bool
	// reason is what was found at checked, "" when the server was ready.
	reason  string
	checked time.Time
}

const (
	// readyTimeout bounds how long a readiness check waits for the database.
	readyTimeout = 3 * time.Second
	// readyFor is how long its outcome is told, to everybody who asks.
	readyFor = time.Second
	// lagLimit is from when on streams that wait for another transaction count as
	// a fault.
	lagLimit = 30 * time.Second
	// statesLimit is from when on it counts as a fault that nothing is learnt of refused accounts.
	statesLimit = 30 * time.Second
)

// drain makes the server not ready, so that nothing new is sent to it.
func (h *health) drain() { h.draining.Store(true) }

// ready is the page of readiness.
func (h *health) ready(ctx context.Context) (int, any) {
	reason := "draining"
	if !h.draining.Load() {
		reason = h.check(ctx)
	}
	if reason != "" {
		return http.StatusServiceUnavailable, map[string]string{"status": "not ready", "reason": reason}
	}
	return http.StatusOK, map[string]string{"status": "ready"}
}

// check says why the server is not ready, "" when it is. The database is asked
// once in readyFor at most: whoever comes meanwhile waits for that answer.
func (h *health) check(ctx context.Context) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now := h.clock.Now(); now.Sub(h.checked) >= readyFor {
		// The answer is for others too, who stay when the first one leaves.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readyTimeout)
		defer cancel()
		h.reason, h.checked = h.ask(ctx), h.clock.Now()
	}
	return h.reason
}

func (h *health) ask(ctx context.Context) string {
	if !h.migrated {
		status, err := h.store.MigrationStatus(ctx)
		if err != nil {
			return away(err)
		}
		if !status.Ready() {
			return "migrations"
		}
		h.migrated = true
	}
	if err := h.store.Ping(ctx); err != nil {
		return away(err)
	}
	if !h.known(ctx) || h.age() >= statesLimit {
		return "accounts"
	}
	if h.lag() >= lagLimit {
		return "event-log"
	}
	if h.full() {
		return "used tokens"
	}
	return ""
}

// away says why the database cannot be used.
func away(err error) string {
	if errors.Is(err, store.ErrStandby) {
		return "standby"
	}
	return "database"
}
