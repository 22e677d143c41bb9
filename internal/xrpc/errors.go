package xrpc

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"mls-server/lexrt"
)

// The general errors that any method may answer with, beside those that its
// lexicon declares.
var (
	errInvalidPath          = &lexrt.Error{Name: "InvalidRequest", Status: http.StatusBadRequest, Message: "invalid xrpc path"}
	errMethodNotImplemented = &lexrt.Error{Name: "MethodNotImplemented", Status: http.StatusNotImplemented, Message: "Method Not Implemented"}
	errNoContentType        = &lexrt.Error{Name: "InvalidRequest", Status: http.StatusBadRequest, Message: "Request encoding (Content-Type) required but not provided"}
	errContentType          = &lexrt.Error{Name: "InvalidRequest", Status: http.StatusBadRequest, Message: "Wrong request encoding (Content-Type)"}
	errUnexpectedBody       = &lexrt.Error{Name: "InvalidRequest", Status: http.StatusBadRequest, Message: "A request body was provided when none was expected"}
	errBadQuery             = &lexrt.Error{Name: "InvalidRequest", Status: http.StatusBadRequest, Message: "The query string is not well-formed"}
	errBadBody              = &lexrt.Error{Name: "InvalidRequest", Status: http.StatusBadRequest, Message: "The request body could not be read"}
	errTooLarge             = &lexrt.Error{Name: "PayloadTooLargeError", Status: http.StatusRequestEntityTooLarge, Message: "request entity too large"}
	errContentEncoding      = &lexrt.Error{Name: "UnsupportedMediaTypeError", Status: http.StatusUnsupportedMediaType, Message: "unsupported content encoding; use identity or gzip"}
	errBusy                 = &lexrt.Error{Name: "NotEnoughResources", Status: http.StatusServiceUnavailable, Message: "The server is busy; try again in 2 seconds", RetryAfter: 2 * time.Second}
	errTimeout              = &lexrt.Error{Name: "RequestTimeout", Status: http.StatusRequestTimeout, Message: "The request body did not arrive in time"}
)

// generalErrors lists the names that every method may answer with.
var generalErrors = []string{
	"AuthMissing", "BadJwt", "BadJwtAudience", "BadJwtIss", "BadJwtLexiconMethod", "BadJwtSignature", "BadJwtType",
	"IdempotencyInProgress", "IdempotencyKeyReused", "InternalServerError", "InvalidRequest", "JwtExpired",
	"MethodNotImplemented", "NotEnoughResources", "PayloadTooLargeError", "RateLimitExceeded", "ReplayedToken",
	"RequestTimeout", "UnresolvedDid", "UnsupportedMediaTypeError",
}

// GeneralErrors returns the names that every method may answer with beside its declared ones, sorted.
func GeneralErrors() []string { return slices.Clone(generalErrors) }

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
		named = x.invalidRequest(invalid)
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
	if x.m != nil && !x.m.Declares(named.Name) && !slices.Contains(generalErrors, named.Name) {
		x.s.opt.Observer.ObserveUndeclared(x.m, named.Name)
		return x.internal(), true
	}
	return named, named.Status >= http.StatusInternalServerError && named.Name == "InternalServerError"
}

func (x *exchange) internal() *lexrt.Error {
	return &lexrt.Error{
		Name: "InternalServerError", Status: http.StatusInternalServerError,
		Message: "Internal Server Error; request " + x.id(),
	}
}

// invalidRequest gives the first broken constraint that the method has a name
// for that name, and everything else InvalidRequest.
func (x *exchange) invalidRequest(e *lexrt.InvalidError) *lexrt.Error {
	if x.m != nil {
		for _, is := range e.Issues {
			for _, v := range x.m.Violations {
				if v.Rule == is.Rule && pointerMatches(v.Pointer, is.Pointer) {
					return &lexrt.Error{Name: v.Error, Status: v.Status, Message: is.Pointer + " " + is.Problem}
				}
			}
		}
	}
	return &lexrt.Error{Name: "InvalidRequest", Status: http.StatusBadRequest, Message: e.Error()}
}

// pointerMatches compares a JSON pointer with a pattern in which "-" stands for any array index.
func pointerMatches(pattern, pointer string) bool {
	if pattern == pointer {
		return true
	}
	p, q := strings.Split(pattern, "/"), strings.Split(pointer, "/")
	if len(p) != len(q) {
		return false
	}
	for i := range p {
		if p[i] == q[i] {
			continue
		}
		if _, err := strconv.ParseUint(q[i], 10, 32); p[i] != "-" || err != nil {
			return false
		}
	}
	return true
}
