package app

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"mls-server/internal/clock/clocktest"
	"mls-server/internal/ratelimit"
	"mls-server/internal/redact"
	"mls-server/internal/redistest"
	"mls-server/internal/shared"
)

// What a real Redis refuses is named in the log, at once and at doubling intervals,
// and nothing is let through meanwhile.
func TestRedisRefusals(t *testing.T) {
	t.Parallel()
	for word, refuse := range map[string][]any{
		"OOM":      {"CONFIG", "SET", "maxmemory", "1"},
		"READONLY": {"REPLICAOF", "127.0.0.1", "1"},
		"NOAUTH":   {"CONFIG", "SET", "requirepass", "x"},
	} {
		t.Run(word, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			if err := server.Client(t).Do(t.Context(), refuse...).Err(); err != nil {
				t.Fatal(err)
			}
			var logs bytes.Buffer
			hasher, err := shared.NewHasher(make([]byte, shared.MinSecret))
			if err != nil {
				t.Fatal(err)
			}
			clk := clocktest.New()
			counted := 0
			r := &redisRefusals{
				log:   slog.New(redact.NewHandler(slog.NewJSONHandler(&logs, nil), redact.BaseSchema(), hasher)),
				clock: clk, count: func() { counted++ },
			}
			own, err := ratelimit.NewMemory(map[string]ratelimit.Rate{ratelimit.ClassDefault: {PerMinute: 1000, Burst: 1000}}, clk)
			if err != nil {
				t.Fatal(err)
			}
			limiter := ratelimit.NewShared(ratelimit.SharedConfig{
				Own: own, Redis: shared.NewRedis(server.Client(t), 10*time.Second), Hasher: hasher,
				Private: func(string) bool { return false }, OnAway: r.note, Clock: clk,
			})
			for range 64 { // minutes
				limiter.Take(t.Context(), ratelimit.ClassDefault, "somebody", 1)
				clk.Advance(time.Minute)
			}
			// after 0, 1, 3, 7, 15, 31 and 63
			if n := strings.Count(logs.String(), `"refusal":"`+word+`"`); n != 7 || counted != 64 {
				t.Errorf("named %d times, %d counted:\n%s", n, counted, logs.String())
			}
		})
	}
}

func TestRefusalsAreTold(t *testing.T) {
	t.Parallel()
	clk := clocktest.New()
	r := &redisRefusals{clock: clk}
	for i, c := range []struct {
		after time.Duration
		word  string
		due   bool
	}{
		{0, "OOM", true},
		{time.Second, "OOM", false},
		{0, "NOAUTH", true},
		{59 * time.Second, "NOAUTH", false},
		{time.Second, "NOAUTH", true},
		{time.Minute, "NOAUTH", false},
		{time.Minute, "NOAUTH", true},
		{24 * time.Hour, "NOAUTH", true},
		{time.Minute, "NOAUTH", true},
	} {
		clk.Advance(c.after)
		if got := r.due(c.word); got != c.due {
			t.Errorf("%d: %v", i, got)
		}
	}
	if word := refusal(errors.New("NOAUTH in some other error")); word != "" {
		t.Errorf("%q of an error that is not Redis'", word)
	}
}
