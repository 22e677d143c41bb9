package blocks_test

import (
	"fmt"
	"testing"
	"time"

	"mls-server/internal/blocks"
	"mls-server/internal/mls"
)

// An attack: eve asks about pairs, and compares answers and what the network is
// asked for each (what takes time) of users about whom somebody has just asked
// with those about whom nobody has. Nothing may differ, with and without the
// sources, with and without an AppView.
func TestStrangersLearnNothingOfOthersQuestions(t *testing.T) {
	t.Parallel()
	for _, view := range []bool{false, true} {
		e := newEnv(t)
		s := e.service(nil, true)
		if view {
			s = e.service(e.appview, true)
		}
		u := e.users(15)
		eve, alice, bob, carol, dave, quiet := u[0], u[1], u[2], u[3], u[4], u[5:]
		e.network.Block(bob, alice)
		e.network.Block(quiet[1], quiet[0])
		e.converse(t, alice, bob)

		// Alice creates a conversation with bob, its admin looks at it, carol claims a
		// package of dave; nobody deals with the quiet ones.
		between(t, s, alice, []mls.DID{alice, bob})
		if _, err := s.AnyBetween(t.Context(), alice, []mls.DID{alice, bob}, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Blocking(t.Context(), carol, []mls.DID{dave}); err != nil {
			t.Fatal(err)
		}
		e.clock.Advance(9 * time.Second)

		look := func(pair ...mls.DID) string {
			before := e.network.Requests()
			a, err := s.Between(t.Context(), eve, pair)
			return fmt.Sprintf("%d blocks, %v, %v, %d requests", len(a.Blocks), a.CheckedAt, err, e.network.Requests()-before)
		}
		others := u[9:]
		compare := func(when string) {
			t.Helper()
			look(eve, others[0]) // what eve knows of herself is no secret to her
			look(eve, others[1])
			others = others[2:]
			for _, c := range []struct{ busy, idle [2]mls.DID }{
				{[2]mls.DID{alice, bob}, [2]mls.DID{quiet[0], quiet[1]}},
				{[2]mls.DID{carol, dave}, [2]mls.DID{quiet[2], quiet[3]}},
				{[2]mls.DID{eve, bob}, [2]mls.DID{eve, quiet[1]}},
			} {
				busy, idle := look(c.busy[:]...), look(c.idle[:]...)
				if busy != idle {
					t.Errorf("AppView %v, %s: of those who were asked about %q, of those who were not %q", view, when, busy, idle)
				}
			}
		}
		compare("at first")
		compare("again")
		e.clock.Advance(blocks.FreshFor + time.Minute)
		between(t, s, alice, []mls.DID{alice, bob})
		e.network.SetDown(true)
		e.clock.Advance(blocks.FreshFor + time.Minute)
		compare("while the sources are down")
	}
}

// A table that says who was looked up for whom would be a log of who is about to
// meet whom: it holds whose list was read, floored to two seconds, and of pairs
// only blocks that are public.
func TestNobodyIsNotedForAsking(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.service(nil, true)
	u := e.users(4)
	e.converse(t, u[0], u[1])
	e.network.Block(u[0], u[1])
	between(t, s, u[0], u)
	if _, err := s.Blocking(t.Context(), u[2], u[3:]); err != nil {
		t.Fatal(err)
	}
	e.clock.Advance(time.Hour)
	between(t, s, u[0], u)
	if err := s.Verify(t.Context(), blocks.Claim{Blocker: u[0], Blocked: u[2]}); err != nil {
		t.Fatal(err)
	}
	rows := e.rows(t, `SELECT blocker_did || ' ' || blocked_did FROM block_checks UNION ALL
		SELECT 'finer than two seconds' FROM block_checks WHERE extract(epoch FROM checked_at)::bigint % 2 <> 0 OR checked_at <> date_trunc('second', checked_at)`)
	for _, row := range rows {
		if row != string(u[0])+" " && row != string(u[1])+" " {
			t.Errorf("block_checks holds %q", row)
		}
	}
	if len(rows) == 0 {
		t.Error("no list was noted")
	}
}
