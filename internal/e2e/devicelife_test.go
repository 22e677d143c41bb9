package e2e_test

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/authtest"
	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
	"mls-server/internal/pgtest"
	"mls-server/lexrt"
)

// lifeTables are those that the life of a device writes to.
var lifeTables = []string{
	"user_devices", "deleted_devices", "key_packages", "used_init_keys", "event_stream", "conversations", "members",
	"pending_welcomes", "welcomes", "welcome_routes", "removal_debts", "commit_reports", "messages", "commits", "group_states",
}

// deviceLife is the life of a phone of alice's, who has a laptop, beside bob, in a verified
// conversation and an opaque one.
type deviceLife struct {
	t *testing.T
	s *e2e.Server
	// table is the one at which each request loses its connection first, "" for none; faults is how
	// many have.
	table              string
	faults             int
	exec               func(sql string, args ...any) error
	laptop, phone, bob *e2e.Device
	verified           *e2e.VerifiedChat
	opaque             *e2e.Chat
}

// TestDeviceLife walks every edge of the table in docs/clients.md. Before each request goes
// through, its connection is lost at one of the tables that it writes to: then either all of it has
// happened or nothing, and the same request again succeeds.
func TestDeviceLife(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	db := pgtest.Open(t, s.DatabaseURL)
	exec := func(sql string, args ...any) error {
		_, err := db.Exec(t.Context(), sql, args...)
		return err
	}
	change(t, s, hangUp)
	for _, table := range append([]string{""}, lifeTables...) {
		users := s.Users(2)
		l := &deviceLife{t: t, s: s, exec: exec, table: table, laptop: users[0].Register(t, 12), bob: users[1].Register(t, 12)}
		// The laptop was there long before the phone comes.
		l.change("UPDATE user_devices SET registered_at = registered_at - interval '40 days' WHERE user_did = $1", l.laptop.DID)
		l.verified = l.laptop.CreateVerified(t, l.bob)
		l.opaque = l.laptop.Create(t, l.bob.User)
		l.walk()
		if table != "" && l.faults == 0 {
			t.Errorf("no request came to %s, so its fault shows nothing", table)
		}
	}
	checkInvariants(t, s)
}

// do sends a request, once with the fault and once without.
func (l *deviceLife) do(u *e2e.User, m *lexrt.Method, in lexrt.Response, out e2e.Decodable) {
	l.t.Helper()
	if l.table != "" {
		l.change(hangUpAt(l.table))
		a := u.Post(l.t, m, in, nil)
		l.change("DROP TRIGGER hang_up ON " + l.table)
		// Else it did not come to the table, or only after what it is answered for.
		if a.Status != http.StatusOK {
			a.Want(l.t, outage, "NotEnoughResources")
			l.faults++
		}
	}
	a := u.Post(l.t, m, in, out)
	for a.Error == "IdempotencyInProgress" { // its session is not gone yet
		a = u.Post(l.t, m, in, out)
	}
	if a.Status != http.StatusOK {
		l.t.Fatalf("%s after a fault at %q: %d %s %s", m.NSID, l.table, a.Status, a.Error, a.Message)
	}
}

func (l *deviceLife) change(sql string, args ...any) {
	l.t.Helper()
	if err := l.exec(sql, args...); err != nil {
		l.t.Fatal(err)
	}
}

func (l *deviceLife) alice() *e2e.User { return l.laptop.User }

// pending is what the members of both conversations owe, by kind.
func (l *deviceLife) pending(kind string) (n int) {
	l.t.Helper()
	for _, chat := range []*e2e.Chat{l.verified.Chat, l.opaque} {
		for _, p := range l.bob.Pending(l.t, chat) {
			if string(p.Kind) == kind && p.UserDID == l.laptop.DID {
				n++
			}
		}
	}
	return n
}

// on is the devices of alice's that both rosters list.
func (l *deviceLife) on(want ...*e2e.Device) {
	l.t.Helper()
	ids := []string{}
	for _, d := range want {
		ids = append(ids, d.ID)
	}
	slices.Sort(ids)
	for _, chat := range []*e2e.Chat{l.verified.Chat, l.opaque} {
		got := devicesOf(l.bob.Convo(l.t, chat), l.alice())
		assert.ElementsMatch(l.t, ids, got, "after a fault at %q", l.table)
		assert.NotNil(l.t, l.alice().Convo(l.t, chat), "she stays in the conversation")
	}
}

