package delivery

import (
	"context"
	"errors"
	"hash/maphash"
	"sync"
	"time"

	"mls-server/internal/store"
)

// Sender stores application messages. *store.Store writes each by itself, a
// Batcher writes those that arrive at the same time together; the answers are
// the same.
type Sender interface {
	// SendMessage stores a message and its event. Errors as store.Store.SendMessage.
	SendMessage(ctx context.Context, p store.SendParams) (store.SendResult, error)
}

// BatchStore is what a Batcher needs of the store.
type BatchStore interface {
	Sender
	// SendMessages stores messages in one statement; outcomes in their order.
	SendMessages(ctx context.Context, messages []store.SendParams) []store.SendOutcome
}

// BatchConfig bounds batches. Zeros mean the defaults.
type BatchConfig struct {
	// Shards is how many statements run at once; 0 means 4. A conversation
	// belongs to one shard, so its messages never wait for each other's locks.
	Shards int
	// MaxMessages is how many messages a statement takes; 0 means 128.
	MaxMessages int
	// MaxBytes is how many bytes of ciphertext a statement takes, though always
	// one message; 0 means 1 MiB.
	MaxBytes int
	// Timeout ends a statement, and the wait for a connection before it; 0 means
	// 30 s. The store's own limits for statements and locks are shorter.
	Timeout time.Duration
}

const (
	defaultShards      = 4
	defaultMaxMessages = 128
	defaultMaxBytes    = 1 << 20
	defaultTimeout     = 30 * time.Second
)

// errBatchLost: a statement ended without an outcome for a message.
var errBatchLost = errors.New("delivery: the batch ended without an outcome")

// Batcher collects the sends of a process into statements for many messages,
// as a database commits in groups: a send that finds its shard idle goes at
// once, and those that arrive while a statement is under way form the next one.
// So nothing waits for company, and the more is sent the larger batches become.
//
// A message whose size would fill half a batch goes by itself, past the queue,
// and holds nobody up. Queues hold only requests that are being answered, whose
// number and memory the request path bounds.
//
// The zero value is not usable; see NewBatcher.
type Batcher struct {
	store  BatchStore
	cfg    BatchConfig
	seed   maphash.Seed
	shards []shard
}

// shard is the queue of some of the conversations.
type shard struct {
	mu     sync.Mutex
	queue  []*send
	active bool // a goroutine works through the queue
}

// send is a message that waits for its outcome.
type send struct {
	ctx     context.Context //nolint:containedctx // it is the request that waits; its end takes the message out of the queue
	params  store.SendParams
	outcome store.SendOutcome
	done    chan struct{}
}

// NewBatcher returns a Batcher over s. It starts nothing: goroutines live while
// there are messages to write.
func NewBatcher(s BatchStore, cfg BatchConfig) *Batcher {
	cfg.Shards = orDefault(cfg.Shards, defaultShards)
	cfg.MaxMessages = orDefault(cfg.MaxMessages, defaultMaxMessages)
	cfg.MaxBytes = orDefault(cfg.MaxBytes, defaultMaxBytes)
	cfg.Timeout = orDefault(cfg.Timeout, defaultTimeout)
	return &Batcher{store: s, cfg: cfg, seed: maphash.MakeSeed(), shards: make([]shard, cfg.Shards)}
}

// SendMessage stores a message with those that are sent at the same time. When
// ctx ends before the message is part of a statement, it is not stored; when it
// ends later, whether it is stored is open, and sending it again under its id
// tells. Errors as store.Store.SendMessage.
func (b *Batcher) SendMessage(ctx context.Context, p store.SendParams) (store.SendResult, error) {
	if len(p.Ciphertext) > b.cfg.MaxBytes/2 {
		return b.store.SendMessage(ctx, p)
	}
	s := &send{ctx: ctx, params: p, done: make(chan struct{})}
	home := b.shard(p)
	home.mu.Lock()
	home.queue = append(home.queue, s)
	start := !home.active
	home.active = true
	home.mu.Unlock()
	if start {
		go b.work(home) //nolint:contextcheck // a batch outlives the request that starts it, see write
	}
	select {
	case <-s.done:
		return s.outcome.Result, s.outcome.Err
	case <-ctx.Done():
		return store.SendResult{}, ctx.Err()
	}
}

// Queued is how many sends wait for a statement; those that a statement carries
// are not among them.
func (b *Batcher) Queued() int {
	n := 0
	for i := range b.shards {
		home := &b.shards[i]
		home.mu.Lock()
		n += len(home.queue)
		home.mu.Unlock()
	}
	return n
}

// shard is where the sends of a conversation queue. A conversation that is named
// in two ways may have two: the database keeps its order then.
func (b *Batcher) shard(p store.SendParams) *shard {
	var h maphash.Hash
	h.SetSeed(b.seed)
	_, _ = h.WriteString(string(p.Key.ConvoID)) // never fails
	_, _ = h.WriteString(string(p.Key.GroupID))
	return &b.shards[h.Sum64()%uint64(len(b.shards))]
}

// work writes batches until the queue is empty.
func (b *Batcher) work(home *shard) {
	for {
		batch := b.next(home)
		if batch == nil {
			return
		}
		b.write(batch)
	}
}

// next takes a batch off the queue, without the sends that nobody waits for any
// more. On an empty queue it returns nil, and the shard is idle.
func (b *Batcher) next(home *shard) []*send {
	home.mu.Lock()
	defer home.mu.Unlock()
	var batch []*send
	size, taken := 0, 0
	for _, s := range home.queue {
		if s.ctx.Err() == nil {
			if len(batch) == b.cfg.MaxMessages || len(batch) > 0 && size+len(s.params.Ciphertext) > b.cfg.MaxBytes {
				break
			}
			batch = append(batch, s)
			size += len(s.params.Ciphertext)
		}
		taken++
	}
	if taken == len(home.queue) {
		home.queue = nil // the array would keep what was sent alive
	} else {
		clear(home.queue[:taken])
		home.queue = home.queue[taken:]
	}
	home.active = batch != nil
	return batch
}

// write stores a batch and tells its senders. It runs under the values of the
// first request's context, for those who count statements, but not its end: the
// others still wait.
func (b *Batcher) write(batch []*send) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(batch[0].ctx), b.cfg.Timeout)
	defer cancel()
	for _, s := range batch {
		s.outcome.Err = errBatchLost
	}
	defer func() {
		for _, s := range batch {
			close(s.done)
		}
	}()
	if len(batch) == 1 {
		s := batch[0]
		s.outcome.Result, s.outcome.Err = b.store.SendMessage(ctx, s.params)
		return
	}
	messages := make([]store.SendParams, len(batch))
	for i, s := range batch {
		messages[i] = s.params
	}
	for i, outcome := range b.store.SendMessages(ctx, messages) {
		batch[i].outcome = outcome
	}
}

func orDefault[T int | time.Duration](value, otherwise T) T {
	if value == 0 {
		return otherwise
	}
	return value
}
