package xrpc

import (
	"context"
	"errors"
	"net/http"
	"time"

	"mls-server/lexrt"
)

// What the runtime itself answers.
var (
	errInvalidPath          = lexrt.ErrInvalidRequest.WithMessage("invalid xrpc path")
	errMethodNotImplemented = lexrt.ErrMethodNotImplemented.WithMessage("Method Not Implemented")
	errNoContentType        = lexrt.ErrInvalidRequest.WithMessage("Request encoding (Content-Type) required but not provided")
	errContentType          = lexrt.ErrInvalidRequest.WithMessage("Wrong request encoding (Content-Type)")
	errUnexpectedBody       = lexrt.ErrInvalidRequest.WithMessage("A request body was provided when none was expected")
	errBadQuery             = lexrt.ErrInvalidRequest.WithMessage("The query string is not well-formed")
	errBadBody              = lexrt.ErrInvalidRequest.WithMessage("The request body could not be read")
	errTooLarge             = lexrt.ErrPayloadTooLarge.WithMessage("request entity too large")
	errContentEncoding      = lexrt.ErrUnsupportedMediaType.WithMessage("unsupported content encoding; use identity or gzip")
	errBusy                 = retryLater(lexrt.ErrNotEnoughResources.WithMessage("The server is busy; try again in 2 seconds"), 2*time.Second)
	errTokenNotAllowed      = lexrt.ErrTokenNotAllowed.WithMessage("This method takes no token, which would tell who calls; send the request without Authorization")
	errTimeout              = lexrt.ErrRequestTimeout.WithMessage("The request body did not arrive in time")
)

// errNoAnswer says that an endpoint returned without an error and without an answer.
var errNoAnswer = errors.New("xrpc: the endpoint gave no answer")

func retryLater(e *lexrt.Error, after time.Duration) *lexrt.Error {
	e.RetryAfter = after
	return e
}

// OutcomeNames returns the names that events of requests carry beside error
// names: what became of requests whose answer nobody read, and of unknown paths.
func OutcomeNames() []string { return []string{"ClientGone", "NotFound", "StreamAborted"} }

// publicError turns any error of the pipeline into what the client is told. The
// second result is true when err must be logged as a fault of the server.
func (x *exchange) publicError(err error) (*lexrt.Error, bool) {
	var named *lexrt.Error
	var invalid *lexrt.InvalidError
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		named = errTooLarge
	case errors.As(err, &invalid):
		named = x.m.Refusal(invalid)
	case errors.As(err, &named):
	default:
		named = x.s.opt.MapError(err)
	}
	if named == nil && errors.Is(err, context.DeadlineExceeded) {
		named = errBusy // what it waited for may come back
	}
	if named == nil {
		return x.internal(), true
	}
	if x.m != nil && !x.m.Declares(named.Name) && !lexrt.General(named.Name) {
		x.s.opt.Observer.ObserveUndeclared(x.m, named.Name)
		return x.internal(), true
	}
	return named, errors.Is(named, lexrt.ErrInternalServer)
}

func (x *exchange) internal() *lexrt.Error {
	return lexrt.ErrInternalServer.WithMessage("Internal Server Error; request " + x.id())
}
