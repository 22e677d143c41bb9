package blocks_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"mls-server/internal/blocks"
	"mls-server/internal/egress"
	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// jetstream is a stand-in that gives each connection the next script: messages
// to send before it closes. The last script's connection stays open.
type jetstream struct {
	mu      sync.Mutex
	scripts [][]string
	queries []string
}

func (j *jetstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	j.mu.Lock()
	n := len(j.queries)
	j.queries = append(j.queries, r.URL.Query().Get("wantedCollections")+" "+r.URL.Query().Get("cursor"))
	j.mu.Unlock()
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer func() { _ = conn.CloseNow() }()
	if n < len(j.scripts) {
		for _, m := range j.scripts[n] {
			if conn.Write(r.Context(), websocket.MessageText, []byte(m)) != nil {
				return
			}
		}
	}
	if n < len(j.scripts)-1 {
		_ = conn.Close(websocket.StatusNormalClosure, "")
		return
	}
	<-conn.CloseRead(r.Context()).Done()
}

type feedCache struct {
	mu     sync.Mutex
	log    []string
	broken int // so many writes fail
}

func (c *feedCache) write(entry string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken > 0 {
		c.broken--
		return errors.New("cache is broken")
	}
	c.log = append(c.log, entry)
	return nil
}

func (c *feedCache) SaveBlocks(_ context.Context, f store.BlocksFound) error {
	return c.write(fmt.Sprintf("block %s %s %s", f.Blocks[0].Blocker, f.Blocks[0].Blocked, f.Blocks[0].URI.RecordKey()))
}

func (c *feedCache) DropBlock(_ context.Context, blocker mls.DID, key string) error {
	return c.write(fmt.Sprintf("drop %s %s", blocker, key))
}

func (c *feedCache) entries() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.log, "\n")
}

func TestFeed(t *testing.T) {
	t.Parallel()
	create := func(at int, did, key, subject string) string {
		return fmt.Sprintf(`{"did":%q,"time_us":%d,"kind":"commit","commit":{"rev":"x","operation":"create","collection":"app.bsky.graph.block","rkey":%q,"record":{"$type":"app.bsky.graph.block","subject":%q,"createdAt":"2024-09-09T19:46:02.102Z"},"cid":"x"}}`, did, at, key, subject)
	}
	remove := func(at int, did, key string) string {
		return fmt.Sprintf(`{"did":%q,"time_us":%d,"kind":"commit","commit":{"rev":"x","operation":"delete","collection":"app.bsky.graph.block","rkey":%q}}`, did, at, key)
	}
	const a, b, stranger = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb", "did:plc:cccccccccccccccccccccccc"
	j := &jetstream{scripts: [][]string{
		{
			create(1, a, "3kaaaaaaaaaa2", b),
			create(2, a, "3kaaaaaaaaaa3", stranger),
			create(3, stranger, "3kaaaaaaaaaa4", a),
			`{"did":"` + a + `","time_us":4,"kind":"identity","identity":{"did":"` + a + `"}}`,
			`junk`,
			create(5, a, "3kaaaaaaaaaa5", "not a did"),
			create(6, a, "3kaaaaaaaaaa6", a),
			strings.Replace(create(7, a, "3kaaaaaaaaaa7", b), "graph.block", "graph.follow", 2),
		},
		{create(7, a, "3kaaaaaaaaaa2", b), remove(8, a, "3kaaaaaaaaaa2"), remove(9, stranger, "3kaaaaaaaaaa4")},
	}}
	server := httptest.NewServer(j)
	t.Cleanup(server.Close)
	hostPort := strings.TrimPrefix(server.URL, "http://")
	client, err := egress.New(egress.Config{Allow: []string{hostPort}})
	if err != nil {
		t.Fatal(err)
	}
	cache := &feedCache{broken: 1}
	conflicts := make(chan store.Block, 10)
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	feed := blocks.NewFeed(blocks.FeedConfig{
		Client: client, URL: "ws://" + hostPort + "/subscribe", Cache: cache,
		Known: func(context.Context) ([]mls.DID, error) { return []mls.DID{a, b}, nil },
		Conflict: func(_ context.Context, x store.Block) error {
			conflicts <- x
			return nil
		},
	})
	// The first write fails, so the first connection is given up at its first
	// event and the script starts over on the second.
	j.scripts = append([][]string{j.scripts[0]}, j.scripts...)
	go func() {
		defer close(done)
		feed.Run(ctx)
	}()
	want := strings.Join([]string{
		"block " + a + " " + b + " 3kaaaaaaaaaa2",
		"block " + a + " " + stranger + " 3kaaaaaaaaaa3",
		"drop " + a + " 3kaaaaaaaaaa2",
	}, "\n")
	deadline := time.After(20 * time.Second)
	for cache.entries() != want {
		select {
		case <-deadline:
			t.Fatalf("cache was told\n%s\nwant\n%s", cache.entries(), want)
		case <-time.After(5 * time.Millisecond):
		}
	}
	cancel()
	<-done
	if len(conflicts) != 1 {
		t.Fatalf("%d conflicts, want 1", len(conflicts))
	}
	if x := <-conflicts; x.Blocker != a || x.Blocked != b || x.CreatedAt.Year() != 2024 {
		t.Errorf("%+v", x)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if got := strings.Join(j.queries, ","); got != "app.bsky.graph.block ,app.bsky.graph.block ,app.bsky.graph.block 7" {
		t.Errorf("connections: %s", got)
	}
}

// A stream that cannot be had is tried again ever more slowly, and the feed ends with its context.
func TestFeedBacksOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client, err := egress.New(egress.Config{})
		if err != nil {
			t.Fatal(err)
		}
		tries := 0
		feed := blocks.NewFeed(blocks.FeedConfig{Client: client, URL: "wss://127.0.0.1/subscribe", Observe: func(e string) {
			if e != "failed" {
				t.Errorf("event %s", e)
			}
			tries++
		}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		feed.Run(ctx)
		if tries < 40 || tries > 130 {
			t.Errorf("%d tries in an hour", tries)
		}
	})
}
