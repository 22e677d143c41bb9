package auth

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"time"

	"mls-server/internal/clock"
	"mls-server/internal/shared"
	"mls-server/internal/xrpc"
	"mls-server/lexrt"
	"mls-server/lexrt/lexbase64"
)

const (
	// TicketLifetime is for how long a ticket can be used.
	TicketLifetime = time.Minute
	// MaxTicket is the length of the longest ticket.
	MaxTicket = 256
	// maxTicketDID is the longest DID that fits into one.
	maxTicketDID = MaxTicket/4*3 - ticketOverhead
	// A ticket is a nonce, and sealed behind it the second in which it was made, a hash of the
	// conversation that it is for, and the DID; behind those the seal.
	ticketNonce, ticketSeal   = 12, 16
	ticketIssued, ticketConvo = 8, 16
	ticketOverhead            = ticketNonce + ticketIssued + ticketConvo + ticketSeal
)

// Tickets stand for tokens where a client cannot send a header: a page that opens a WebSocket.
// Nothing is stored when one is made, so that their number costs nothing; one that was used is
// remembered as a used token is. A ticket ends up in the logs of proxies, since it is part of an
// address: it tells nothing to those who do not have the key, and is of no use to them when it was
// used or has expired.
type Tickets struct {
	TicketsConfig

	aead cipher.AEAD
}

// TicketsConfig is what tickets need. All fields are required.
type TicketsConfig struct {
	// Hasher has the secret from which the key of tickets follows. All servers of a deployment
	// share it.
	Hasher *shared.Hasher
	// Used remembers tickets that were used. All servers of a deployment share it, too, whether
	// they share a memory of tokens or not.
	Used ReplayStore
	// Began says since when Used remembers.
	Began func() time.Time
	Clock clock.Clock
}

// NewTickets returns what makes tickets and reads them.
func NewTickets(cfg TicketsConfig) (*Tickets, error) {
	key := cfg.Hasher.Sum(shared.PurposeTicketKey, "")
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return &Tickets{TicketsConfig: cfg, aead: aead}, nil
}

// ErrLongDID is returned for an account whose DID does not fit into a ticket. It has to send its
// token in a header.
var ErrLongDID = errors.New("auth: the DID is too long for a ticket")

// Issue makes a ticket for a user, and for one conversation alone where convo is not "".
func (t *Tickets) Issue(user lexrt.DID, convo string) (ticket string, expires time.Time, err error) {
	if len(user) > maxTicketDID {
		return "", time.Time{}, ErrLongDID
	}
	issued := t.Clock.Now().Truncate(time.Second)
	text := binary.BigEndian.AppendUint64(make([]byte, 0, MaxTicket), uint64(issued.Unix())) //nolint:gosec // never negative
	scope := t.scope(convo)
	text = append(append(text, scope[:]...), user...)
	nonce := make([]byte, ticketNonce, MaxTicket)
	if _, err := rand.Read(nonce); err != nil {
		return "", time.Time{}, err
	}
	return base64.RawURLEncoding.EncodeToString(t.aead.Seal(nonce, nonce, text, nil)), issued.Add(TicketLifetime), nil
}

// scope is what a ticket says of its conversation: zeros where it is for all.
func (t *Tickets) scope(convo string) (scope [ticketConvo]byte) {
	if convo != "" {
		sum := t.Hasher.Sum(shared.PurposeTicket, "convo", convo)
		copy(scope[:], sum[:])
	}
	return scope
}

// open reads a ticket, whoever made it.
func (t *Tickets) open(ticket string) (user lexrt.DID, issued time.Time, scope [ticketConvo]byte, ok bool) {
	if len(ticket) > MaxTicket {
		return "", issued, scope, false
	}
	raw, err := lexbase64.DecodeURL(ticket)
	if err != nil || len(raw) < ticketOverhead {
		return "", issued, scope, false
	}
	text, err := t.aead.Open(nil, raw[:ticketNonce], raw[ticketNonce:], nil)
	if err != nil {
		return "", issued, scope, false
	}
	copy(scope[:], text[ticketIssued:])
	return lexrt.DID(text[ticketIssued+ticketConvo:]), time.Unix(int64(binary.BigEndian.Uint64(text)), 0), scope, true //nolint:gosec // as it was sealed
}

// AuthenticateTicket implements xrpc.Tickets. A ticket is used up by Spend, whatever
// EnforceJTI says.
func (a *ServiceAuth) AuthenticateTicket(_ context.Context, ticket, convo string) (xrpc.Credential, error) {
	if a.tickets == nil {
		return xrpc.Credential{}, unauthorized(NameAuthMissing, "Tickets are not accepted here")
	}
	user, issued, scope, ok := a.tickets.open(ticket)
	now := a.clock.Now()
	switch {
	case !ok:
		return xrpc.Credential{}, unauthorized(NameBadJwt, "The ticket is not one that this service gave out")
	case !now.Before(issued.Add(TicketLifetime)), mayBeUsed(issued, now, a.tickets.Began()):
		return xrpc.Credential{}, unauthorized(NameJwtExpired, "The ticket has expired; get a new one")
	case scope != [ticketConvo]byte{} && scope != a.tickets.scope(convo):
		return xrpc.Credential{}, unauthorized(NameBadJwtAudience, "The ticket is for another conversation than convoId names")
	}
	// It does not say when it was issued: this service made it, and not the account's PDS, so that
	// it is no sign of an account that is active again.
	return xrpc.Credential{
		Caller: lexrt.Caller{DID: user}, Ticket: true,
		Token: a.hasher.Sum(shared.PurposeTicket, "used", ticket), Until: issued.Add(TicketLifetime + Leeway),
	}, nil
}
