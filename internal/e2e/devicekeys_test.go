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
	"mls-server/internal/pgtest"
)

// aged makes a device one that was registered long ago.
func aged(t *testing.T, d *e2e.Device) {
	t.Helper()
	change(t, d.Server, "UPDATE user_devices SET registered_at = registered_at - interval '30 days' WHERE device_id = $1", d.ID)
}

// TestDeletedKeysAreTheirUsers: a key that one user has deleted is no fault of another who has it,
// and nobody makes it welcome again for somebody else.
func TestDeletedKeysAreTheirUsers(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	users := s.Users(3)
	alice, mallory, carol := users[0], users[1], users[2]
	alice.Register(t, 1)
	phone, accomplice := alice.Register(t, 1), mallory.Register(t, 1)
	register := func(u *e2e.User, key []byte, proof []byte) (*e2e.Device, e2e.Answer) {
		var out mlsapi.RegisterDeviceOutput
		a := u.Post(t, mlsapi.MethodRegisterDevice, &mlsapi.RegisterDeviceInput{
			DeviceName: "of a public key", SignaturePublicKey: key, KeyPackages: []mlsapi.RegisterDeviceKeyPackageItem{}, Proof: proof,
		}, &out)
		return &e2e.Device{User: u, ID: out.DeviceID}, a
	}
	alice.Delete(t, phone, nil).OK(t)
	proof := accomplice.Client.Prove(mls.DeviceProof{User: mallory.DID, Added: phone.Client.SignatureKey})
	copied, a := register(mallory, phone.Client.SignatureKey, proof)
	a.OK(t)
	wantCode(t, alice.Post(t, mlsapi.MethodPublishKeyPackage, publication(keyPackage(phone)), nil), "InvalidKeyPackage", mls.CodeDeletedDevice)
	mallory.Delete(t, copied, nil).OK(t)

	tablet := carol.NewDevice()
	stolen, a := register(mallory, tablet.Client.SignatureKey, nil)
	a.OK(t)
	mallory.Delete(t, stolen, nil).OK(t)
	carol.Post(t, mlsapi.MethodPublishKeyPackage, publication(keyPackage(tablet)), nil).OK(t)
	tablet.RegisterAgain(t, 1)
}

// TestWhoBringsAKeyBack: a deleted key comes back by the signature of a device that was there
// before the deletion, over this deletion.
func TestWhoBringsAKeyBack(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	alice := s.Users(1)[0]
	laptop := alice.Register(t, 1)
	aged(t, laptop)
	phone := alice.Register(t, 1)
	alice.Delete(t, phone, nil).OK(t)
	change(t, s, "UPDATE deleted_devices SET deleted_at = deleted_at - interval '4 seconds' WHERE device_id = $1", phone.ID)
	thief := alice.Register(t, 1)
	again := &e2e.Device{User: alice, Client: phone.Client}
	in := again.RegistrationInput(1)
	right := laptop.Prove(phone, again)
	for name, proof := range map[string][]byte{
		"nothing": nil, "a device that came later": thief.Prove(phone, again), "its own key": again.Prove(phone, again),
		"no deletion": laptop.Prove(nil, again), "another deletion": laptop.Prove(thief, again), "another key": laptop.Prove(phone, thief),
	} {
		in.Proof = proof
		if a := alice.Post(t, mlsapi.MethodRegisterDevice, in, nil); a.Error != "DeviceProofRequired" {
			t.Errorf("with %s: %d %s", name, a.Status, a.Error)
		}
	}
	in.Proof = right
	var out mlsapi.RegisterDeviceOutput
	alice.Post(t, mlsapi.MethodRegisterDevice, in, &out).OK(t)
	again.ID = out.DeviceID
	// It is lost once more: what was signed then is of no use now.
	alice.Delete(t, again, nil).OK(t)
	alice.Post(t, mlsapi.MethodRegisterDevice, in, nil).Want(t, forbidden, "DeviceProofRequired")
}

