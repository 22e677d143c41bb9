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

// deposit gives a GroupInfo to the server and reports whether it is handed out now.
func deposit(t *testing.T, d *e2e.Device, chat *e2e.VerifiedChat, info []byte) bool {
	t.Helper()
	var out mlsapi.UpdateGroupInfoOutput
	d.Post(t, mlsapi.MethodUpdateGroupInfo, chat.Deposit(info), &out).OK(t)
	return out.Updated
}

// handed checks which GroupInfo the server hands out; nil: none.
func handed(t *testing.T, d *e2e.Device, chat *e2e.VerifiedChat, want []byte) {
	t.Helper()
	got, a := d.Entrance(t, chat.Chat)
	if want == nil {
		a.Want(t, missing, "GroupInfoUnavailable")
		return
	}
	a.OK(t)
	assert.Equal(t, want, got)
}

// The GroupInfo of a verified conversation's epoch is the one that came with its commit, until a
// member deposits another one of the same group, once each in an epoch.
func TestGroupInfoOfVerifiedConversation(t *testing.T) {
	t.Parallel()
	f := follow(t)
	first, a := f.carol.Entrance(t, f.chat.Chat)
	a.OK(t)
	parsed, err := mls.ParseMessage(first)
	require.NoError(t, err)
	require.NotNil(t, parsed.GroupInfo, "it is wrapped in an MLSMessage")

	commit, info, next := f.chat.Commit(t, f.bob, mlstest.Draft{})
	f.bob.Post(t, mlsapi.MethodSendMessage, f.chat.Handshake(commit, info), nil).OK(t)
	f.chat.Move(next)
	handed(t, f.carol, f.chat, info)

	own := f.chat.Tree.GroupInfo(2)
	assert.True(t, deposit(t, f.carol, f.chat, own))
	handed(t, f.bob, f.chat, own)
	assert.True(t, deposit(t, f.carol, f.chat, own), "a repeat")
	assert.False(t, deposit(t, f.carol, f.chat, f.chat.Tree.GroupInfo(2)), "a second one of the same user")
	handed(t, f.bob, f.chat, own)
	// Bare, and by a user whose other GroupInfo came with the commit.
	bare := f.chat.Tree.GroupInfo(1)[4:]
	assert.True(t, deposit(t, f.bob, f.chat, bare))
	handed(t, f.alice, f.chat, append([]byte{0, 1, 0, 4}, bare...))
	assert.False(t, deposit(t, f.carol, f.chat, own), "it was replaced meanwhile")
	handed(t, f.alice, f.chat, append([]byte{0, 1, 0, 4}, bare...))
	// The next epoch begins anew.
	f.alice.SendCommit(t, f.chat, mlstest.Draft{})
	assert.True(t, deposit(t, f.carol, f.chat, f.chat.Tree.GroupInfo(2)))
	// What was deposited does not change what commits are held against.
	f.carol.SendCommit(t, f.chat, mlstest.Draft{})
	f.roster(map[*e2e.Device]int64{f.alice: 0, f.bob: 1, f.carol: 2})
}

// A user without devices has a leaf, too: nobody else deposits what it has signed.
func TestGroupInfoOfUserWithoutDevices(t *testing.T) {
	t.Parallel()
	f := follow(t)
	erin := f.alice.Server.Users(1)[0]
	own := newClient(erin)
	k := own.KeyPackage(time.Now())
	erin.Post(t, mlsapi.MethodPublishKeyPackage, publication(k), nil).OK(t)
	commit, info, next := f.chat.Commit(t, f.bob, mlstest.Draft{Add: []mlstest.Addition{{Client: own, Package: k}}})
	f.bob.Post(t, mlsapi.MethodAddMembers, &mlsapi.AddMembersInput{
		ConvoID: f.chat.ID, IdempotencyKey: e2e.Key(), DIDList: []mls.DID{erin.DID}, Commit: e2e.Text(commit), GroupInfo: e2e.Text(info),
		WelcomeMessage: e2e.Text(next.Welcome(k.Ref)),
	}, nil).OK(t)
	f.chat.Move(next)
	erin.Accept(t, f.chat.Chat).OK(t)
	signed := f.chat.Tree.GroupInfo(f.chat.Tree.LeafOf(own))
	a := f.bob.Post(t, mlsapi.MethodUpdateGroupInfo, f.chat.Deposit(signed), nil).Want(t, bad, infoFault)
	assert.Contains(t, a.Message, mls.CodeNotTheCaller.String())
	device := &e2e.Device{User: erin, Client: own}
	assert.True(t, deposit(t, device, f.chat, signed))
	// It comes back like any device.
	device.Join(t, f.chat, mlstest.Draft{})
	device.SendCommit(t, f.chat, mlstest.Draft{})
}

