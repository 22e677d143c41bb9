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
}
