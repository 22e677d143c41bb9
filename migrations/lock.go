package migrations

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/pressly/goose/v3/lock"
)

// locker is the advisory lock under which one process at a time migrates. Others ask again
// and again, for as long as their context lasts: an index may take hours. They do not wait
// inside PostgreSQL, because that would be one more transaction that the build of an index has
// to wait for.
type locker struct {
	waiting func()
}

const askAgain = time.Second

// SessionLock waits for the lock.
func (l *locker) SessionLock(ctx context.Context, conn *sql.Conn) error {
	for first := true; ; first = false {
		var locked bool
		if err := conn.QueryRowContext(ctx, "SELECT pg_try_advisory_lock($1)", lock.DefaultLockID).Scan(&locked); err != nil {
			return fmt.Errorf("migrations: take the lock: %w", err)
		}
		if locked {
			return nil
		}
		if first && l.waiting != nil {
			l.waiting()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(askAgain):
		}
	}
}

// SessionUnlock gives the lock back.
func (l *locker) SessionUnlock(ctx context.Context, conn *sql.Conn) error {
	var held bool
	if err := conn.QueryRowContext(ctx, "SELECT pg_advisory_unlock($1)", lock.DefaultLockID).Scan(&held); err != nil {
		return fmt.Errorf("migrations: give the lock back: %w", err)
	}
	if !held {
		return errors.New("migrations: the lock was lost")
	}
	return nil
}
