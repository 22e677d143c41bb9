package delivery_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"mls-server/internal/delivery"
	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
	"mls-server/internal/pgtest"
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

// wantWait fails the test unless too many invitations are refused for a time, by the bound that is
// named.
func wantWait(t *testing.T, err error, bound string, least, most time.Duration) {
	t.Helper()
	wantKind(t, err, mls.ErrTooManyInvitations, 0)
	if e := mls.AsError(err); e != nil && e.Detail != bound {
		t.Errorf("%q, want %q", e.Detail, bound)
	}
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
	wantWait(t, err, "the caller has made 99 in an hour, of 100 that may be", 40*time.Minute, 40*time.Minute)
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
	wantWait(t, err, "300 from the caller are open, of 300 that may be", time.Second, time.Hour)
	// Who has accepted needs no invitation any more, and leaves room for one.
	w.accept(t, first, stranger(0))
	if _, err := w.invites(t, alice, stranger(0), stranger(300)); err != nil {
		t.Error(err)
	}
	// Nor is an invitation that nobody answers open for ever.
	w.clock.Advance(91 * 24 * time.Hour)
	if _, err := w.invites(t, alice, strangers(400, 100)...); err != nil {
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
	const three = "the user at /initialMembers/0 has 3 from the caller that are open, or were taken back today"
	_, err := w.invites(t, alice, bob)
	wantWait(t, err, three, time.Second, time.Hour)
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
	_, err = w.invites(t, alice, carol, bob)
	wantWait(t, err, strings.Replace(three, "/0", "/1", 1), time.Second, time.Hour)
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
	wantWait(t, err, "the user at /initialMembers/0 has declined one in the last thirty days", 30*24*time.Hour, 30*24*time.Hour)
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

// TestColludersAreBounded: an invitation whose commit another one takes back counts as if it had
// been taken back itself, in whatever conversation the next one is.
func TestColludersAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.register(t, alice)
	invite := func() error {
		t.Helper()
		c, d := w.register(t, carol), w.register(t, dave)
		chat := w.create(t, a, c)
		if err := w.add(t, w.adding(t, chat, a, chat.PrivateCommit(), d)); err != nil {
			return err
		}
		reopened, err := w.ReportCommit(t.Context(), delivery.CommitReport{
			Key: chat.key(), User: carol, Device: c.device, Epoch: chat.Epoch, At: w.clock.Now(),
		})
		if err != nil || !reopened {
			t.Fatal(reopened, err)
		}
		return nil
	}
	for range 3 {
		if err := invite(); err != nil {
			t.Fatal(err)
		}
	}
	wantWait(t, invite(), "the user at /didList/0 has 3 from the caller that are open, or were taken back today", time.Second, time.Hour)
}

// TestStuckInvitationsHoldUpNoOthers: where one cannot be ended, the next ones are.
func TestStuckInvitationsHoldUpNoOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 34 {
		for range 3 {
			if _, err := w.invites(t, stranger(i), bob, carol); err != nil {
				t.Fatal(err)
			}
		}
	}
	stuck, err := w.invites(t, alice, append(strangers(100, 50), bob)...)
	if err != nil {
		t.Fatal(err)
	}
	const refuse = `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'stuck'; END $$`
	db := pgtest.Open(t, w.url)
	for _, statement := range []string{refuse, `CREATE TRIGGER refuse BEFORE UPDATE ON members FOR EACH ROW WHEN (OLD.convo_id = '` + string(stuck.id) + `') EXECUTE FUNCTION refuse()`} {
		if _, err := db.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	// Of bob's 103 one is stuck, of carol's 102 none.
	if n, err := w.TrimInvitations(t.Context(), w.clock.Now()); n != 4 || err == nil {
		t.Error(n, err)
	}
	if _, err := db.Exec(t.Context(), "DROP TRIGGER refuse ON members"); err != nil {
		t.Fatal(err)
	}
	if n, err := w.TrimInvitations(t.Context(), w.clock.Now()); n != 1 || err != nil {
		t.Error(n, err)
	}
}

// Of more than a hundred open invitations the newest of the inviter with most open ones goes,
// whoever those invite.
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