func (l *deviceLife) walk() {
	l.t.Helper()
	l.register()
	l.join(l.phone, l.laptop)
	l.on(l.laptop, l.phone)
	l.rejoin()
	l.on(l.laptop, l.phone)
	l.delete()
	l.on(l.laptop)
	l.comeBack()
	l.loseAll()
}

// register is the edge from nothing to registered, with an id of the client's own.
func (l *deviceLife) register() {
	l.t.Helper()
	l.phone = l.alice().NewDevice()
	l.phone.ID = uuid.NewString()
	l.phone.Client.Device = l.phone.ID
	in := l.phone.RegistrationInput(6)
	in.DeviceID, in.DeviceUUID = &l.phone.ID, new("Alice's install 1")
	var out mlsapi.RegisterDeviceOutput
	l.do(l.alice(), mlsapi.MethodRegisterDevice, in, &out)
	assert.Equal(l.t, l.phone.ID, out.DeviceID)
	assert.ElementsMatch(l.t, []string{l.verified.ID, l.opaque.ID}, out.AutoJoinedConvos)
	assert.Equal(l.t, 2, l.pending("device"))
	devices := l.alice().Devices(l.t)
	require.Len(l.t, devices, 2)
	got := devices[1]
	assert.Equal(l.t, l.phone.ID, got.DeviceID)
	assert.Equal(l.t, string(l.phone.DID)+"#"+l.phone.ID, string(got.CredentialDID))
	assert.Equal(l.t, "Alice's install 1", *got.DeviceUUID)
	assert.Equal(l.t, int64(6), got.KeyPackageCount)
	assert.False(l.t, *got.LastResort)
}

// join is the edge into conversations: a device that is there adds the one that is not.
func (l *deviceLife) join(d, by *e2e.Device) {
	l.t.Helper()
	in, next := by.VerifiedAddition(l.t, l.verified, mlstest.Draft{}, d)
	l.do(by.User, mlsapi.MethodAddMembers, in, nil)
	l.verified.Move(next)
	l.do(by.User, mlsapi.MethodAddMembers, e2e.AdditionOf(l.opaque, by.ClaimDevice(l.t, d), d.DID), nil)
	l.opaque.Next()
	for _, chat := range []*e2e.Chat{l.verified.Chat, l.opaque} {
		_, a := d.Welcome(l.t, chat, d.ID)
		a.OK(l.t)
		l.do(d.User, mlsapi.MethodConfirmWelcome, &mlsapi.ConfirmWelcomeInput{ConvoID: chat.ID, Success: true, DeviceID: &d.ID}, nil)
	}
	l.change("UPDATE welcome_routes SET confirmed_at = confirmed_at - interval '2 minutes'")
	assert.Zero(l.t, l.pending("device"))
}

// rejoin is the edge from lost state back: its old leaf goes with the commit that adds it.
func (l *deviceLife) rejoin() {
	l.t.Helper()
	k := l.phone.Client.KeyPackage(time.Now())
	l.do(l.alice(), mlsapi.MethodRequestRejoin, &mlsapi.RequestRejoinInput{ConvoID: l.verified.ID, KeyPackage: k.Text(), DeviceID: &l.phone.ID}, nil)
	assert.Equal(l.t, 1, l.pending("rejoin"))
	commit, info, next := l.verified.Commit(l.t, l.bob, mlstest.Draft{
		Add: []mlstest.Addition{{Client: l.phone.Client, Package: k}}, Remove: []uint32{l.verified.Leaf(l.t, l.phone)},
	})
	l.do(l.bob.User, mlsapi.MethodAddMembers, &mlsapi.AddMembersInput{
		ConvoID: l.verified.ID, IdempotencyKey: e2e.Key(), DIDList: []mls.DID{l.phone.DID}, Commit: e2e.Text(commit), GroupInfo: e2e.Text(info),
		WelcomeMessage: e2e.Text(next.Welcome(k.Ref)),
	}, nil)
	l.verified.Move(next)
	assert.Zero(l.t, l.pending("rejoin"))
}

