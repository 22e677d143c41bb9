package e2e_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
)

// TestReset: a group that nobody can use ends, and its conversation goes on with another one:
// roster, admins, history and positions stay, and who still speaks of the old group is told (I14).
func TestReset(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	u, old := gathering(t, s, 5)
	alice, bob, carol, dave, eve := u[0], u[1], u[2], u[3], u[4]
	first := bob.Send(t, old)
	bob.Post(t, mlsapi.MethodUpdateCursor, &mlsapi.UpdateCursorInput{ConvoID: old.ID, Cursor: first.MessageID}, nil).OK(t)
	alice.Remove(t, old, dave.User, old.Group.PrivateCommit()).OK(t)
	old.Next()
	alice.Remove(t, old, eve.User, nil).OK(t)
	require.Len(t, alice.Pending(t, old), 2, "eve's leaf is owed, and whether dave's is gone is the committer's word")
	carol.Post(t, mlsapi.MethodSendMessage, garbage(old), nil).OK(t)
	before := *alice.Convo(t, old)
	stream, left := bob.Follow(t, ""), dave.Follow(t, "")

	in, group := alice.ResetInput(t, old, bob, carol)
	var out mlsapi.ResetConvoOutput
	first2 := alice.Post(t, mlsapi.MethodResetConvo, in, &out).OK(t)
	again := alice.Post(t, mlsapi.MethodResetConvo, in, nil).OK(t)
	assert.Equal(t, string(first2.Body), string(again.Body), "a repeat has the first answer")
	chat := &e2e.VerifiedChat{Chat: &e2e.Chat{ID: old.ID}}
	chat.Move(group)

	assert.Equal(t, []string{string(old.Group.GroupID()), before.ID}, []string{before.ID, out.ID}, "it is called by its first group, for ever")
	assert.Equal(t, string(group.GroupID()), out.GroupID)
	assert.Equal(t, int64(1), *out.Generation)
	assert.Equal(t, int64(1), out.Epoch)
	assert.Equal(t, "verified", string(*out.Assurance))
	assert.Nil(t, out.CommitID)
	assert.Empty(t, out.PendingRequests, "debts of the old group are closed")
	assert.Equal(t, before.CreatedAt, out.CreatedAt)
	members := func(v *mlsapi.DefsConvoView) (list []string) {
		for i := range v.Members {
			m := &v.Members[i]
			role := "member"
			if m.IsAdmin {
				role = "admin"
			}
			list = append(list, strings.Join([]string{string(m.UserDID), *m.DeviceID, string(m.JoinedAt), role}, " "))
		}
		return list
	}
	assert.Equal(t, members(&before), members(&out), "who is there, since when, and as what")

	// The stream tells of it, in the order of the log, to members alone.
	reset := stream.Await(t, "group-reset")
	assert.Equal(t, []any{alice.DID, old.ID}, []any{reset.User, reset.ConvoID})
	stream.Await(t, "welcome-available")
	var epoch mlsapi.GetEpochOutput
	bob.Get(t, mlsapi.MethodGetEpoch, &epoch, "convoId", string(old.Group.GroupID())).OK(t)
	assert.Equal(t, []any{int64(1), int64(1)}, []any{epoch.CurrentEpoch, *epoch.Generation}, "the old group id names the conversation, too")
	bob.Get(t, mlsapi.MethodGetEpoch, nil, "convoId", out.GroupID).OK(t)
	// Its name of before.
	bob.Get(t, mlsapi.MethodGetEpoch, nil, "convoId", rowsOf(t, s, "SELECT id FROM conversations")[0][0]).OK(t)

	// The history is all there, and behind it a notice.
	page := bob.Messages(t, old)
	last := page.Messages[len(page.Messages)-1]
	assert.Equal(t, first.MessageID, page.Messages[0].ID)
	assert.Equal(t, []any{"notice", int64(1), 0}, []any{string(*last.MessageType), last.Epoch, len(last.Ciphertext)})
	assert.Equal(t, int64(len(page.Messages)), last.Seq)
	var commits mlsapi.GetCommitsOutput
	bob.Get(t, mlsapi.MethodGetCommits, &commits, "convoId", old.ID, "fromEpoch", "0").OK(t)
	assert.Empty(t, commits.Commits, "the commits are those of the group that there is")

	// Everybody joins by the new Welcome, and the group works.
	got, a := bob.User.Welcome(t, old, bob.ID)
	a.OK(t)
	raw, err := mls.DecodeText(got.Welcome)
	require.NoError(t, err)
	sent, err := mls.DecodeText(in.WelcomeMessages[0])
	require.NoError(t, err)
	assert.Equal(t, sent, raw)
	assert.True(t, bob.Confirm(t, old, true))
	bob.Send(t, chat.Chat)
	carol.SendCommit(t, chat, mlstest.Draft{})
	carol.AddVerified(t, chat, mlstest.Draft{}, dave)
	left.Await(t, "invitation")
	assert.NotContains(t, left.Kinds(), "group-reset", "who is off the roster hears nothing of it")
	assert.Empty(t, dave.Messages(t, chat.Chat).Messages)
	commits = mlsapi.GetCommitsOutput{}
	bob.Get(t, mlsapi.MethodGetCommits, &commits, "convoId", old.ID, "fromEpoch", "1").OK(t)
	assert.Len(t, commits.Commits, 2)
	checkInvariants(t, s)
}

