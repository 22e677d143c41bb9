package turns_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"mls-server/internal/clock/clocktest"
	"mls-server/internal/redistest"
	"mls-server/internal/shared"
	"mls-server/internal/turns"
)

func hasher(t *testing.T) *shared.Hasher {
	t.Helper()
	h, err := shared.NewHasher([]byte("0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// lines are Turns in memory, and two servers' Turns in one Redis.
func lines(t *testing.T, run func(t *testing.T, servers [2]*turns.Turns)) {
	t.Helper()
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		one := turns.New(nil, hasher(t), func(error) {}, clocktest.New())
		run(t, [2]*turns.Turns{one, one})
	})
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		client := redistest.Start(t).Client(t)
		away := func(err error) { t.Errorf("Redis is away: %v", err) }
		var servers [2]*turns.Turns
		for i := range servers {
			servers[i] = turns.New(shared.NewRedis(client, time.Minute), hasher(t), away, clocktest.New())
		}
		run(t, servers)
	})
}

// The first who lost comes at once, the others later and later, each by one place, over all
// servers.
func TestPlaces(t *testing.T) {
	t.Parallel()
	lines(t, func(t *testing.T, s [2]*turns.Turns) {
		t.Helper()
		ctx := t.Context()
		var pace time.Duration
		for i := range turns.Places {
			wait := s[i%2].Lost(ctx, "convo", fmt.Sprint("user ", i))
			if i == 1 {
				pace = wait
			}
			if wait != time.Duration(i)*pace || i > 0 && pace <= 0 {
				t.Fatalf("place %d waits %v, place 1 %v", i, wait, pace)
			}
		}
		for range 2 {
			if wait := s[0].Lost(ctx, "convo", "one too many"); wait != turns.Places*pace {
				t.Errorf("behind a full line: %v", wait)
			}
		}
		if wait := s[1].Lost(ctx, "another convo", "user 5"); wait != 0 {
			t.Errorf("the first in another line waits %v", wait)
		}
		// A place is the user's, and moves up when one before it is given up.
		if wait := s[0].Lost(ctx, "convo", "user 3"); wait != 3*pace {
			t.Errorf("the same place again: %v, want %v", wait, 3*pace)
		}
		s[0].Won(ctx, "convo", "user 1")
		s[1].Won(ctx, "convo", "a user without a place")
		if wait := s[1].Lost(ctx, "convo", "user 3"); wait != 2*pace {
			t.Errorf("after one before it has committed: %v, want %v", wait, 2*pace)
		}
		s[1].Won(ctx, "convo", "user 0")
		if wait := s[0].Lost(ctx, "convo", "user 2"); wait != 0 {
			t.Errorf("the first of the line waits %v", wait)
		}
	})
}

// Who does not come back holds nobody up for longer than its place is held.
func TestPlacesAreGivenUp(t *testing.T) {
	t.Parallel()
	clk := clocktest.New()
	s := turns.New(nil, hasher(t), func(error) {}, clk)
	s.Lost(t.Context(), "convo", "gone")
	wait := s.Lost(t.Context(), "convo", "second")
	clk.Advance(turns.Hold - 1)
	if s.Lost(t.Context(), "convo", "second") != wait {
		t.Error("a place was given up early")
	}
	clk.Advance(1)
	if again := s.Lost(t.Context(), "convo", "second"); again != 0 {
		t.Errorf("behind one who never came: %v", again)
	}
	if again := s.Lost(t.Context(), "convo", "gone"); again != wait {
		t.Errorf("one who comes too late is behind the others: %v, want %v", again, wait)
	}
}

// The time between two places follows the time that turns take.
func TestPaceFollowsTurns(t *testing.T) {
	t.Parallel()
	clk := clocktest.New()
	s := turns.New(nil, hasher(t), func(error) {}, clk)
	pace := func(turn time.Duration) (wait time.Duration) {
		for range 20 {
			s.Lost(t.Context(), "convo", "first")
			wait = s.Lost(t.Context(), "convo", "second")
			clk.Advance(turn)
			s.Won(t.Context(), "convo", "first")
			s.Won(t.Context(), "convo", "second")
		}
		return wait
	}
	if quick, slow := pace(200*time.Millisecond), pace(time.Second); quick < 290*time.Millisecond || quick > 310*time.Millisecond || slow < 1450*time.Millisecond || slow > 1550*time.Millisecond {
		t.Errorf("a place is worth %v after turns of 200 ms, %v after turns of 1 s; want half as much again", quick, slow)
	}
	if least := pace(0); least != 100*time.Millisecond {
		t.Errorf("at least %v", least)
	}
	if most := pace(turns.Hold - 1); most != 2*time.Second {
		t.Errorf("at most %v", most)
	}
}

// A Redis that is away is done without, and one that hangs holds nobody up for long.
func TestWithoutRedis(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t).Client(t)
	_ = client.Close()
	told := 0
	s := turns.New(shared.NewRedis(client, time.Second), hasher(t), func(error) { told++ }, clocktest.New())
	if wait := s.Lost(t.Context(), "convo", "first"); wait != 0 {
		t.Errorf("the first waits %v", wait)
	}
	if s.Lost(t.Context(), "convo", "second") == 0 || told == 0 {
		t.Error("the second does not wait, or nobody was told")
	}
	s.Won(t.Context(), "convo", "first")
	if wait := s.Lost(t.Context(), "convo", "second"); wait != 0 {
		t.Errorf("the second waits %v", wait)
	}
}

// Many at once: one is first, and no two have one place.
func TestPlacesOfMany(t *testing.T) {
	t.Parallel()
	lines(t, func(t *testing.T, s [2]*turns.Turns) {
		t.Helper()
		var mu sync.Mutex
		seen := map[time.Duration]int{}
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() {
				wait := s[i%2].Lost(context.WithoutCancel(t.Context()), "convo", fmt.Sprint(i))
				mu.Lock()
				defer mu.Unlock()
				seen[wait]++
			})
		}
		wg.Wait()
		if len(seen) != 40 || seen[0] != 1 {
			t.Errorf("%d places for 40 users: %v", len(seen), seen)
		}
	})
}