// delete is the edge to revoked, and what a revoked device may still do: nothing.
func (l *deviceLife) delete() {
	l.t.Helper()
	stream := l.alice().Follow(l.t, "")
	var out mlsapi.DeleteDeviceOutput
	l.do(l.alice(), mlsapi.MethodDeleteDevice, &mlsapi.DeleteDeviceInput{DeviceID: l.phone.ID}, &out)
	assert.True(l.t, out.Deleted)
	assert.Equal(l.t, l.phone.ID, stream.Await(l.t, "device-revoked").DeviceID)
	require.Len(l.t, l.alice().Devices(l.t), 1)
	assert.Equal(l.t, 2, l.pending("removal"), "after a fault at %q", l.table)
	assert.Empty(l.t, l.bob.ClaimDevice(l.t, l.phone))
	fresh := l.phone.Client.KeyPackage(time.Now())
	wantCode(l.t, l.alice().Post(l.t, mlsapi.MethodPublishKeyPackage, publication(fresh), nil), "InvalidKeyPackage", mls.CodeDeletedDevice)
	wantCode(l.t, l.alice().Post(l.t, mlsapi.MethodRequestRejoin, &mlsapi.RequestRejoinInput{
		ConvoID: l.verified.ID, KeyPackage: fresh.Text(), DeviceID: &l.phone.ID,
	}, nil), "InvalidKeyPackage", mls.CodeDeletedDevice)
	_, a := l.alice().Welcome(l.t, l.verified.Chat, l.phone.ID)
	a.Want(l.t, missing, "WelcomeNotFound")
	commit, info, _ := l.verified.Commit(l.t, l.phone, mlstest.Draft{})
	wantCode(l.t, l.alice().Post(l.t, mlsapi.MethodSendMessage, l.verified.Handshake(commit, info), nil), commitFault, mls.CodeNotTheCaller)
	// Anybody may remove its leaf.
	commit, info, next := l.verified.Commit(l.t, l.bob, mlstest.Draft{Remove: []uint32{l.verified.Leaf(l.t, l.phone)}})
	l.do(l.bob.User, mlsapi.MethodSendMessage, l.verified.Handshake(commit, info), nil)
	l.verified.Move(next)
	assert.Equal(l.t, 1, l.pending("removal"))
}

// comeBack is the edge from revoked to registered: the key comes back when another device says so.
func (l *deviceLife) comeBack() {
	l.t.Helper()
	again := &e2e.Device{User: l.alice(), Client: l.phone.Client}
	again.Client.Device = ""
	in := again.RegistrationInput(4)
	l.alice().Post(l.t, mlsapi.MethodRegisterDevice, in, nil).Want(l.t, forbidden, "DeviceProofRequired")
	in.Proof = l.bob.Prove(l.phone, again)
	l.alice().Post(l.t, mlsapi.MethodRegisterDevice, in, nil).Want(l.t, forbidden, "DeviceProofRequired")
	in.Proof = l.laptop.Prove(l.phone, again)
	var out mlsapi.RegisterDeviceOutput
	l.do(l.alice(), mlsapi.MethodRegisterDevice, in, &out)
	assert.NotEqual(l.t, l.phone.ID, out.DeviceID)
	again.ID, l.phone = out.DeviceID, again
	l.join(l.phone, l.bob)
	l.on(l.laptop, l.phone)
}

