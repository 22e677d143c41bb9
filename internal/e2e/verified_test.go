package e2e_test

import (
	"encoding/hex"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
)

// followed is a verified conversation of alice, its admin, bob and carol, at leaves 0, 1 and 2;
// dave is not in it.
type followed struct {
	t                       *testing.T
	alice, bob, carol, dave *e2e.Device
	chat                    *e2e.VerifiedChat
	// laptop is a second device of carol's, not in the group.
	laptop *e2e.Device
	// lost is the group behind a commit that was never sent.
	lost *mlstest.VerifiedGroup
	// before is a commit of an epoch that is over.
	before struct{ commit, info []byte }
}

func follow(t *testing.T, env ...e2e.Env) *followed {
	t.Helper()
	users := e2e.Start(t, env...).Users(4)
	f := &followed{t: t}
	for i, d := range []**e2e.Device{&f.alice, &f.bob, &f.carol, &f.dave} {
		*d = users[i].Register(t, 20)
	}
	f.chat = f.alice.CreateVerified(t, f.bob, f.carol)
	return f
}

// view is the conversation as a device's user sees it.
func (f *followed) view(d *e2e.Device) *mlsapi.DefsConvoView {
	f.t.Helper()
	v := d.Convo(f.t, f.chat.Chat)
	require.NotNil(f.t, v)
	return v
}

// roster checks who is on the roster, and at which leaf.
func (f *followed) roster(want map[*e2e.Device]int64) {
	f.t.Helper()
	got := map[mls.DID]int64{}
	v := f.view(f.alice)
	for _, m := range v.Members {
		got[m.UserDID] = -1
		if m.LeafIndex != nil {
			got[m.UserDID] = *m.LeafIndex
		}
	}
	expected := map[mls.DID]int64{}
	for d, leaf := range want {
		expected[d.DID] = leaf
	}
	assert.Equal(f.t, expected, got)
	assert.Equal(f.t, int64(f.chat.Tree.Epoch), v.Epoch)
}

// The life of a verified conversation: the roster is what the group's tree says (I13).
func TestVerifiedConversation(t *testing.T) {
	t.Parallel()
	f := follow(t)
	v := f.view(f.bob)
	assert.Equal(t, "verified", string(*v.Assurance))
	assert.Equal(t, int64(0), *v.Generation)
	assert.Nil(t, v.CommitID, "no commit stands yet")
	f.roster(map[*e2e.Device]int64{f.alice: 0, f.bob: 1, f.carol: 2})

	sent := f.bob.SendCommit(t, f.chat, mlstest.Draft{})
	assert.Equal(t, sent.MessageID, *f.view(f.bob).CommitID)
	f.bob.Send(t, f.chat.Chat)

	added := f.carol.AddVerified(t, f.chat, mlstest.Draft{}, f.dave)
	assert.Equal(t, added.MessageID, f.view(f.bob).CommitID, "who commits knows its own echo")
	f.roster(map[*e2e.Device]int64{f.alice: 0, f.bob: 1, f.carol: 2, f.dave: 3})
	var welcome mlsapi.GetWelcomeOutput
	f.dave.Get(t, mlsapi.MethodGetWelcome, &welcome, "convoId", f.chat.ID).OK(t)

	// A removal by removeMember.
	commit, info, next := f.chat.Commit(t, f.alice, mlstest.Draft{Remove: []uint32{1}})
	var removed mlsapi.RemoveMemberOutput
	f.alice.Post(t, mlsapi.MethodRemoveMember, &mlsapi.RemoveMemberInput{
		ConvoID: f.chat.ID, TargetDID: f.bob.DID, IdempotencyKey: *e2e.Key(), Commit: e2e.Text(commit), GroupInfo: e2e.Text(info),
	}, &removed).OK(t)
	assert.NotNil(t, removed.MessageID)
	f.chat.Move(next)
	f.roster(map[*e2e.Device]int64{f.alice: 0, f.carol: 2, f.dave: 3})
	assert.Empty(t, f.view(f.alice).PendingRequests)

	// Carol leaves with her own proposal; her leaf is owed until the commit that contains it.
	proposal := f.chat.Tree.ProposeRemove(2, 2)
	f.carol.Post(t, mlsapi.MethodLeaveConvo, &mlsapi.LeaveConvoInput{ConvoID: f.chat.ID, Commit: e2e.Text(proposal.Message)}, nil).OK(t)
	f.roster(map[*e2e.Device]int64{f.alice: 0, f.dave: 3})
	require.Len(t, f.view(f.alice).PendingRequests, 1)
	f.dave.SendCommit(t, f.chat, mlstest.Draft{})
	require.Len(t, f.view(f.alice).PendingRequests, 1, "a commit that leaves the leaf in settles nothing")
	f.dave.SendCommit(t, f.chat, mlstest.Draft{Remove: []uint32{2}})
	assert.Empty(t, f.view(f.alice).PendingRequests)
	f.roster(map[*e2e.Device]int64{f.alice: 0, f.dave: 3})

	// Who was removed can come back.
	f.alice.AddVerified(t, f.chat, mlstest.Draft{}, f.bob)
	f.roster(map[*e2e.Device]int64{f.alice: 0, f.bob: 1, f.dave: 3})
}

