package delivery_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"mls-server/internal/delivery"
	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
	"mls-server/internal/store"
)

// stranger is the nth of users whom nobody knows.
func stranger(n int) mls.DID { return mls.DID(fmt.Sprintf("did:plc:%024d", n)) }

func strangers(from, n int) []mls.DID {
	users := make([]mls.DID, n)
	for i := range users {
		users[i] = stranger(from + i)
	}
	return users
}

// invites makes a conversation without a Welcome, to which its users are invited.
func (w *world) invites(t *testing.T, inviter mls.DID, users ...mls.DID) (*chat, error) {
	t.Helper()
	return w.tryCreate(t, inviter, mlstest.NewGroup(suite), addition(t, w, nil, nil, users...))
}

// wantWait fails the test unless too many invitations are refused for a time.
func wantWait(t *testing.T, err error, least, most time.Duration) {
	t.Helper()
	wantKind(t, err, mls.ErrTooManyInvitations, 0)
	if e := mls.AsError(err); e != nil && (e.RetryAfter < least || e.RetryAfter > most) {
		t.Errorf("to be tried again in %v, want %v to %v", e.RetryAfter, least, most)
	}
}

// A hundred users an hour, three hundred open, whoever they are.
func TestInvitersAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, err := w.invites(t, alice, strangers(0, 99)...)
	if err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(20 * time.Minute)
	_, err = w.invites(t, alice, strangers(99, 2)...)
	wantWait(t, err, 40*time.Minute, 40*time.Minute)
	if _, err := w.invites(t, alice, stranger(99)); err != nil {
		t.Fatal("one of two is not one too many:", err)
	}
	if _, err := w.invites(t, bob, strangers(0, 100)...); err != nil {
		t.Fatal("another one is as free as before:", err)
	}
	for i := 1; i < 3; i++ {
		w.clock.Advance(2 * time.Hour)
		if _, err := w.invites(t, alice, strangers(100*i, 100)...); err != nil {
			t.Fatal(err)
		}
	}
	w.clock.Advance(2 * time.Hour)
	_, err = w.invites(t, alice, stranger(300))
	wantWait(t, err, time.Second, time.Hour)
	// Who has accepted needs no invitation any more, and leaves room for one.
	w.accept(t, first, stranger(0))
	if _, err := w.invites(t, alice, stranger(0), stranger(300)); err != nil {
		t.Error(err)
	}
}

// Three open invitations from one user to another. To take one back and make another is one more.
func TestPairsAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var chats []*chat
	for range 3 {
		c, err := w.invites(t, alice, bob)
		if err != nil {
			t.Fatal(err)
		}
		chats = append(chats, c)
	}
	_, err := w.invites(t, alice, bob)
	wantWait(t, err, time.Second, time.Hour)
	remove := func(c *chat) {
		t.Helper()
		err := w.Store.InTx(t.Context(), func(tx *store.Tx) error {
			_, err := w.Remove(t.Context(), tx, delivery.Removal{Key: c.key(), Actor: alice, Target: bob, At: w.clock.Now()})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range chats {
		remove(c)
	}
	_, err = w.invites(t, alice, bob)
	wantWait(t, err, time.Second, time.Hour)
	w.clock.Advance(25 * time.Hour)
	again, err := w.invites(t, alice, bob)
	if err != nil {
		t.Fatal(err)
	}
	// Who declines is left alone for thirty days by who had asked, and by nobody else.
	leave := delivery.Departure{Key: again.key(), User: bob, At: w.clock.Now()}
	for range 2 {
		if _, err := w.Leave(t.Context(), leave); err != nil {
			t.Fatal(err)
		}
	}
	wantKind(t, w.Accept(t.Context(), again.key(), bob, w.clock.Now()), mls.ErrNotMember, 0)
	_, err = w.invites(t, alice, bob)
	wantWait(t, err, 30*24*time.Hour, 30*24*time.Hour)
	if _, err := w.invites(t, carol, bob); err != nil {
		t.Error(err)
	}
	w.clock.Advance(30 * 24 * time.Hour)
	if _, err := w.Store.Retain(t.Context(), w.clock.Now().Add(-time.Minute), store.DefaultRetention()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.invites(t, alice, bob); err != nil {
		t.Error(err)
	}
}

// Of more than a hundred open invitations the newest of the inviter with most open ones goes, of
// whomever that are.
func TestInvitationsMakeRoom(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var last *chat
	for i := range 34 {
		for range 3 {
			c, err := w.invites(t, stranger(i), bob)
			if err != nil {
				t.Fatal(err)
			}
			last = c
		}
	}
	busy, err := w.invites(t, alice, append(strangers(100, 50), bob)...)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := w.TrimInvitations(t.Context(), w.clock.Now()); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := w.TrimInvitations(t.Context(), w.clock.Now()); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	page, err := w.Store.ListConvos(t.Context(), bob, store.InvitedConvos, store.ConvoCursor{}, 200)
	if err != nil || len(page.Convos) != 100 {
		t.Fatal(len(page.Convos), err)
	}
	wantKind(t, w.Accept(t.Context(), busy.key(), bob, w.clock.Now()), mls.ErrNotMember, 0)
	w.accept(t, last, bob)
	// Who accepts meanwhile stays.
	if n, err := w.TrimInvitations(t.Context(), w.clock.Now()); n != 0 || err != nil {
		t.Error(n, err)
	}
}

// A conversation that everybody has left but those who are invited gets its admin back.
func TestWhoeverAcceptsLeads(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, err := w.invites(t, alice, bob)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Leave(t.Context(), delivery.Departure{Key: c.key(), User: alice, At: w.clock.Now()})
	wantKind(t, err, mls.ErrLastMember, 0)
	if err := w.Store.InTx(t.Context(), func(tx *store.Tx) error {
		_, err := tx.RemoveUser(t.Context(), c.id, alice, store.LeaveRemoved, w.clock.Now())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	w.accept(t, c, bob)
	admins, err := w.Store.ListAdmins(t.Context(), c.id)
	if err != nil || len(admins) != 1 || admins[0].User != bob {
		t.Error(admins, err)
	}
}

// Of many who invite at once no more get through than may, and an acceptance and a removal at once
// end as one after the other.
func TestInvitationsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	outcomes := make(chan error, 8)
	for range cap(outcomes) {
		g := mlstest.NewGroup(suite)
		a := addition(t, w, nil, nil, bob)
		go func() {
			_, err := w.tryCreate(t, alice, g, a)
			outcomes <- err
		}()
	}
	made := 0
	for range cap(outcomes) {
		if err := <-outcomes; err == nil {
			made++
		} else if !errors.Is(err, mls.ErrTooManyInvitations) {
			t.Error(err)
		}
	}
	if made != 3 {
		t.Errorf("%d invitations were made at once", made)
	}
	for i := range 10 {
		c, err := w.invites(t, stranger(i), carol)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 2)
		go func() { done <- w.Accept(t.Context(), c.key(), carol, w.clock.Now()) }()
		go func() {
			done <- w.Store.InTx(t.Context(), func(tx *store.Tx) error {
				_, err := w.Remove(t.Context(), tx, delivery.Removal{Key: c.key(), Actor: stranger(i), Target: carol, At: w.clock.Now()})
				return err
			})
		}()
		for range 2 {
			if err := <-done; err != nil && !errors.Is(err, mls.ErrNotMember) {
				t.Error(err)
			}
		}
		standing, err := w.Store.FindStanding(t.Context(), c.key(), carol)
		if err != nil || standing.Member || standing.Invited {
			t.Errorf("%+v %v", standing, err)
		}
	}
}