// loseAll is the end of both devices: their user stays, and the next one is added by somebody else.
func (l *deviceLife) loseAll() {
	l.t.Helper()
	tablet := l.alice().NewDevice()
	in := tablet.RegistrationInput(4)
	in.ReplaceDeviceID = &l.laptop.ID
	l.alice().Post(l.t, mlsapi.MethodRegisterDevice, in, nil).Want(l.t, forbidden, "DeviceProofRequired")
	l.do(l.alice(), mlsapi.MethodDeleteDevice, &mlsapi.DeleteDeviceInput{DeviceID: l.phone.ID}, nil)
	l.do(l.alice(), mlsapi.MethodDeleteDevice, &mlsapi.DeleteDeviceInput{DeviceID: l.laptop.ID, Proof: l.laptop.Prove(l.laptop, nil)}, nil)
	assert.Empty(l.t, l.alice().Devices(l.t))
	l.on()
	l.bob.Send(l.t, l.opaque)
	assert.NotEmpty(l.t, l.alice().Messages(l.t, l.opaque).Messages, "her token still reads what she has no keys for")
	in.ReplaceDeviceID = nil
	var out mlsapi.RegisterDeviceOutput
	l.do(l.alice(), mlsapi.MethodRegisterDevice, in, &out)
	tablet.ID = out.DeviceID
	assert.Equal(l.t, 2, l.pending("device"))
	l.join(tablet, l.bob)
	l.on(tablet)
	// Who is in nobody's group any more is still an admin where she was one.
	for _, m := range l.bob.Convo(l.t, l.opaque).Members {
		if m.UserDID == l.laptop.DID {
			assert.True(l.t, m.IsAdmin)
		}
	}
}

// playLostDevice registers a device, lists, publishes, compares, and deletes it.
func playLostDevice(t *testing.T, u *e2e.User) {
	t.Helper()
	d := u.NewDevice()
	d.RegisterAgain(t, 1)
	u.Devices(t)
	u.Post(t, mlsapi.MethodPublishKeyPackages, batchOf(keyPackage(d)), nil).OK(t)
	u.Post(t, mlsapi.MethodSyncKeyPackages, &mlsapi.SyncKeyPackagesInput{DeviceID: d.ID, LocalHashes: []string{strings.Repeat("cd", 32)}}, nil).OK(t)
	u.Delete(t, d, nil).OK(t)
}

// TestWireOfDevices records what the methods for devices answer.
func TestWireOfDevices(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	e2e.Record(t, "life-of-a-device")
	users := s.Users(2)
	alice, bob := users[0], users[1].Register(t, 1)
	phone := alice.NewDevice()
	in := phone.RegistrationInput(1)
	in.DeviceID, in.DeviceUUID = new(uuid.NewString()), new("install 1")
	phone.ID = *in.DeviceID
	alice.Post(t, mlsapi.MethodRegisterDevice, in, nil).OK(t)
	batch := batchOf(keyPackage(phone), phone.Client.KeyPackage(time.Now(), mlstest.LastResort), phone.Client.KeyPackage(time.Now(), mlstest.BadSignature))
	alice.Post(t, mlsapi.MethodPublishKeyPackages, batch, nil).OK(t)
	alice.Devices(t)
	bob.Claim(t, alice.DID)
	alice.Get(t, mlsapi.MethodGetKeyPackageStats, nil).OK(t)
	alice.Post(t, mlsapi.MethodSyncKeyPackages, &mlsapi.SyncKeyPackagesInput{DeviceID: phone.ID, LocalHashes: []string{strings.Repeat("ab", 32)}}, nil).OK(t)
	alice.Post(t, mlsapi.MethodSyncKeyPackages, &mlsapi.SyncKeyPackagesInput{DeviceID: phone.ID, LocalHashes: []string{}}, nil).OK(t)
	next := alice.NewDevice().RegistrationInput(0)
	next.ReplaceDeviceID = &phone.ID
	alice.Post(t, mlsapi.MethodRegisterDevice, next, nil).OK(t)
	alice.Delete(t, phone, nil).OK(t)
	alice.Delete(t, &e2e.Device{User: alice, ID: uuid.NewString()}, nil).Want(t, missing, "DeviceNotFound")
}

// wantCode checks that a request was refused with a name and a code of package mls.
func wantCode(t *testing.T, a e2e.Answer, name string, code mls.Code) {
	t.Helper()
	a.Want(t, bad, name)
	if !strings.Contains(a.Message, code.String()) {
		t.Errorf("%q does not name %s", a.Message, code)
	}
}

