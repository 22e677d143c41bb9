package e2e

import (
	"encoding/hex"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
)

// Device is a registered device of a user, with the MLS keys it registered.
type Device struct {
	*User
	ID     string
	Client *mlstest.Client
}

// suite is what the tests use where the suite does not matter.
const suite = mls.SuiteX25519AES128

// counter makes keys and names that are unique within the test process.
var counter atomic.Int64

// Key returns a fresh idempotency key.
func Key() *string {
	k := "e2e-key-" + strconv.FormatInt(counter.Add(1), 10)
	return &k
}

// KeyPackages makes key packages as a request carries them.
func (d *Device) KeyPackages(n int) []mlsapi.RegisterDeviceKeyPackageItem {
	items := make([]mlsapi.RegisterDeviceKeyPackageItem, n)
	for i := range items {
		items[i] = d.Package()
	}
	return items
}

// Package makes a key package as a request carries it.
func (d *Device) Package(changes ...mlstest.Change) mlsapi.RegisterDeviceKeyPackageItem {
	return mlsapi.RegisterDeviceKeyPackageItem{
		DID: &d.DID, KeyPackage: d.Client.KeyPackage(time.Now(), changes...).Text(),
		CipherSuite: mlsapi.RegisterDeviceKeyPackageItemCipherSuite(suite.String()),
	}
}

// Register registers a new device with n key packages.
func (u *User) Register(tb testing.TB, n int) *Device {
	tb.Helper()
	d := &Device{User: u, Client: mlstest.NewClient(u.DID, "", suite)}
	d.RegisterAgain(tb, n)
	return d
}

// RegisterLastResort registers a new device with nothing but a last-resort key package, which can
// be claimed and used again and again.
func (u *User) RegisterLastResort(tb testing.TB) *Device {
	tb.Helper()
	d := &Device{User: u, Client: mlstest.NewClient(u.DID, "", suite)}
	d.register(tb, []mlsapi.RegisterDeviceKeyPackageItem{d.Package(mlstest.LastResort)})
	return d
}

// RegisterAgain repeats the registration with fresh packages.
func (d *Device) RegisterAgain(tb testing.TB, n int) mlsapi.RegisterDeviceOutput {
	tb.Helper()
	return d.register(tb, d.KeyPackages(n))
}

func (d *Device) register(tb testing.TB, packages []mlsapi.RegisterDeviceKeyPackageItem) mlsapi.RegisterDeviceOutput {
	tb.Helper()
	var out mlsapi.RegisterDeviceOutput
	d.Post(tb, mlsapi.MethodRegisterDevice, &mlsapi.RegisterDeviceInput{
		DeviceName: "Phone of " + string(d.DID[len(d.DID)-6:]), SignaturePublicKey: d.Client.SignatureKey, KeyPackages: packages,
	}, &out).OK(tb)
	d.ID = out.DeviceID
	return out
}

// Claim takes a key package of each device of the users.
func (u *User) Claim(tb testing.TB, users ...mls.DID) []mlsapi.DefsKeyPackageRef {
	tb.Helper()
	var args []string
	for _, did := range users {
		args = append(args, "dids", string(did))
	}
	var out mlsapi.GetKeyPackagesOutput
	u.Get(tb, mlsapi.MethodGetKeyPackages, &out, args...).OK(tb)
	return out.KeyPackages
}

// Chat is a conversation as its members' clients know it.
type Chat struct {
	ID    string
	Group mlstest.Group
}

// refs reads the references of claimed packages.
func refs(packages []mlsapi.DefsKeyPackageRef) []mls.KeyPackageRef {
	out := make([]mls.KeyPackageRef, len(packages))
	for i, p := range packages {
		ref, err := hex.DecodeString(*p.KeyPackageHash)
		if err != nil {
			panic(err)
		}
		out[i] = mls.KeyPackageRef(ref)
	}
	return out
}

// Create makes a conversation with the users, for whom it claims key packages, and who accept.
func (u *User) Create(tb testing.TB, others ...*User) *Chat {
	tb.Helper()
	chat := u.Invite(tb, others...)
	u.accepted(tb, chat, DIDs(others)...)
	return chat
}

