package app

import (
	"context"
	"encoding/json"
	"net/http"
	"sync/atomic"
	"time"

	"mls-server/internal/config"
	"mls-server/internal/store"
)

// handler serves the public port.
func (a *App) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", a.methods)
	mux.HandleFunc("GET /health", a.health.live)
	mux.HandleFunc("GET /health/live", a.health.live)
	mux.HandleFunc("GET /health/ready", a.health.ready)
	mux.HandleFunc("GET /xrpc/_health", a.health.live)
	if doc := didDocument(a.cfg); doc != nil {
		mux.HandleFunc("GET /.well-known/did.json", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Access-Control-Allow-Origin", "*")
			writeJSON(w, http.StatusOK, doc)
		})
	}
	return mux
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
	store    *store.Store
	draining atomic.Bool
	migrated atomic.Bool
}

// drain makes the server not ready, so that nothing new is sent to it.
func (h *health) drain() { h.draining.Store(true) }

func (h *health) live(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

// readyTimeout bounds how long a readiness check waits for the database.
const readyTimeout = 3 * time.Second

func (h *health) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
	defer cancel()
	if reason := h.reason(ctx); reason != "" {
		writeJSON(w, http.StatusServiceUnavailable, map[string]string{"status": "not ready", "reason": reason})
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"status": "ready"})
}

// reason says why the server is not ready, "" when it is.
func (h *health) reason(ctx context.Context) string {
	if h.draining.Load() {
		return "draining"
	}
	if !h.migrated.Load() {
		status, err := h.store.MigrationStatus(ctx)
		if err != nil {
			return "database"
		}
		if !status.Ready() {
			return "migrations"
		}
		h.migrated.Store(true)
	}
	if err := h.store.Ping(ctx); err != nil {
		return "database"
	}
	return ""
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client may be gone
}