// named is the device that a refusal names.
var named = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// An app that is reinstalled again and again, each time with a new key, is never locked out,
// whether it knows the device that it was or not; what it leaves behind costs nobody else's device
// its place.
func TestReinstallsAreNoLockOut(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t, e2e.Env{"MAX_DEVICES": "4"})
	users := s.Users(2)
	alice, bob := users[0], users[1].Register(t, 2)
	tablet := alice.Register(t, 12)
	change(t, s, "UPDATE user_devices SET registered_at = registered_at - interval '30 days'")
	chat := tablet.Create(t, bob.User)
	var last string
	for i := range 10 {
		phone := alice.NewDevice()
		in := phone.RegistrationInput(1)
		if i%2 == 1 {
			in.ReplaceDeviceID = &last // it remembers
		}
		var out mlsapi.RegisterDeviceOutput
		a := alice.Post(t, mlsapi.MethodRegisterDevice, in, &out)
		if a.Error == "TooManyDevices" {
			stalest := named.FindString(a.Message)
			require.NotEqual(t, tablet.ID, stalest)
			in.ReplaceDeviceID = &stalest
			a = alice.Post(t, mlsapi.MethodRegisterDevice, in, &out)
		}
		a.OK(t)
		last = out.DeviceID
	}
	devices := alice.Devices(t)
	assert.LessOrEqual(t, len(devices), 4)
	assert.Equal(t, tablet.ID, devices[0].DeviceID)
	assert.True(t, slices.ContainsFunc(devices, func(d mlsapi.ListDevicesDeviceInfo) bool { return d.DeviceID == last }))
	for _, p := range bob.Pending(t, chat) {
		assert.True(t, slices.ContainsFunc(devices, func(d mlsapi.ListDevicesDeviceInfo) bool { return d.DeviceID == *p.DeviceID }), "a request of a device that is gone")
	}
	assert.Len(t, devicesOf(bob.Convo(t, chat), alice), 1, "no leaf was added for phones that are gone")
}

// A stolen token may register a device; it cannot throw out those that were there before, for a day
// in which their user sees what has come.
func TestStolenTokenThrowsNobodyOut(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	users := s.Users(2)
	alice, bob := users[0], users[1].Register(t, 1)
	phone, laptop := alice.Register(t, 1), alice.NewDevice()
	change(t, s, "UPDATE user_devices SET registered_at = registered_at - interval '30 days' WHERE device_id = $1", phone.ID)
	laptop.RegisterAgain(t, 1)
	change(t, s, "UPDATE user_devices SET registered_at = registered_at - interval '25 hours' WHERE device_id = $1", laptop.ID)
	thief := alice.Register(t, 1)
	change(t, s, "UPDATE user_devices SET registered_at = registered_at - interval '4 seconds' WHERE device_id = $1", thief.ID)
	second := alice.Register(t, 1)
	for name, proof := range map[string][]byte{
		"nothing": nil, "the thief's own key": thief.Prove(phone, nil), "its other one": second.Prove(phone, nil), "a stranger's": bob.Prove(phone, nil),
		"a signature for another device": laptop.Prove(laptop, nil), "for a replacement": laptop.Prove(phone, thief), "half of one": laptop.Prove(phone, nil)[:32],
	} {
		if a := alice.Delete(t, phone, proof); a.Error != "DeviceProofRequired" {
			t.Errorf("with %s: %d %s", name, a.Status, a.Error)
		}
	}
	fresh := alice.NewDevice()
	in := fresh.RegistrationInput(1)
	in.ReplaceDeviceID = &phone.ID
	alice.Post(t, mlsapi.MethodRegisterDevice, in, nil).Want(t, forbidden, "DeviceProofRequired")
	in.Proof = laptop.Prove(phone, nil)
	alice.Post(t, mlsapi.MethodRegisterDevice, in, nil).Want(t, forbidden, "DeviceProofRequired")
	require.Len(t, alice.Devices(t), 4)
	// The others throw the thief out, and one that was there before it may let another go.
	alice.Delete(t, second, nil).OK(t)
	in.Proof = laptop.Prove(phone, fresh)
	alice.Post(t, mlsapi.MethodRegisterDevice, in, nil).OK(t)
	alice.Delete(t, thief, laptop.Prove(thief, nil)).OK(t)
	for _, table := range []string{"user_devices", "deleted_devices"} {
		change(t, s, "UPDATE "+table+" SET registered_at = registered_at - interval '24 hours' WHERE user_did = $1", alice.DID)
	}
	alice.Delete(t, laptop, nil).OK(t)
	alice.Delete(t, laptop, nil).OK(t) // again
	bob.Delete(t, &e2e.Device{User: bob.User, ID: laptop.ID}, nil).Want(t, missing, "DeviceNotFound")
	bob.Delete(t, &e2e.Device{User: bob.User, ID: uuid.NewString()}, nil).Want(t, missing, "DeviceNotFound")
}

