package delivery

import (
	"context"
	"errors"
	"sync"
	"time"
)

// errBatchLost is what became of a call until its batch says otherwise.
var errBatchLost = errors.New("delivery: the batch ended without an outcome")

// waiter is a call that waits until its batch has ended.
type waiter[C any] struct {
	ctx  context.Context //nolint:containedctx // it is the request that waits; its end takes the call out of the queue
	call C
	done chan struct{}
}

// admission is whether a call becomes part of a batch.
type admission int

const (
	take  admission = iota // it does
	leave                  // it stays in the queue, and those behind it are looked at
	full                   // it stays in the queue, as all behind it
)

// queue collects the calls of a process into batches, as a database commits in
// groups: a call that finds a worker free goes at once, and those that arrive
// while all are busy form the next batches. So nothing waits for company, and
// the more is called the larger batches become.
//
// It holds only requests that are being answered, whose number and memory the
// request path bounds.
type queue[C any] struct {
	// workers is how many batches are under way at once.
	workers int
	// timeout ends a batch, and the wait for a connection before it.
	timeout time.Duration
	// begin starts a batch: what it returns is asked about each call, in the
	// order of the queue, and takes the first.
	begin func() func(C) admission
	// write carries a batch out and leaves in each call what became of it.
	write func(context.Context, []C)

	mu      sync.Mutex
	waiting []*waiter[C]
	working int // goroutines that work through the queue
}

// do returns when a call was carried out, or with the error of ctx. When ctx ends
// before the call is part of a batch, it is never carried out; when it ends later,
// that is open, and the call still belongs to its batch.
func (q *queue[C]) do(ctx context.Context, call C) error {
	c := &waiter[C]{ctx: ctx, call: call, done: make(chan struct{})}
	q.mu.Lock()
	q.waiting = append(q.waiting, c)
	start := q.working < q.workers
	if start {
		q.working++
	}
	q.mu.Unlock()
	if start {
		go q.work()
	}
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// length is how many calls wait for a batch.
func (q *queue[C]) length() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting)
}

// work carries batches out until the queue is empty.
func (q *queue[C]) work() {
	for {
		batch := q.next()
		if batch == nil {
			return
		}
		q.run(batch)
	}
}

// next takes a batch off the queue, and the calls that nobody waits for any
// more. On an empty queue it returns nil, and the worker is free.
func (q *queue[C]) next() []*waiter[C] {
	q.mu.Lock()
	defer q.mu.Unlock()
	admit := q.begin()
	var batch []*waiter[C]
	kept := q.waiting[:0]
	for i, c := range q.waiting {
		if c.ctx.Err() != nil {
			continue
		}
		verdict := admit(c.call)
		if verdict == take {
			batch = append(batch, c)
			continue
		}
		if verdict == full {
			kept = append(kept, q.waiting[i:]...)
			break
		}
		kept = append(kept, c)
	}
	clear(q.waiting[len(kept):])
	q.waiting = kept
	if len(kept) == 0 {
		q.waiting = nil // a burst's array need not stay
	}
	if batch == nil {
		q.working--
	}
	return batch
}

// run carries a batch out and tells its callers. It runs under the values of the
// first request's context, for those who count statements, but not its end: the
// others still wait.
func (q *queue[C]) run(batch []*waiter[C]) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(batch[0].ctx), q.timeout)
	defer cancel()
	defer func() {
		for _, c := range batch {
			close(c.done)
		}
	}()
	calls := make([]C, len(batch))
	for i, c := range batch {
		calls[i] = c.call
	}
	q.write(ctx, calls)
}
