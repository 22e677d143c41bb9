package store

import (
	"crypto/rand"
	"testing"

	"github.com/google/uuid"

	"mls-server/internal/mls"
)

func registration(user mls.DID, name string) Registration {
	id := uuid.NewString()
	return Registration{
		Device: UserDevice{
			Device: Device{User: user, ID: mls.DeviceID(id)}, Name: name,
			SignatureKey: []byte(rand.Text() + "123456")[:32], MLSDID: string(user) + "#" + id,
		},
		MaxDevices: 10, MaxPackages: 200, At: noon,
	}
}

func TestRegisterDevice(t *testing.T) {
	t.Parallel()
	s := open(t, 8)
	first, second := newConvo(t, s, alice, bob), newConvo(t, s, bob)
	_ = newConvo(t, s, carol)
	do := func(p Registration) (r Registered, err error) {
		err = s.InTx(t.Context(), func(tx *Tx) (err error) {
			if p.Convos, err = tx.LockConvosOf(t.Context(), p.Device.User); err == nil {
				r, err = tx.RegisterDevice(t.Context(), p)
			}
			return err
		})
		return r, err
	}
	p := registration(bob, "phone")
	p.Packages = []NewKeyPackage{packageFor(1), packageFor(2)}
	r, err := do(p)
	must(t, err)
	if r.Existing || len(r.Waiting) != 2 || r.Device.ID != p.Device.ID {
		t.Errorf("registered %+v", r)
	}
	want := map[mls.ConvoID]bool{first: true, second: true}
	for _, e := range readAll(t, s, LogCursor{}) {
		if e.Kind == EventDevicePending {
			if !want[e.ConvoID] || e.User != bob || e.Device != p.Device.ID || e.Request == "" {
				t.Errorf("unexpected event %+v", e)
			}
			delete(want, e.ConvoID)
		}
	}
	if len(want) > 0 {
		t.Errorf("no device-pending event in %d conversations", len(want))
	}
	// The same key again is the same device, and asks nobody twice.
	again := registration(bob, "phone, renamed")
	again.Device.SignatureKey = p.Device.SignatureKey
	again.Packages = []NewKeyPackage{packageFor(1)}
	events := one[int64](t, s, "SELECT count(*) FROM event_stream")
	r, err = do(again)
	must(t, err)
	if !r.Existing || r.Device.ID != p.Device.ID || r.Device.Name != "phone, renamed" || len(r.Waiting) != 2 {
		t.Errorf("again: %+v", r)
	}
	if n := one[int64](t, s, "SELECT count(*) FROM event_stream"); n != events {
		t.Errorf("%d more events", n-events)
	}
	stolen := registration(alice, "thief")
	stolen.Device.SignatureKey = p.Device.SignatureKey
	_, err = do(stolen)
	wantErr(t, err, mls.ErrDuplicatePublicKey)
	// At most ten, however many ask at once.
	for range 8 {
		_, err = do(registration(bob, "another"))
		must(t, err)
	}
	full := 0
	for _, err := range race(4, func(int) error { _, err := do(registration(bob, "last")); return err }) {
		if err != nil {
			wantErr(t, err, mls.ErrTooManyDevices)
			full++
		}
	}
	if full != 3 {
		t.Errorf("%d of 4 were refused, want 3", full)
	}
}
