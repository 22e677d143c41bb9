package auth_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"mls-server/internal/auth"
	"mls-server/internal/shared"
	"mls-server/lexrt"
)

// redeem uses a ticket up and returns whose it is, or the error's name.
func (e *env) redeem(t *testing.T, ticket, convo string) string {
	t.Helper()
	c, err := e.auth.AuthenticateTicket(t.Context(), ticket, convo)
	if err == nil {
		err = e.auth.Spend(t.Context(), c)
	}
	if named, ok := errors.AsType[*lexrt.Error](err); ok {
		return named.Name
	}
	if err != nil {
		t.Fatal(err)
	}
	if !c.Issued.IsZero() {
		t.Errorf("a ticket passes for a token that the account's PDS issued at %v", c.Issued)
	}
	return c.Caller.DID.String()
}

// TestTickets: each stands once, for a minute, for its account and conversation.
func TestTickets(t *testing.T) {
	t.Parallel()
	var began time.Time
	var tickets *auth.Tickets
	e := newEnv(t, func(cfg *auth.Config) {
		var err error
		if tickets, err = auth.NewTickets(auth.TicketsConfig{
			Hasher: cfg.Hasher, Used: auth.NewMemoryReplays(1000, cfg.Clock), Clock: cfg.Clock, Began: func() time.Time { return began },
		}); err != nil {
			t.Fatal(err)
		}
		cfg.Tickets, cfg.EnforceJTI = tickets, false
	})
	const alice = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
	issue := func(did lexrt.DID, convo string) string {
		t.Helper()
		ticket, expires, err := tickets.Issue(did, convo)
		if err != nil || len(ticket) > auth.MaxTicket || expires.Sub(e.clock.Now()) > auth.TicketLifetime || strings.Contains(ticket, "plc") {
			t.Fatal(err, ticket, expires)
		}
		return ticket
	}
	want := func(what, ticket, convo, want string) {
		t.Helper()
		if got := e.redeem(t, ticket, convo); got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	one := issue(alice, "")
	want("first", one, "", alice)
	want("second", one, "", auth.NameReplayedToken)
	want("for all, used for one", issue(alice, ""), "convo", alice)
	bound := issue(alice, "convo")
	want("no conversation", bound, "", auth.NameBadJwtAudience)
	want("another", bound, "other", auth.NameBadJwtAudience)
	want("its own", bound, "convo", alice)
	if first, second := issue(alice, ""), issue(alice, ""); first == second {
		t.Error("two tickets are one")
	}
	longest := lexrt.DID("did:web:" + strings.Repeat("a", 140-8-4) + ".com")
	want("a long DID", issue(longest, "convo"), "convo", string(longest))
	if _, _, err := tickets.Issue(longest+"m", ""); !errors.Is(err, auth.ErrLongDID) {
		t.Error(err)
	}
	late := issue(alice, "")
	e.clock.Advance(auth.TicketLifetime)
	want("late", late, "", auth.NameJwtExpired)

	// One that may have been used before the memory of used tokens began is not believed.
	before := issue(alice, "")
	e.clock.Advance(time.Second)
	began = e.clock.Now()
	want("of before", before, "", auth.NameJwtExpired)
	want("of after", issue(alice, ""), "", alice)

	raw, err := base64.RawURLEncoding.DecodeString(issue(alice, ""))
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		raw[i] ^= 1
		want("changed", base64.RawURLEncoding.EncodeToString(raw), "", auth.NameBadJwt)
		raw[i] ^= 1
	}
	for n := range raw {
		want("shortened", base64.RawURLEncoding.EncodeToString(raw[:n]), "", auth.NameBadJwt)
	}
	want("as it was", base64.RawURLEncoding.EncodeToString(raw), "", alice)
	want("too long", strings.Repeat("A", auth.MaxTicket+1), "", auth.NameBadJwt)

	foreign, err := shared.NewHasher([]byte("another secret, of 16 bytes"))
	if err != nil {
		t.Fatal(err)
	}
	others, err := auth.NewTickets(auth.TicketsConfig{Hasher: foreign, Used: e.replays, Began: func() time.Time { return time.Time{} }, Clock: e.clock})
	if err != nil {
		t.Fatal(err)
	}
	ticket, _, err := others.Issue(alice, "")
	if err != nil {
		t.Fatal(err)
	}
	want("of another deployment", ticket, "", auth.NameBadJwt)
	if got := newEnv(t).redeem(t, one, ""); got != auth.NameAuthMissing {
		t.Errorf("without tickets: %s", got)
	}
}
