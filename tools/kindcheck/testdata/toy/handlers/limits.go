package handlers

import (
	"context"
	"errors"
	"flag"

	"toy/domain"
)

// Computed makes a kind out of a number.
func (h *Handlers) Computed(ctx context.Context) error {
	k := domain.ErrGone
	if ctx.Err() != nil {
		return domain.Kind(len(ctx.Err().Error()))
	}
	return k
}

// Compared asks with ==, which is not understood: it cannot answer Gone.
func (h *Handlers) Compared(context.Context) error {
	_, err := h.Finder.Find("x")
	if err == domain.ErrGone {
		return nil
	}
	return err
}

func isGone(err error) bool { return errors.Is(err, domain.ErrGone) }

// Asked asks in another function, which is not understood: it cannot answer Gone.
func (h *Handlers) Asked(context.Context) error {
	_, err := h.Finder.Find("x")
	if isGone(err) {
		return nil
	}
	return err
}

// Early reads what is only written later: it cannot answer Gone.
func (h *Handlers) Early(context.Context) error {
	var later error
	first := func() error { return later }
	err := first()
	later = domain.ErrGone
	return err
}

// Panics answers Gone, which is not seen.
func (h *Handlers) Panics(context.Context) (err error) {
	defer func() { err, _ = recover().(error) }()
	panic(domain.ErrGone)
}

type value struct{ failed *error }

func (v value) String() string { return "" }

func (v value) Set(string) error {
	*v.failed = domain.ErrGone
	return nil
}

// Hidden answers Gone, since package flag calls Set, which is not seen.
func (h *Handlers) Hidden(context.Context) error {
	var failed error
	var flags flag.FlagSet
	flags.Var(value{&failed}, "name", "")
	_ = flags.Parse([]string{"-name", "x"})
	return failed
}
