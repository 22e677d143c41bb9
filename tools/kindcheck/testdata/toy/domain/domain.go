// Package domain is what package mls is to the server.
package domain

import "errors"

// Kind is what went wrong.
type Kind uint8

// The kinds.
const (
	_ Kind = iota
	ErrGone
	ErrTaken
	ErrLimit
	ErrStale
	ErrBusy
)

func (k Kind) Error() string { return "kind" }

// Error says more than its kind.
type Error struct {
	Kind   Kind
	Detail string
}

func (e *Error) Error() string   { return e.Detail }
func (e *Error) Unwrap() []error { return []error{e.Kind} }

// Detailed is built as the server's errors are.
func Detailed(kind Kind, detail string) error { return &Error{Kind: kind, Detail: detail} }

// Impossible drops the kind.
func Impossible(err error) error { return errors.New(err.Error()) }
