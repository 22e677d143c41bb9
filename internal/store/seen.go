package store

import (
	"context"
	"time"

	"mls-server/internal/clock"
)

// SeeUsers notes that users were here on the day of at (UTC).
func (s *Store) SeeUsers(ctx context.Context, users []string, at time.Time) error {
	return fail("see users", s.q.SeeUsers(ctx, clock.Day(at), users))
}
