package delivery

import (
	"context"
	"hash/maphash"
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

// Batcher collects the sends of a process into statements for many messages; see
// queue. A conversation belongs to one shard, so that its messages never wait for
// each other's locks.
//
// A message whose size would fill half a batch goes by itself, past the queue,
// and holds nobody up.
//
// The zero value is not usable; see NewBatcher.
type Batcher struct {
	store    BatchStore
	maxBytes int
	seed     maphash.Seed
	shards   []queue[*send]
}

// send is a message and what became of it.
type send struct {
	params  store.SendParams
	outcome store.SendOutcome
}

// NewBatcher returns a Batcher over s. It starts nothing: goroutines live while
// there are messages to write.
func NewBatcher(s BatchStore, cfg BatchConfig) *Batcher {
	b := &Batcher{store: s, maxBytes: orDefault(cfg.MaxBytes, defaultMaxBytes), seed: maphash.MakeSeed()}
	b.shards = make([]queue[*send], orDefault(cfg.Shards, defaultShards))
	maxMessages := orDefault(cfg.MaxMessages, defaultMaxMessages)
	for i := range b.shards {
		home := &b.shards[i]
		home.workers, home.timeout, home.write = 1, orDefault(cfg.Timeout, defaultTimeout), b.write
		home.begin = func() func(*send) admission { return b.begin(maxMessages) }
	}
	return b
}

// SendMessage stores a message with those that are sent at the same time. When
// ctx ends before the message is part of a statement, it is not stored; when it
// ends later, whether it is stored is open, and sending it again under its id
// tells. Errors as store.Store.SendMessage.
func (b *Batcher) SendMessage(ctx context.Context, p store.SendParams) (store.SendResult, error) {
	if len(p.Ciphertext) > b.maxBytes/2 {
		return b.store.SendMessage(ctx, p)
	}
	s := &send{params: p, outcome: store.SendOutcome{Err: errBatchLost}}
	if err := b.shard(p).do(ctx, s); err != nil {
		return store.SendResult{}, err
	}
	return s.outcome.Result, s.outcome.Err
}

// Queued is how many sends wait for a statement; those that a statement carries
// are not among them.
func (b *Batcher) Queued() int {
	n := 0
	for i := range b.shards {
		n += b.shards[i].length()
	}
	return n
}

// shard is where the sends of a conversation queue. A conversation that is named
// in two ways may have two: the database keeps its order then.
func (b *Batcher) shard(p store.SendParams) *queue[*send] {
	var h maphash.Hash
	h.SetSeed(b.seed)
	_, _ = h.WriteString(string(p.Key.ConvoID)) // never fails
	_, _ = h.WriteString(string(p.Key.GroupID))
	return &b.shards[h.Sum64()%uint64(len(b.shards))]
}

// begin bounds a batch in messages and bytes. Sends keep their order.
func (b *Batcher) begin(maxMessages int) func(*send) admission {
	messages, size := 0, 0
	return func(s *send) admission {
		n := len(s.params.Ciphertext)
		if messages == maxMessages || messages > 0 && size+n > b.maxBytes {
			return full
		}
		messages++
		size += n
		return take
	}
}

// write stores a batch.
func (b *Batcher) write(ctx context.Context, batch []*send) {
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
