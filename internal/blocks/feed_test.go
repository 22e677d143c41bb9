package blocks_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"mls-server/internal/blocks"
	"mls-server/internal/clock"
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

// feedCache writes down what it is told. The writes of some records fail: so
// many times as the database is away, or always.
type feedCache struct {
	mu     sync.Mutex
	log    []string
	away   int
	poison string
}

func (c *feedCache) write(key, entry string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.poison != "" && key == c.poison:
		return errors.New("poison")
	case c.away > 0:
		c.away--
		return mls.ErrBusy
	}
	c.log = append(c.log, entry)
	return nil
}

func (c *feedCache) SaveBlocks(_ context.Context, f store.BlocksFound) error {
	b := f.Blocks[0]
	return c.write(b.URI.RecordKey().String(), fmt.Sprintf("block %s %s %s", b.Blocker, b.Blocked, b.URI.RecordKey()))
}

func (c *feedCache) DropBlock(_ context.Context, blocker mls.DID, key string, _ time.Time) error {
	return c.write(key, fmt.Sprintf("drop %s %s", blocker, key))
}

func (c *feedCache) entries() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.log, "\n")
}

const (
	feedAlice    = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
	feedBob      = "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb"
	feedStranger = "did:plc:cccccccccccccccccccccccc"
)

// feedRun follows a stand-in for a Jetstream until its cache was told what is wanted.
type feedRun struct {
	conflicts []store.Block
	observed  map[string]int
	cursors   []string
}