// namesGroup checks that an answer says which group the conversation has now.
func namesGroup(t *testing.T, a e2e.Answer, chat *e2e.VerifiedChat) {
	t.Helper()
	a.Want(t, conflict, "GroupReset")
	id := string(chat.Tree.GroupID())
	assert.True(t, strings.HasSuffix(a.Message, "the conversation has the group "+id+" now"), a.Message)
	var now mlsapi.DefsGroupReset
	require.NoError(t, now.UnmarshalJSON(a.Body))
	assert.Equal(t, mlsapi.DefsGroupReset{GroupID: id, Generation: 1, Epoch: int64(chat.Tree.Epoch)}, now)
}

// Whatever is framed for the old group is refused by each method that takes it, with the present
// group for members, and as ever for others; repeats of what was accepted are answered as before.
func TestOldGroupIsOver(t *testing.T) {
	t.Parallel()
	f := follow(t)
	bytes, info, behind := f.chat.Commit(t, f.bob, mlstest.Draft{})
	commit := f.chat.Handshake(bytes, info)
	f.bob.Post(t, mlsapi.MethodSendMessage, commit, nil).OK(t)
	f.chat.Move(behind)
	text := f.chat.Message()
	sent := f.bob.Post(t, mlsapi.MethodSendMessage, text, nil).OK(t)
	kept := f.carriers()
	f.dave.Post(t, mlsapi.MethodSendMessage, text, nil).Want(t, missing, "ConvoNotFound")
	before := *f.chat
	f.chat = f.alice.Reset(t, f.chat.Chat, f.bob, f.carol)
	picture := f.picture()

	app := before.Message()
	namesGroup(t, f.bob.Post(t, mlsapi.MethodSendMessage, app, nil), f.chat)
	app.Epoch = int64(before.Tree.Epoch) + 3 // whatever it says of its epoch
	namesGroup(t, f.bob.Post(t, mlsapi.MethodSendMessage, app, nil), f.chat)
	old := *f
	old.chat = &before
	for _, c := range kept {
		commit, info, _ := old.made(c.draft)
		namesGroup(t, c.submit(commit, info), f.chat)
	}
	namesGroup(t, f.bob.Post(t, mlsapi.MethodSendMessage, before.Handshake(before.Tree.ProposeUpdate(1).Message, nil), nil), f.chat)
	namesGroup(t, f.carol.Leave(t, f.chat.Chat, before.Tree.ProposeRemove(2, 2).Message), f.chat)
	namesGroup(t, f.bob.Post(t, mlsapi.MethodUpdateGroupInfo, before.Deposit(before.Tree.GroupInfo(1)), nil), f.chat)
	namesGroup(t, f.bob.ReportCommit(t, f.chat.Chat, commit.Epoch, commit.MsgID), f.chat)
	f.dave.Post(t, mlsapi.MethodSendMessage, app, nil).Want(t, missing, "ConvoNotFound")
	// A group that the conversation never had is another matter.
	other := f.dave.CreateVerified(t)
	foreign := f.chat.Message()
	foreign.Ciphertext = mlstest.PadDirect(other.Group.Application(200), 512)
	foreign.Epoch = int64(other.Group.Epoch)
	a := f.bob.Post(t, mlsapi.MethodSendMessage, foreign, nil).Want(t, bad, "InvalidAsset")
	assert.NotContains(t, a.Message, string(f.chat.Tree.GroupID()))
	// Nor can what is framed for no group get in.
	opaque := f.chat.Message()
	for i := range opaque.Ciphertext {
		opaque.Ciphertext[i] = 0xee
	}
	f.bob.Post(t, mlsapi.MethodSendMessage, opaque, nil).Want(t, bad, "InvalidAsset")
	assert.Equal(t, picture, f.picture(), "nothing of it stays")

	assert.Equal(t, string(sent.Body), string(f.bob.Post(t, mlsapi.MethodSendMessage, text, nil).OK(t).Body))
	f.bob.Post(t, mlsapi.MethodSendMessage, commit, nil).OK(t)
	// Group ids are used once, for ever.
	create, _ := f.dave.VerifiedCreation(t)
	create.GroupID = string(before.Tree.GroupID())
	create.GroupInfo = nil
	f.dave.Post(t, mlsapi.MethodCreateConvo, create, nil).Want(t, conflict, "GroupAlreadyExists")
	in, _ := f.alice.ResetInput(t, f.chat.Chat)
	for _, id := range []string{string(before.Tree.GroupID()), string(f.chat.Tree.GroupID()), string(other.Tree.GroupID())} {
		group := mlstest.NewVerifiedGroup(f.alice.Client)
		raw, err := hex.DecodeString(id)
		require.NoError(t, err)
		group.ID = raw
		taken := *in
		taken.GroupID, taken.GroupInfo, taken.IdempotencyKey = id, *e2e.Text(group.GroupInfo(0)), e2e.Key()
		f.alice.Post(t, mlsapi.MethodResetConvo, &taken, nil).Want(t, conflict, "GroupAlreadyExists")
	}
	assert.Equal(t, picture, f.picture())
}

