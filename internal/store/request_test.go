package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"testing"
	"time"

	"mls-server/internal/clock"
	"mls-server/internal/mls"
	"mls-server/internal/pgtest"
)

func TestIdempotency(t *testing.T) {
	t.Parallel()
	s := open(t, 8)
	q := IdempotentRequest{Key: RequestKey(alice, "a.b.c", "key"), Body: sha256.Sum256([]byte("body")), At: noon}
	runs := 0
	run := func(q IdempotentRequest, fault error) (answer *Answer, err error) {
		err = s.InTx(t.Context(), func(tx *Tx) error {
			answer, err = tx.BeginRequest(t.Context(), q)
			if err != nil || answer != nil {
				return err
			}
			runs++
			if fault != nil {
				return fault
			}
			answer = &Answer{Status: 200, Body: []byte("done")}
			return tx.FinishRequest(t.Context(), q, *answer)
		})
		return answer, err
	}
	_, err := run(q, errStop) // a fault leaves nothing
	wantErr(t, err, errStop)
	for range 3 {
		a, err := run(q, nil)
		if err != nil || a.Status != 200 || string(a.Body) != "done" {
			t.Errorf("%+v, %v", a, err)
		}
	}
	if runs != 2 {
		t.Errorf("ran %d times, want the fault and one success", runs)
	}
	other := q
	other.Body = sha256.Sum256([]byte("another"))
	_, err = run(other, nil)
	wantErr(t, err, mls.ErrIdempotencyKeyReused)
	// An answer is kept for a day at least, and to the end of that day.
	end := clock.Day(noon).Add(24*time.Hour + IdempotencyLifetime)
	for _, at := range []time.Time{noon.Add(IdempotencyLifetime), end.Add(-time.Microsecond)} {
		other.At = at
		_, err = run(other, nil)
		wantErr(t, err, mls.ErrIdempotencyKeyReused)
		if _, err := s.Retain(t.Context(), other.At, DefaultRetention()); err != nil {
			t.Fatal(err)
		}
		_, err = run(other, nil)
		wantErr(t, err, mls.ErrIdempotencyKeyReused)
	}
	other.At = end
	if _, err = run(other, nil); err != nil {
		t.Errorf("a day and its rest later: %v", err)
	}
	inTx(t, s, func(tx *Tx) error {
		fresh := q
		fresh.Key = RequestKey(alice, "a.b.c", "fresh")
		if _, err := tx.BeginRequest(t.Context(), fresh); err != nil {
			return err
		}
		_, err := run(fresh, nil)
		wantErr(t, err, mls.ErrRequestInProgress)
		return nil
	})
	if RequestKey(alice, "ab", "c") == RequestKey(alice, "a", "bc") {
		t.Error("two requests share a key")
	}
}

type stopped time.Time

func (c stopped) Now() time.Time { return time.Time(c) }

func TestReplays(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	at := func(now time.Time) *Replays {
		s, err := New(t.Context(), Config{URL: url, MaxConns: 16, Clock: stopped(now)})
		must(t, err)
		t.Cleanup(s.Close)
		return s.Replays()
	}
	replays := at(noon)
	hash := sha256.Sum256([]byte("token"))
	accepted := 0
	results := make([]bool, 50)
	for _, err := range race(len(results), func(i int) (err error) {
		results[i], err = replays.Use(t.Context(), hash, noon.Add(5*time.Minute))
		return err
	}) {
		must(t, err)
	}
	for _, fresh := range results {
		if fresh {
			accepted++
		}
	}
	if accepted != 1 {
		t.Errorf("%d of 50 racing replays were accepted", accepted)
	}
	if fresh, err := at(noon.Add(6*time.Minute)).Use(t.Context(), hash, noon.Add(time.Hour)); err != nil || !fresh {
		t.Errorf("after it expired: %t, %v", fresh, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if fresh, err := replays.Use(ctx, sha256.Sum256(nil), noon); fresh || !errors.Is(err, context.Canceled) {
		t.Errorf("without a database: %t, %v", fresh, err)
	}
	var _ clock.Clock = stopped{}
}
