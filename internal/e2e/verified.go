package e2e

import (
	"encoding/hex"
	"net/http"
	"slices"
	"testing"

	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
)

// VerifiedChat is a conversation whose group the server follows, as its members' clients know it.
type VerifiedChat struct {
	*Chat
	Tree *mlstest.VerifiedGroup
}

// Move takes the chat to the group behind a commit that was accepted.
func (c *VerifiedChat) Move(next *mlstest.VerifiedGroup) {
	c.Tree, c.Chat.Group = next, next.Group
}

// Text is bytes as text fields carry them.
func Text(b []byte) *string { return new(mls.EncodeText(b)) }

// Additions claims a key package of each of the devices, for a commit that adds them.
func (u *User) Additions(tb testing.TB, devices ...*Device) []mlstest.Addition {
	tb.Helper()
	users := make([]mls.DID, len(devices))
	for i, d := range devices {
		users[i] = d.DID
	}
	claimed := u.Claim(tb, mls.UniqueDIDs(users)...)
	added := make([]mlstest.Addition, len(devices))
	for i, d := range devices {
		at := slices.IndexFunc(claimed, func(k mlsapi.DefsKeyPackageRef) bool { return KeyOf(tb, &k) == string(d.Client.SignatureKey) })
		if at < 0 {
			tb.Fatal("a device has no key package to claim")
		}
		raw, err := mls.DecodeText(claimed[at].KeyPackage)
		if err != nil {
			tb.Fatal(err)
		}
		added[i] = mlstest.Addition{Client: d.Client, Package: mlstest.ReadKeyPackage(raw)}
	}
	return added
}

// KeyOf is the signature key of the device that a claimed package is of, which strangers are not
// told otherwise.
func KeyOf(tb testing.TB, k *mlsapi.DefsKeyPackageRef) string {
	tb.Helper()
	raw, err := mls.DecodeText(k.KeyPackage)
	if err != nil {
		tb.Fatal(err)
	}
	parsed, err := mls.ParseKeyPackage(raw)
	if err != nil {
		tb.Fatal(err)
	}
	return string(parsed.Leaf.SignatureKey)
}

// welcome makes a Welcome into a group for those who are added.
func welcome(into *mlstest.VerifiedGroup, added []mlstest.Addition) *string {
	names := make([]mls.KeyPackageRef, len(added))
	for i, a := range added {
		names[i] = a.Package.Ref
	}
	return Text(into.Welcome(names...))
}

// VerifiedCreation is the request by which a device makes a verified conversation with others, and
// the group that it is for.
func (d *Device) VerifiedCreation(tb testing.TB, others ...*Device) (*mlsapi.CreateConvoInput, *mlstest.VerifiedGroup) {
	tb.Helper()
	group := mlstest.NewVerifiedGroup(d.Client)
	in := &mlsapi.CreateConvoInput{
		GroupID: string(group.GroupID()), IdempotencyKey: Key(), CipherSuite: mlsapi.CreateConvoInputCipherSuite(d.Client.Suite.String()),
	}
	if len(others) > 0 {
		added := d.Additions(tb, others...)
		_, group = group.Commit(0, nil, mlstest.Draft{Add: added})
		in.WelcomeMessage = welcome(group, added)
		for _, o := range others {
			if o.DID != d.DID && !slices.Contains(in.InitialMembers, o.DID) {
				in.InitialMembers = append(in.InitialMembers, o.DID)
			}
		}
	}
	in.GroupInfo = Text(group.GroupInfo(0))
	return in, group
}

// CreateVerified makes a verified conversation, whose users accept.
func (d *Device) CreateVerified(tb testing.TB, others ...*Device) *VerifiedChat {
	tb.Helper()
	in, group := d.VerifiedCreation(tb, others...)
	var out mlsapi.CreateConvoOutput
	d.Post(tb, mlsapi.MethodCreateConvo, in, &out).OK(tb)
	chat := &VerifiedChat{Chat: &Chat{ID: out.ID}}
	chat.Move(group)
	d.accepted(tb, chat.Chat, in.InitialMembers...)
	return chat
}

// CreateOpaque is CreateVerified without the GroupInfo: the server does not follow the group.
func (d *Device) CreateOpaque(tb testing.TB, others ...*Device) *VerifiedChat {
	tb.Helper()
	in, group := d.VerifiedCreation(tb, others...)
	in.GroupInfo, in.CurrentEpoch = nil, new(int64(group.Epoch))
	var out mlsapi.CreateConvoOutput
	d.Post(tb, mlsapi.MethodCreateConvo, in, &out).OK(tb)
	chat := &VerifiedChat{Chat: &Chat{ID: out.ID}}
	chat.Move(group)
	d.accepted(tb, chat.Chat, in.InitialMembers...)
	return chat
}

