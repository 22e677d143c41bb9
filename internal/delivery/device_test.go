package delivery_test

import (
	"crypto/rand"
	"testing"
	"time"

	"mls-server/internal/clock"
	"mls-server/internal/delivery"
	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
	"mls-server/internal/store"
)

// A credential may name the device that is registered, and no other.
func TestCredentialNamesItsOwnDevice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.register(t, alice)
	for name, identity := range map[string]string{
		"a device that does not exist": "00000000-0000-4000-8000-000000000000", "another of the user's": string(p.device),
	} {
		c := mlstest.NewClient(alice, identity, suite)
		_, err := w.RegisterDevice(t.Context(), registration(w, c, c.KeyPackage(w.clock.Now())))
		if e := mls.AsError(err); e == nil || e.Kind != mls.ErrInvalidKeyPackage || e.Code != mls.CodeIdentityMismatch || e.Index != 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	p.Device = string(p.device)
	again := registration(w, p.Client, p.KeyPackage(w.clock.Now()))
	if _, err := w.RegisterDevice(t.Context(), again); err != nil {
		t.Errorf("the device itself: %v", err)
	}
}

// Who blocks the caller looks like who has no packages.
func TestBlockedCallersGetNoPackages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.register(t, bob)
	w.register(t, carol)
	w.blocks[[2]mls.DID{bob, alice}] = true
	w.blocks[[2]mls.DID{alice, carol}] = true // one's own block hides nothing
	got, err := w.ClaimKeyPackages(t.Context(), delivery.Claim{Caller: alice, Owners: []mls.DID{bob, carol, dave}, Now: w.clock.Now()})
	if err != nil || len(got) != 1 || got[0].Owner.User != carol {
		t.Errorf("%d packages, %v; want one of carol's", len(got), err)
	}
}

// A caller who claims one user's packages too often is refused, so that nobody can drain them; it
// may still claim others', and others may claim those.
func TestClaimsOfOnePairAreLimited(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	claim := func(caller mls.DID, owners ...mls.DID) error {
		_, err := w.ClaimKeyPackages(t.Context(), delivery.Claim{Caller: caller, Owners: owners, Now: w.clock.Now()})
		return err
	}
	for i := range 30 {
		if err := claim(alice, bob); err != nil {
			t.Fatalf("claim %d: %v", i+1, err)
		}
	}
	err := claim(alice, carol, bob)
	if e := mls.AsError(err); e == nil || e.Kind != mls.ErrRateLimitExceeded || e.RetryAfter <= 0 {
		t.Errorf("the 31st claim within a minute: %v", err)
	}
	for _, other := range []error{claim(alice, carol), claim(carol, bob)} {
		if other != nil {
			t.Errorf("another pair: %v", other)
		}
	}
	w.clock.Advance(2 * time.Second)
	if err := claim(alice, bob); err != nil {
		t.Errorf("after the time to wait: %v", err)
	}
}

// A rejoin brings a package of the group's suite.
func TestRejoinBringsAPackageOfTheSuite(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.register(t, alice), w.register(t, bob)
	convo := w.create(t, a, b)
	rejoin := func(c *mlstest.Client) error {
		_, err := w.RequestRejoin(t.Context(), delivery.Rejoin{
			Key: convo.key(), User: bob, Device: new(string(b.device)), KeyPackage: c.KeyPackage(w.clock.Now()).Text(), At: w.clock.Now(),
		})
		return err
	}
	wantKind(t, rejoin(mlstest.NewClient(bob, "", mls.SuiteP256AES128)), mls.ErrInvalidKeyPackage, mls.CodeWrongSuite)
	if err := rejoin(mlstest.NewClient(bob, "", suite)); err != nil {
		t.Errorf("the suite of the group: %v", err)
	}
}

// One user may report another five times within an hour.
func TestReportsAnHour(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.register(t, alice), w.register(t, bob)
	convo := w.create(t, a, b)
	report := func() error {
		_, err := w.Report(t.Context(), convo.key(), store.Report{
			ID: store.NewReportID(), Reporter: bob, Reported: alice, Category: "spam", Content: []byte("sealed " + rand.Text()), CreatedAt: w.clock.Now(),
		})
		return err
	}
	for i := range 5 {
		if err := report(); err != nil {
			t.Fatalf("report %d: %v", i+1, err)
		}
		w.clock.Advance(time.Minute)
	}
	e := mls.AsError(report())
	if e == nil || e.Kind != mls.ErrRateLimitExceeded || e.RetryAfter > 55*time.Minute || e.RetryAfter <= 55*time.Minute-clock.BucketSize {
		t.Errorf("the sixth report: %v, want it refused for the 55 minutes that the first one is still of this hour", e)
	}
	w.clock.Advance(55 * time.Minute)
	if err := report(); err != nil {
		t.Errorf("an hour after the first: %v", err)
	}
}

// An application message says the epoch that it is framed in: it decides who can read it.
func TestSendComparesTheFramedEpoch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.register(t, alice), w.register(t, bob)
	convo := w.create(t, a, b)
	send := func(declared mls.Epoch, message []byte) error {
		ciphertext := mlstest.PadDirect(message, 512)
		_, err := w.Send(t.Context(), delivery.Message{SendParams: store.SendParams{
			Key: convo.key(), Sender: bob, ID: mls.NewMessageID(w.clock.Now()), Epoch: declared, Ciphertext: ciphertext, At: w.clock.Now(),
		}})
		return err
	}
	for _, framed := range []mls.Epoch{0, 2, 9} {
		err := send(1, convo.At(framed).Application(100))
		if e := mls.AsError(err); e == nil || e.Kind != mls.ErrEpochMismatch {
			t.Errorf("framed in epoch %d, declared for the current one: %v", framed, err)
		}
	}
	if err := send(1, convo.Application(100)); err != nil {
		t.Errorf("framed in the current epoch: %v", err)
	}
	if err := w.add(t, w.adding(t, convo, a, convo.PrivateCommit(), w.register(t, carol))); err != nil {
		t.Fatal(err)
	}
	if err := send(1, convo.Application(100)); err != nil {
		t.Errorf("one epoch back, within grace: %v", err)
	}
	wantKind(t, send(1, convo.At(2).Application(100)), mls.ErrEpochMismatch, 0)
}