// An opaque conversation has a GroupInfo when somebody deposits one, for its epoch only.
func TestGroupInfoOfOpaqueConversation(t *testing.T) {
	t.Parallel()
	f := follow(t)
	f.chat = f.alice.CreateOpaque(t, f.bob, f.carol)
	handed(t, f.bob, f.chat, nil)
	own := f.chat.Tree.GroupInfo(1)
	assert.True(t, deposit(t, f.bob, f.chat, own))
	handed(t, f.carol, f.chat, own)
	assert.False(t, deposit(t, f.bob, f.chat, f.chat.Tree.GroupInfo(1)))
	other := f.chat.Tree.GroupInfo(2)
	assert.True(t, deposit(t, f.carol, f.chat, other))
	handed(t, f.bob, f.chat, other)

	commit, info, next := f.chat.Commit(t, f.alice, mlstest.Draft{})
	f.alice.Post(t, mlsapi.MethodSendMessage, f.chat.Handshake(commit, nil), nil).OK(t)
	f.chat.Move(next)
	handed(t, f.bob, f.chat, nil)
	assert.True(t, deposit(t, f.alice, f.chat, info))
	commit, info, next = f.chat.Commit(t, f.alice, mlstest.Draft{})
	f.alice.Post(t, mlsapi.MethodSendMessage, f.chat.Handshake(commit, info), nil).OK(t)
	f.chat.Move(next)
	handed(t, f.bob, f.chat, info)
	// It proves nothing: a commit that cannot be read is taken as before.
	f.alice.SendBytes(t, f.chat.Chat, f.chat.Chat.Group.PrivateCommit()).OK(t)
	v := f.view(f.bob)
	assert.Equal(t, "opaque", string(*v.Assurance))
	for _, m := range v.Members {
		if m.UserDID == f.bob.DID {
			assert.Nil(t, m.LeafIndex, "no leaf is known from it")
		}
	}
}

// depositFault is what can be false about a GroupInfo that bob deposits.
type depositFault struct {
	name string
	make func(f *followed) []byte
	// code is the fault in a verified conversation, opaque in an opaque one where that differs.
	code, opaque mls.Code
}

var depositFaults = []depositFault{
	{"half of it", func(f *followed) []byte { b := f.chat.Tree.GroupInfo(1); return b[:len(b)/2] }, mls.CodeTruncated, 0},
	{"a commit", func(f *followed) []byte { c, _, _ := f.chat.Commit(f.t, f.bob, mlstest.Draft{}); return c }, mls.CodeTruncated, 0},
	{"of the epoch before", func(f *followed) []byte { return f.before.info }, mls.CodeWrongEpoch, 0},
	{"of the epoch to come", func(f *followed) []byte { _, info, _ := f.chat.Commit(f.t, f.bob, mlstest.Draft{}); return info }, mls.CodeWrongEpoch, 0},
	{"of another group", func(f *followed) []byte {
		g := mlstest.NewVerifiedGroup(f.bob.Client)
		for g.Epoch < f.chat.Tree.Epoch {
			_, g = g.Commit(0, nil, mlstest.Draft{})
		}
		return g.GroupInfo(0)
	}, mls.CodeWrongGroup, 0},
	{"of a commit that lost", func(f *followed) []byte { return f.lost.GroupInfo(1) }, mls.CodeTreeHashMismatch, mls.CodeGroupInfoMismatch},
	{"without external_pub", func(f *followed) []byte {
		return f.chat.Tree.FalseGroupInfo(1, mlstest.InfoFaults{NoExternalPub: true})
	}, mls.CodeMissingExternalPub, 0},
	{"without a tree", func(f *followed) []byte { return f.chat.Tree.FalseGroupInfo(1, mlstest.InfoFaults{NoTree: true}) }, mls.CodeMissingTree, 0},
	{"with another tag", func(f *followed) []byte { return f.chat.Tree.FalseGroupInfo(1, mlstest.InfoFaults{OtherTag: true}) }, mls.CodeGroupInfoMismatch, 0},
	{"with a broken signature", func(f *followed) []byte {
		return f.chat.Tree.FalseGroupInfo(1, mlstest.InfoFaults{BadSignature: true})
	}, mls.CodeGroupInfoSignature, 0},
	{"signed by another user", func(f *followed) []byte { return f.chat.Tree.GroupInfo(2) }, mls.CodeNotTheCaller, 0},
}

// Every fault of a GroupInfo is refused by name, in both kinds of conversations, and the one that
// is there stays.
func TestFaultsOfGroupInfos(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"verified", "opaque"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			f := follow(t)
			if kind == "opaque" {
				f.chat = f.alice.CreateOpaque(t, f.bob, f.carol)
			}
			f.before.info = f.chat.Tree.GroupInfo(1)
			_, f.lost = f.chat.Tree.Commit(0, nil, mlstest.Draft{})
			f.alice.SendCommit(t, f.chat, mlstest.Draft{})
			there, a := f.bob.Entrance(t, f.chat.Chat)
			a.OK(t)
			for _, fault := range depositFaults {
				a := f.bob.Post(t, mlsapi.MethodUpdateGroupInfo, f.chat.Deposit(fault.make(f)), nil).Want(t, bad, infoFault)
				code := fault.code
				if kind == "opaque" && fault.opaque != 0 {
					code = fault.opaque
				}
				assert.Contains(t, a.Message, code.String(), fault.name)
			}
			old := f.chat.Deposit(f.before.info)
			old.Epoch--
			f.bob.Post(t, mlsapi.MethodUpdateGroupInfo, old, nil).Want(t, conflict, "EpochMismatch")
			handed(t, f.alice, f.chat, there)
			assert.True(t, deposit(t, f.bob, f.chat, f.chat.Tree.GroupInfo(1)))
		})
	}
}
