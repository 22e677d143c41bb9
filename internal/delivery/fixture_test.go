package delivery_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"mls-server/internal/clock/clocktest"
	"mls-server/internal/delivery"
	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
	"mls-server/internal/pgtest"
	"mls-server/internal/ratelimit"
	"mls-server/internal/shared"
	"mls-server/internal/store"
	"mls-server/internal/turns"
)

const suite = mls.SuiteX25519AES128

// blockTable is a source of blocks: pairs of who blocks and who is blocked.
type blockTable map[[2]mls.DID]bool

// AnyBetween implements delivery.Blocks.
func (b blockTable) AnyBetween(_ context.Context, _ mls.DID, newcomers, present []mls.DID) (bool, error) {
	for _, n := range newcomers {
		for _, p := range append(slices.Clone(newcomers), present...) {
			if b[[2]mls.DID{n, p}] || b[[2]mls.DID{p, n}] {
				return true, nil
			}
		}
	}
	return false, nil
}

// Blocking implements delivery.Blocks.
func (b blockTable) Blocking(_ context.Context, user mls.DID, dids []mls.DID) ([]mls.DID, error) {
	return slices.DeleteFunc(slices.Clone(dids), func(d mls.DID) bool { return !b[[2]mls.DID{d, user}] }), nil
}

