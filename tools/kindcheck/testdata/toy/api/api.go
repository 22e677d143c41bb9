// Package api is what the generated package is to the server.
package api

import (
	"context"

	"toy/runtime"
)

// The declared errors.
var (
	ErrGone  = &runtime.Error{Name: "Gone", Status: 404}
	ErrTaken = &runtime.Error{Name: "Taken", Status: 409}
	ErrLimit = &runtime.Error{Name: "Limit", Status: 400}
)

var MethodDirect = &runtime.Method{NSID: "toy.direct", Errors: []*runtime.Error{ErrGone}}

var MethodWrapped = &runtime.Method{NSID: "toy.wrapped", Errors: []*runtime.Error{ErrGone}}

var MethodConverted = &runtime.Method{NSID: "toy.converted", Errors: []*runtime.Error{ErrTaken}}

var MethodClosure = &runtime.Method{NSID: "toy.closure"}

var MethodRetried = &runtime.Method{NSID: "toy.retried", Errors: []*runtime.Error{ErrGone}}

var MethodQueue = &runtime.Method{NSID: "toy.queue"}

var MethodViolation = &runtime.Method{NSID: "toy.violation", Errors: []*runtime.Error{ErrTaken}}

var MethodUnproduced = &runtime.Method{
	NSID: "toy.unproduced", Errors: []*runtime.Error{ErrGone, ErrLimit, ErrTaken},
	Violations: []runtime.Violation{{Pointer: "/list", Error: ErrLimit}},
}

var MethodUnnamed = &runtime.Method{NSID: "toy.unnamed"}

var MethodUnknown = &runtime.Method{NSID: "toy.unknown"}

var MethodComputed = &runtime.Method{NSID: "toy.computed"}

var MethodCompared = &runtime.Method{NSID: "toy.compared", Errors: []*runtime.Error{ErrGone}}

var MethodAsked = &runtime.Method{NSID: "toy.asked", Errors: []*runtime.Error{ErrGone}}

var MethodEarly = &runtime.Method{NSID: "toy.early", Errors: []*runtime.Error{ErrGone}}

var MethodPanics = &runtime.Method{NSID: "toy.panics"}

var MethodHidden = &runtime.Method{NSID: "toy.hidden"}

// Service is what handlers implement.
type Service interface {
	Direct(ctx context.Context) error
	Wrapped(ctx context.Context) error
	Converted(ctx context.Context) error
	Closure(ctx context.Context) error
	Retried(ctx context.Context) error
	Queue(ctx context.Context) error
	Violation(ctx context.Context) error
	Unproduced(ctx context.Context) error
	Unnamed(ctx context.Context) error
	Unknown(ctx context.Context) error
	Computed(ctx context.Context) error
	Compared(ctx context.Context) error
	Asked(ctx context.Context) error
	Early(ctx context.Context) error
	Panics(ctx context.Context) error
	Hidden(ctx context.Context) error
}
