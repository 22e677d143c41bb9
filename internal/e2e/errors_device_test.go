package e2e_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"mls-server/internal/authtest"
	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
	"mls-server/lexrt"
)

// publication is a request to publish a key package.
func publication(k *mlstest.KeyPackage) *mlsapi.PublishKeyPackageInput {
	return &mlsapi.PublishKeyPackageInput{
		KeyPackage: k.Text(), IdempotencyKey: e2e.Key(), CipherSuite: mlsapi.PublishKeyPackageInputCipherSuite(mls.SuiteX25519AES128.String()),
	}
}

func refuseKeyPackages(t *testing.T) {
	t.Helper()
	s := e2e.Start(t, e2e.Env{"MAX_KEY_PACKAGES": "3"})
	alice := s.Users(1)[0].Register(t, 2)
	m := mlsapi.MethodPublishKeyPackage
	now := time.Now()

	in := publication(alice.Client.KeyPackage(now))
	in.CipherSuite = "MLS_255_NONE"
	alice.Post(t, m, in, nil).Want(t, bad, "InvalidCipherSuite")
	in = publication(alice.Client.KeyPackage(now))
	in.Expires = new(lexrt.Datetime(now.Add(91 * 24 * time.Hour).UTC().Format(time.RFC3339)))
	alice.Post(t, m, in, nil).Want(t, bad, "ExpirationTooFar")
	foreign := mlstest.NewClient(s.NewUser(authtest.K256).DID, "", mls.SuiteX25519AES128)
	for _, k := range []*mlstest.KeyPackage{
		alice.Client.KeyPackage(now, mlstest.BadSignature), alice.Client.KeyPackage(now, mlstest.BadLeafSignature),
		alice.Client.KeyPackage(now, mlstest.Lifetime(now.Add(-48*time.Hour), now.Add(-24*time.Hour))), foreign.KeyPackage(now),
	} {
		if a := alice.Post(t, m, publication(k), nil).Want(t, bad, "InvalidKeyPackage"); !strings.Contains(a.Message, "invalid key package: ") {
			t.Errorf("%q does not say which check failed", a.Message)
		}
	}
	in = publication(alice.Client.KeyPackage(now))
	in.CipherSuite = mlsapi.PublishKeyPackageInputCipherSuite(mls.SuiteP256AES128.String())
	alice.Post(t, m, in, nil).Want(t, bad, "InvalidKeyPackage")
	in.KeyPackage = strings.Repeat("A", 65537)
	alice.Post(t, m, in, nil).Want(t, bad, "InvalidKeyPackage")

	alice.Post(t, m, publication(alice.Client.KeyPackage(now)), nil).OK(t)
	alice.Post(t, m, publication(alice.Client.KeyPackage(now)), nil).Want(t, bad, "TooManyKeyPackages")
}

func refuseClaims(t *testing.T) {
	t.Helper()
	s := e2e.Start(t)
	users := s.Users(2)
	alice, bob := users[0], users[1]
	crowd := make([]string, 0, 202)
	for range 101 {
		crowd = append(crowd, "dids", string(alice.DID))
	}
	alice.Get(t, mlsapi.MethodGetKeyPackages, nil, crowd...).Want(t, bad, "TooManyDids")
	alice.Get(t, mlsapi.MethodGetKeyPackages, nil, "dids", "nobody").Want(t, bad, "InvalidDid")
	alice.Get(t, mlsapi.MethodCheckBlocks, nil, crowd...).Want(t, bad, "TooManyDids")
	alice.Get(t, mlsapi.MethodGetKeyPackageStats, nil, "did", string(bob.DID)).Want(t, bad, "InvalidDid")
	alice.Get(t, mlsapi.MethodGetKeyPackageStats, nil, "did", "nobody").Want(t, bad, "InvalidDid")
}