// world is a Service on a database of its own.
type world struct {
	*delivery.Service
	blocks blockTable
	clock  *clocktest.Manual
	store  *store.Store
	url    string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	url := pgtest.New(t)
	s, err := store.New(t.Context(), store.Config{URL: url, LockTimeout: time.Minute, StatementTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	w := &world{blocks: blockTable{}, clock: clocktest.New(), store: s, url: url}
	// stored times are floored to two seconds (I8)
	w.clock.Advance(time.Duration(w.clock.Now().Unix()%2) * time.Second)
	limits, err := ratelimit.NewMemory(map[string]ratelimit.Rate{
		ratelimit.ClassDefault: {PerMinute: 1000, Burst: 1000}, "claim": {PerMinute: 30, Burst: 30}, "strangerClaims": {PerMinute: 1, Burst: 60},
	}, w.clock)
	if err != nil {
		t.Fatal(err)
	}
	hasher, err := shared.NewHasher([]byte("of a test's world"))
	if err != nil {
		t.Fatal(err)
	}
	w.Service = delivery.New(delivery.Config{
		Turns: turns.New(nil, hasher, func(error) {}, w.clock), Store: s, Sender: s, Claimer: s, Blocks: w.blocks, Limits: limits, MaxMembers: 100, MaxDevices: 10, MaxKeyPackages: 100,
		KeyPackageLow: 20, EpochGrace: 1, AcceptByWelcome: true, KeyPackagePolicy: mls.DefaultKeyPackagePolicy(),
	})
	return w
}

// person is a user with one registered device and two key packages.
type person struct {
	*mlstest.Client
	device   mls.DeviceID
	packages []*mlstest.KeyPackage
}

// register registers a device of the user with packages made by client.
func (w *world) register(t *testing.T, did mls.DID) *person {
	t.Helper()
	p := &person{Client: mlstest.NewClient(did, "", suite)}
	for range 2 {
		p.packages = append(p.packages, p.KeyPackage(w.clock.Now()))
	}
	registered, err := w.RegisterDevice(t.Context(), registration(w, p.Client, p.packages...))
	if err != nil {
		t.Fatal(err)
	}
	p.device = registered.Device.ID
	return p
}

func registration(w *world, c *mlstest.Client, packages ...*mlstest.KeyPackage) delivery.Registration {
	r := delivery.Registration{User: c.DID, Name: "phone", SignatureKey: c.SignatureKey, At: w.clock.Now()}
	for _, k := range packages {
		r.Packages = append(r.Packages, delivery.PackageText{KeyPackage: k.Text(), Suite: c.Suite.String()})
	}
	return r
}

// chat is a conversation as its members know it.
type chat struct {
	mlstest.Group
	id mls.ConvoID
}

func (c *chat) key() mls.ConvoKey { return mls.ConvoKey{ConvoID: c.id} }

// create makes a conversation of the creator and others, who accept, at epoch 1.
func (w *world) create(t *testing.T, creator *person, others ...*person) *chat {
	t.Helper()
	c := w.invite(t, creator, others...)
	for _, p := range others {
		w.accept(t, c, p.DID)
	}
	return c
}

// invite is create without the answers of the others.
func (w *world) invite(t *testing.T, creator *person, others ...*person) *chat {
	t.Helper()
	g := mlstest.NewGroup(suite)
	users, refs := usersOf(others), refsOf(others)
	var welcome *string
	if len(others) > 0 {
		welcome = new(mls.EncodeText(g.At(1).Welcome(refs...)))
	}
	c, err := w.tryCreate(t, creator.DID, g, addition(t, w, welcome, nil, users...))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (w *world) accept(t *testing.T, c *chat, user mls.DID) {
	t.Helper()
	if err := w.Accept(t.Context(), c.key(), user, w.clock.Now()); err != nil {
		t.Fatal(err)
	}
}

// tryCreate makes a conversation at epoch 1 with an addition.
func (w *world) tryCreate(t *testing.T, creator mls.DID, g mlstest.Group, a delivery.Addition) (*chat, error) {
	t.Helper()
	convo, err := delivery.NewConvo(creator, string(g.GroupID()), g.Suite.String(), w.clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	convo.Epoch = 1
	err = w.Store.InTx(t.Context(), func(tx *store.Tx) error { return w.Create(t.Context(), tx, convo, delivery.NewGroup{}, a) })
	return &chat{g.At(1), convo.ID}, err
}

// addition is what a request wants to bring in; it must parse.
func addition(t *testing.T, w *world, welcome *string, names []delivery.PackageName, users ...mls.DID) delivery.Addition {
	t.Helper()
	a, err := delivery.ParseAddition(welcome, nil, names, users, w.clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// add commits an addition with its own vetting.
func (w *world) add(t *testing.T, r delivery.AddRequest) error {
	t.Helper()
	v, err := w.Vet(t.Context(), r)
	if err != nil {
		return err
	}
	return w.addVetted(t, r, v)
}

func (w *world) addVetted(t *testing.T, r delivery.AddRequest, v delivery.Vetted) error {
	t.Helper()
	return w.Store.InTx(t.Context(), func(tx *store.Tx) error {
		_, err := w.Add(t.Context(), tx, r, v)
		return err
	})
}

// adding is a request of the sender that adds people by a commit.
func (w *world) adding(t *testing.T, c *chat, sender *person, commit []byte, people ...*person) delivery.AddRequest {
	t.Helper()
	welcome := new(mls.EncodeText(c.At(c.Epoch + 1).Welcome(refsOf(people)...)))
	return delivery.AddRequest{
		Key: c.key(), Sender: sender.DID, Commit: &delivery.Bundle{Handshake: mls.ParseCommit(new(mls.EncodeText(commit)))},
		Addition: addition(t, w, welcome, nil, usersOf(people)...),
	}
}

func usersOf(people []*person) []mls.DID {
	users := make([]mls.DID, len(people))
	for i, p := range people {
		users[i] = p.DID
	}
	return users
}

// refsOf are the references of one package of each.
func refsOf(people []*person) []mls.KeyPackageRef {
	refs := make([]mls.KeyPackageRef, len(people))
	for i, p := range people {
		refs[i] = p.packages[0].Ref
	}
	return refs
}

// wantKind fails the test unless the error is of the kind, and of the code unless that is 0.
func wantKind(t *testing.T, err error, kind mls.Kind, code mls.Code) {
	t.Helper()
	if !errors.Is(err, kind) || (code != 0 && !errors.Is(err, code)) {
		t.Errorf("got %v, want %v (%v)", err, kind, code)
	}
}

const (
	alice = mls.DID("did:plc:aliceaaaaaaaaaaaaaaaaaaa")
	bob   = mls.DID("did:plc:bobbbbbbbbbbbbbbbbbbbbbb")
	carol = mls.DID("did:plc:carolccccccccccccccccccc")
	dave  = mls.DID("did:plc:davedddddddddddddddddddd")
)
