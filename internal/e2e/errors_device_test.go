package e2e_test

import (
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
	register := func(u *e2e.User, c *mlstest.Client, packages ...mlsapi.DefsKeyPackageRef) e2e.Answer {
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
