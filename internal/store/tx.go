package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"

	"mls-server/internal/clock"
	"mls-server/internal/gen/db"
)

// Tx is a transaction that InTx runs. It must not be used after the function
// it was given to has returned, nor by several goroutines at once. It has no
// InTx: transactions do not nest.
type Tx struct {
	reader
	tx          pgx.Tx
	stored      func(MessageKind, int)
	afterCommit []func()
}

const (
	maxRetries      = 3
	firstRetryDelay = 5 * time.Millisecond
	rollbackTimeout = 5 * time.Second
)

// InTx runs fn in one READ COMMITTED transaction, and is the only way to write
// more than one statement. When fn fails, or ctx ends, nothing is written.
// Serialisation failures and deadlocks (40001, 40P01) run fn again, at most
// three times, so fn must not keep what it changed outside of the transaction.
func (s *Store) InTx(ctx context.Context, fn func(tx *Tx) error) error {
	return s.retry(ctx, func() error { return s.inTxOnce(ctx, fn) })
}

// retry does something that is one transaction again when it met a serialisation failure or a
// deadlock.
func (s *Store) retry(ctx context.Context, do func() error) error {
	delay := firstRetryDelay
	for attempt := 0; ; attempt++ {
		err := do()
		if err == nil || attempt == maxRetries || !isCode(err, codeSerializationFailure, codeDeadlock) {
			return err
		}
		s.observer.ObserveRetry()
		if clock.Pause(ctx, delay+rand.N(delay)) != nil { //nolint:gosec // jitter, not a secret
			return err
		}
		delay *= 2
	}
}

func (s *Store) inTxOnce(ctx context.Context, fn func(tx *Tx) error) error {
	begun, err := s.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted})
	if err != nil {
		return fail("begin", err)
	}
	defer rollback(ctx, begun)
	tx := &Tx{reader: reader{q: db.New(begun)}, tx: begun, stored: s.stored}
	if err := fn(tx); err != nil {
		return err
	}
	if err := begun.Commit(ctx); err != nil {
		return fail("commit", err)
	}
	s.committed()
	for _, do := range tx.afterCommit {
		do()
	}
	return nil
}

// AfterCommit has do called once the transaction is committed, in the order of
// the calls, and never when it is not: the place for side effects.
func (tx *Tx) AfterCommit(do func()) { tx.afterCommit = append(tx.afterCommit, do) }

// Savepoint runs fn and undoes what it wrote when it fails, while the
// transaction goes on. It returns fn's error.
func (tx *Tx) Savepoint(ctx context.Context, fn func() error) error {
	point, err := tx.tx.Begin(ctx)
	if err != nil {
		return fail("savepoint", err)
	}
	callbacks := len(tx.afterCommit)
	if err := fn(); err != nil {
		tx.afterCommit = tx.afterCommit[:callbacks]
		if undoErr := point.Rollback(ctx); undoErr != nil {
			return errors.Join(err, fail("roll back to the savepoint", undoErr))
		}
		return err
	}
	if err := point.Commit(ctx); err != nil {
		return fail("release the savepoint", err)
	}
	return nil
}

// rollback ends a transaction that was not committed, even when the request
// that wanted it is gone: an open transaction holds the log back.
func rollback(ctx context.Context, tx pgx.Tx) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTimeout)
	defer cancel()
	// It fails when the transaction was committed or its connection is broken;
	// in both cases there is nothing left to roll back.
	_ = tx.Rollback(ctx)
}

// fail says which step failed and puts the domain's error in the place of the database's.
// expected are the constraints that the statement can run into by what its caller asks for.
func fail(step string, err error, expected ...violation) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("store: %s: %w", step, domainError(err, expected))
}
