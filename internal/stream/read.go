package stream

import (
	"context"

	"mls-server/internal/store"
)

const (
	// batchBytes is how much ciphertext one stream reads at once, unless a single
	// message is larger.
	batchBytes = 128 << 10
	// maxReaders and maxLargeReaders bound how many streams read such a batch, or
	// one message that is larger, at the same time.
	maxReaders      = 64
	maxLargeReaders = 4
)

// readMessages reads as many messages from the front of refs as fit a batch,
// and at least one, for one stream. release must be called once they are encoded.
func (h *Hub) readMessages(ctx context.Context, refs []store.MessageRef) (messages []*store.Message, release func(), err error) {
	messages, release, err = h.readBatch(ctx, h.readers, refs, false)
	if err != nil || len(messages) > 0 {
		return messages, release, err
	}
	release()
	return h.readBatch(ctx, h.largeReaders, refs[:1], true)
}

func (h *Hub) readBatch(ctx context.Context, slots chan struct{}, refs []store.MessageRef, force bool) (messages []*store.Message, release func(), err error) {
	if err := acquire(ctx, slots); err != nil {
		return nil, nil, err
	}
	release = func() { <-slots }
	messages, err = h.opt.Log.StreamMessages(ctx, refs, batchBytes, force)
	if err != nil {
		release()
		return nil, nil, err
	}
	return messages, release, nil
}

func acquire(ctx context.Context, slots chan struct{}) error {
	select {
	case slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
