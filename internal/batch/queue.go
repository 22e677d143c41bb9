package batch

import (
	"context"
	"errors"
	"sync"
	"time"
)

// errBatchLost is what became of a call until its batch says otherwise.
var errBatchLost = errors.New("batch: the batch ended without an outcome")

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
	Config
	// begin starts a batch: what it returns is asked about each call, in the
	// order of the queue. It runs while the queue is locked, as ready and ended do.
	begin func() func(C) admission
	// ready says whether a batch would take the call now; nil: always.
	ready func(C) bool
	// write carries a batch out and leaves in each call what became of it.
	write func(context.Context, []C)
	// ended is told of batches that were carried out; nil: nobody.
	ended func([]C)

	mu      sync.Mutex
	waiting []*waiter[C]
	working int // batches under way that are not held up
	running int // batches under way
}

// do returns when a call was carried out, or with the error of ctx. When ctx ends
// before the call is part of a batch, it is never carried out; when it ends later,
// that is open, and the call still belongs to its batch.
func (q *queue[C]) do(ctx context.Context, call C) error {
	w := &waiter[C]{ctx: ctx, call: call, done: make(chan struct{})}
	q.mu.Lock()
	q.waiting = append(q.waiting, w)
	if q.ready == nil || q.ready(call) {
		q.start()
	}
	q.mu.Unlock()
	select {
	case <-w.done:
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

// start adds a worker, if there may be another one. The queue must be locked.
func (q *queue[C]) start() {
	if q.working < q.Workers && q.running < maxHeldUp {
		q.working++
		q.running++
		go q.work()
	}
}

// work carries batches out until there is nothing for it to do.
func (q *queue[C]) work() {
	for {
		batch := q.next()
		if batch == nil || !q.run(batch) {
			return
		}
	}
}

// next takes a batch off the queue, and drops the calls that nobody waits for.
// When there is none it returns nil, and the worker has left.
func (q *queue[C]) next() []*waiter[C] {
	q.mu.Lock()
	defer q.mu.Unlock()
	admit := q.begin()
	var batch []*waiter[C]
	kept := q.waiting[:0]
	for i, w := range q.waiting {
		if w.ctx.Err() != nil {
			continue
		}
		verdict := admit(w.call)
		if verdict == take {
			batch = append(batch, w)
			continue
		}
		if verdict == full {
			kept = append(kept, q.waiting[i:]...)
			break
		}
		kept = append(kept, w)
	}
	clear(q.waiting[len(kept):])
	q.waiting = kept
	if len(kept) == 0 {
		q.waiting = nil // a burst's array need not stay
	}
	if batch == nil {
		q.working--
		q.running--
	}
	return batch
}

// run carries a batch out, tells its callers, and returns whether the worker is
// still wanted. The batch runs under the values of the first request's context,
// for those who count statements, but not its end: the others still wait.
func (q *queue[C]) run(batch []*waiter[C]) (wanted bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(batch[0].ctx), q.Timeout)
	defer cancel()
	calls := make([]C, len(batch))
	for i, w := range batch {
		calls[i] = w.call
	}
	var over, heldUp bool // under the queue's lock
	timer := time.AfterFunc(q.Patience, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if over {
			return
		}
		heldUp = true
		q.working--
		if len(q.waiting) > 0 {
			q.start()
		}
	})
	q.write(ctx, calls)
	timer.Stop()
	q.mu.Lock()
	over = true
	if q.ended != nil {
		q.ended(calls)
	}
	wanted = !heldUp || q.working < q.Workers
	switch {
	case heldUp && wanted:
		q.working++
	case heldUp:
		q.running--
	}
	q.mu.Unlock()
	for _, w := range batch {
		close(w.done)
	}
	return wanted
}
