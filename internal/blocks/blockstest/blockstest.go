// Package blockstest is test support: an HTTP server that answers as the
// sources of block records and declarations do, com.atproto.repo.getRecord and
// listRecords of a personal data server and app.bsky.graph.getRelationships of an AppView, with
// their limits, pages and errors.
//
// Nothing but tests may import it. It listens on loopback only.
package blockstest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"mls-server/internal/clock"
	"mls-server/lexrt"
)

const (
	blockCollection     = "app.bsky.graph.block"
	listBlockCollection = "app.bsky.graph.listblock"

	declarationCollection = "chat.bsky.actor.declaration"

	fakeCID = "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a"
)

// Server is a PDS for every account it was told of, and an AppView that knows them.
type Server struct {
	server *httptest.Server
	clock  clock.Clock

	mu       sync.Mutex
	blocks   map[lexrt.DID]map[string]block // by author and record key
	lists    map[lexrt.DID]map[lexrt.DID]string
	gone     map[lexrt.DID]string // an account and the error name for it
	declared map[lexrt.DID]string
	follows  map[[2]lexrt.DID]bool
	down     map[string]bool
	requests map[string]int
	lastKey  int64

	now      int           // requests that are being answered
	wanted   int           // how many requests Gather waits for
	gathered chan struct{} // closed when they are there; nil when nobody waits
}

type block struct {
	subject   lexrt.DID
	createdAt string
}

// The methods that a Server answers, for SetDown and Requests.
const (
	ListRecords      = "com.atproto.repo.listRecords"
	GetRecord        = "com.atproto.repo.getRecord"
	GetRelationships = "app.bsky.graph.getRelationships"
)

// New starts a server that lives as long as the test. c makes the times of
// records; nil means the machine's clock.
func New(tb testing.TB, c clock.Clock) *Server {
	tb.Helper()
	if c == nil {
		c = clock.System
	}
	s := &Server{
		clock: c, blocks: map[lexrt.DID]map[string]block{}, lists: map[lexrt.DID]map[lexrt.DID]string{},
		declared: map[lexrt.DID]string{}, follows: map[[2]lexrt.DID]bool{}, gone: map[lexrt.DID]string{}, down: map[string]bool{}, requests: map[string]int{},
	}
	s.server = httptest.NewServer(http.HandlerFunc(s.serve))
	tb.Cleanup(s.server.Close)
	return s
}

// URL is the origin of the PDS and of the AppView.
func (s *Server) URL() string { return s.server.URL }

// HostPort is the entry that EGRESS_ALLOW needs.
func (s *Server) HostPort() string { return strings.TrimPrefix(s.server.URL, "http://") }

// AddAccount makes the accounts known. An account that is not known has no
// repository here and no relationships.
func (s *Server) AddAccount(dids ...lexrt.DID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range dids {
		if s.blocks[d] == nil {
			s.blocks[d] = map[string]block{}
		}
	}
}

// Block makes a block record and returns its URI. Both accounts become known.
func (s *Server) Block(blocker, blocked lexrt.DID) lexrt.ATURI {
	s.AddAccount(blocker, blocked)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Now()
	s.lastKey = max(s.lastKey+1, now.UnixMicro())
	key := syntax.NewTID(s.lastKey, 0).String()
	s.blocks[blocker][key] = block{blocked, now.UTC().Format(syntax.AtprotoDatetimeLayout)}
	return lexrt.ATURI("at://" + string(blocker) + "/" + blockCollection + "/" + key)
}

// Unblock deletes a record.
func (s *Server) Unblock(uri lexrt.ATURI) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.blocks[lexrt.DID(uri.Authority().String())], uri.RecordKey().String())
}

// Declare makes an account say from whom it accepts messages: all, following or none; "" deletes
// the record.
func (s *Server) Declare(did lexrt.DID, incoming string) {
	s.AddAccount(did)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.declared[did] = incoming
}

