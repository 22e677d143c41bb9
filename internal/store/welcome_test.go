package store

import (
	"testing"
	"time"

	"mls-server/internal/mls"
)

func TestWelcomes(t *testing.T) {
	t.Parallel()
	s := open(t, 4)
	convo := newConvo(t, s, alice, bob)
	phone, tablet := Device{bob, "phone"}, Device{bob, "tablet"}
	route := func(epoch mls.Epoch, bytes string, devices ...Device) {
		t.Helper()
		inTx(t, s, func(tx *Tx) error {
			w := NewWelcome{ConvoID: convo, Place: Place{Epoch: epoch, At: noon}, Bytes: []byte(bytes)}
			for _, d := range devices {
				w.Routes = append(w.Routes, WelcomeRoute{d, mls.KeyPackageRef(bytes + string(d.ID))})
			}
			return tx.RouteWelcome(t.Context(), w)
		})
	}
	waits := func(device *mls.DeviceID, want string) {
		t.Helper()
		for range 2 { // reading changes nothing
			w, err := s.FindWelcome(t.Context(), convo, bob, device, noon)
			if want == "" {
				wantErr(t, err, mls.ErrWelcomeNotFound)
			} else if err != nil || string(w.Bytes) != want {
				t.Errorf("%q, %v, want %q", w.Bytes, err, want)
			}
		}
	}
	confirm := func(d Device) (confirmed bool) {
		t.Helper()
		inTx(t, s, func(tx *Tx) (err error) { confirmed, err = tx.ConfirmWelcome(t.Context(), convo, d, noon); return err })
		return confirmed
	}
	waits(nil, "")
	route(2, "first", phone, tablet)
	if n := one[int64](t, s, "SELECT count(*) FROM welcomes"); n != 1 {
		t.Errorf("the bytes are stored %d times", n)
	}
	waits(&phone.ID, "first")
	route(3, "second", phone)
	waits(&phone.ID, "second")
	waits(&tablet.ID, "first")
	waits(nil, "second")
	list, err := s.ListWaitingWelcomes(t.Context(), phone, noon)
	if err != nil || len(list) != 1 || string(list[0].Bytes) != "second" {
		t.Errorf("waiting: %+v, %v", list, err)
	}
	if !confirm(phone) || confirm(phone) {
		t.Error("a Welcome is confirmed once")
	}
	waits(&phone.ID, "")
	waits(&tablet.ID, "first")
	at, err := s.LastConfirmation(t.Context(), convo, phone)
	if err != nil || at != noon.Truncate(2*time.Second) {
		t.Errorf("confirmed at %s, %v", at, err)
	}
	if at, err := s.LastConfirmation(t.Context(), convo, tablet); err != nil || !at.IsZero() {
		t.Errorf("never confirmed, but at %s, %v", at, err)
	}
	_, err = s.FindWelcome(t.Context(), convo, bob, nil, noon.Add(WelcomeLifetime+time.Minute))
	wantErr(t, err, mls.ErrWelcomeNotFound)
	// Failing flags the device; leaving ends what waits.
	inTx(t, s, func(tx *Tx) error {
		if err := tx.UpsertMembers(t.Context(), convo, []NewMember{{User: bob, Device: tablet.ID, MLSDID: "m"}}, Place{Epoch: 3, At: noon}); err != nil {
			return err
		}
		failed, err := tx.FailWelcome(t.Context(), convo, tablet, "bad signature", noon)
		if !failed {
			t.Error("nothing failed")
		}
		return err
	})
	active, err := s.FindActive(t.Context(), convo, bob)
	must(t, err)
	for _, d := range active {
		if d.NeedsRejoin != (d.ID == tablet.ID) {
			t.Errorf("device %q needs rejoin: %t", d.ID, d.NeedsRejoin)
		}
	}
	inTx(t, s, func(tx *Tx) error { _, err := tx.RemoveUser(t.Context(), convo, bob, LeaveRemoved, noon); return err })
	waits(nil, "")
}