// Entrance is the GroupInfo that is handed out to those who join the chat's group.
func (u *User) Entrance(tb testing.TB, c *Chat) ([]byte, Answer) {
	tb.Helper()
	var out mlsapi.GetGroupInfoOutput
	a := u.Get(tb, mlsapi.MethodGetGroupInfo, &out, "convoId", c.ID)
	if a.Status != http.StatusOK {
		return nil, a
	}
	info, err := mls.DecodeText(out.GroupInfo)
	if err != nil {
		tb.Fatal(err)
	}
	return info, a
}

// Deposit is the request to hand out a GroupInfo of the chat's epoch.
func (c *VerifiedChat) Deposit(info []byte) *mlsapi.UpdateGroupInfoInput {
	return &mlsapi.UpdateGroupInfoInput{ConvoID: c.ID, GroupInfo: *Text(info), Epoch: int64(c.Tree.Epoch)}
}

// Leaf is the leaf of a device in the group.
func (c *VerifiedChat) Leaf(tb testing.TB, d *Device) uint32 {
	tb.Helper()
	return c.Tree.LeafOf(d.Client)
}

// Commit makes a commit of a device's, with the GroupInfo that goes along, and the group behind it.
func (c *VerifiedChat) Commit(tb testing.TB, from *Device, d mlstest.Draft) (commit, info []byte, next *mlstest.VerifiedGroup) {
	tb.Helper()
	leaf := c.Leaf(tb, from)
	commit, next = c.Tree.Commit(leaf, nil, d)
	return commit, next.GroupInfo(leaf), next
}

// Handshake is the request to send a commit or proposal of the chat's epoch. info is nil for a
// proposal.
func (c *VerifiedChat) Handshake(message, info []byte) *mlsapi.SendMessageInput {
	in := c.Message()
	in.Ciphertext = mlstest.PadDirect(message, paddedSize(len(message)))
	in.PaddedSize = int64(len(in.Ciphertext))
	if info != nil {
		in.GroupInfo = Text(info)
	}
	return in
}

func paddedSize(n int) int {
	for size := 512; ; size *= 2 {
		if size >= n {
			return size
		}
	}
}

// SendCommit sends a commit of a device's by itself and moves the chat to the epoch behind it.
func (d *Device) SendCommit(tb testing.TB, c *VerifiedChat, draft mlstest.Draft) mlsapi.SendMessageOutput {
	tb.Helper()
	commit, info, next := c.Commit(tb, d, draft)
	var out mlsapi.SendMessageOutput
	d.Post(tb, mlsapi.MethodSendMessage, c.Handshake(commit, info), &out).OK(tb)
	c.Move(next)
	return out
}

// VerifiedAddition is the request by which a device adds others, and the group behind it.
func (d *Device) VerifiedAddition(tb testing.TB, c *VerifiedChat, draft mlstest.Draft, others ...*Device) (*mlsapi.AddMembersInput, *mlstest.VerifiedGroup) {
	tb.Helper()
	added := d.Additions(tb, others...)
	draft.Add = added
	commit, info, next := c.Commit(tb, d, draft)
	in := &mlsapi.AddMembersInput{
		ConvoID: c.ID, IdempotencyKey: Key(), Commit: Text(commit), GroupInfo: Text(info), WelcomeMessage: welcome(next, added),
	}
	for _, o := range others {
		in.DIDList = append(in.DIDList, o.DID)
		// Named by hash, too, as released clients do.
		for _, a := range added {
			if a.Client == o.Client {
				in.KeyPackageHashes = append(in.KeyPackageHashes, mlsapi.AddMembersKeyPackageHashEntry{DID: o.DID, Hash: hex.EncodeToString([]byte(a.Package.Ref))})
			}
		}
	}
	return in, next
}

// AddVerified adds devices, whose users accept, and moves the chat to the epoch behind it.
func (d *Device) AddVerified(tb testing.TB, c *VerifiedChat, draft mlstest.Draft, others ...*Device) mlsapi.AddMembersOutput {
	tb.Helper()
	in, next := d.VerifiedAddition(tb, c, draft, others...)
	var out mlsapi.AddMembersOutput
	d.Post(tb, mlsapi.MethodAddMembers, in, &out).OK(tb)
	c.Move(next)
	d.accepted(tb, c.Chat, in.DIDList...)
	return out
}
