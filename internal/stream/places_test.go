package stream_test

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mls-server/internal/mls"
	"mls-server/internal/stream"
)

// noted is what a hub tells the other servers of its streams, on which a user has some too.
type noted struct {
	mu        sync.Mutex
	held      []int
	at        time.Time
	pause     time.Duration // the longest between two notes
	elsewhere int
}

func (n *noted) Note(_ context.Context, _ string, here func() int) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	n.pause = max(n.pause, now.Sub(cmp.Or(n.at, now)))
	n.at = now
	n.held = append(n.held, here())
	return n.elsewhere
}

// The other servers are told of each stream that opens or ends, and of all of them at least once in
// each minute; a stream that is one too many with theirs is refused, and is none.
func TestPlacesAreNoted(t *testing.T) {
	t.Parallel()
	places := &noted{elsewhere: 1}
	inBubble(t, stream.Options{PerUser: 2, Places: places}, func(b bubble) {
		t, h := b.T, b.hub
		first := connect(t, h, "bob").live()
		second := connect(t, h, "bob")
		<-second.done
		if limited := mls.AsError(second.err); limited == nil || limited.Kind != mls.ErrRateLimitExceeded {
			t.Errorf("a stream too many: %v", second.err)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		first.close()
		synctest.Wait()
		places.mu.Lock()
		defer places.mu.Unlock()
		if places.pause > time.Minute {
			t.Errorf("nothing was noted for %v", places.pause)
		}
		if begin, end := places.held[:3], places.held[len(places.held)-1]; !slices.Equal(begin, []int{1, 2, 1}) || end != 0 {
			t.Errorf("noted %v at first and %d at the end", begin, end)
		}
	})
}