// creationFault is a request to begin a verified conversation that contradicts its own group.
type creationFault struct {
	name  string
	make  func(f *followed, in *mlsapi.CreateConvoInput)
	error string
	code  mls.Code
}

var creationFaults = []creationFault{
	{"a wrong epoch", func(_ *followed, in *mlsapi.CreateConvoInput) { in.CurrentEpoch = new(int64(7)) }, infoFault, mls.CodeWrongEpoch},
	{"another group", func(_ *followed, in *mlsapi.CreateConvoInput) { in.GroupID = "abcd" }, infoFault, mls.CodeWrongGroup},
	{"another suite", func(_ *followed, in *mlsapi.CreateConvoInput) {
		in.CipherSuite = mlsapi.CreateConvoInputCipherSuite(mls.SuiteX25519ChaCha.String())
	}, infoFault, mls.CodeWrongSuite},
	{"somebody who is not welcomed", func(_ *followed, in *mlsapi.CreateConvoInput) {
		in.WelcomeMessage, in.InitialMembers = nil, nil
	}, infoFault, mls.CodeRosterMismatch},
	{"somebody who is welcomed and not there", func(f *followed, in *mlsapi.CreateConvoInput) {
		group := mlstest.NewVerifiedGroup(f.alice.Client)
		in.GroupID, in.GroupInfo = string(group.GroupID()), e2e.Text(group.GroupInfo(0))
	}, infoFault, mls.CodeRosterMismatch},
	{"another package of the same device", func(f *followed, in *mlsapi.CreateConvoInput) {
		other, _ := f.alice.VerifiedCreation(f.t, f.bob)
		in.WelcomeMessage = other.WelcomeMessage
	}, infoFault, mls.CodeRosterMismatch},
	{"a group of somebody else's", func(f *followed, in *mlsapi.CreateConvoInput) {
		group := mlstest.NewVerifiedGroup(f.bob.Client)
		in.GroupID, in.GroupInfo = string(group.GroupID()), e2e.Text(group.GroupInfo(0))
		in.WelcomeMessage, in.InitialMembers = nil, nil
	}, infoFault, mls.CodeNotTheCaller},
	{"a device that is not registered", func(f *followed, in *mlsapi.CreateConvoInput) {
		group := mlstest.NewVerifiedGroup(newClient(f.alice.User))
		in.GroupID, in.GroupInfo = string(group.GroupID()), e2e.Text(group.GroupInfo(0))
		in.WelcomeMessage, in.InitialMembers = nil, nil
	}, infoFault, mls.CodeNotTheCaller},
	{"external senders", func(f *followed, in *mlsapi.CreateConvoInput) {
		_, group := mlstest.NewVerifiedGroup(f.alice.Client).Commit(0, nil, mlstest.Draft{
			Extensions: []mlstest.Extension{{Type: mls.ExtensionExternalSenders, Data: []byte{0}}},
		})
		in.GroupID, in.GroupInfo = string(group.GroupID()), e2e.Text(group.GroupInfo(0))
		in.WelcomeMessage, in.InitialMembers = nil, nil
	}, infoFault, mls.CodeForbiddenExtension},
}

