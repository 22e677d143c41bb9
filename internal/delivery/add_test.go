package delivery_test

import (
	"testing"

	"mls-server/internal/delivery"
	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
)

// A roster that was vetted for blocks before another commit brought somebody in is vetted again:
// the newcomer may block who came meanwhile.
func TestAddVetsTheRosterThatIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b, c, d := w.register(t, alice), w.register(t, bob), w.register(t, carol), w.register(t, dave)
	convo := w.create(t, a, b)
	w.blocks[[2]mls.DID{dave, carol}] = true

	// bob adds dave by a commit of the next epoch, which he must know of when he makes it.
	next := &chat{convo.At(convo.Epoch + 1), convo.id}
	late := w.adding(t, next, b, next.PrivateCommit(), d)
	vetted, err := w.Vet(t.Context(), late)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.add(t, w.adding(t, convo, a, convo.PrivateCommit(), c)); err != nil {
		t.Fatal(err)
	}
	if err := w.addVetted(t, late, vetted); err != delivery.ErrStale { //nolint:errorlint // it is returned as it is
		t.Errorf("an addition vetted at another epoch: %v, want ErrStale", err)
	}
	if err := w.add(t, late); err != mls.ErrBlockedByMember { //nolint:errorlint // likewise
		t.Errorf("vetted again: %v, want ErrBlockedByMember", err)
	}
}

// A Welcome must be for the suite of the group that is created.
func TestCreateRefusesAWelcomeOfAnotherSuite(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.register(t, alice), w.register(t, bob)
	g := mlstest.NewGroup(suite)
	other := g.At(1)
	other.Suite = mls.SuiteX25519ChaCha
	welcome := new(mls.EncodeText(other.Welcome(b.packages[0].Ref)))
	_, err := w.tryCreate(t, a.DID, g, addition(t, w, welcome, nil, bob))
	wantKind(t, err, mls.ErrInvalidWelcome, mls.CodeWrongSuite)
}

// A commit that shows its Adds and a Welcome must speak of the same key packages, in the same
// suite.
func TestAddComparesCommitAndWelcome(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.register(t, alice), w.register(t, bob)
	convo := w.create(t, a)
	shown := func(k *mlstest.KeyPackage) []byte {
		return convo.Commit(mlstest.Commit{From: a.Client, Proposals: []mlstest.Proposal{mlstest.Add(k)}})
	}
	wantKind(t, w.add(t, w.adding(t, convo, a, shown(b.packages[1]), b)), mls.ErrWelcomeMismatch, 0)
	wantKind(t, w.add(t, w.adding(t, convo, a, convo.Commit(mlstest.Commit{From: a.Client}), b)), mls.ErrInvalidCommit, mls.CodeRosterMismatch)
	if err := w.add(t, w.adding(t, convo, a, shown(b.packages[0]), b)); err != nil {
		t.Errorf("the same package: %v", err)
	}
}

// Each user that comes in is addressed by the Welcome, with a package of its own.
func TestWelcomeAddressesEveryUser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b, c := w.register(t, alice), w.register(t, bob), w.register(t, carol)
	g := mlstest.NewGroup(suite)
	onlyBob := new(mls.EncodeText(g.At(1).Welcome(b.packages[0].Ref)))
	_, err := w.tryCreate(t, alice, g, addition(t, w, onlyBob, nil, bob, carol))
	wantKind(t, err, mls.ErrWelcomeMismatch, 0)

	convo := w.create(t, a)
	r := w.adding(t, convo, a, convo.PrivateCommit(), b)
	r.Addition = addition(t, w, new(mls.EncodeText(convo.At(2).Welcome(b.packages[0].Ref))), nil, bob, carol)
	wantKind(t, w.add(t, r), mls.ErrWelcomeMismatch, 0)
	if err := w.add(t, w.adding(t, convo, a, convo.PrivateCommit(), b, c)); err != nil {
		t.Errorf("both addressed: %v", err)
	}
}

// A hash names a package of the user that it says.
func TestHashesNameTheirUsersPackages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b, c := w.register(t, alice), w.register(t, bob), w.register(t, carol)
	convo := w.create(t, a)
	add := func(names ...delivery.PackageName) error {
		r := w.adding(t, convo, a, convo.PrivateCommit(), b, c)
		welcome := new(mls.EncodeText(convo.At(2).Welcome(b.packages[0].Ref, c.packages[0].Ref)))
		r.Addition = addition(t, w, welcome, names, bob, carol)
		return w.add(t, r)
	}
	wantKind(t, add(delivery.PackageName{User: bob, Name: c.packages[0].Hash}), mls.ErrKeyPackageNotFound, 0)
	wantKind(t, add(delivery.PackageName{User: bob, Name: "no hex"}), mls.ErrKeyPackageNotFound, 0)
	if err := add(delivery.PackageName{User: bob, Name: b.packages[0].Hash}, delivery.PackageName{User: carol, Name: c.packages[0].Hash}); err != nil {
		t.Errorf("each its own: %v", err)
	}
}
