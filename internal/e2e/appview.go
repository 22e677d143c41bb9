package e2e

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"mls-server/internal/mls"
)

// AppView answers app.bsky.graph.getRelationships from a table of blocks, and, as the users'
// personal data server, com.atproto.repo.listRecords and, of declarations, getRecord.
type AppView struct {
	server *httptest.Server
	mu     sync.Mutex
	blocks map[[2]mls.DID]string
	// declared is from whom users accept messages.
	declared map[mls.DID]string
	down     bool
}

func newAppView(tb testing.TB) *AppView {
	tb.Helper()
	v := &AppView{blocks: map[[2]mls.DID]string{}, declared: map[mls.DID]string{}}
	v.server = httptest.NewServer(http.HandlerFunc(v.serve))
	tb.Cleanup(v.server.Close)
	return v
}

// URL is the value for APPVIEW_URL.
func (v *AppView) URL() string { return v.server.URL }

// HostPort is the entry that EGRESS_ALLOW needs.
func (v *AppView) HostPort() string { return strings.TrimPrefix(v.server.URL, "http://") }

// Block makes one user block another.
func (v *AppView) Block(blocker, blocked mls.DID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.blocks[[2]mls.DID{blocker, blocked}] = "at://" + string(blocker) + "/app.bsky.graph.block/3kblock222222"
}

// Declare makes a user say from whom it accepts messages: all, following or none.
func (v *AppView) Declare(user mls.DID, incoming string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.declared[user] = incoming
}

// SetDown makes every request fail, or work again.
func (v *AppView) SetDown(down bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.down = down
}

func (v *AppView) serve(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if !v.down && r.URL.Path == "/xrpc/com.atproto.repo.listRecords" {
		v.listRecords(w, r)
		return
	}
	if !v.down && r.URL.Path == "/xrpc/com.atproto.repo.getRecord" {
		v.getRecord(w, r)
		return
	}
	if v.down || r.URL.Path != "/xrpc/app.bsky.graph.getRelationships" {
		http.Error(w, `{"error":"UpstreamFailure","message":"down"}`, http.StatusBadGateway)
		return
	}
	actor, others := mls.DID(r.URL.Query().Get("actor")), r.URL.Query()["others"]
	if len(others) > 30 {
		http.Error(w, `{"error":"InvalidRequest","message":"others must not have more than 30 elements"}`, http.StatusBadRequest)
		return
	}
	type relationship struct {
		Type      string `json:"$type"`
		DID       string `json:"did"`
		Blocking  string `json:"blocking,omitempty"`
		BlockedBy string `json:"blockedBy,omitempty"`
	}
	rels := []relationship{}
	for _, o := range others {
		other := mls.DID(o)
		rels = append(rels, relationship{
			Type: "app.bsky.graph.defs#relationship", DID: o,
			Blocking: v.blocks[[2]mls.DID{actor, other}], BlockedBy: v.blocks[[2]mls.DID{other, actor}],
		})
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"actor": actor, "relationships": rels})
}

func (v *AppView) listRecords(w http.ResponseWriter, r *http.Request) {
	repo, collection := mls.DID(r.URL.Query().Get("repo")), r.URL.Query().Get("collection")
	records := []any{}
	for pair, uri := range v.blocks {
		if pair[0] == repo && collection == "app.bsky.graph.block" {
			records = append(records, map[string]any{"uri": uri, "value": map[string]any{"subject": pair[1], "createdAt": "2024-01-01T00:00:00Z"}})
		}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"records": records})
}

func (v *AppView) getRecord(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	incoming := v.declared[mls.DID(q.Get("repo"))]
	if incoming == "" || q.Get("collection") != "chat.bsky.actor.declaration" || q.Get("rkey") != "self" {
		http.Error(w, `{"error":"RecordNotFound","message":"Could not locate record"}`, http.StatusBadRequest)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{
		"uri": "at://" + q.Get("repo") + "/chat.bsky.actor.declaration/self", "value": map[string]any{"allowIncoming": incoming},
	})
}