// TestEndedRegistrationsCount: whoever has registered a device throws nobody out for a day, also
// when it has deleted that device before.
func TestEndedRegistrationsCount(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t, e2e.Env{"MAX_DEVICES": "3"})
	alice := s.Users(1)[0]
	phone, laptop := alice.Register(t, 1), alice.NewDevice()
	aged(t, phone)
	laptop.RegisterAgain(t, 1)
	aged(t, laptop)
	thief := alice.Register(t, 1)
	alice.Delete(t, thief, nil).OK(t)
	for _, d := range []*e2e.Device{phone, laptop} {
		alice.Delete(t, d, nil).Want(t, forbidden, "DeviceProofRequired")
		alice.Delete(t, d, thief.Prove(d, nil)).Want(t, forbidden, "DeviceProofRequired")
	}
	// Nobody is locked out by that: there is room, or a device that may go.
	next := alice.Register(t, 1)
	a := alice.Post(t, mlsapi.MethodRegisterDevice, alice.NewDevice().RegistrationInput(0), nil)
	require.Equal(t, "TooManyDevices", a.Error)
	assert.Equal(t, next.ID, named.FindString(a.Message))
	alice.Delete(t, phone, laptop.Prove(phone, nil)).OK(t)
	change(t, s, "UPDATE deleted_devices SET registered_at = registered_at - interval '24 hours'")
	alice.Delete(t, next, nil).OK(t)
	change(t, s, "UPDATE deleted_devices SET registered_at = registered_at - interval '24 hours'")
	alice.Delete(t, laptop, nil).OK(t)
}

// TestLoweredDeviceLimit: who has more devices than the operator now allows, none of which may go,
// is told so.
func TestLoweredDeviceLimit(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t, e2e.Env{"MAX_DEVICES": "1"})
	alice := s.Users(1)[0]
	phone := alice.Register(t, 1)
	aged(t, phone)
	thief := alice.NewDevice()
	in := thief.RegistrationInput(0)
	in.ReplaceDeviceID = &phone.ID
	var out mlsapi.RegisterDeviceOutput
	alice.Post(t, mlsapi.MethodRegisterDevice, in, &out).OK(t)
	// Two that were there before, and a later one that is gone.
	change(t, s, `INSERT INTO user_devices (user_did, device_id, device_name, signature_key, mls_did, created_at, registered_at)
		SELECT user_did, gen_random_uuid()::text, 'a', '\x01', mls_did, created_at, registered_at FROM user_devices`)
	alice.Delete(t, &e2e.Device{User: alice, ID: out.DeviceID}, nil).OK(t)
	change(t, s, "UPDATE user_devices SET registered_at = registered_at - interval '30 days'")
	a := alice.Post(t, mlsapi.MethodRegisterDevice, alice.NewDevice().RegistrationInput(0), nil)
	assert.Equal(t, "TooManyDevices", a.Error)
}

// TestLastResortsAreFew: a device has a few last-resort packages of a suite, the newest ones; the
// others are withdrawn, however they were published.
func TestLastResortsAreFew(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	users := s.Users(2)
	alice, bob := users[0].NewDevice(), users[1]
	now := time.Now()
	var batch []*mlstest.KeyPackage
	for range 20 {
		batch = append(batch, alice.Client.KeyPackage(now, mlstest.LastResort))
	}
	in := alice.RegistrationInput(0)
	for _, k := range batch[:8] {
		in.KeyPackages = append(in.KeyPackages, mlsapi.RegisterDeviceKeyPackageItem{
			KeyPackage: k.Text(), CipherSuite: mlsapi.RegisterDeviceKeyPackageItemCipherSuite(mls.SuiteX25519AES128.String()),
		})
	}
	var out mlsapi.RegisterDeviceOutput
	alice.Post(t, mlsapi.MethodRegisterDevice, in, &out).OK(t)
	alice.ID = out.DeviceID
	assert.Equal(t, int64(3), available(t, alice.User))
	alice.Post(t, mlsapi.MethodRegisterDevice, in, nil).OK(t) // its answer was lost
	assert.Equal(t, int64(3), available(t, alice.User))
	alice.Post(t, mlsapi.MethodPublishKeyPackages, batchOf(batch[8:19]...), nil).OK(t)
	alice.Post(t, mlsapi.MethodRegisterDevice, in, nil).OK(t)
	assert.Equal(t, int64(3), available(t, alice.User))
	alice.Post(t, mlsapi.MethodPublishKeyPackage, publication(batch[19]), nil).OK(t)
	assert.Equal(t, int64(3), available(t, alice.User))
	claimed := bob.Claim(t, alice.DID)
	require.Len(t, claimed, 1)
	assert.Contains(t, []string{hexRef(batch[17]), hexRef(batch[18]), hexRef(batch[19])}, *claimed[0].KeyPackageHash)
	// What was handed out before the last two came is still good.
	bob.Register(t, 1)
	bob.AddPackages(t, bob.Create(t), claimed, alice.DID)
}

