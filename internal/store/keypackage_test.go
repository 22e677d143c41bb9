package store

import (
	"errors"
	"sync"
	"testing"
	"time"

	"mls-server/internal/mls"
)

// I4: 200 claims over 100 packages hand out each of them once.
func TestNoPackageTwice(t *testing.T) {
	t.Parallel()
	s := open(t, 24)
	owner := Device{User: alice}
	packages := make([]NewKeyPackage, 100)
	for i := range packages {
		packages[i] = packageFor(1)
	}
	publish(t, s, owner, packages...)
	var mu sync.Mutex
	seen := map[string]int{}
	empty := 0
	for _, err := range race(200, func(int) error {
		got, err := s.ClaimKeyPackages(t.Context(), ClaimParams{Owners: []mls.DID{alice}, Now: noon})
		mu.Lock()
		defer mu.Unlock()
		for _, p := range got {
			seen[string(p.Bytes)]++
		}
		if len(got) == 0 {
			empty++
		}
		return err
	}) {
		must(t, err)
	}
	if len(seen) != 100 || empty != 100 {
		t.Errorf("%d packages went out, %d claims got none", len(seen), empty)
	}
	for _, n := range seen {
		if n != 1 {
			t.Errorf("a package went out %d times", n)
		}
	}
}

func TestClaim(t *testing.T) {
	t.Parallel()
	s := open(t, 4)
	phone, tablet := register(t, s, alice, "phone"), register(t, s, alice, "tablet")
	soon, late, resort, expired, p256 := packageFor(1), packageFor(1), packageFor(1), packageFor(1), packageFor(2)
	soon.ExpiresAt, late.ExpiresAt = noon.Add(time.Hour), noon.Add(48*time.Hour)
	resort.LastResort = true
	expired.ExpiresAt = noon.Add(-time.Second)
	publish(t, s, phone, late, soon, expired, resort)
	publish(t, s, tablet, p256)
	claim := func(p ClaimParams) []string {
		t.Helper()
		p.Owners, p.Now = []mls.DID{alice, bob, alice}, noon
		got, err := s.ClaimKeyPackages(t.Context(), p)
		must(t, err)
		var names []string
		for _, k := range got {
			for name, known := range map[string]NewKeyPackage{"soon": soon, "late": late, "resort": resort, "expired": expired, "p256": p256} {
				if string(known.Bytes) == string(k.Bytes) {
					names = append(names, name)
				}
			}
		}
		return names
	}
	want := func(got []string, names ...string) {
		t.Helper()
		left := map[string]int{}
		for _, n := range got {
			left[n]++
		}
		for _, n := range names {
			left[n]--
		}
		for n, d := range left {
			if d != 0 {
				t.Errorf("claimed %v, want %v (%s)", got, names, n)
				return
			}
		}
	}
	want(claim(ClaimParams{CipherSuite: 1, Margin: 2 * time.Hour, Devices: []mls.DeviceID{tablet.ID}}))
	want(claim(ClaimParams{CipherSuite: 1, Margin: 2 * time.Hour}), "late")
	want(claim(ClaimParams{}), "soon", "p256")
	want(claim(ClaimParams{Low: 5}), "resort")
	want(claim(ClaimParams{}), "resort")
	if n := one[int64](t, s, "SELECT count(*) FROM event_stream WHERE kind = 10 AND audience_did = $1 AND device_id = $2", string(alice), string(phone.ID)); n != 1 {
		t.Errorf("%d key-packages-low events, want the one that was asked for", n)
	}
	counts, err := s.CountKeyPackages(t.Context(), Device{User: alice}, 0, noon)
	must(t, err)
	if len(counts) != 2 || counts[0].Available != 1 || counts[0].Consumed != 2 || counts[1].Available != 0 || !counts[1].FirstExpiry.IsZero() {
		t.Errorf("inventory %+v", counts)
	}
}

func TestPublish(t *testing.T) {
	t.Parallel()
	s := open(t, 8)
	owner := Device{User: alice}
	add := func(limit int, packages ...NewKeyPackage) error {
		return s.InTx(t.Context(), func(tx *Tx) error { return tx.PublishKeyPackages(t.Context(), owner, packages, limit, noon) })
	}
	reused := func(err error, index int) {
		t.Helper()
		var invalid *mls.Error
		if !errors.As(err, &invalid) || invalid.Code != mls.CodeInitKeyReused || invalid.Index != index {
			t.Errorf("%v, want InitKeyReused at %d", err, index)
		}
	}
	a, b, c := packageFor(1), packageFor(1), packageFor(1)
	must(t, add(10, a, b, b))
	must(t, add(10, a)) // live still
	sameInit := packageFor(1)
	sameInit.InitKey = b.InitKey
	reused(add(10, c, sameInit), 1)
	if n := one[int64](t, s, "SELECT count(*) FROM key_packages"); n != 2 {
		t.Errorf("%d packages, want 2: a refused list leaves nothing", n)
	}
	wantErr(t, add(2, c), mls.ErrTooManyKeyPackages)
	if got, err := s.ClaimKeyPackages(t.Context(), ClaimParams{Owners: []mls.DID{alice}, Now: noon}); err != nil || len(got) != 1 {
		t.Fatalf("claim: %d, %v", len(got), err)
	}
	gone, live := a, b
	if one[bool](t, s, "SELECT claimed_at IS NULL FROM key_packages WHERE key_package = $1", a.Bytes) {
		gone, live = b, a
	}
	must(t, add(10, live))
	reused(add(10, c, gone), 1)
	// Published at the same moment from two connections: once.
	for _, err := range race(8, func(int) error { return add(10, c) }) {
		must(t, err)
	}
	if n := one[int64](t, s, "SELECT count(*) FROM key_packages"); n != 3 {
		t.Errorf("%d packages, want 3", n)
	}
}

func TestResolveAndConsume(t *testing.T) {
	t.Parallel()
	s := open(t, 8)
	p, resort := packageFor(1), packageFor(1)
	resort.LastResort = true
	publish(t, s, Device{User: alice}, p, resort)
	consume := func() error {
		return s.InTx(t.Context(), func(tx *Tx) error {
			found, err := tx.ResolveKeyPackages(t.Context(), [][]byte{[]byte(p.Ref), []byte(resort.Ref), []byte("nothing")})
			if err != nil {
				return err
			}
			if len(found) != 2 {
				return mls.ErrKeyPackageNotFound
			}
			return tx.ConsumeKeyPackages(t.Context(), found, noon)
		})
	}
	won := 0
	for _, err := range race(8, func(int) error { return consume() }) {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, mls.ErrKeyPackageNotFound):
			t.Errorf("a loser got %v", err)
		}
	}
	if won != 1 {
		t.Errorf("%d Welcomes used the package", won)
	}
	inTx(t, s, func(tx *Tx) error {
		found, err := tx.ResolveKeyPackages(t.Context(), [][]byte{[]byte(resort.Ref)})
		if len(found) != 1 || !found[0].Named([]byte(resort.Ref)) {
			t.Errorf("a last-resort package was used up")
		}
		return err
	})
}

// register makes a device with a random key.
func register(tb testing.TB, s *Store, user mls.DID, name string) Device {
	tb.Helper()
	var device Device
	inTx(tb, s, func(tx *Tx) error {
		r, err := tx.RegisterDevice(tb.Context(), registration(user, name))
		device = r.Device.Device
		return err
	})
	return device
}
