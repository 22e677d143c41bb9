package lexrt

import "slices"

// The general errors: every method may answer with them, besides those that its lexicon declares.
// Names and statuses are those of atproto's own server where it has them. They are compared by
// name; WithMessage gives one its text.
var (
	ErrInvalidRequest        = &Error{Name: "InvalidRequest", Status: 400}
	ErrAuthMissing           = &Error{Name: "AuthMissing", Status: 401}
	ErrBadJWT                = &Error{Name: "BadJwt", Status: 401}
	ErrBadJWTAudience        = &Error{Name: "BadJwtAudience", Status: 401}
	ErrBadJWTIssuer          = &Error{Name: "BadJwtIss", Status: 401}
	ErrBadJWTLexiconMethod   = &Error{Name: "BadJwtLexiconMethod", Status: 401}
	ErrBadJWTSignature       = &Error{Name: "BadJwtSignature", Status: 401}
	ErrBadJWTType            = &Error{Name: "BadJwtType", Status: 401}
	ErrJWTExpired            = &Error{Name: "JwtExpired", Status: 401}
	ErrReplayedToken         = &Error{Name: "ReplayedToken", Status: 401}
	ErrUnresolvedDID         = &Error{Name: "UnresolvedDid", Status: 401}
	ErrAccountDeactivated    = &Error{Name: "AccountDeactivated", Status: 401}
	ErrAccountTakedown       = &Error{Name: "AccountTakedown", Status: 401}
	ErrRequestTimeout        = &Error{Name: "RequestTimeout", Status: 408}
	ErrIdempotencyInProgress = &Error{Name: "IdempotencyInProgress", Status: 409}
	ErrPayloadTooLarge       = &Error{Name: "PayloadTooLargeError", Status: 413}
	ErrUnsupportedMediaType  = &Error{Name: "UnsupportedMediaTypeError", Status: 415}
	ErrIdempotencyKeyReused  = &Error{Name: "IdempotencyKeyReused", Status: 422}
	ErrRateLimitExceeded     = &Error{Name: "RateLimitExceeded", Status: 429}
	ErrInternalServer        = &Error{Name: "InternalServerError", Status: 500}
	ErrMethodNotImplemented  = &Error{Name: "MethodNotImplemented", Status: 501}
	ErrNotEnoughResources    = &Error{Name: "NotEnoughResources", Status: 503}
)

// ErrTokenNotAllowed is what anonymous methods answer to a request with a token. They declare it.
var ErrTokenNotAllowed = &Error{Name: "TokenNotAllowed", Status: 400}

var generalErrors = []*Error{
	ErrInvalidRequest, ErrAuthMissing, ErrBadJWT, ErrBadJWTAudience, ErrBadJWTIssuer, ErrBadJWTLexiconMethod,
	ErrBadJWTSignature, ErrBadJWTType, ErrJWTExpired, ErrReplayedToken, ErrUnresolvedDID, ErrAccountDeactivated,
	ErrAccountTakedown, ErrRequestTimeout,
	ErrIdempotencyInProgress, ErrPayloadTooLarge, ErrUnsupportedMediaType, ErrIdempotencyKeyReused,
	ErrRateLimitExceeded, ErrInternalServer, ErrMethodNotImplemented, ErrNotEnoughResources,
}

// GeneralErrors returns the errors that every method may answer with besides its declared ones.
// They are shared and must not be changed.
func GeneralErrors() []*Error { return slices.Clone(generalErrors) }

// General reports whether every method may answer with the error name.
func General(name string) bool {
	return slices.ContainsFunc(generalErrors, func(e *Error) bool { return e.Name == name })
}