// TestRegistrationsArePaidFor: the key packages of registrations count like those that are
// published.
func TestRegistrationsArePaidFor(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t, e2e.Env{"RATE_LIMIT_PUBLISHED_PACKAGES": "1/10"})
	alice := s.Users(1)[0]
	phone := alice.Register(t, 7)
	a := alice.Post(t, mlsapi.MethodRegisterDevice, phone.RegistrationInput(7), nil)
	assert.Equal(t, "RateLimitExceeded", a.Error)
	for range 5 {
		alice.Post(t, mlsapi.MethodRegisterDevice, phone.RegistrationInput(0), nil).OK(t)
	}
	// Whoever brings more than the limit at once waits for the whole of it.
	bob := s.Users(1)[0]
	bob.Register(t, 12)
	assert.Equal(t, "RateLimitExceeded", bob.Post(t, mlsapi.MethodPublishKeyPackages, batchOf(keyPackage(phone)), nil).Error)
}

// TestClaimedPackagesFindTheirDevice: a package that was published without a device, and claimed
// before its key was registered, is that device's.
func TestClaimedPackagesFindTheirDevice(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	users := s.Users(2)
	alice, bob := users[0], users[1]
	bob.Register(t, 1)
	phone := alice.NewDevice()
	first, used := keyPackage(phone), keyPackage(phone)
	alice.Post(t, mlsapi.MethodPublishKeyPackages, batchOf(first, used), nil).OK(t)
	one, two := bob.Claim(t, alice.DID), bob.Claim(t, alice.DID)
	bob.AddPackages(t, bob.Create(t), one, alice.DID)
	in := phone.RegistrationInput(1)
	// The client does not know which are gone.
	for _, k := range []*mlstest.KeyPackage{first, used} {
		in.KeyPackages = append(in.KeyPackages, mlsapi.RegisterDeviceKeyPackageItem{
			KeyPackage: k.Text(), CipherSuite: mlsapi.RegisterDeviceKeyPackageItemCipherSuite(mls.SuiteX25519AES128.String()),
		})
	}
	var out mlsapi.RegisterDeviceOutput
	alice.Post(t, mlsapi.MethodRegisterDevice, in, &out).OK(t)
	chat := bob.Create(t)
	bob.AddPackages(t, chat, two, alice.DID)
	assert.Equal(t, []string{out.DeviceID}, devicesOf(bob.Convo(t, chat), alice))
}

// TestReplacementsLockInOrder: a registration waits for the conversation before it touches the key
// packages of the device that it replaces, as commits do; else the two could wait for each other.
func TestReplacementsLockInOrder(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	users := s.Users(2)
	alice, bob := users[0], users[1].Register(t, 1)
	phone := alice.Register(t, 3)
	chat := alice.Create(t, bob.User)
	db := pgtest.Open(t, s.DatabaseURL)
	tx, err := db.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "SELECT FROM conversations WHERE id = (SELECT g.convo_id FROM convo_groups g WHERE g.group_id = $1) FOR NO KEY UPDATE", chat.ID)
	require.NoError(t, err)
	in := alice.NewDevice().RegistrationInput(1)
	in.ReplaceDeviceID = &phone.ID
	done := make(chan e2e.Answer, 1)
	go func() { done <- alice.Post(t, mlsapi.MethodRegisterDevice, in, nil) }()
	for waiting := 0; waiting == 0; { // until it does
		err := db.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'").Scan(&waiting)
		require.NoError(t, err)
	}
	_, err = tx.Exec(t.Context(), "SELECT FROM key_packages WHERE device_id = $1 FOR NO KEY UPDATE NOWAIT", phone.ID)
	assert.NoError(t, err, "its key packages are locked before the conversation")
	require.NoError(t, tx.Rollback(t.Context()))
	(<-done).OK(t)
}
