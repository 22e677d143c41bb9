package delivery_test

import (
	"testing"

	"mls-server/internal/delivery"
	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
	"mls-server/internal/pgtest"
	"mls-server/internal/store"
)

// What waits for what: locks are taken in one order, and what is refused holds up nobody.

// awaitLock waits until a statement of the world's database waits for a lock.
func (w *world) awaitLock(t *testing.T) {
	t.Helper()
	db := pgtest.Open(t, w.url)
	for waiting := 0; waiting == 0; {
		err := db.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'").Scan(&waiting)
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestInviterIsLockedAfterPackages: a conversation that is made waits for the packages that an
// addition has, and not with the inviter's lock, for which that waits next.
func TestInviterIsLockedAfterPackages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.register(t, bob)
	done := make(chan error, 1)
	g := mlstest.NewGroup(suite)
	a := addition(t, w, new(mls.EncodeText(g.At(1).Welcome(b.packages[0].Ref))), nil, bob)
	packages, err := pgtest.Open(t, w.url).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := packages.Exec(t.Context(), "SELECT FROM key_packages FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	go func() {
		_, err := w.tryCreate(t, alice, g, a)
		done <- err
	}()
	w.awaitLock(t)
	var free bool
	if err := packages.QueryRow(t.Context(), "SELECT pg_try_advisory_xact_lock(hashtextextended($1, 7303))", string(alice)).Scan(&free); err != nil || !free {
		t.Errorf("the inviter is locked before the packages: %v", err)
	}
	if err := packages.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestRefusedRegistrationsHoldNothingUp: a registration that is refused does not wait for the
// user's conversations, nor lock them.
func TestRefusedRegistrationsHoldNothingUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.register(t, alice), w.register(t, bob)
	c := w.create(t, a, b)
	err := w.Store.InTx(t.Context(), func(tx *store.Tx) error {
		if _, err := tx.LockConvo(t.Context(), c.key()); err != nil {
			return err
		}
		r := registration(w, mlstest.NewClient(bob, "", suite))
		r.Replaces = "no such device"
		_, err := w.RegisterDevice(t.Context(), r)
		wantKind(t, err, mls.ErrDeviceNotFound, 0)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestConfirmationsOfWhoIsInvitedAnew: who is removed and invited again while its confirmation
// waits accepts with all its devices: those that were not added are asked for.
func TestConfirmationsOfWhoIsInvitedAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.register(t, alice), w.register(t, bob)
	c := w.create(t, a, b)
	tablet := w.register(t, bob)
	again := &person{Client: b.Client, device: b.device, packages: b.packages[1:]}
	r := w.adding(t, c, a, c.PrivateCommit(), again)
	v, err := w.Vet(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	err = w.Store.InTx(t.Context(), func(tx *store.Tx) error {
		if _, err := tx.LockConvo(t.Context(), c.key()); err != nil {
			return err
		}
		go func() {
			_, err := w.ConfirmWelcome(t.Context(), delivery.Confirmation{Key: c.key(), User: bob, Success: true, At: w.clock.Now()})
			done <- err
		}()
		w.awaitLock(t)
		if _, err := w.Remove(t.Context(), tx, delivery.Removal{Key: c.key(), Actor: alice, Target: bob, At: w.clock.Now()}); err != nil {
			return err
		}
		_, err := w.Add(t.Context(), tx, r, v)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	standing, err := w.Store.FindStanding(t.Context(), c.key(), bob)
	if err != nil || !standing.Member {
		t.Fatalf("%+v %v", standing, err)
	}
	requests, err := w.Store.ListRequests(t.Context(), c.id)
	if err != nil || len(requests) != 1 || requests[0].Device.ID != tablet.device {
		t.Errorf("%+v %v", requests, err)
	}
}
