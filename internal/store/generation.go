package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"mls-server/internal/gen/db"
	"mls-server/internal/mls"
)

// ErrStandby says that the database is a hot standby, which can do nothing for
// this server until it is promoted.
var ErrStandby = errors.New("the database is a standby")

// errRestoring says that a dump is being restored, and that not all of it is there.
var errRestoring = errors.New("the database is being restored")

// joinGeneration runs on every new connection. It sees to it that no event is
// written in a generation of the log that has ended: each start of PostgreSQL,
// each promoted replica and each restored copy begins one of its own.
func (s *Store) joinGeneration(ctx context.Context, conn *pgx.Conn) error {
	q := db.New(conn)
	state, err := q.GetLogState(ctx)
	if err == nil && !state.Standby && !state.Restoring && !state.AtHome {
		if err := beginGeneration(ctx, conn); err != nil {
			return fmt.Errorf("store: begin a log generation: %w", err)
		}
		state, err = q.GetLogState(ctx)
	}
	switch {
	case isCode(err, codeUndefinedTable, codeUndefinedFunction, codeUndefinedColumn):
		return nil // not migrated yet
	case err != nil:
		return fmt.Errorf("store: read the log's state: %w", err)
	case state.Standby:
		return errors.Join(mls.ErrBusy, ErrStandby)
	case state.Restoring:
		return errors.Join(mls.ErrBusy, errRestoring)
	}
	s.begun.Store(state.BegunAt)
	return nil
}

// beginGeneration begins a generation of the log, unless another connection was
// faster.
func beginGeneration(ctx context.Context, conn *pgx.Conn) error {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer rollback(ctx, tx)
	// A log from another cluster has every conversation touched.
	if _, err := tx.Exec(ctx, "SET LOCAL statement_timeout = 0"); err != nil {
		return err
	}
	q := db.New(tx)
	state, err := q.LockLogState(ctx)
	if err != nil || !state.Ended {
		return err
	}
	if err := q.PassSecond(ctx); err != nil {
		return err
	}
	if err := q.BeginLogGeneration(ctx); err != nil {
		return err
	}
	if state.Moved {
		if _, err := q.ResetConversationStamps(ctx); err != nil {
			return err
		}
	}
	return tx.Commit(ctx)
}

// GenerationBegan is when the generation of the log that this process writes in
// began, to the second: a restore may have undone what was stored before. It is
// zero until the database was reached, and while the generation is the one in
// which such times began to be kept.
func (s *Store) GenerationBegan() time.Time {
	if begun := s.begun.Load(); begun > 0 {
		return time.Unix(begun, 0).UTC()
	}
	return time.Time{}
}

// StreamLog is what a server has to know of the log to read and judge cursors.
type StreamLog struct {
	// Generation is the one that events are written in now.
	Generation int64
	// Compacted is the last event that retention removed.
	Compacted LogCursor
	// CursorKey is the key of the cursors, 32 bytes, the same on all servers.
	CursorKey []byte
	// Intact says that the position asked about is of the history that the
	// database has, so that everything written since is after it. Else the
	// database went back.
	Intact bool
}

// StreamLog reads the log's state, and judges a position that this service gave
// out. A connection may have outlived its server, through a pooler: then the
// generation that is due begins here.
func (s *Store) StreamLog(ctx context.Context, at LogCursor) (StreamLog, error) {
	const attempts = 2
	for range attempts {
		row, err := s.q.GetStreamLog(ctx, db.GetStreamLogParams{Generation: at.Generation, LogXid: at.Xid, Position: at.Position})
		switch {
		case err != nil:
			return StreamLog{}, fail("read the log's state", err)
		case row.Standby:
			return StreamLog{}, fail("read the log's state", ErrStandby)
		case row.AtHome:
			s.begun.Store(row.BegunAt)
			return StreamLog{
				Generation: row.Generation, CursorKey: row.CursorKey, Intact: row.Intact,
				Compacted: LogCursor{row.CompactedGeneration, row.CompactedLogXid, row.CompactedPosition},
			}, nil
		}
		err = s.pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error { return s.joinGeneration(ctx, conn.Conn()) })
		if err != nil {
			return StreamLog{}, fail("begin a log generation", err)
		}
	}
	return StreamLog{}, mls.ErrBusy
}
