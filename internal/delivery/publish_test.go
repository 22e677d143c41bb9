package delivery_test

import (
	"testing"
	"time"

	"mls-server/internal/delivery"
	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
	"mls-server/internal/store"
)

// A package ends when its publisher says, with its lifetime, or after 90 days, whichever comes
// first; and it belongs to the device whose key signed it.
func TestPackagesEnd(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		expires, lifetime, want time.Duration
		code                    mls.Code
	}{
		"the publisher's time":          {expires: 10 * day, lifetime: 20 * day, want: 10 * day},
		"the lifetime":                  {lifetime: 20 * day, want: 20 * day},
		"the lifetime before that time": {expires: 30 * day, lifetime: 20 * day, want: 20 * day},
		"ninety days":                   {lifetime: 119 * day, want: 90 * day},
		"a time that has just come":     {expires: time.Nanosecond, lifetime: 20 * day, code: mls.CodeExpired},
		"a time that came a minute ago": {expires: -time.Minute, lifetime: 20 * day, code: mls.CodeExpired},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			p := w.register(t, alice)
			now := w.clock.Now()
			k := p.KeyPackage(now, mlstest.Lifetime(now.Add(-time.Hour), now.Add(c.lifetime)))
			publication := delivery.PublishRequest{User: alice, PackageText: delivery.PackageText{KeyPackage: k.Text(), Suite: suite.String()}, At: now}
			if c.expires != 0 {
				publication.Expires = new(now.Add(c.expires.Truncate(time.Microsecond)))
			}
			read, err := w.ReadPublication(publication)
			if c.code != 0 {
				wantKind(t, err, mls.ErrInvalidKeyPackage, c.code)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Store.InTx(t.Context(), func(tx *store.Tx) error {
				return w.PublishKeyPackage(t.Context(), tx, alice, read, now)
			}); err != nil {
				t.Fatal(err)
			}
			claim := func(at time.Time) (found bool) {
				t.Helper()
				got, err := w.Store.ClaimKeyPackages(t.Context(), store.ClaimParams{Owners: []mls.DID{alice}, Devices: []mls.DeviceID{p.device}, Now: at})
				if err != nil {
					t.Fatal(err)
				}
				for _, g := range got {
					found = found || g.Ref == k.Ref
				}
				return found
			}
			for range 3 { // the two of the registration may come first
				if claim(now.Add(c.want + 3*time.Second)) {
					t.Fatalf("handed out after %v", c.want)
				}
			}
			if !claim(now.Add(c.want - 3*time.Second)) {
				t.Errorf("not handed out before %v", c.want)
			}
		})
	}
}
