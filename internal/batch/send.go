package batch

import (
	"context"

	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// SendStore is what Sends needs of the store.
type SendStore interface {
	// SendMessage stores a message and its event. Errors as store.Store.SendMessage.
	SendMessage(ctx context.Context, p store.SendParams) (store.SendResult, error)
	// SendMessages stores messages in one statement and returns outcomes in their order.
	SendMessages(ctx context.Context, messages []store.SendParams) []store.SendOutcome
}

// Sends collects the sends of a process into statements for many messages; see
// queue. The messages of a conversation are in one statement at a time, so that
// they keep their order and never wait for each other's locks. A conversation
// that is named in two ways counts as two: the database keeps its order then.
//
// A message whose size would fill half a batch goes by itself, past the queue,
// and holds nobody up.
//
// The zero value is not usable; see NewSends.
type Sends struct {
	store       SendStore
	maxMessages int
	maxBytes    int
	queue       queue[*send]
	// busy is the conversations in batches under way, each with the number of its
	// batch. The queue's lock guards them.
	busy    map[mls.ConvoKey]int
	batches int
}

// send is a message and what became of it.
type send struct {
	params  store.SendParams
	outcome store.SendOutcome
}

// NewSends returns Sends over s. It starts nothing: goroutines live while there
// are messages to write.
func NewSends(s SendStore, cfg Config) *Sends {
	cfg = cfg.withDefaults()
	b := &Sends{store: s, maxMessages: cfg.MaxMessages, maxBytes: cfg.MaxBytes, busy: map[mls.ConvoKey]int{}}
	b.queue = queue[*send]{Config: cfg, begin: b.begin, ready: b.ready, write: b.write, ended: b.ended}
	return b
}

// SendMessage stores a message with those that are sent at the same time. When
// ctx ends before the message is part of a statement, it is not stored; when it
// ends later, whether it is stored is open, and sending it again under its id
// tells. Errors as store.Store.SendMessage.
func (b *Sends) SendMessage(ctx context.Context, p store.SendParams) (store.SendResult, error) {
	if len(p.Ciphertext) > b.maxBytes/2 {
		return b.store.SendMessage(ctx, p)
	}
	s := &send{params: p, outcome: store.SendOutcome{Err: errBatchLost}}
	if err := b.queue.do(ctx, s); err != nil {
		return store.SendResult{}, err
	}
	return s.outcome.Result, s.outcome.Err
}

// Queued is how many sends wait for a statement; those that a statement carries
// are not among them.
func (b *Sends) Queued() int { return b.queue.length() }

// begin bounds a batch in messages and bytes, and keeps it from the conversations
// of the others.
func (b *Sends) begin() func(*send) admission {
	b.batches++
	own, messages, size := b.batches, 0, 0
	return func(s *send) admission {
		n := len(s.params.Ciphertext)
		if messages == b.maxMessages || messages > 0 && size+n > b.maxBytes {
			return full
		}
		if in, busy := b.busy[s.params.Key]; busy && in != own {
			return leave
		}
		b.busy[s.params.Key] = own
		messages++
		size += n
		return take
	}
}

// ready says whether no batch under way holds the send's conversation.
func (b *Sends) ready(s *send) bool {
	_, busy := b.busy[s.params.Key]
	return !busy
}

// ended sets the conversations of a batch free.
func (b *Sends) ended(batch []*send) {
	for _, s := range batch {
		delete(b.busy, s.params.Key)
	}
}

// write stores a batch.
func (b *Sends) write(ctx context.Context, batch []*send) {
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
