package auth

import (
	"net/http"
	"time"

	"mls-server/lexrt"
)

// Names of the errors that Authenticate returns, as atproto's own server spells
// them; ReplayedToken is ours. All have status 401, except NotEnoughResources,
// which is the 503 of a server that cannot reach any store of used tokens, or not
// the issuer's directory.
const (
	NameAuthMissing         = "AuthMissing"
	NameBadJwt              = "BadJwt"
	NameBadJwtType          = "BadJwtType"
	NameBadJwtSignature     = "BadJwtSignature"
	NameJwtExpired          = "JwtExpired"
	NameBadJwtAudience      = "BadJwtAudience"
	NameBadJwtLexiconMethod = "BadJwtLexiconMethod"
	NameBadJwtIss           = "BadJwtIss"
	NameUnresolvedDid       = "UnresolvedDid"
	NameReplayedToken       = "ReplayedToken"
	NameNotEnoughResources  = "NotEnoughResources"
)

// ErrorNames lists every error name that Authenticate can return.
func ErrorNames() []string {
	return []string{
		NameAuthMissing, NameBadJwt, NameBadJwtType, NameBadJwtSignature, NameJwtExpired, NameBadJwtAudience,
		NameBadJwtLexiconMethod, NameBadJwtIss, NameUnresolvedDid, NameReplayedToken, NameNotEnoughResources,
	}
}

func unauthorized(name, message string) *lexrt.Error {
	return &lexrt.Error{Name: name, Status: http.StatusUnauthorized, Message: message}
}

func directoryAway() *lexrt.Error {
	return &lexrt.Error{
		Name: NameNotEnoughResources, Status: http.StatusServiceUnavailable,
		Message: "The issuer's DID document cannot be fetched at the moment, retry in 5 seconds", RetryAfter: 5 * time.Second,
	}
}

func unavailable() *lexrt.Error {
	return &lexrt.Error{
		Name: NameNotEnoughResources, Status: http.StatusServiceUnavailable,
		Message: "Tokens cannot be checked at the moment, retry in 2 seconds", RetryAfter: 2 * time.Second,
	}
}