func refuseDevices(t *testing.T) {
	t.Helper()
	s := e2e.Start(t, e2e.Env{"MAX_DEVICES": "2"})
	users := s.Users(2)
	alice, bob := users[0].Register(t, 1), users[1]
	register := func(u *e2e.User, c *mlstest.Client, packages ...mlsapi.RegisterDeviceKeyPackageItem) e2e.Answer {
		t.Helper()
		return u.Post(t, mlsapi.MethodRegisterDevice, &mlsapi.RegisterDeviceInput{
			DeviceName: "phone", SignaturePublicKey: c.SignatureKey, KeyPackages: packages,
		}, nil)
	}
	// The same key under another user: its packages say so, whoever signs them.
	thief := *alice.Client
	thief.DID = bob.DID
	stolen := &e2e.Device{User: bob, Client: &thief}
	register(bob, &thief, stolen.KeyPackages(1)...).Want(t, conflict, "DuplicatePublicKey")

	other := &e2e.Device{User: bob, Client: mlstest.NewClient(bob.DID, "", mls.SuiteX25519AES128)}
	packages := other.KeyPackages(2)
	packages[1].KeyPackage = alice.KeyPackages(1)[0].KeyPackage
	if a := register(bob, other.Client, packages...).Want(t, bad, "InvalidKeyPackage"); !strings.Contains(a.Message, "index 1") {
		t.Errorf("%q does not name the package", a.Message)
	}
	bob.Register(t, 1)
	bob.Register(t, 1)
	register(bob, other.Client, other.KeyPackages(1)...).Want(t, bad, "TooManyDevices")
}

// refuseDeviceChanges registers, replaces and deletes what is not the caller's, or not so soon.
func refuseDeviceChanges(t *testing.T) {
	t.Helper()
	users := e2e.Start(t).Users(2)
	alice, bob := users[0].Register(t, 1), users[1].Register(t, 1)
	change(t, alice.Server, "UPDATE user_devices SET registered_at = registered_at - interval '1 hour'")
	thief := alice.Register(t, 0)
	m := mlsapi.MethodRegisterDevice
	for _, id := range []string{bob.ID, "no such device"} {
		gone := &e2e.Device{User: alice.User, ID: id}
		alice.Delete(t, gone, nil).Want(t, missing, "DeviceNotFound")
		alice.Post(t, mlsapi.MethodSyncKeyPackages, &mlsapi.SyncKeyPackagesInput{DeviceID: id, LocalHashes: []string{}}, nil).Want(t, missing, "DeviceNotFound")
		in := alice.NewDevice().RegistrationInput(0)
		in.ReplaceDeviceID = &id
		alice.Post(t, m, in, nil).Want(t, missing, "DeviceNotFound")
	}
	in := alice.NewDevice().RegistrationInput(0)
	in.DeviceID = &bob.ID
	alice.Post(t, m, in, nil).Want(t, conflict, "DeviceIdTaken")
	alice.Delete(t, alice, nil).Want(t, forbidden, "DeviceProofRequired")
	in.DeviceID, in.ReplaceDeviceID = nil, &alice.ID
	alice.Post(t, m, in, nil).Want(t, forbidden, "DeviceProofRequired")
	alice.Delete(t, thief, nil).OK(t)
	alice.Post(t, m, &mlsapi.RegisterDeviceInput{DeviceName: "back", SignaturePublicKey: thief.Client.SignatureKey, KeyPackages: thief.KeyPackages(0)}, nil).
		Want(t, forbidden, "DeviceProofRequired")
	for _, key := range [][]byte{make([]byte, 32), mlstest.Random(33), mlstest.Random(64), mlstest.Random(133)} {
		alice.Post(t, m, &mlsapi.RegisterDeviceInput{DeviceName: "odd", SignaturePublicKey: key, KeyPackages: thief.KeyPackages(0)}, nil).Want(t, bad, "InvalidRequest")
	}
	many := make([]*mlstest.KeyPackage, 101)
	for i := range many {
		many[i] = keyPackage(alice)
	}
	alice.Post(t, mlsapi.MethodPublishKeyPackages, batchOf(many...), nil).Want(t, bad, "BatchTooLarge")
}

// refuseTooManyAtOnce registers a device with more packages than it may have.
func refuseTooManyAtOnce(t *testing.T) {
	t.Helper()
	alice := e2e.Start(t, e2e.Env{"MAX_KEY_PACKAGES": "1"}).Users(1)[0]
	d := &e2e.Device{User: alice, Client: mlstest.NewClient(alice.DID, "", mls.SuiteX25519AES128)}
	alice.Post(t, mlsapi.MethodRegisterDevice, &mlsapi.RegisterDeviceInput{
		DeviceName: "tablet", SignaturePublicKey: d.Client.SignatureKey, KeyPackages: d.KeyPackages(2),
	}, nil).Want(t, bad, "TooManyKeyPackages")
}

