// Package handlers has one method for each way in which an error can travel.
package handlers

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"toy/api"
	"toy/domain"
	"toy/runtime"
)

// Finder is an interface with an implementation of the module.
type Finder interface {
	Find(name string) (int, error)
}

// Handlers implements the service.
type Handlers struct {
	Finder Finder
	Queue_ *Queue
	Hook   func() error
}

var _ api.Service = (*Handlers)(nil)

func name(kind domain.Kind) *runtime.Error {
	switch kind {
	case domain.ErrGone:
		return api.ErrGone
	case domain.ErrTaken:
		return api.ErrTaken
	case domain.ErrLimit:
		return api.ErrLimit
	case domain.ErrBusy:
		return runtime.ErrBusy
	}
	return nil
}

// Name keeps the table in use.
func Name(kind domain.Kind) *runtime.Error { return name(kind) }

// Direct returns one declared, one undeclared and one general kind.
func (h *Handlers) Direct(ctx context.Context) error {
	switch {
	case ctx.Err() != nil:
		return domain.ErrGone
	case h == nil:
		return domain.ErrBusy
	}
	return domain.ErrTaken
}

func wrap(step string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", step, err)
}

// Wrapped and Limited share a wrapper, which must not mix them up.
func (h *Handlers) Wrapped(context.Context) error {
	find := func() error {
		_, err := h.Finder.Find("x")
		return err
	}
	for range 3 {
		find = layer(find)
	}
	return errors.Join(wrap("find", find()), errors.New("and more"))
}

// layer returns a function that was made of its like, as that may have been.
func layer(f func() error) func() error { return func() error { return f() } }

func limited() error { return wrap("limit", domain.Detailed(domain.ErrLimit, "too many")) }

// Converted asks before it returns.
func (h *Handlers) Converted(context.Context) error {
	_, err := h.Finder.Find("x")
	switch {
	case errors.Is(err, domain.ErrGone):
		return domain.ErrTaken
	case err != nil:
		return err
	}
	err = limited()
	if !errors.Is(err, domain.ErrLimit) && err != nil {
		return err
	}
	if err == nil {
		return err
	}
	return domain.Impossible(err)
}

func inTx(fn func(tx *int) error) error {
	return retry(func() error { return inTxOnce(fn) })
}

func retry(do func() error) error {
	for range 3 {
		if err := do(); err == nil {
			return nil
		}
	}
	return do()
}

func inTxOnce(fn func(tx *int) error) error {
	n := 0
	if err := fn(&n); err != nil {
		return wrap("tx", err)
	}
	return nil
}

func once[T any](fn func() (T, error)) (T, error) { return fn() }

// Closure loses nothing in closures, generic functions and captured variables.
func (h *Handlers) Closure(context.Context) error {
	var kept error
	err := inTx(func(*int) error {
		_, err := once(func() (string, error) { return "", domain.ErrTaken })
		kept = err
		return limited()
	})
	if err != nil {
		return err // Limit
	}
	return kept // Taken
}

// Retried shares the transaction with Closure, which must not mix them up.
func (h *Handlers) Retried(context.Context) error {
	return inTx(func(*int) error { return domain.ErrGone })
}

// Queue hands work to a goroutine and takes the outcome from it.
type Queue struct{ in chan *job }

type job struct {
	done chan struct{}
	err  error
}

// NewQueue starts the goroutine.
func NewQueue() *Queue {
	q := &Queue{in: make(chan *job)}
	go q.run()
	return q
}

func (q *Queue) run() {
	for j := range q.in {
		j.err = domain.ErrGone
		close(j.done)
	}
}

// Queue waits for a goroutine.
func (h *Handlers) Queue(context.Context) error {
	j := &job{done: make(chan struct{})}
	h.Queue_.in <- j
	<-j.done
	var wg sync.WaitGroup
	var late error
	wg.Go(func() { late = domain.ErrTaken })
	wg.Wait()
	return errors.Join(j.err, late)
}

type violation struct {
	constraint string
	means      error
}

var taken = violation{"key", domain.Detailed(domain.ErrTaken, "taken")}

var gone = violation{"fkey", domain.ErrGone}

func fail(err error, expected ...violation) error {
	for _, v := range expected {
		if err.Error() == v.constraint {
			return v.means
		}
	}
	return wrap("fail", err)
}

// Violation expects one violation of two, which share a function.
func (h *Handlers) Violation(context.Context) error { return fail(errors.New("x"), taken) }

// Unproduced declares more than it answers; the decoder answers Limit.
func (h *Handlers) Unproduced(context.Context) error { return fail(errors.New("x"), gone) }

// Unnamed returns a kind that the table lacks.
func (h *Handlers) Unnamed(context.Context) error { return domain.ErrStale }

// Unknown calls a function that nobody ever set.
func (h *Handlers) Unknown(context.Context) error { return h.Hook() }

// Names is a Finder.
type Names map[string]int

// Find implements Finder.
func (n Names) Find(name string) (int, error) {
	if v, ok := n[name]; ok {
		return v, nil
	}
	return 0, domain.ErrGone
}
