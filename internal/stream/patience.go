package stream

import (
	"context"
	"time"

	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// patient is a Log each of whose reads has a deadline: the tailer and the
// streams live long, and a read of a hung database would never end.
type patient struct {
	log     Log
	timeout time.Duration
}

// within makes one read.
func within[T any](ctx context.Context, p patient, read func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	return read(ctx)
}

func (p patient) StreamLog(ctx context.Context, at store.LogCursor) (store.StreamLog, error) {
	return within(ctx, p, func(ctx context.Context) (store.StreamLog, error) { return p.log.StreamLog(ctx, at) })
}

func (p patient) LogEnd(ctx context.Context) (store.LogCursor, error) {
	return within(ctx, p, p.log.LogEnd)
}

func (p patient) ReadLog(ctx context.Context, after store.LogCursor, limit int) (store.LogPage, error) {
	return within(ctx, p, func(ctx context.Context) (store.LogPage, error) { return p.log.ReadLog(ctx, after, limit) })
}

func (p patient) Replay(ctx context.Context, q store.ReplayParams) ([]store.LogEntry, error) {
	return within(ctx, p, func(ctx context.Context) ([]store.LogEntry, error) { return p.log.Replay(ctx, q) })
}

func (p patient) StreamConvos(ctx context.Context, user mls.DID, at store.LogCursor) ([]store.StreamConvo, error) {
	return within(ctx, p, func(ctx context.Context) ([]store.StreamConvo, error) { return p.log.StreamConvos(ctx, user, at) })
}

func (p patient) LostEvents(ctx context.Context, user mls.DID, only mls.ConvoID, at store.LogCursor) (bool, error) {
	return within(ctx, p, func(ctx context.Context) (bool, error) { return p.log.LostEvents(ctx, user, only, at) })
}

func (p patient) StreamMessages(ctx context.Context, refs []store.MessageRef, maxBytes int64, force bool) ([]*store.Message, error) {
	return within(ctx, p, func(ctx context.Context) ([]*store.Message, error) {
		return p.log.StreamMessages(ctx, refs, maxBytes, force)
	})
}

func (p patient) StreamAdmins(ctx context.Context, convos []mls.ConvoID) (map[mls.ConvoID]map[mls.DID]bool, error) {
	return within(ctx, p, func(ctx context.Context) (map[mls.ConvoID]map[mls.DID]bool, error) {
		return p.log.StreamAdmins(ctx, convos)
	})
}

func (p patient) FindConvoID(ctx context.Context, key mls.ConvoKey) (mls.ConvoID, error) {
	return within(ctx, p, func(ctx context.Context) (mls.ConvoID, error) { return p.log.FindConvoID(ctx, key) })
}