// Follow makes an account follow another.
func (s *Server) Follow(follower, followed lexrt.DID) {
	s.AddAccount(follower, followed)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.follows[[2]lexrt.DID{follower, followed}] = true
}

// BlockByList makes a block that only the AppView sees.
func (s *Server) BlockByList(blocker, blocked lexrt.DID) {
	s.AddAccount(blocker, blocked)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lists[blocker] == nil {
		s.lists[blocker] = map[lexrt.DID]string{}
	}
	s.lastKey = max(s.lastKey+1, s.clock.Now().UnixMicro())
	s.lists[blocker][blocked] = "at://" + string(blocker) + "/" + listBlockCollection + "/" + syntax.NewTID(s.lastKey, 0).String()
}

// SetGone makes the PDS answer with the error name for an account, for example
// RepoDeactivated; "" brings it back.
func (s *Server) SetGone(did lexrt.DID, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone[did] = name
}

// SetDown makes the methods answer 502, or work again. Without methods it is all of them.
func (s *Server) SetDown(down bool, methods ...string) {
	if len(methods) == 0 {
		methods = []string{ListRecords, GetRecord, GetRelationships}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range methods {
		s.down[m] = down
	}
}

// Requests is how often the methods were called, all of them when none is named.
func (s *Server) Requests(methods ...string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(methods) == 0 {
		methods = []string{ListRecords, GetRecord, GetRelationships}
	}
	n := 0
	for _, m := range methods {
		n += s.requests[m]
	}
	return n
}

// Gather holds requests back until n of them are under way at a time. Those of a caller that makes
// fewer at a time end at their own deadlines.
func (s *Server) Gather(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanted, s.gathered = n, make(chan struct{})
}

// enter counts a request that is under way, and waits for those that Gather asks for.
func (s *Server) enter(ctx context.Context) (leave func()) {
	s.mu.Lock()
	s.now++
	wait := s.gathered
	if wait != nil && s.now == s.wanted {
		close(wait)
		s.gathered = nil
	}
	s.mu.Unlock()
	if wait != nil {
		select {
		case <-wait:
		case <-ctx.Done():
		}
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.now--
	}
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	defer s.enter(r.Context())()
	method := strings.TrimPrefix(r.URL.Path, "/xrpc/")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests[method]++
	if s.down[method] {
		fail(w, http.StatusBadGateway, "UpstreamFailure", "Upstream service unreachable")
		return
	}
	switch method {
	case ListRecords:
		s.listRecords(w, r)
	case GetRecord:
		s.getRecord(w, r)
	case GetRelationships:
		s.getRelationships(w, r)
	default:
		fail(w, http.StatusNotImplemented, "MethodNotImplemented", "Method Not Implemented")
	}
}

func (s *Server) repo(w http.ResponseWriter, r *http.Request) (lexrt.DID, bool) {
	did := lexrt.DID(r.URL.Query().Get("repo"))
	if name := s.gone[did]; name != "" {
		fail(w, http.StatusBadRequest, name, "Repo is not available: "+string(did))
		return "", false
	}
	if s.blocks[did] == nil {
		fail(w, http.StatusBadRequest, "InvalidRequest", "Could not find repo: "+string(did))
		return "", false
	}
	return did, true
}

func (s *Server) listRecords(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	did, ok := s.repo(w, r)
	if !ok {
		return
	}
	limit := 50
	if text := q.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 100 {
			fail(w, http.StatusBadRequest, "InvalidRequest", "Error: limit can not be greater than 100")
			return
		}
		limit = n
	}
	keys := make([]string, 0, len(s.blocks[did]))
	if q.Get("collection") == listBlockCollection {
		for subject, uri := range s.lists[did] {
			answer(w, map[string]any{"records": []any{map[string]any{"uri": uri, "cid": fakeCID, "value": map[string]any{"subject": subject}}}})
			return
		}
	}
	if q.Get("collection") == blockCollection {
		for k := range s.blocks[did] {
			if cursor := q.Get("cursor"); cursor == "" || k < cursor {
				keys = append(keys, k)
			}
		}
	}
	slices.Sort(keys)
	slices.Reverse(keys) // newest first
	keys = keys[:min(limit, len(keys))]
	out := map[string]any{}
	records := make([]any, 0, len(keys))
	for _, k := range keys {
		records = append(records, s.record(did, k))
		out["cursor"] = k // also on the last page, as atproto's own server does
	}
	out["records"] = records
	answer(w, out)
}