// Who is not in the new group waits to be added, with what it may have asked for before; who was
// welcomed into the old one is not led there any more.
func TestLeftOutOfReset(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	u, chat := gathering(t, s, 4)
	alice, bob, carol, dave := u[0], u[1], u[2], u[3]
	laptop := bob.Register(t, 4) // a device that is still to be added
	lost := carol.Rejoin(t, chat)
	require.Len(t, alice.Pending(t, chat), 2)
	_, a := dave.User.Welcome(t, chat, dave.ID)
	a.OK(t)

	next := alice.Reset(t, chat, bob, laptop)
	got := map[string]string{}
	for _, p := range alice.Pending(t, chat) {
		got[*p.DeviceID] = string(p.Kind)
		if *p.DeviceID == carol.ID {
			assert.Equal(t, lost.RequestID, p.RequestID)
		}
	}
	assert.Equal(t, map[string]string{carol.ID: "rejoin", dave.ID: "device"}, got)
	_, a = dave.User.Welcome(t, chat, dave.ID)
	a.Want(t, missing, "WelcomeNotFound")
	leaves := map[string]int64{}
	for _, m := range bob.Convo(t, chat).Members {
		if m.LeafIndex != nil {
			leaves[*m.DeviceID] = *m.LeafIndex
		}
	}
	assert.Equal(t, map[string]int64{alice.ID: 0, bob.ID: 1, laptop.ID: 2}, leaves)

	bob.AddVerified(t, next, mlstest.Draft{}, dave)
	raw, err := mls.DecodeText(alice.ClaimRequest(t, lost.RequestID, carol.DID).KeyPackages[0].KeyPackage)
	require.NoError(t, err)
	added := mlstest.Addition{Client: carol.Client, Package: mlstest.ReadKeyPackage(raw)}
	commit, info, group := next.Commit(t, alice, mlstest.Draft{Add: []mlstest.Addition{added}})
	alice.Post(t, mlsapi.MethodAddMembers, &mlsapi.AddMembersInput{
		ConvoID: chat.ID, IdempotencyKey: e2e.Key(), DIDList: []mls.DID{carol.DID}, Commit: e2e.Text(commit), GroupInfo: e2e.Text(info),
		WelcomeMessage: e2e.Text(group.Welcome(added.Package.Ref)),
	}, nil).OK(t)
	next.Move(group)
	dave.Send(t, next.Chat)
	assert.Empty(t, alice.Pending(t, chat))
}

