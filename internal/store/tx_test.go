package store

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mls-server/internal/mls"
	"mls-server/internal/pgtest"
)

var errStop = errors.New("stop")

func TestInTxIsAllOrNothing(t *testing.T) {
	t.Parallel()
	s := open(t, 4)
	convo := newConvo(t, s, alice)
	called := false
	err := s.InTx(t.Context(), func(tx *Tx) error {
		tx.AfterCommit(func() { called = true })
		if _, err := tx.AcceptCommit(t.Context(), commit(convo, 1)); err != nil {
			return err
		}
		return errStop
	})
	wantErr(t, err, errStop)
	if called {
		t.Error("a side effect of a transaction that was rolled back")
	}
	if n := one[int64](t, s, "SELECT count(*) FROM messages"); n != 0 {
		t.Errorf("%d messages left", n)
	}
	order := ""
	inTx(t, s, func(tx *Tx) error {
		tx.AfterCommit(func() { order += "a" })
		err := tx.Savepoint(t.Context(), func() error {
			tx.AfterCommit(func() { order += "x" })
			if _, err := tx.AcceptCommit(t.Context(), commit(convo, 1)); err != nil {
				return err
			}
			return errStop
		})
		if !errors.Is(err, errStop) {
			t.Errorf("Savepoint returned %v", err)
		}
		tx.AfterCommit(func() { order += "b" })
		_, err = tx.AcceptCommit(t.Context(), commit(convo, 1))
		return err
	})
	if order != "ab" {
		t.Errorf("side effects %q, want those of what was committed, in order", order)
	}
}

// A request that goes away leaves no transaction open behind it.
func TestInTxRollsBackForACancelledContext(t *testing.T) {
	t.Parallel()
	s := open(t, 4)
	convo := newConvo(t, s, alice)
	ctx, cancel := context.WithCancel(t.Context())
	err := s.InTx(ctx, func(tx *Tx) error {
		if _, err := tx.LockConvo(ctx, key(convo)); err != nil {
			return err
		}
		cancel()
		_, err := tx.AcceptCommit(ctx, commit(convo, 1))
		return err
	})
	wantErr(t, err, context.Canceled)
	inTx(t, s, func(tx *Tx) error { _, err := tx.LockConvo(t.Context(), key(convo)); return err })
	if n := one[int64](t, s, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'"); n != 0 {
		t.Errorf("%d transactions left open", n)
	}
}

type countingObserver struct {
	queries, retries atomic.Int64
}

func (c *countingObserver) ObserveQuery(name string, _ time.Duration, _ error) {
	if name == "LockConversation" {
		c.queries.Add(1)
	}
}
func (c *countingObserver) ObserveRetry() { c.retries.Add(1) }

// Two transactions that lock in opposite orders: the database ends one, and
// it is run again.
func TestInTxRetriesDeadlocks(t *testing.T) {
	t.Parallel()
	observer := &countingObserver{}
	s, err := New(t.Context(), Config{URL: pgtest.New(t), Observer: observer})
	must(t, err)
	t.Cleanup(s.Close)
	convos := [2]mls.ConvoID{newConvo(t, s, alice), newConvo(t, s, alice)}
	var met atomic.Int64
	for _, err := range race(2, func(i int) error {
		return s.InTx(t.Context(), func(tx *Tx) error {
			if _, err := tx.LockConvo(t.Context(), key(convos[i])); err != nil {
				return err
			}
			met.Add(1)
			for met.Load() < 2 {
				time.Sleep(time.Millisecond)
			}
			_, err := tx.LockConvo(t.Context(), key(convos[1-i]))
			return err
		})
	}) {
		must(t, err)
	}
	if observer.retries.Load() == 0 || observer.queries.Load() < 5 {
		t.Errorf("%d retries, %d locks observed", observer.retries.Load(), observer.queries.Load())
	}
}

// A request that is gone while its transaction is open has it rolled back at once, by the same
// connection: to throw the connection away would end the transaction too, when the server notices,
// and until then hold the log back.
func TestGoneCallersAreRolledBack(t *testing.T) {
	t.Parallel()
	s := open(t, 1)
	before := one[int64](t, s, "SELECT pg_backend_pid()")
	ctx, leave := context.WithCancel(t.Context())
	err := s.InTx(ctx, func(tx *Tx) error {
		if err := tx.CreateConvo(ctx, NewConvo{ID: mls.NewConvoID(noon, "00"), GroupID: "00", Creator: alice, CipherSuite: 1, At: noon}); err != nil {
			return err
		}
		leave()
		return ctx.Err()
	})
	wantErr(t, err, context.Canceled)
	if after := one[int64](t, s, "SELECT pg_backend_pid()"); after != before {
		t.Error("the connection was thrown away")
	}
	if n := one[int64](t, s, "SELECT count(*) FROM conversations"); n != 0 {
		t.Error("the transaction was not rolled back")
	}
}

func TestLockTimeoutIsBusy(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	s := connect(t, url, 4)
	impatient, err := New(t.Context(), Config{URL: url, LockTimeout: 50 * time.Millisecond})
	must(t, err)
	t.Cleanup(impatient.Close)
	convo := newConvo(t, s, alice)
	inTx(t, s, func(tx *Tx) error {
		if _, err := tx.LockConvo(t.Context(), key(convo)); err != nil {
			return err
		}
		err := impatient.InTx(t.Context(), func(tx *Tx) error { _, err := tx.LockConvo(t.Context(), key(convo)); return err })
		wantErr(t, err, mls.ErrBusy)
		return nil
	})
}

func TestReadOnlyIsBusy(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	convo := newConvo(t, connect(t, url, 1), alice)
	separator := "?"
	if strings.Contains(url, separator) {
		separator = "&"
	}
	replica, err := New(t.Context(), Config{URL: url + separator + "default_transaction_read_only=on"})
	must(t, err)
	t.Cleanup(replica.Close)
	err = replica.InTx(t.Context(), func(tx *Tx) error { _, err := tx.LockConvo(t.Context(), key(convo)); return err })
	wantErr(t, err, mls.ErrBusy)
}

// I9: what the database says about values stays inside.
func TestErrorsQuoteNothing(t *testing.T) {
	t.Parallel()
	s := open(t, 2)
	_, err := s.pool.Exec(t.Context(), "INSERT INTO used_jtis VALUES ('secret'::bytea, now())")
	if err == nil || !strings.Contains(err.Error(), "used_jtis_hash_is_sha256") {
		t.Fatalf("the fixture: %v", err)
	}
	if text := fail("use token", err).Error(); strings.Contains(text, "secret") || text != "store: use token: SQLSTATE 23514 on used_jtis_hash_is_sha256" {
		t.Errorf("error %q", text)
	}
	_, err = New(t.Context(), Config{URL: "postgres://user:hunter2@host:port/db"})
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error %v", err)
	}
}

func TestQueryNames(t *testing.T) {
	t.Parallel()
	for sql, want := range map[string]string{
		"-- name: SendMessage :one\nWITH x":    "SendMessage",
		"begin isolation level read committed": "begin", "commit": "commit", "rollback": "rollback",
		"savepoint sp_1": "savepoint", "release savepoint sp_1": "savepoint", "SELECT 1": "other",
	} {
		if got := queryName(sql); got != want {
			t.Errorf("%q: %q, want %q", sql, got, want)
		}
	}
}
