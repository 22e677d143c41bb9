package delivery_test

import (
	"crypto/rand"
	"maps"
	"slices"
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
	if err != nil || len(got.Packages) != 1 || got.Packages[0].Owner.User != carol {
		t.Errorf("%d packages, %v; want one of carol's", len(got.Packages), err)
	}
}

// What does not fit an answer is given back: nothing of it is used up, and it is there for the next
// claim.
func TestClaimsThatAreTooLarge(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, user := range []mls.DID{bob, carol} {
		w.register(t, user)
	}
	claim := func(room int, owners ...mls.DID) (given, remaining []mls.DID) {
		t.Helper()
		got, err := w.ClaimKeyPackages(t.Context(), delivery.Claim{Caller: alice, Owners: owners, Room: room, Size: func(*store.KeyPackage) int { return 10 }, Now: w.clock.Now()})
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range got.Packages {
			given = append(given, k.Owner.User)
		}
		return given, got.Remaining
	}
	left := func(user mls.DID) (n int64) {
		t.Helper()
		stats, err := w.Store.CountKeyPackages(t.Context(), store.Device{User: user}, 0, w.clock.Now())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range stats {
			n += s.Available
		}
		return n
	}
	before := left(carol)
	given, remaining := claim(10, dave, bob, carol, "did:plc:nobodyspackagesatallhere")
	if !slices.Equal(given, []mls.DID{bob}) || !slices.Equal(remaining, []mls.DID{carol}) {
		t.Errorf("given %v, remaining %v; who has none never remains", given, remaining)
	}
	if n := left(carol); n != before {
		t.Errorf("carol has %d packages left, had %d", n, before)
	}
	given, remaining = claim(1, carol)
	if !slices.Equal(given, []mls.DID{carol}) || len(remaining) > 0 {
		t.Errorf("given %v, remaining %v; the first who has one is always given", given, remaining)
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
	for range 40 { // which cost nothing of the others
		err := claim(alice, carol, bob, dave)
		if e := mls.AsError(err); e == nil || e.Kind != mls.ErrRateLimitExceeded || e.RetryAfter <= 0 {
			t.Fatalf("the 31st claim within a minute: %v", err)
		}
	}
	for i := range 30 {
		if err := claim(alice, carol); err != nil {
			t.Fatalf("claim %d of another's: %v", i+1, err)
		}
	}
	if err := claim(carol, bob); err != nil {
		t.Errorf("another pair: %v", err)
	}
	w.clock.Advance(2 * time.Second)
	if err := claim(alice, bob); err != nil {
		t.Errorf("after the time to wait: %v", err)
	}
}

// Callers who are in no conversation that the owner has joined share a bucket, and get the
// last-resort package when it is empty; others do not feel it. Being put on a roster joins nobody.
func TestStrangersShareABucket(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.register(t, alice), w.register(t, bob)
	last := b.KeyPackage(w.clock.Now(), mlstest.LastResort)
	more := registration(w, b.Client, last)
	for range 40 {
		more.Packages = append(more.Packages, delivery.PackageText{KeyPackage: b.KeyPackage(w.clock.Now()).Text(), Suite: suite.String()})
	}
	if _, err := w.RegisterDevice(t.Context(), more); err != nil {
		t.Fatal(err)
	}
	claim := func(caller mls.DID) (once bool) {
		t.Helper()
		got, err := w.ClaimKeyPackages(t.Context(), delivery.Claim{Caller: caller, Owners: []mls.DID{bob}, Now: w.clock.Now()})
		if err != nil || len(got.Packages) != 1 {
			t.Fatalf("%d packages, %v", len(got.Packages), err)
		}
		return got.Packages[0].Ref != last.Ref
	}
	convo := w.invite(t, a, b)
	once := 0
	for range 12 {
		for _, stranger := range []mls.DID{alice, carol, dave} {
			if claim(stranger) {
				once++
			}
		}
	}
	if once != 20 {
		t.Errorf("strangers got %d packages, want 20", once)
	}
	if ok, err := w.ConfirmWelcome(t.Context(), delivery.Confirmation{Key: convo.key(), User: bob, Device: &b.device, Success: true, At: w.clock.Now()}); err != nil || !ok {
		t.Fatal(ok, err)
	}
	if !claim(alice) {
		t.Error("who is in a conversation with the owner got the last resort")
	}
	if !claim(bob) {
		t.Error("the owner itself is a stranger")
	}
	w.clock.Advance(3 * time.Minute)
	if !claim(carol) || claim(carol) {
		t.Error("three minutes bring one package")
	}
}

// A claim without a suite takes the one that most devices have, of all devices.
func TestClaimTakesOneSuite(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	publish := func(did mls.DID, suites ...mls.CipherSuite) {
		t.Helper()
		c := mlstest.NewClient(did, "", mls.SuiteX25519AES128)
		r := registration(w, c)
		for _, s := range suites {
			c.Suite = s
			k := c.KeyPackage(w.clock.Now())
			r.Packages = append(r.Packages, delivery.PackageText{KeyPackage: k.Text(), Suite: s.String()})
		}
		if _, err := w.RegisterDevice(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	publish(bob, mls.SuiteX25519AES128, mls.SuiteX25519ChaCha, mls.SuiteX25519ChaCha)
	publish(bob, mls.SuiteX25519ChaCha)
	publish(carol, mls.SuiteX25519AES128)
	claim := func(s mls.CipherSuite, owners ...mls.DID) map[mls.CipherSuite]int {
		t.Helper()
		got, err := w.ClaimKeyPackages(t.Context(), delivery.Claim{Caller: alice, Owners: owners, Suite: s, Now: w.clock.Now()})
		if err != nil {
			t.Fatal(err)
		}
		n := map[mls.CipherSuite]int{}
		for _, k := range got.Packages {
			n[k.CipherSuite]++
		}
		return n
	}
	for _, c := range []struct {
		owners []mls.DID
		suite  mls.CipherSuite
		want   map[mls.CipherSuite]int
	}{
		// As many as of the other, and the smaller number.
		{[]mls.DID{bob, carol}, 0, map[mls.CipherSuite]int{mls.SuiteX25519AES128: 2}},
		// carol has none left.
		{[]mls.DID{bob, carol}, 0, map[mls.CipherSuite]int{mls.SuiteX25519ChaCha: 2}},
		{[]mls.DID{bob, carol}, mls.SuiteP256AES128, map[mls.CipherSuite]int{}},
		{[]mls.DID{bob}, 0, map[mls.CipherSuite]int{mls.SuiteX25519ChaCha: 1}},
		{[]mls.DID{bob, dave}, 0, map[mls.CipherSuite]int{}},
	} {
		if got := claim(c.suite, c.owners...); !maps.Equal(got, c.want) {
			t.Errorf("%v of %v: %v, want %v", c.suite, c.owners, got, c.want)
		}
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
	// A token alone does not put another key in the place of a device's.
	wantKind(t, rejoin(mlstest.NewClient(bob, "", suite)), mls.ErrInvalidKeyPackage, mls.CodeSignatureKeyMismatch)
	if err := rejoin(b.Client); err != nil {
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
