package e2e_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"mls-server/internal/authtest"
	"mls-server/internal/e2e"
	"mls-server/internal/mls"
	"mls-server/internal/pgtest"
)

// jetstream sends the same events to everybody who connects, then stays open.
type jetstream struct {
	*httptest.Server
	mu     sync.Mutex
	events [][]byte
	// cursors are where each connection wanted to begin.
	cursors []string
	more    chan struct{} // closed when there is a new event
}

func newJetstream(t *testing.T) *jetstream {
	t.Helper()
	j := &jetstream{more: make(chan struct{})}
	j.Server = httptest.NewServer(http.HandlerFunc(j.serve))
	t.Cleanup(j.Close)
	return j
}

func (j *jetstream) hostPort() string { return strings.TrimPrefix(j.URL, "http://") }

// publish tells of a write to the author's blocks; subject "" is a deletion.
func (j *jetstream) publish(t *testing.T, author, subject mls.DID, key string) {
	t.Helper()
	commit := map[string]any{"operation": "delete", "collection": "app.bsky.graph.block", "rkey": key}
	if subject != "" {
		commit["operation"] = "create"
		commit["record"] = map[string]any{"$type": "app.bsky.graph.block", "subject": subject, "createdAt": "2026-01-02T03:04:05Z"}
	}
	j.send(t, map[string]any{"did": author, "time_us": time.Now().UnixMicro(), "kind": "commit", "commit": commit})
}

// account tells what an account's host says of it at a time; status "" is all is well.
func (j *jetstream) account(t *testing.T, user mls.DID, status string, at time.Time) {
	t.Helper()
	account := map[string]any{"active": status == "", "did": user, "seq": 1, "time": at.UTC().Format(time.RFC3339)}
	if status != "" {
		account["status"] = status
	}
	j.send(t, map[string]any{"did": user, "time_us": at.UnixMicro(), "kind": "account", "account": account})
}

func (j *jetstream) send(t *testing.T, what any) {
	t.Helper()
	event, err := json.Marshal(what)
	if err != nil {
		t.Fatal(err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.events = append(j.events, event)
	close(j.more)
	j.more = make(chan struct{})
}

func (j *jetstream) serve(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer func() { _ = conn.CloseNow() }()
	j.mu.Lock()
	j.cursors = append(j.cursors, r.URL.Query().Get("cursor"))
	j.mu.Unlock()
	ctx := conn.CloseRead(r.Context())
	for sent := 0; ; {
		j.mu.Lock()
		events, more := j.events[sent:], j.more
		j.mu.Unlock()
		for _, e := range events {
			if conn.Write(ctx, websocket.MessageText, e) != nil {
				return
			}
		}
		sent += len(events)
		select {
		case <-more:
		case <-ctx.Done():
			return
		}
	}
}

// Two servers follow one Jetstream: a block between members is known without a
// look-up, and told once, to the admins alone; an unblock is forgotten.
func TestJetstreamConflictIsToldOnce(t *testing.T) {
	t.Parallel()
	j := newJetstream(t)
	dir, db := authtest.NewDirectory(t, nil), pgtest.New(t)
	view := newDownAppView(t)
	env := e2e.Env{
		"JETSTREAM_URL": "ws://" + j.hostPort() + "/subscribe", "APPVIEW_URL": view.URL,
		"EGRESS_ALLOW": strings.Join(append(dir.HostPorts(), j.hostPort(), strings.TrimPrefix(view.URL, "http://")), ","),
		// Without sources nothing but the Jetstream tells of blocks.
		"BLOCKS_FAIL_CLOSED": "false",
	}
	a := e2e.StartOn(t, db, dir, env)
	users := a.Users(3)
	admin, blocker, blocked := users[0].Register(t, 1), users[1].Register(t, 1), users[2].Register(t, 1)
	chat := admin.Create(t, users[1], users[2])
	for _, d := range []*e2e.Device{blocker, blocked} {
		d.Confirm(t, chat, true)
	}
	b := e2e.StartOn(t, db, dir, env)
	pool := pgtest.Open(t, db)
	count := func(query string) (n int) {
		t.Helper()
		if err := pool.QueryRow(t.Context(), query).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	metric := func(s *e2e.Server, event string) float64 {
		return scrape(t, s)[`mls_jetstream_events_total{event="`+event+`"}`]
	}
	toAdmin, toBlocked := admin.Follow(t, ""), blocked.Follow(t, "")

	j.publish(t, blocker.DID, blocked.DID, "3kaaaaaaaaaa2")
	eventually(t, "both servers have seen the block", func() bool { return metric(a, "block") == 1 && metric(b, "block") == 1 })
	toAdmin.Await(t, "block-conflict")
	// The second server's turn is over when it meets the next event.
	j.publish(t, blocked.DID, blocker.DID, "3kaaaaaaaaaa3")
	eventually(t, "two conflicts are told", func() bool { return count("SELECT count(*) FROM event_stream WHERE kind = 13") >= 2 })
	j.publish(t, blocked.DID, "", "3kaaaaaaaaaa3")
	eventually(t, "both servers have seen the unblock", func() bool { return metric(a, "unblock") == 1 && metric(b, "unblock") == 1 })
	eventually(t, "the unblock is kept", func() bool { return count("SELECT count(*) FROM bsky_blocks") == 1 })
	if n := count("SELECT count(*) FROM event_stream WHERE kind = 13"); n != 2 {
		t.Errorf("%d events for 2 blocks", n)
	}
	for _, kind := range toBlocked.Kinds() {
		if kind == "block-conflict" {
			t.Error("a plain member was told")
		}
	}
}

// A server that comes late, or whose connection was lost, hears of blocks that are long over. It
// tells nobody of them once more, and nothing ends twice; a block that is made anew is told.
func TestJetstreamHeardAgain(t *testing.T) {
	t.Parallel()
	c := newBlockScene(t)
	for range 2 {
		uri := c.source.Block(c.blocker.DID, c.blocked.DID)
		c.tell(t, c.blocked.DID, uri)
		c.source.Unblock(uri)
		c.tell(t, "", uri)
	}
	late := e2e.StartOn(t, c.server.DatabaseURL, c.server.Directory, c.env)
	eventually(t, "the late server has heard all of it", func() bool {
		return scrape(t, late)[`mls_jetstream_events_total{event="unblock"}`] == c.metric(t, "unblock")
	})
	if told, resolved := c.told(t), c.resolved(t); told != 2 || resolved != 2 {
		t.Errorf("%d blocks were told, and %d were over; want 2", told, resolved)
	}
	uri := c.source.Block(c.blocker.DID, c.blocked.DID)
	c.tell(t, c.blocked.DID, uri)
	if n := c.told(t); n != 3 {
		t.Errorf("%d blocks were told, want 3", n)
	}
}

// newDownAppView is an AppView that is down.
func newDownAppView(t *testing.T) *httptest.Server {
	t.Helper()
	v := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "down", http.StatusBadGateway)
	}))
	t.Cleanup(v.Close)
	return v
}
