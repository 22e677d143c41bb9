package stream_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/internal/stream"
)

// Streams that connect in the middle of concurrent writes go from replay to
// live without a gap and without a repeat, also when their queues are so small
// that they must fall back to the database again and again.
func TestReplayMeetsLive(t *testing.T) {
	t.Parallel()
	doors(t, testReplayMeetsLive)
}

func testReplayMeetsLive(t *testing.T, via option) {
	t.Helper()
	for _, buffer := range []int{1, 20, 5000} {
		t.Run(fmt.Sprint("buffer ", buffer), func(t *testing.T) {
			t.Parallel()
			const writers, each = 4, 60
			w := newWorld(t)
			h := w.hub(t, stream.Options{Buffer: buffer, PerUser: 100})
			convos := []mls.ConvoID{w.convo(t, "alice", "bob"), w.convo(t, "alice", "bob")}
			w.caughtUp(t, h)
			start := connect(t, h, "bob", via).live().position()
			var wg sync.WaitGroup
			for i := range writers {
				wg.Go(func() {
					for range each {
						w.send(t, convos[i%2], "alice")
					}
				})
			}
			var got [][]string
			var mu sync.Mutex
			for range 3 {
				wg.Go(func() {
					// A client that is cut resumes where it was, until it has everything.
					var seqs []string
					cursor := start
					for deadline := time.Now().Add(2 * patience); len(seqs) < writers*each && time.Now().Before(deadline); {
						c := connect(t, h, "bob", via, at(cursor))
						select {
						case <-c.done:
						case <-time.After(30*time.Millisecond + rand.N(300*time.Millisecond)):
						}
						c.close()
						for _, f := range c.got() {
							if f.Name == "messageEvent" {
								seqs = append(seqs, fmt.Sprint(f.Convo, f.Seq))
							}
						}
						cursor = c.position()
					}
					mu.Lock()
					defer mu.Unlock()
					got = append(got, seqs)
				})
			}
			wg.Wait()
			var want []string
			for after := (store.LogCursor{}); ; {
				page, err := w.store.ReadLog(t.Context(), after, 1000)
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range page.Entries {
					if after = e.Cursor; e.Kind == store.EventMessage {
						want = append(want, fmt.Sprint(e.ConvoID, e.Seq))
					}
				}
				if len(page.Entries) == 0 && !page.Unsettled {
					break
				}
			}
			for i, seqs := range got {
				if !slices.Equal(seqs, want) {
					t.Errorf("client %d: %d messages, want %d, in order; the beginning is right: %t", i, len(seqs), len(want), slices.Equal(seqs, want[:min(len(seqs), len(want))]))
				}
			}
		})
	}
}

// A long catch-up is read page by page, and each page with its messages in
// batches: neither depends on how far the client is behind.
func TestCatchUpIsPaged(t *testing.T) {
	t.Parallel()
	doors(t, testCatchUpIsPaged)
}

func testCatchUpIsPaged(t *testing.T, via option) {
	t.Helper()
	const behind = 3000
	w := newWorld(t)
	h := w.hub(t, stream.Options{})
	convo := w.convo(t, "alice", "bob")
	w.caughtUp(t, h)
	start := connect(t, h, "bob", via).live().position()
	w.sendMany(t, convo, "alice", behind)
	w.caughtUp(t, h)
	ctx, counted := store.WithCounter(t.Context())
	began := time.Now()
	c := connectWith(ctx, t, h, "bob", via, at(start))
	c.await("the whole", func() bool { return len(c.frames) >= behind })
	took := time.Since(began)
	for i, f := range c.got() {
		if int(f.Seq) != i+1 {
			t.Fatalf("event %d is %v", i, f)
		}
	}
	// 4 pages of 1000 events, 12 batches of 256 messages, and what begins a stream.
	if n := counted.Statements(); n > 22 {
		t.Errorf("%d statements", n)
	}
	t.Logf("%d events in %v, %d statements", behind, took.Round(time.Millisecond), counted.Statements())
}