// A verified conversation begins with the creator's own leaf and those of the packages that its
// Welcomes are for, byte for byte (I13); nothing of what is refused stays.
func TestBeginningOfVerifiedConversations(t *testing.T) {
	t.Parallel()
	f := follow(t)
	convos := len(f.alice.Convos(t))
	for _, fault := range creationFaults {
		in, _ := f.alice.VerifiedCreation(t, f.bob)
		fault.make(f, in)
		a := f.alice.Post(t, mlsapi.MethodCreateConvo, in, nil)
		a.Want(t, bad, fault.error)
		assert.Contains(t, a.Message, fault.code.String(), fault.name)
	}
	assert.Len(t, f.alice.Convos(t), convos)
	alone := f.dave.CreateVerified(t)
	assert.Equal(t, int64(0), f.dave.Epoch(t, alone.Chat))
	f.dave.SendCommit(t, alone, mlstest.Draft{})
	f.dave.AddVerified(t, alone, mlstest.Draft{}, f.alice)
}

// A device that lost its state is added anew by a commit that removes its old leaf, and by no
// other.
func TestRejoinInVerifiedConversation(t *testing.T) {
	t.Parallel()
	f := follow(t)
	lost := f.carol.Client.KeyPackage(time.Now())
	f.carol.Post(t, mlsapi.MethodRequestRejoin, &mlsapi.RequestRejoinInput{ConvoID: f.chat.ID, KeyPackage: lost.Text()}, nil).OK(t)
	pending := f.view(f.bob).PendingRequests
	require.Len(t, pending, 1)
	anew := []mlstest.Addition{{Client: f.carol.Client, Package: lost}}
	submit := func(d mlstest.Draft) (e2e.Answer, *mlstest.VerifiedGroup) {
		commit, info, next := f.chat.Commit(t, f.bob, d)
		return f.bob.Post(t, mlsapi.MethodAddMembers, &mlsapi.AddMembersInput{
			ConvoID: f.chat.ID, IdempotencyKey: e2e.Key(), DIDList: []mls.DID{f.carol.DID}, Commit: e2e.Text(commit), GroupInfo: e2e.Text(info),
			WelcomeMessage: e2e.Text(next.Welcome(lost.Ref)),
		}, nil), next
	}
	a, _ := submit(mlstest.Draft{Add: anew})
	a.Want(t, bad, commitFault) // two leaves with one key
	a, _ = submit(mlstest.Draft{Add: anew, Remove: []uint32{0, 2}})
	a.Want(t, forbidden, "NotAdmin")
	a, next := submit(mlstest.Draft{Add: anew, Remove: []uint32{2}})
	a.OK(t)
	f.chat.Move(next)
	f.roster(map[*e2e.Device]int64{f.alice: 0, f.bob: 1, f.carol: 2})
	assert.Empty(t, f.view(f.bob).PendingRequests)
}

