package delivery_test

import (
	"fmt"
	"slices"
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

// TestRegistrationOfWhoIsRemoved: who is removed while its registration waits for the conversation
// asks nobody there to add the device.
func TestRegistrationOfWhoIsRemoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.register(t, alice), w.register(t, bob)
	c := w.create(t, a, b)
	done := make(chan error, 1)
	err := w.Store.InTx(t.Context(), func(tx *store.Tx) error {
		if _, err := tx.LockConvo(t.Context(), c.key()); err != nil {
			return err
		}
		go func() {
			_, err := w.RegisterDevice(t.Context(), registration(w, mlstest.NewClient(bob, "", suite)))
			done <- err
		}()
		w.awaitLock(t)
		_, err := w.Remove(t.Context(), tx, delivery.Removal{Key: c.key(), Actor: alice, Target: bob, At: w.clock.Now()})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	requests, err := w.Store.ListRequests(t.Context(), c.id)
	if err != nil || slices.ContainsFunc(requests, func(r store.Request) bool { return r.Kind != store.RequestRemoval }) {
		t.Errorf("%+v %v", requests, err)
	}
}

// TestDeletionsLockInOrder: a deletion waits for every conversation that the device is in, accepted
// or not, before it touches anything that commits of theirs lock, or the device itself: none of
// them takes a key for sealed sends meanwhile that a device knows which is gone.
func TestDeletionsLockInOrder(t *testing.T) {
	t.Parallel()
	for name, wait := range map[string]func(w *world, d store.Device) error{
		"deleted": func(w *world, d store.Device) error {
			_, err := w.DeleteDevice(t.Context(), delivery.Deletion{Device: d, At: w.clock.Now()})
			return err
		},
		"replaced": func(w *world, d store.Device) error {
			r := registration(w, mlstest.NewClient(d.User, "", suite))
			r.Replaces = d.ID
			_, err := w.RegisterDevice(t.Context(), r)
			return err
		},
	} {
		for _, accepted := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, accepted: %v", name, accepted), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				a, b := w.register(t, alice), w.register(t, bob)
				c := w.invite(t, a, b)
				if accepted {
					w.accept(t, c, bob)
				}
				w.giveKey(t, c, a)
				phone := store.Device{User: bob, ID: b.device}
				done := make(chan error, 1)
				conn, err := pgtest.Open(t, w.url).Begin(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = conn.Rollback(t.Context()) }()
				if _, err := conn.Exec(t.Context(), "SELECT FROM conversations WHERE id = $1 FOR NO KEY UPDATE", string(c.id)); err != nil {
					t.Fatal(err)
				}
				go func() { done <- wait(w, phone) }()
				w.awaitLock(t)
				for _, locked := range []string{"key_packages", "send_keys", "user_devices"} {
					var n int
					err := conn.QueryRow(t.Context(), "SELECT count(*) FROM (SELECT FROM "+locked+" FOR UPDATE NOWAIT) r").Scan(&n)
					if err != nil || n == 0 {
						t.Fatalf("%d %s, %v: they are touched before the conversation is locked", n, locked, err)
					}
				}
				if err := conn.Rollback(t.Context()); err != nil {
					t.Fatal(err)
				}
				if err := <-done; err != nil {
					t.Error(err)
				}
				if keys, err := w.Store.FindSendKeys(t.Context(), c.key()); err != nil || keys.Seal != 0 {
					t.Errorf("keys of a set %v are there, %v", keys.Seal, err)
				}
			})
		}
	}
}

// giveKey deposits a key for sealed sends.
func (w *world) giveKey(t *testing.T, c *chat, p *person) {
	t.Helper()
	ok, err := w.DepositSendKey(t.Context(), delivery.SendKeyDeposit{Key: c.key(), User: p.DID, Epoch: c.Epoch, SendKey: &mls.SendKey{1}})
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
}

// TestAddingADeviceThatIsDeleted: a device that is deleted while a commit adds it knows the key
// that comes with the commit, which does not outlive the device.
func TestAddingADeviceThatIsDeleted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.register(t, alice), w.register(t, bob)
	c := w.create(t, a)
	r := w.adding(t, c, a, c.PrivateCommit(), b)
	r.Commit.SendKey = &mls.SendKey{1}
	v, err := w.Vet(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	// Nothing is left of the deletion but the deletion itself: no job runs.
	done := make(chan error, 1)
	phone := store.Device{User: bob, ID: b.device}
	err = w.Store.InTx(t.Context(), func(tx *store.Tx) error {
		if _, err := w.Add(t.Context(), tx, r, v); err != nil {
			return err
		}
		go func() {
			done <- w.Store.InTx(t.Context(), func(tx *store.Tx) error {
				if _, err := tx.LockConvosOf(t.Context(), bob); err != nil {
					return err
				}
				_, err := tx.DeleteDevice(t.Context(), phone, w.clock.Now())
				return err
			})
		}()
		w.awaitLock(t)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if keys, err := w.Store.FindSendKeys(t.Context(), c.key()); err != nil || keys.Seal != 0 {
		t.Errorf("keys of a set %v are there, %v", keys.Seal, err)
	}
}

// TestErasuresHoldUpNoOtherAccounts: a change of an account's state that waits for a step of the
// account's erasure does so before it has its number: the changes of all other accounts would wait
// behind it.
func TestErasuresHoldUpNoOtherAccounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	db := pgtest.Open(t, w.url)
	in := func(do func(tx *store.Tx) error) error { return w.store.InTx(t.Context(), do) }
	for user, change := range map[mls.DID]func(user mls.DID, first store.ErasureRun) error{
		alice: func(user mls.DID, _ store.ErasureRun) error {
			return in(func(tx *store.Tx) error {
				_, err := tx.BeginErasure(t.Context(), user)
				return err
			})
		},
		bob: func(_ mls.DID, first store.ErasureRun) error {
			return in(func(tx *store.Tx) error { return tx.EndErasure(t.Context(), first) })
		},
		carol: func(user mls.DID, _ store.ErasureRun) error {
			return in(func(tx *store.Tx) error {
				_, err := tx.SuspendAccount(t.Context(), user)
				return err
			})
		},
		dave: func(user mls.DID, _ store.ErasureRun) error {
			return w.store.SetHostStatus(t.Context(), user, store.HostSuspended, w.clock.Now())
		},
	} {
		run := w.begin(t, user)
		done := make(chan error, 1)
		err := in(func(tx *store.Tx) error {
			if err := tx.HoldErasure(t.Context(), run); err != nil {
				return err
			}
			go func() { done <- change(user, run) }()
			w.awaitLock(t)
			_, err := db.Exec(t.Context(), "SELECT FROM account_changes FOR UPDATE NOWAIT")
			return err
		})
		if err != nil {
			t.Errorf("%s: %v", user, err)
		}
		if err := <-done; err != nil {
			t.Errorf("%s: %v", user, err)
		}
	}
}
