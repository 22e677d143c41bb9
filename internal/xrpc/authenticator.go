package xrpc

import (
	"context"
	"errors"
	"time"

	"mls-server/lexrt"
)

// Authenticator says who is calling. It is given the descriptor of the method
// and returns *lexrt.Error for everything that is the caller's fault.
//
// It works in two steps, between which the runtime counts the call against the
// account's limit: a call that is refused leaves nothing in a store of used tokens,
// so that no account can hold more of it than its limit allows.
type Authenticator interface {
	// Authenticate checks the value of an Authorization header of a request that is
	// counted under address. It uses nothing up.
	Authenticate(ctx context.Context, m *lexrt.Method, authorization, address string) (Credential, error)
	// Spend uses the token of a credential up, and fails when it was used before.
	Spend(ctx context.Context, c Credential) error
}

// Tickets checks what stands for a token in the address of a subscription.
type Tickets interface {
	// AuthenticateTicket checks a ticket and uses nothing up; Authenticator.Spend does. convo is
	// the conversation that the subscription names, or "".
	AuthenticateTicket(ctx context.Context, ticket, convo string) (Credential, error)
}

// Credential is what a genuine token says.
type Credential struct {
	Caller lexrt.Caller
	// Issued is when the token says that it was made, zero when it does not and for a ticket.
	Issued time.Time
	// Token is a hash of the token that says nothing about it. It is remembered until
	// Until, so that it cannot be used again; not at all when that is zero.
	Token [32]byte
	Until time.Time
	// Ticket says that it was no token, but a ticket.
	Ticket bool
}

// costly is an error that took work to find out.
type costly struct{ error }

func (c costly) Unwrap() error { return c.error }

// Costly marks the refusal of a token for which a shared directory was asked or a
// signature verified. Such refusals fill the bucket of an address whose emptiness
// ends all requests from there unread. Other failures have a bucket beside it, in
// which only they are refused: anybody can bring them about at an address that many
// share, such as a PDS that passes requests on, and they cost next to nothing.
func Costly(err error) error { return costly{err} }

func isCostly(err error) bool {
	_, ok := errors.AsType[costly](err)
	return ok
}