// Key packages are those of the device whose key signed them, whatever the credential says.
func TestPackagesAreBoundToTheirDevice(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	users := s.Users(2)
	alice, bob := users[0], users[1]
	loose := alice.NewDevice()
	// She has no device yet.
	alice.Post(t, mlsapi.MethodPublishKeyPackage, publication(loose.Client.KeyPackage(time.Now())), nil).OK(t)
	loose.RegisterAgain(t, 1)
	require.Equal(t, int64(2), alice.Devices(t)[0].KeyPackageCount, "what it has published is its own now")
	laptop := alice.Register(t, 1)
	publish := func(d *e2e.Device, name string) e2e.Answer {
		c := *d.Client
		c.Device = name
		return alice.Post(t, mlsapi.MethodPublishKeyPackage, publication(c.KeyPackage(time.Now())), nil)
	}
	publish(loose, loose.ID).OK(t)
	wantCode(t, publish(loose, laptop.ID), "InvalidKeyPackage", mls.CodeIdentityMismatch)
	wantCode(t, publish(alice.NewDevice(), laptop.ID), "InvalidKeyPackage", mls.CodeSignatureKeyMismatch)
	wantCode(t, publish(alice.NewDevice(), ""), "InvalidKeyPackage", mls.CodeSignatureKeyMismatch)
	wantCode(t, publish(alice.NewDevice(), uuid.NewString()), "InvalidKeyPackage", mls.CodeIdentityMismatch)
	claimed := bob.Claim(t, alice.DID)
	require.Len(t, claimed, 2, "one for each device")
	// The id is the client's choice, once.
	stolen := bob.NewDevice().RegistrationInput(0)
	stolen.DeviceID = &laptop.ID
	bob.Post(t, mlsapi.MethodRegisterDevice, stolen, nil).Want(t, conflict, "DeviceIdTaken")
	alice.Delete(t, laptop, nil).OK(t)
	bob.Post(t, mlsapi.MethodRegisterDevice, stolen, nil).Want(t, conflict, "DeviceIdTaken")
	for _, id := range []string{"x", strings.Repeat("g", 36), "{" + uuid.NewString()[1:35] + "}"} {
		stolen.DeviceID = &id
		bob.Post(t, mlsapi.MethodRegisterDevice, stolen, nil).Want(t, bad, "InvalidRequest")
	}
	id := strings.ToUpper(uuid.NewString())
	stolen.DeviceID = &id
	var out mlsapi.RegisterDeviceOutput
	bob.Post(t, mlsapi.MethodRegisterDevice, stolen, &out).OK(t)
	assert.Equal(t, strings.ToLower(id), out.DeviceID)
}

// A call that names a device notes the day on which it is in use; the timer writes it.
func TestDevicesAreSeen(t *testing.T) {
	t.Parallel()
	dir, db := authtest.NewDirectory(t, nil), pgtest.New(t)
	s := e2e.StartOn(t, db, dir)
	alice := s.Users(1)[0]
	used, idle := alice.Register(t, 2), alice.Register(t, 2)
	other := e2e.StartOn(t, db, dir)
	change(t, s, "UPDATE user_devices SET created_at = '2026-01-02', registered_at = '2026-01-02'")
	there := &e2e.User{Identity: alice.Identity, Server: other}
	there.Post(t, mlsapi.MethodSyncKeyPackages, &mlsapi.SyncKeyPackagesInput{DeviceID: used.ID, LocalHashes: []string{"00"}}, nil).OK(t)
	other.Stop() // writes what was noted
	today := time.Now().UTC().Truncate(24 * time.Hour).Format("2006-01-02T15:04:05Z")
	seen := map[string]string{}
	for _, d := range alice.Devices(t) {
		seen[d.DeviceID] = string(d.LastSeenAt)
	}
	assert.Equal(t, map[string]string{used.ID: today, idle.ID: "2026-01-02T00:00:00Z"}, seen)
}