// resetFaults are what can be false about a reset of a conversation of alice, bob and carol.
var resetFaults = []struct {
	name  string
	make  func(f *followed, in *mlsapi.ResetConvoInput)
	error string
	code  mls.Code
}{
	{"a wrong epoch", func(_ *followed, in *mlsapi.ResetConvoInput) { in.CurrentEpoch = new(int64(7)) }, infoFault, mls.CodeWrongEpoch},
	{"another group", func(_ *followed, in *mlsapi.ResetConvoInput) { in.GroupID = "abcd" }, infoFault, mls.CodeWrongGroup},
	{"another suite", func(_ *followed, in *mlsapi.ResetConvoInput) {
		in.CipherSuite = mlsapi.ResetConvoInputCipherSuite(mls.SuiteX25519ChaCha.String())
	}, infoFault, mls.CodeWrongSuite},
	{"no GroupInfo", func(_ *followed, in *mlsapi.ResetConvoInput) { in.GroupInfo = "" }, infoFault, mls.CodeTruncated},
	{"somebody who is not welcomed", func(_ *followed, in *mlsapi.ResetConvoInput) { in.WelcomeMessages = nil }, infoFault, mls.CodeRosterMismatch},
	{"somebody who is named and not welcomed", func(f *followed, in *mlsapi.ResetConvoInput) {
		in.WelcomeMessages = nil
		k := f.alice.Claim(f.t, f.bob.DID)[0]
		in.KeyPackageHashes = []mlsapi.CreateConvoKeyPackageHashEntry{{DID: f.bob.DID, Hash: *k.KeyPackageHash}}
	}, "WelcomeMismatch", 0},
	{"somebody who is welcomed and not there", func(f *followed, in *mlsapi.ResetConvoInput) {
		other, _ := f.alice.ResetInput(f.t, f.chat.Chat, f.bob)
		in.WelcomeMessages = append(in.WelcomeMessages, other.WelcomeMessages...)
	}, infoFault, mls.CodeRosterMismatch},
	{"two Welcomes for one device", func(_ *followed, in *mlsapi.ResetConvoInput) {
		in.WelcomeMessages = append(in.WelcomeMessages, in.WelcomeMessages...)
	}, "WelcomeMismatch", 0},
	{"somebody who is no member", func(f *followed, in *mlsapi.ResetConvoInput) {
		other, _ := f.alice.ResetInput(f.t, f.chat.Chat, f.dave)
		*in = *other
	}, "KeyPackageNotFound", 0},
	{"a group of somebody else's", func(f *followed, in *mlsapi.ResetConvoInput) {
		other, _ := f.bob.ResetInput(f.t, f.chat.Chat)
		*in = *other
	}, infoFault, mls.CodeNotTheCaller},
	{"a device that is not registered", func(f *followed, in *mlsapi.ResetConvoInput) {
		ghost := &e2e.Device{User: f.alice.User, Client: newClient(f.alice.User)}
		other, _ := ghost.ResetInput(f.t, f.chat.Chat)
		*in = *other
	}, infoFault, mls.CodeNotTheCaller},
	{"external senders", func(f *followed, in *mlsapi.ResetConvoInput) {
		_, group := mlstest.NewVerifiedGroup(f.alice.Client).Commit(0, nil, mlstest.Draft{
			Extensions: []mlstest.Extension{{Type: mls.ExtensionExternalSenders, Data: []byte{0}}},
		})
		in.GroupID, in.GroupInfo, in.WelcomeMessages = string(group.GroupID()), *e2e.Text(group.GroupInfo(0)), nil
	}, infoFault, mls.CodeForbiddenExtension},
	{"a group id that is none", func(_ *followed, in *mlsapi.ResetConvoInput) { in.GroupID = "abc" }, "InvalidGroupId", 0},
	{"a suite that is none", func(_ *followed, in *mlsapi.ResetConvoInput) { in.CipherSuite = "MLS_0_NULL" }, "InvalidCipherSuite", 0},
	{"a generation to come", func(_ *followed, in *mlsapi.ResetConvoInput) { in.ExpectedGeneration = 1 }, "InvalidRequest", 0},
	{"an epoch that is over", func(_ *followed, in *mlsapi.ResetConvoInput) { in.ExpectedEpoch-- }, "EpochMismatch", 0},
}

// A new group is the caller's own leaf and those of the packages that its Welcomes are for, and
// members' (I13); nothing of what is refused stays.
func TestFaultsOfResets(t *testing.T) {
	t.Parallel()
	f := follow(t)
	before := f.picture()
	for _, fault := range resetFaults {
		in, _ := f.alice.ResetInput(t, f.chat.Chat, f.bob)
		fault.make(f, in)
		a := f.alice.Post(t, mlsapi.MethodResetConvo, in, nil)
		assert.Equal(t, fault.error, a.Error, "%s: %s", fault.name, a.Message)
		if fault.code != 0 {
			assert.Contains(t, a.Message, fault.code.String(), fault.name)
		}
		assert.Equal(t, before, f.picture(), fault.name)
	}
	f.alice.Reset(t, f.chat.Chat, f.bob)
}
