package e2e_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
)

// suited is a device whose keys are of a suite.
func suited(t *testing.T, u *e2e.User, suite mls.CipherSuite, n int) *e2e.Device {
	t.Helper()
	d := &e2e.Device{User: u, Client: mlstest.NewClient(u.DID, "", suite)}
	in := &mlsapi.RegisterDeviceInput{DeviceName: "phone", SignaturePublicKey: d.Client.SignatureKey, KeyPackages: []mlsapi.RegisterDeviceKeyPackageItem{}}
	for range n {
		in.KeyPackages = append(in.KeyPackages, mlsapi.RegisterDeviceKeyPackageItem{
			KeyPackage: d.Client.KeyPackage(time.Now()).Text(), CipherSuite: mlsapi.RegisterDeviceKeyPackageItemCipherSuite(suite.String()),
		})
	}
	var out mlsapi.RegisterDeviceOutput
	u.Post(t, mlsapi.MethodRegisterDevice, in, &out).OK(t)
	d.ID = out.DeviceID
	return d
}

// TestSuites: in each suite devices register, publish, are claimed and added, join, and commit, in
// a group that the server follows and in one that it does not. Another suite's package is no use
// there.
func TestSuites(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	var told mlsapi.DescribeServerOutput
	users := s.Users(2 + 3*len(mls.CipherSuites()))
	users[0].Get(t, mlsapi.MethodDescribeServer, &told).OK(t)
	require.Len(t, told.CipherSuites, len(mls.CipherSuites()))
	other := users[1].Register(t, 4)
	for i, suite := range mls.CipherSuites() {
		assert.Equal(t, suite.String(), told.CipherSuites[i])
		t.Run(suite.String(), func(t *testing.T) {
			t.Parallel()
			mine := users[2+3*i:]
			alice, bob, carol := suited(t, mine[0], suite, 4), suited(t, mine[1], suite, 4), suited(t, mine[2], suite, 4)
			claimed := alice.Claim(t, bob.DID)
			require.Len(t, claimed, 1)
			assert.Equal(t, suite.String(), string(claimed[0].CipherSuite))

			group := mlstest.NewGroup(suite)
			in := &mlsapi.CreateConvoInput{
				GroupID: string(group.GroupID()), IdempotencyKey: e2e.Key(), CipherSuite: mlsapi.CreateConvoInputCipherSuite(suite.String()),
				InitialMembers: []mls.DID{bob.DID}, WelcomeMessage: e2e.Text(group.At(1).Welcome(refOfClaimed(t, claimed[0]))),
			}
			var view mlsapi.DefsConvoView
			alice.Post(t, mlsapi.MethodCreateConvo, in, &view).OK(t)
			assert.Equal(t, suite.String(), string(view.CipherSuite))
			chat := &e2e.Chat{ID: view.ID, Group: group.At(1)}
			_, a := bob.Welcome(t, chat, bob.ID)
			a.OK(t)
			assert.True(t, bob.Confirm(t, chat, true))
			alice.Send(t, chat)
			bob.SendBytes(t, chat, chat.Group.Commit(mlstest.Commit{From: bob.Client, Leaf: 1})).OK(t)

			verified := alice.CreateVerified(t, bob)
			bob.SendCommit(t, verified, mlstest.Draft{})
			alice.AddVerified(t, verified, mlstest.Draft{}, carol)
			carol.SendCommit(t, verified, mlstest.Draft{})
			assert.Len(t, alice.Convo(t, verified.Chat).Members, 3)

			// A package of another suite.
			if suite != mls.SuiteX25519AES128 {
				wrong := other.Client.KeyPackage(time.Now())
				p := publication(wrong)
				p.CipherSuite = mlsapi.PublishKeyPackageInputCipherSuite(suite.String())
				wantCode(t, other.Post(t, mlsapi.MethodPublishKeyPackage, p, nil), "InvalidKeyPackage", mls.CodeWrongSuite)
			}
		})
	}
	unknown := "MLS_128_MLKEM512_AES128GCM_SHA256_Ed25519"
	users[0].Post(t, mlsapi.MethodCreateConvo, &mlsapi.CreateConvoInput{
		GroupID: hexOf(16), IdempotencyKey: e2e.Key(), CipherSuite: mlsapi.CreateConvoInputCipherSuite(unknown),
	}, nil).Want(t, bad, "InvalidCipherSuite")
	p := publication(other.Client.KeyPackage(time.Now()))
	p.CipherSuite = mlsapi.PublishKeyPackageInputCipherSuite(unknown)
	other.Post(t, mlsapi.MethodPublishKeyPackage, p, nil).Want(t, bad, "InvalidCipherSuite")
	in := other.RegistrationInput(1)
	in.KeyPackages[0].CipherSuite = mlsapi.RegisterDeviceKeyPackageItemCipherSuite(unknown)
	wantCode(t, other.Post(t, mlsapi.MethodRegisterDevice, in, nil), "InvalidKeyPackage", mls.CodeUnsupportedSuite)
	users[0].Get(t, mlsapi.MethodGetKeyPackages, nil, "dids", string(other.DID), "cipherSuite", unknown).OK(t)
	// What another suite of that number would bring is refused by its size.
	wide := *other.Client
	wide.Suite = mls.SuiteX25519AES128
	short := wide.KeyPackage(time.Now(), func(k *mlstest.KeyPackageSpec) {
		k.Suite, k.Suites, k.InitKey = mls.SuiteXWingChaCha, []uint16{uint16(mls.SuiteXWingChaCha)}, mlstest.Random(800)
	})
	p = publication(short)
	p.CipherSuite = mlsapi.PublishKeyPackageInputCipherSuite(mls.SuiteXWingChaCha.String())
	wantCode(t, other.Post(t, mlsapi.MethodPublishKeyPackage, p, nil), "InvalidKeyPackage", mls.CodeBadKeySize)
}

// refOfClaimed is the reference of a package that was handed out.
func refOfClaimed(t *testing.T, k mlsapi.DefsKeyPackageRef) mls.KeyPackageRef {
	t.Helper()
	raw, err := mls.DecodeText(k.KeyPackage)
	require.NoError(t, err)
	parsed, err := mls.ParseKeyPackage(raw)
	require.NoError(t, err)
	return parsed.Ref()
}