func (s *Server) getRecord(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	did, ok := s.repo(w, r)
	if !ok {
		return
	}
	key := q.Get("rkey")
	if incoming := s.declared[did]; incoming != "" && q.Get("collection") == declarationCollection && key == "self" {
		answer(w, map[string]any{
			"uri": "at://" + string(did) + "/" + declarationCollection + "/self", "cid": fakeCID,
			"value": map[string]any{"$type": declarationCollection, "allowIncoming": incoming},
		})
		return
	}
	if _, ok := s.blocks[did][key]; !ok || q.Get("collection") != blockCollection {
		fail(w, http.StatusBadRequest, "RecordNotFound", fmt.Sprintf("Could not locate record: at://%s/%s/%s", did, q.Get("collection"), key))
		return
	}
	answer(w, s.record(did, key))
}

func (s *Server) record(did lexrt.DID, key string) map[string]any {
	b := s.blocks[did][key]
	return map[string]any{
		"uri":   "at://" + string(did) + "/" + blockCollection + "/" + key,
		"cid":   fakeCID,
		"value": map[string]any{"$type": blockCollection, "subject": string(b.subject), "createdAt": b.createdAt},
	}
}

func (s *Server) getRelationships(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	actor, others := lexrt.DID(q.Get("actor")), q["others"]
	if actor == "" {
		fail(w, http.StatusBadRequest, "InvalidRequest", "Error: Params must have the property \"actor\"")
		return
	}
	if len(others) > 30 {
		fail(w, http.StatusBadRequest, "InvalidRequest", "Error: others must not have more than 30 elements")
		return
	}
	if s.blocks[actor] == nil {
		fail(w, http.StatusBadRequest, "ActorNotFound", "Actor not found: "+string(actor))
		return
	}
	list := make([]any, 0, len(others))
	for _, o := range others {
		other := lexrt.DID(o)
		if s.blocks[other] == nil { // handles too
			list = append(list, map[string]any{"$type": "app.bsky.graph.defs#notFoundActor", "actor": o, "notFound": true})
			continue
		}
		rel := map[string]any{"$type": "app.bsky.graph.defs#relationship", "did": o}
		put := func(name, uri string) {
			if uri != "" {
				rel[name] = uri
			}
		}
		put("blocking", s.blockURI(actor, other))
		put("blockedBy", s.blockURI(other, actor))
		put("blockingByList", s.lists[actor][other])
		put("blockedByList", s.lists[other][actor])
		if s.follows[[2]lexrt.DID{actor, other}] {
			put("following", "at://"+string(actor)+"/app.bsky.graph.follow/3kfollow22222")
		}
		if s.follows[[2]lexrt.DID{other, actor}] {
			put("followedBy", "at://"+string(other)+"/app.bsky.graph.follow/3kfollow22222")
		}
		list = append(list, rel)
	}
	answer(w, map[string]any{"actor": string(actor), "relationships": list})
}

func (s *Server) blockURI(blocker, blocked lexrt.DID) string {
	for k, b := range s.blocks[blocker] {
		if b.subject == blocked {
			return "at://" + string(blocker) + "/" + blockCollection + "/" + k
		}
	}
	return ""
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_ = json.NewEncoder(w).Encode(v)
}

func fail(w http.ResponseWriter, status int, name, message string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": name, "message": message})
}