// A proposal that was sent before is committed by anybody: a leaver's own takes its user off the
// roster, whichever of the two numbers a SelfRemove has.
func TestProposalsInVerifiedConversation(t *testing.T) {
	t.Parallel()
	users := e2e.Start(t).Users(4)
	f := &followed{t: t}
	for i, d := range []**e2e.Device{&f.alice, &f.bob, &f.carol, &f.dave} {
		*d = &e2e.Device{User: users[i], Client: newClient(users[i])}
		(*d).Client.Proposals = []uint16{uint16(mls.ProposalSelfRemove), uint16(mls.ProposalSelfRemovePrivate)}
		(*d).RegisterAgain(t, 3)
	}
	f.chat = f.alice.CreateVerified(t, f.bob, f.carol, f.dave)
	send := func(from *e2e.Device, p mlstest.Sent) {
		t.Helper()
		from.Post(t, mlsapi.MethodSendMessage, f.chat.Handshake(p.Message, nil), nil).OK(t)
	}
	renewal := f.chat.Tree.ProposeUpdate(3)
	send(f.dave, renewal)
	self := f.chat.Tree.ProposeSelfRemove(1, mls.ProposalSelfRemove)
	send(f.bob, self)
	removal := f.chat.Tree.ProposeRemove(0, 2)
	send(f.alice, removal)
	// Dave is no admin, and commits what an admin has proposed.
	commit, info, _ := f.chat.Commit(t, f.dave, mlstest.Draft{Refs: []mlstest.Sent{renewal}})
	a := f.dave.Post(t, mlsapi.MethodSendMessage, f.chat.Handshake(commit, info), nil)
	a.Want(t, bad, commitFault)
	assert.Contains(t, a.Message, mls.CodeForbiddenProposal.String())
	f.dave.SendCommit(t, f.chat, mlstest.Draft{Refs: []mlstest.Sent{self, removal}})
	f.roster(map[*e2e.Device]int64{f.alice: 0, f.dave: 3})
	f.bob.Get(t, mlsapi.MethodGetEpoch, nil, "convoId", f.chat.ID).Want(t, forbidden, "NotMember")
	// The other number, and an admin whose rights are gone when its proposal is committed.
	admin := f.chat.Tree.ProposeRemove(0, 3)
	send(f.alice, admin)
	private := f.chat.Tree.ProposeSelfRemove(0, mls.ProposalSelfRemovePrivate)
	send(f.alice, private)
	f.dave.SendCommit(t, f.chat, mlstest.Draft{Refs: []mlstest.Sent{private}})
	v := f.dave.Convo(t, f.chat.Chat)
	require.Len(t, v.Members, 1)
	assert.True(t, v.Members[0].IsAdmin, "who is left is admin")
}

// One commit may have several Welcomes, each for some of those who are added; together they are for
// exactly those.
func TestSeveralWelcomes(t *testing.T) {
	t.Parallel()
	f := follow(t)
	erin := f.alice.Server.Users(1)[0].Register(t, 2)
	in, next := f.bob.VerifiedAddition(t, f.chat, mlstest.Draft{}, f.dave, erin)
	var packages []mls.KeyPackageRef
	for _, h := range in.KeyPackageHashes {
		raw, err := hex.DecodeString(h.Hash)
		require.NoError(t, err)
		packages = append(packages, mls.KeyPackageRef(raw))
	}
	in.WelcomeMessage = nil
	first, second := next.Welcome(packages[0]), next.Welcome(packages[1])
	mismatch := func(welcomes ...[]byte) {
		t.Helper()
		in.IdempotencyKey, in.WelcomeMessages = e2e.Key(), nil
		for _, w := range welcomes {
			in.WelcomeMessages = append(in.WelcomeMessages, *e2e.Text(w))
		}
		f.bob.Post(t, mlsapi.MethodAddMembers, in, nil).Want(t, bad, "WelcomeMismatch")
	}
	mismatch(first)
	mismatch(first, first)
	mismatch(first, second, second)
	mismatch(first, next.Welcome(packages...))
	in.IdempotencyKey, in.WelcomeMessages = e2e.Key(), []string{*e2e.Text(first), *e2e.Text(second)}
	f.bob.Post(t, mlsapi.MethodAddMembers, in, nil).OK(t)
	for d, want := range map[*e2e.Device][]byte{f.dave: first, erin: second} {
		var out mlsapi.GetWelcomeOutput
		d.Get(t, mlsapi.MethodGetWelcome, &out, "convoId", f.chat.ID).OK(t)
		got, err := mls.DecodeText(out.Welcome)
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
}
