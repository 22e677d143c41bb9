package jobs_test

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"mls-server/internal/clock"
	"mls-server/internal/jobs"
	"mls-server/internal/store"
)

// silent is a database that hangs.
type silent struct{}

func (silent) Retain(ctx context.Context, _ time.Time, _ store.Retention) (store.Removed, error) {
	<-ctx.Done()
	return store.Removed{"messages": 1000}, ctx.Err()
}

func (silent) CountActiveConvos(ctx context.Context, _ time.Time) (int64, error) {
	return 0, ctx.Err()
}

// observed notes what was reported.
type observed struct {
	rows     map[string]int64
	failures int
	retained time.Time
}

func (o *observed) ObserveRetention(at time.Time) { o.retained = at }

func (o *observed) ObserveJob(job string, rows int64, err error) {
	o.rows[job] += rows
	if err != nil {
		o.failures++
	}
}

func (o *observed) SetActiveConversations(int64) { o.rows["active"]++ }

// A run against a silent database ends by the time of the next one and is
// reported as a failure, with what it had done; one that is stopped is not.
func TestSilentDatabase(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := &observed{rows: map[string]int64{}}
		runner := jobs.New(silent{}, store.DefaultRetention(), o, slog.New(slog.DiscardHandler), clock.System)
		begin := time.Now()
		runner.Once(t.Context())
		if took := time.Since(begin); took != 10*time.Minute || o.failures != 1 || o.rows["messages"] != 1000 || o.rows["active"] != 0 || !o.retained.IsZero() {
			t.Errorf("after %v: %+v", took, o)
		}
		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		runner.Once(ctx)
		if took := time.Since(begin); took != 10*time.Minute+time.Second || o.failures != 1 {
			t.Errorf("stopped after %v: %+v", took, o)
		}
	})
}