func runFeed(t *testing.T, j *jetstream, cache *feedCache, want ...string) feedRun {
	t.Helper()
	server := httptest.NewServer(j)
	t.Cleanup(server.Close)
	hostPort := strings.TrimPrefix(server.URL, "http://")
	client, err := egress.New(egress.Config{Allow: []string{hostPort}})
	if err != nil {
		t.Fatal(err)
	}
	run := feedRun{observed: map[string]int{}}
	var mu sync.Mutex
	feed := blocks.NewFeed(blocks.FeedConfig{
		Client: client, URL: "ws://" + hostPort + "/subscribe", Cache: cache, Clock: clock.System,
		Known: func(context.Context) ([]mls.DID, error) { return []mls.DID{feedAlice, feedBob}, nil },
		Conflict: func(_ context.Context, b store.Block) error {
			mu.Lock()
			defer mu.Unlock()
			run.conflicts = append(run.conflicts, b)
			return nil
		},
		Observe: func(event string) {
			mu.Lock()
			defer mu.Unlock()
			run.observed[event]++
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		feed.Run(ctx)
	}()
	deadline := time.After(20 * time.Second)
	for cache.entries() != strings.Join(want, "\n") {
		select {
		case <-deadline:
			t.Errorf("the cache was told\n%s\nwant\n%s", cache.entries(), strings.Join(want, "\n"))
			cancel()
			<-done
			t.FailNow()
		case <-time.After(5 * time.Millisecond):
		}
	}
	cancel()
	<-done
	j.mu.Lock()
	defer j.mu.Unlock()
	run.cursors = slices.Clone(j.queries)
	return run
}

func feedCreate(at int64, did, key, subject string) string {
	return fmt.Sprintf(`{"did":%q,"time_us":%d,"kind":"commit","commit":{"rev":"x","operation":"create","collection":"app.bsky.graph.block","rkey":%q,"record":{"$type":"app.bsky.graph.block","subject":%q,"createdAt":"2024-09-09T19:46:02.102Z"},"cid":"x"}}`, did, at, key, subject)
}

func feedRemove(at int64, did, key string) string {
	return fmt.Sprintf(`{"did":%q,"time_us":%d,"kind":"commit","commit":{"rev":"x","operation":"delete","collection":"app.bsky.graph.block","rkey":%q}}`, did, at, key)
}

func TestFeed(t *testing.T) {
	t.Parallel()
	now := time.Now().UnixMicro()
	script := []string{
		feedCreate(now+1, feedAlice, "3kaaaaaaaaaa2", feedBob),
		feedCreate(now+2, feedAlice, "3kaaaaaaaaaa3", feedStranger),
		feedCreate(now+3, feedStranger, "3kaaaaaaaaaa4", feedAlice),
		fmt.Sprintf(`{"did":%q,"time_us":%d,"kind":"identity","identity":{"did":%q}}`, feedAlice, now+4, feedAlice),
		`junk`,
		feedCreate(now+5, feedAlice, "3kaaaaaaaaaa5", "not a did"),
		feedCreate(now+6, feedAlice, "3kaaaaaaaaaa6", feedAlice),
		strings.Replace(feedCreate(now+7, feedAlice, "3kaaaaaaaaaa7", feedBob), "graph.block", "graph.follow", 2),
	}
	// The database is away for the first write, so that the first connection is
	// given up at its first event, and the script starts over on the second.
	j := &jetstream{scripts: [][]string{script, script, {feedRemove(now+8, feedAlice, "3kaaaaaaaaaa2"), feedRemove(now+9, feedStranger, "3kaaaaaaaaaa4")}}}
	run := runFeed(t, j, &feedCache{away: 1},
		"block "+feedAlice+" "+feedBob+" 3kaaaaaaaaaa2", "block "+feedAlice+" "+feedStranger+" 3kaaaaaaaaaa3", "drop "+feedAlice+" 3kaaaaaaaaaa2")
	if len(run.conflicts) != 1 {
		t.Fatalf("%d conflicts, want 1", len(run.conflicts))
	}
	if x := run.conflicts[0]; x.Blocker != feedAlice || x.Blocked != feedBob || x.CreatedAt.Year() != 2024 {
		t.Errorf("%+v", x)
	}
	const all = "app.bsky.graph.block "
	if want := []string{all, all, all + fmt.Sprint(now+7-5_000_000)}; !slices.Equal(run.cursors, want) {
		t.Errorf("connections: %q, want %q", run.cursors, want)
	}
}

// An event that cannot be applied is counted and passed over, on the same
// connection; those after it are applied.
func TestFeedPassesPoisonOver(t *testing.T) {
	t.Parallel()
	now := time.Now().UnixMicro()
	j := &jetstream{scripts: [][]string{{
		feedCreate(now+1, feedAlice, "3kaaaaaaaaaa2", feedBob), feedRemove(now+2, feedAlice, "poison"), feedCreate(now+3, feedAlice, "poison", feedBob),
		feedCreate(now+4, feedAlice, "3kaaaaaaaaaa3", feedStranger),
	}}}
	run := runFeed(t, j, &feedCache{poison: "poison"},
		"block "+feedAlice+" "+feedBob+" 3kaaaaaaaaaa2", "block "+feedAlice+" "+feedStranger+" 3kaaaaaaaaaa3")
	if run.observed["skipped"] != 2 || run.observed["failed"] != 0 || run.observed["connected"] != 1 {
		t.Errorf("%v", run.observed)
	}
}

// Events are applied whatever their time; where the stream stood is a cursor
// only, five seconds back, and impossible times are not positions.
func TestFeedGoesBackInTime(t *testing.T) {
	t.Parallel()
	now := time.Now().UnixMicro()
	const us = 1_000_000
	j := &jetstream{scripts: [][]string{
		{feedCreate(now, feedAlice, "3kaaaaaaaaaa2", feedBob)},
		// another host, whose clock is behind
		{feedCreate(now-5*us, feedAlice, "3kaaaaaaaaaa3", feedStranger)},
		{
			feedCreate(math.MaxInt64, feedAlice, "3kaaaaaaaaaa4", feedStranger), feedCreate(-1, feedAlice, "3kaaaaaaaaaa5", feedStranger),
			feedCreate(1, feedAlice, "3kaaaaaaaaaa6", feedStranger),
		},
		{feedCreate(now, feedAlice, "3kaaaaaaaaaa2", feedBob)}, // once more
	}}
	block := "block " + feedAlice + " "
	run := runFeed(t, j, &feedCache{},
		block+feedBob+" 3kaaaaaaaaaa2", block+feedStranger+" 3kaaaaaaaaaa3", block+feedStranger+" 3kaaaaaaaaaa4",
		block+feedStranger+" 3kaaaaaaaaaa5", block+feedStranger+" 3kaaaaaaaaaa6", block+feedBob+" 3kaaaaaaaaaa2")
	const all = "app.bsky.graph.block "
	want := []string{all, all + fmt.Sprint(now-5*us), all + fmt.Sprint(now-10*us), all + fmt.Sprint(now-10*us)}
	if !slices.Equal(run.cursors, want) {
		t.Errorf("connections: %q, want %q", run.cursors, want)
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