// Invitation is the request by which a user makes a conversation with others, for whom it claims
// key packages, and the group that it is for.
func (u *User) Invitation(tb testing.TB, others ...*User) (*Chat, *mlsapi.CreateConvoInput) {
	tb.Helper()
	chat := &Chat{Group: mlstest.NewGroup(suite)}
	in := &mlsapi.CreateConvoInput{
		GroupID: string(chat.Group.GroupID()), IdempotencyKey: Key(), CipherSuite: mlsapi.CreateConvoInputCipherSuite(suite.String()),
	}
	if dids := DIDs(others); len(dids) > 0 {
		in.InitialMembers = dids
		in.WelcomeMessage = new(mls.EncodeText(chat.Group.At(1).Welcome(refs(u.Claim(tb, dids...))...)))
	}
	return chat, in
}

// DIDs returns the users' DIDs.
func DIDs(users []*User) []mls.DID {
	out := make([]mls.DID, len(users))
	for i, u := range users {
		out[i] = u.DID
	}
	return out
}

// Addition is the request by which a user adds others, with an opaque commit of the chat's epoch.
func (u *User) Addition(tb testing.TB, c *Chat, others ...*User) *mlsapi.AddMembersInput {
	tb.Helper()
	packages := u.Claim(tb, DIDs(others)...)
	return &mlsapi.AddMembersInput{
		ConvoID: c.ID, IdempotencyKey: Key(), DIDList: DIDs(others), Commit: new(mls.EncodeText(c.Group.PrivateCommit())),
		WelcomeMessage: new(mls.EncodeText(c.Group.At(c.Group.Epoch + 1).Welcome(refs(packages)...))),
	}
}

// Add adds others, who accept, and moves the chat to the next epoch.
func (u *User) Add(tb testing.TB, c *Chat, others ...*User) {
	tb.Helper()
	var out mlsapi.AddMembersOutput
	u.Post(tb, mlsapi.MethodAddMembers, u.Addition(tb, c, others...), &out).OK(tb)
	c.Group = c.Group.At(mls.Epoch(out.NewEpoch))
	u.accepted(tb, c, DIDs(others)...)
}

// Message is a request to send an application message of the chat's epoch.
func (c *Chat) Message() *mlsapi.SendMessageInput {
	ciphertext := mlstest.PadDirect(c.Group.Application(200), 512)
	return &mlsapi.SendMessageInput{
		ConvoID: c.ID, MsgID: string(mls.NewMessageID(time.Now())), IdempotencyKey: Key(),
		Ciphertext: ciphertext, PaddedSize: int64(len(ciphertext)), Epoch: int64(c.Group.Epoch),
	}
}

// Send sends a message and returns its output.
func (u *User) Send(tb testing.TB, c *Chat) mlsapi.SendMessageOutput {
	tb.Helper()
	var out mlsapi.SendMessageOutput
	u.Post(tb, mlsapi.MethodSendMessage, c.Message(), &out).OK(tb)
	return out
}

// Messages reads a page of the conversation.
func (u *User) Messages(tb testing.TB, c *Chat, args ...string) mlsapi.GetMessagesOutput {
	tb.Helper()
	var out mlsapi.GetMessagesOutput
	u.Get(tb, mlsapi.MethodGetMessages, &out, append([]string{"convoId", c.ID}, args...)...).OK(tb)
	return out
}

// Epoch reads the conversation's epoch.
func (u *User) Epoch(tb testing.TB, c *Chat) int64 {
	tb.Helper()
	var out mlsapi.GetEpochOutput
	u.Get(tb, mlsapi.MethodGetEpoch, &out, "convoId", c.ID).OK(tb)
	return out.CurrentEpoch
}

// Convos lists the first page of the user's conversations.
func (u *User) Convos(tb testing.TB) []mlsapi.DefsConvoView {
	tb.Helper()
	var out mlsapi.GetConvosOutput
	u.Get(tb, mlsapi.MethodGetConvos, &out).OK(tb)
	return out.Conversations
}