// TestRegistrationSurvivesItsCap: too many key packages are refused and the device stays, is asked
// for in the user's conversations, and answers a repeat without packages with its id.
func TestRegistrationSurvivesItsCap(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t, e2e.Env{"MAX_KEY_PACKAGES": "3"})
	alice := s.Users(1)[0]
	first := alice.Register(t, 1)
	chat := first.Create(t)
	second := &e2e.Device{User: alice, Client: mlstest.NewClient(alice.DID, "", mls.SuiteX25519AES128)}
	packages := second.KeyPackages(4)
	register := func(packages ...mlsapi.RegisterDeviceKeyPackageItem) (e2e.Answer, mlsapi.RegisterDeviceOutput) {
		t.Helper()
		var out mlsapi.RegisterDeviceOutput
		a := alice.Post(t, mlsapi.MethodRegisterDevice, &mlsapi.RegisterDeviceInput{
			DeviceName: "tablet", SignaturePublicKey: second.Client.SignatureKey, KeyPackages: packages,
		}, &out)
		return a, out
	}
	refused, _ := register(packages...)
	refused.Want(t, bad, "TooManyKeyPackages")
	ok, out := register()
	ok.OK(t)
	if out.DeviceID == "" || !slices.Contains(out.AutoJoinedConvos, chat.ID) {
		t.Fatalf("a repeat without packages: %+v", out)
	}
	if n := available(t, alice); n != 1 {
		t.Errorf("%d packages, want the first device's one", n)
	}
	// What was refused was not used up: it can be published within the cap, and not above it.
	ok, again := register(packages[:3]...)
	if ok.OK(t); again.DeviceID != out.DeviceID {
		t.Errorf("device %s, then %s", out.DeviceID, again.DeviceID)
	}
	refused, _ = register(packages...)
	refused.Want(t, bad, "TooManyKeyPackages")
	if n := available(t, alice); n != 4 {
		t.Errorf("%d packages, want one and three", n)
	}
}

// TestRegistrationIsRepeatable: a registration whose answer was lost succeeds although another user
// has claimed one of its packages meanwhile; the package stays claimed, and stays refused to
// others.
func TestRegistrationIsRepeatable(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t, nil)
	users := s.Users(2)
	alice, bob := users[0], users[1]
	device := &e2e.Device{User: alice, Client: mlstest.NewClient(alice.DID, "", mls.SuiteX25519AES128)}
	in := &mlsapi.RegisterDeviceInput{DeviceName: "phone", SignaturePublicKey: device.Client.SignatureKey, KeyPackages: device.KeyPackages(3)}
	var first, second mlsapi.RegisterDeviceOutput
	alice.Post(t, mlsapi.MethodRegisterDevice, in, &first).OK(t)
	claimed := bob.Claim(t, alice.DID)
	alice.Post(t, mlsapi.MethodRegisterDevice, in, &second).OK(t)
	if !reflect.DeepEqual(first, second) {
		t.Errorf("first %+v, then %+v", first, second)
	}
	if n := available(t, alice); n != 2 {
		t.Errorf("%d packages, want the two that nobody claimed", n)
	}
	alice.Post(t, mlsapi.MethodPublishKeyPackage, &mlsapi.PublishKeyPackageInput{
		KeyPackage: claimed[0].KeyPackage, IdempotencyKey: e2e.Key(), CipherSuite: mlsapi.PublishKeyPackageInputCipherSuite(mls.SuiteX25519AES128.String()),
	}, nil).Want(t, bad, "InvalidKeyPackage")
	other := mlstest.NewClient(alice.DID, "", mls.SuiteX25519AES128)
	alice.Post(t, mlsapi.MethodRegisterDevice, &mlsapi.RegisterDeviceInput{
		DeviceName: "thief", SignaturePublicKey: other.SignatureKey, KeyPackages: in.KeyPackages[:1],
	}, nil).Want(t, bad, "InvalidKeyPackage")
}

func available(t *testing.T, u *e2e.User) int64 {
	t.Helper()
	var out mlsapi.GetKeyPackageStatsOutput
	u.Get(t, mlsapi.MethodGetKeyPackageStats, &out).OK(t)
	return out.Available
}
