package delivery_test

import (
	"testing"
	"time"

	"mls-server/internal/delivery"
	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
	"mls-server/internal/store"
)

// A deletion is carried out in twenty conversations before it is answered; the job does the others,
// and those that have the device on their roster a moment later, and closes it when two minutes are
// over.
func TestDeletionIsCarriedOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.register(t, alice), w.register(t, bob)
	shared := w.create(t, b, a)
	var all []*chat
	for range 23 {
		all = append(all, w.create(t, a))
	}
	phone := store.Device{User: alice, ID: a.device}
	left := func() int {
		t.Helper()
		convos, err := w.Store.ListConvosOfDevice(t.Context(), phone)
		if err != nil {
			t.Fatal(err)
		}
		return len(convos)
	}
	open := func() int {
		t.Helper()
		list, err := w.Store.ListDeletions(t.Context(), 10)
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	retire := func(want int64) {
		t.Helper()
		if n, err := w.RetireDevices(t.Context(), w.clock.Now()); err != nil || n != want {
			t.Fatalf("%d conversations, want %d, %v", n, want, err)
		}
	}
	if n, err := w.DeleteDevice(t.Context(), delivery.Deletion{Device: phone, At: w.clock.Now()}); err != nil || n != 1 {
		t.Fatalf("%d key packages, %v; one of two was used", n, err)
	}
	if left() != 4 || open() != 1 {
		t.Fatalf("%d conversations are left, %d deletions", left(), open())
	}
	retire(4)
	// A request that had found it registered puts it back.
	if err := w.Store.InTx(t.Context(), func(tx *store.Tx) error {
		return tx.UpsertMembers(t.Context(), all[0].id, []store.NewMember{{User: alice, Device: a.device, MLSDID: string(alice)}}, store.Place{Epoch: 1, At: w.clock.Now()})
	}); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(time.Minute)
	retire(1)
	w.clock.Advance(2 * time.Minute)
	retire(0)
	if open() != 0 {
		t.Error("the deletion is still open")
	}
	for _, c := range append(all, shared) {
		debts, err := w.Store.ListDebts(t.Context(), c.id)
		if err != nil || len(debts) != 1 || debts[0].Device != phone {
			t.Errorf("debts %+v, %v", debts, err)
		}
		roster, err := w.Store.ListMembers(t.Context(), c.id)
		if err != nil || len(roster) == 0 || roster[len(roster)-1].Device == a.device {
			t.Errorf("roster %+v, %v", roster, err)
		}
	}
}

// A user who is removed after it has deleted its only device owes its leaf once.
func TestKeptPlaceOwesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.register(t, alice), w.register(t, bob)
	convo := w.create(t, a, b)
	if _, err := w.DeleteDevice(t.Context(), delivery.Deletion{Device: store.Device{User: bob, ID: b.device}, At: w.clock.Now()}); err != nil {
		t.Fatal(err)
	}
	if err := w.Store.InTx(t.Context(), func(tx *store.Tx) error {
		_, err := w.Remove(t.Context(), tx, delivery.Removal{Key: convo.key(), Actor: alice, Target: bob, At: w.clock.Now()})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	debts, err := w.Store.ListDebts(t.Context(), convo.id)
	if err != nil || len(debts) != 1 || debts[0].Device.ID != b.device {
		t.Errorf("debts %+v, %v", debts, err)
	}
}

// A commit that is taken back does not take a user's place: what kept it was there before.
func TestKeptPlaceOutlivesAVoidCommit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b, c := w.register(t, alice), w.register(t, bob), w.register(t, carol)
	convo := w.create(t, a, b, c)
	if _, err := w.DeleteDevice(t.Context(), delivery.Deletion{Device: store.Device{User: bob, ID: b.device}, At: w.clock.Now()}); err != nil {
		t.Fatal(err)
	}
	tablet := w.register(t, bob)
	if err := w.add(t, w.adding(t, convo, a, convo.PrivateCommit(), tablet)); err != nil {
		t.Fatal(err)
	}
	devices := func() (ids []mls.DeviceID) {
		t.Helper()
		roster, err := w.Store.ListMembers(t.Context(), convo.id)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range roster {
			if m.User == bob {
				ids = append(ids, m.Device)
			}
		}
		return ids
	}
	if got := devices(); len(got) != 1 || got[0] != tablet.device {
		t.Fatalf("bob's devices %q", got)
	}
	reopened, err := w.ReportCommit(t.Context(), delivery.CommitReport{Key: convo.key(), User: carol, Device: c.device, Epoch: 1, At: w.clock.Now()})
	if err != nil || !reopened {
		t.Fatal(reopened, err)
	}
	if got := devices(); len(got) != 1 || got[0] != "" {
		t.Errorf("bob's devices %q, want the place that was kept", got)
	}
}

// What a device proves is one change: no other device, no other key, no other user.
func TestProofsAreForOneChange(t *testing.T) {
	t.Parallel()
	for _, s := range mls.CipherSuites() {
		c := mlstest.NewClient(alice, "", s)
		p := mls.DeviceProof{User: alice, Removed: "phone", Added: []byte("key")}
		proof := c.Prove(p)
		if !p.Verify(c.SignatureKey, proof) {
			t.Errorf("%s: its own proof", s)
		}
		for name, other := range map[string]mls.DeviceProof{
			"another user": {User: bob, Removed: "phone", Added: []byte("key")}, "another device": {User: alice, Removed: "phones", Added: []byte("key")},
			"another key": {User: alice, Removed: "phone", Added: []byte("kez")}, "split in another way": {User: alice, Removed: "phonek", Added: []byte("ey")},
		} {
			if other.Verify(c.SignatureKey, proof) {
				t.Errorf("%s: %s", s, name)
			}
		}
		if p.Verify(mlstest.NewClient(alice, "", s).SignatureKey, proof) || p.Verify(nil, proof) || p.Verify(c.SignatureKey, nil) || p.Verify(make([]byte, 31), proof) {
			t.Errorf("%s: another key's proof", s)
		}
	}
}