func TestRequests(t *testing.T) {
	t.Parallel()
	s := open(t, 8)
	convo := newConvo(t, s, alice, bob)
	phone := Device{bob, "phone"}
	request := func() (q Request, existing bool) {
		t.Helper()
		inTx(t, s, func(tx *Tx) (err error) {
			q, existing, err = tx.OpenRequest(t.Context(), convo, NewRequest{Device: phone, Kind: RequestRejoin, At: noon})
			return err
		})
		return q, existing
	}
	first, existing := request()
	again, repeated := request()
	if existing || !repeated || first.ID != again.ID || again.Kind != RequestRejoin {
		t.Errorf("first %+v %t, again %+v %t", first, existing, again, repeated)
	}
	p := packageFor(1)
	inTx(t, s, func(tx *Tx) error { return tx.ReserveKeyPackage(t.Context(), phone, p, first.ID, noon) })
	if got, err := s.ClaimKeyPackages(t.Context(), ClaimParams{Owners: []mls.DID{bob}, Now: noon}); err != nil || len(got) != 0 {
		t.Errorf("a claim got %d reserved packages, %v", len(got), err)
	}
	reserved, err := s.FindReservedKeyPackage(t.Context(), first.ID, alice)
	if err != nil || string(reserved.Bytes) != string(p.Bytes) {
		t.Errorf("reserved %q, %v", reserved.Bytes, err)
	}
	_, err = s.FindReservedKeyPackage(t.Context(), first.ID, carol)
	wantErr(t, err, mls.ErrKeyPackageNotFound)
	// An addition of a device is no rejoin.
	inTx(t, s, func(tx *Tx) error {
		_, _, err := tx.OpenRequest(t.Context(), convo, NewRequest{Device: Device{bob, "tablet"}, Kind: RequestDevice, At: noon.Add(2 * time.Second)})
		return err
	})
	n, at, err := s.CountRejoins(t.Context(), convo, bob, noon.Add(-time.Hour))
	if err != nil || n != 1 || at != noon.Truncate(2*time.Second) {
		t.Errorf("%d rejoins, first at %s, %v", n, at, err)
	}
	open, err := s.ListRequests(t.Context(), convo)
	if err != nil || len(open) != 2 || open[0].ID != first.ID || open[0].Device != phone {
		t.Errorf("open %+v, %v", open, err)
	}
	inTx(t, s, func(tx *Tx) error {
		done, err := tx.FulfilRequests(t.Context(), convo, []Device{phone, {carol, ""}}, Place{Epoch: 2, At: noon})
		if len(done) != 1 || done[0].ID != first.ID {
			t.Errorf("fulfilled %+v", done)
		}
		return err
	})
	if found, err := s.FindOpenRequest(t.Context(), convo, phone); err != nil || found != nil {
		t.Errorf("open after all: %+v, %v", found, err)
	}
	second, _ := request()
	if second.ID == first.ID {
		t.Error("a fulfilled request was opened again")
	}
	inTx(t, s, func(tx *Tx) error {
		if err := tx.ReserveKeyPackage(t.Context(), phone, packageFor(1), second.ID, noon); err != nil {
			return err
		}
		_, err := tx.RemoveUser(t.Context(), convo, bob, LeaveRemoved, noon)
		return err
	})
	if open, err := s.ListRequests(t.Context(), convo); err != nil || len(open) != 0 {
		t.Errorf("a kicked user still asks: %+v, %v", open, err)
	}
	if n := one[int64](t, s, "SELECT count(*) FROM key_packages WHERE reserved_request_id = $1", string(second.ID)); n != 0 {
		t.Error("the package of a dropped request stays")
	}
}

func TestDebts(t *testing.T) {
	t.Parallel()
	s := open(t, 4)
	convo := newConvo(t, s, alice, bob, carol, dave)
	leaf := int64(7)
	owe := func(user mls.DID, leaf *int64, proposed bool) {
		t.Helper()
		inTx(t, s, func(tx *Tx) error {
			for range 2 { // once is enough
				_, err := tx.OweRemovals(t.Context(), convo, user, []LeftDevice{{LeafIndex: leaf}}, Owing{Epoch: 4, Proposed: proposed, At: noon})
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	owing := func(want int) {
		t.Helper()
		debts, err := s.ListDebts(t.Context(), convo)
		if err != nil || len(debts) != want {
			t.Errorf("%d debts, %v, want %d", len(debts), err, want)
		}
		requests, err := s.ListRequests(t.Context(), convo)
		if err != nil || len(requests) != want || (want > 0 && requests[0].Kind != RequestRemoval) {
			t.Errorf("%+v, %v, want %d removals", requests, err, want)
		}
	}
	owe(bob, &leaf, false)
	owe(carol, nil, true)
	owe(dave, nil, false)
	owing(3)
	inTx(t, s, func(tx *Tx) error {
		return tx.SettleLeafDebts(t.Context(), convo, []uint32{3, 7}, Place{Epoch: 5, Seq: 9, At: noon})
	})
	owing(2)
	claimed := func(want int) {
		t.Helper()
		debts, err := s.ListDebts(t.Context(), convo)
		must(t, err)
		n := 0
		for _, d := range debts {
			if d.Claimed {
				n++
			}
		}
		if n != want {
			t.Errorf("%d debts are claimed, want %d", n, want)
		}
	}
	inTx(t, s, func(tx *Tx) error {
		return tx.ClaimProposedDebts(t.Context(), convo, alice, Place{Epoch: 4, Seq: 8, At: noon})
	})
	claimed(0)
	inTx(t, s, func(tx *Tx) error {
		return tx.ClaimProposedDebts(t.Context(), convo, alice, Place{Epoch: 5, Seq: 9, At: noon})
	})
	claimed(1)
	owing(2)
	inTx(t, s, func(tx *Tx) error {
		n, err := tx.SettleDebts(t.Context(), convo, []mls.DID{carol}, Place{Epoch: 5, Seq: 9, At: noon})
		if n != 1 {
			t.Errorf("%d settled", n)
		}
		return err
	})
	owing(1)
	inTx(t, s, func(tx *Tx) error {
		return tx.SettleDeviceDebts(t.Context(), convo, []Device{{dave, "other"}}, Place{Epoch: 5, Seq: 9, At: noon})
	})
	owing(1)
	inTx(t, s, func(tx *Tx) error {
		n, err := tx.SettleDebts(t.Context(), convo, []mls.DID{dave}, Place{Epoch: 5, Seq: 9, At: noon})
		if n != 1 {
			t.Errorf("%d settled", n)
		}
		return err
	})
	owing(0)
}
