package e2e_test

import (
	"bytes"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
	"mls-server/internal/pgtest"
)

// trySealed sends what an epoch has a key for, or not.
func trySealed(t *testing.T, s *e2e.Server, in *mlsapi.SendSealedInput) e2e.Answer {
	t.Helper()
	return s.Unnamed().Post(t, mlsapi.MethodSendSealed, in, nil)
}

// A sealed send is stored, delivered and repeated like one of sendMessage, among which it stands in
// the one sequence (I3). Nothing but the key says that its sender is a member.
func TestSealedSend(t *testing.T) {
	t.Parallel()
	alice, bob, chat := couple(t)
	s := alice.Server
	stream := bob.Follow(t, "")
	trySealed(t, s, chat.Sealed()).Want(t, missing, "ConvoNotFound")
	require.True(t, alice.GiveKey(t, chat, chat.SendKey()))
	require.True(t, bob.GiveKey(t, chat, chat.SendKey()), "the key is there already")

	before := alice.Send(t, chat)
	in := chat.Sealed()
	var sent, again mlsapi.SendSealedOutput
	s.Unnamed().Post(t, mlsapi.MethodSendSealed, in, &sent).OK(t)
	assert.Equal(t, before.Seq+1, sent.Seq)
	assert.Equal(t, in.MsgID, sent.MessageID)
	assert.Equal(t, in.Epoch, sent.Epoch)
	stream.AwaitWhere(t, "message", func(e e2e.Event) bool { return e.MessageID == in.MsgID && e.Seq == sent.Seq })
	s.Unnamed().Post(t, mlsapi.MethodSendSealed, in, &again).OK(t)
	assert.Equal(t, sent, again)
	other := chat.Sealed()
	other.MsgID = in.MsgID
	e2e.Prove(other, chat.SendKey())
	trySealed(t, s, other).Want(t, conflict, "MessageIdConflict")
	page := bob.Messages(t, chat).Messages
	last := page[len(page)-1]
	assert.Equal(t, in.MsgID, last.ID)
	assert.Equal(t, in.Ciphertext, last.Ciphertext)
	assert.Equal(t, mlsapi.DefsMessageViewMessageTypeApp, *last.MessageType)

	// The server's own id names the conversation, too, and the proof is over the name that was
	// sent.
	named := chat.Sealed()
	named.ConvoID = innerID(t, s, chat)
	trySealed(t, s, named).Want(t, missing, "ConvoNotFound")
	e2e.Prove(named, chat.SendKey())
	trySealed(t, s, named).OK(t)
	assert.Equal(t, sent.Seq+1, bob.Send(t, chat).Seq-1)
}

// innerID is the id under which the server keeps a conversation.
func innerID(t *testing.T, s *e2e.Server, c *e2e.Chat) string {
	t.Helper()
	return rowsOf(t, s, "SELECT convo_id FROM convo_groups WHERE group_id = $1", c.ID)[0][0]
}

// What is not proven for exactly what is sent is the answer for a conversation that is not there,
// byte for byte.
func TestSealedProofs(t *testing.T) {
	t.Parallel()
	alice, bob, chat := couple(t)
	s := alice.Server
	elsewhere := alice.Create(t, bob.User)
	require.True(t, alice.GiveKey(t, chat, chat.SendKey()))
	require.True(t, alice.GiveKey(t, elsewhere, elsewhere.SendKey()))
	nowhere := chat.Sealed()
	nowhere.ConvoID = "3zzzzzzzzzzzz"
	want := canonical(trySealed(t, s, nowhere))
	for name, change := range map[string]func(in *mlsapi.SendSealedInput){
		"another key":             func(in *mlsapi.SendSealedInput) { e2e.Prove(in, elsewhere.SendKey()) },
		"no key":                  func(in *mlsapi.SendSealedInput) { e2e.Prove(in, make([]byte, 32)) },
		"a flipped bit":           func(in *mlsapi.SendSealedInput) { in.Proof[31] ^= 1 },
		"another message id":      func(in *mlsapi.SendSealedInput) { in.MsgID = chat.Message().MsgID },
		"another ciphertext":      func(in *mlsapi.SendSealedInput) { in.Ciphertext[511] ^= 1 },
		"another conversation":    func(in *mlsapi.SendSealedInput) { in.ConvoID = elsewhere.ID },
		"an epoch in 32 bits":     func(in *mlsapi.SendSealedInput) { in.Epoch += 1 << 32 },
		"the name in other words": func(in *mlsapi.SendSealedInput) { in.ConvoID = innerID(t, s, chat) },
		"the key of the next epoch": func(in *mlsapi.SendSealedInput) {
			next := *chat
			next.Next()
			e2e.Prove(in, next.SendKey())
		},
	} {
		in := chat.Sealed()
		change(in)
		if name == "an epoch in 32 bits" {
			// It is framed for what it says, so that nothing but the proof is wrong.
			in.Ciphertext = mlstest.PadDirect(chat.Group.At(mls.Epoch(in.Epoch)).Application(200), 512)
			short := *in
			short.Epoch -= 1 << 32
			e2e.Prove(&short, chat.SendKey())
			in.Proof = short.Proof
		}
		if got := canonical(trySealed(t, s, in)); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, want)
		}
	}
	trySealed(t, s, chat.Sealed()).OK(t)
}

// refuseSealed produces what sealed sends and deposits are refused with.
func refuseSealed(t *testing.T) {
	t.Helper()
	f := follow(t)
	s := f.alice.Server
	trySealed(t, s, f.chat.Sealed()).Want(t, missing, "ConvoNotFound")
	if !f.bob.GiveKey(t, f.chat.Chat, f.chat.SendKey()) {
		t.Error("the key was not taken")
	}
	m := mlsapi.MethodSendSealed
	s.Unnamed().Call(t, m, e2e.Request{Body: f.chat.Sealed().AppendJSON(nil), Authorization: f.bob.Bearer(s.DID, m.NSID)}, nil).Want(t, bad, "TokenNotAllowed")
	for _, differ := range []func(in *mlsapi.SendSealedInput){
		func(in *mlsapi.SendSealedInput) { in.PaddedSize = 513 },
		func(in *mlsapi.SendSealedInput) { in.PaddedSize = 100 },
		func(in *mlsapi.SendSealedInput) { in.Ciphertext = in.Ciphertext[:511] },
		func(in *mlsapi.SendSealedInput) {
			in.Ciphertext = mlstest.PadDirect(f.chat.Group.PrivateCommit(), 0)
			in.PaddedSize = int64(len(in.Ciphertext))
		},
		func(in *mlsapi.SendSealedInput) {
			in.Ciphertext = mlstest.PadDirect(f.chat.Group.At(7).Application(9), 512)
		},
		func(in *mlsapi.SendSealedInput) {
			in.Ciphertext = mlstest.PadDirect(mlstest.NewGroup(mls.SuiteX25519AES128).At(f.chat.Group.Epoch).Application(9), 512)
		},
		// It is no MLSMessage.
		func(in *mlsapi.SendSealedInput) { in.Ciphertext = bytes.Repeat([]byte{0xff}, 512) },
	} {
		in := f.chat.Sealed()
		differ(in)
		e2e.Prove(in, f.chat.SendKey())
		trySealed(t, s, in).Want(t, bad, "InvalidAsset")
	}
	large := f.chat.Sealed()
	large.PaddedSize = 1<<20 + 8192
	trySealed(t, s, large).Want(t, http.StatusRequestEntityTooLarge, "MessageTooLarge")
	large.Ciphertext = make([]byte, 1<<20+1)
	trySealed(t, s, large).Want(t, http.StatusRequestEntityTooLarge, "MessageTooLarge")
	sent := f.chat.Sealed()
	trySealed(t, s, sent).OK(t)
	other := f.chat.Sealed()
	other.MsgID = sent.MsgID
	e2e.Prove(other, f.chat.SendKey())
	trySealed(t, s, other).Want(t, conflict, "MessageIdConflict")
	late := f.chat.Sealed()
	f.bob.SendCommit(t, f.chat, mlstest.Draft{})
	trySealed(t, s, late).Want(t, conflict, "EpochMismatch")
	refuseDeposits(t, f)
}

// refuseDeposits produces what depositSendKey refuses.
func refuseDeposits(t *testing.T, f *followed) {
	t.Helper()
	m := mlsapi.MethodDepositSendKey
	in := &mlsapi.DepositSendKeyInput{ConvoID: f.chat.ID, Epoch: int64(f.chat.Group.Epoch) - 1, SendKey: f.chat.SendKey()}
	f.bob.Post(t, m, in, nil).Want(t, conflict, "EpochMismatch")
	in.Epoch++
	f.dave.Post(t, m, in, nil).Want(t, missing, "ConvoNotFound")
	f.carol.Leave(t, f.chat.Chat, nil).OK(t)
	f.carol.Post(t, m, in, nil).Want(t, forbidden, "NotMember")
	f.chat = f.alice.Reset(t, f.chat.Chat, f.bob)
	in.Epoch, in.Generation = int64(f.chat.Group.Epoch), new(int64(0))
	f.bob.Post(t, m, in, nil).Want(t, conflict, "GroupReset")
	in.Generation = nil
	f.alice.SendCommit(t, f.chat, mlstest.Draft{Others: []mlstest.Proposal{mlstest.ReInit()}, Remove: nil, NoPath: true})
	in.Epoch++
	f.bob.Post(t, m, in, nil).Want(t, conflict, "GroupReinitialized")
}

// Each method that takes a commit takes the key of the epoch that it leads to, also one that
// removes somebody, whose keys it ends.
func TestSendKeysComeWithCommits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		// send makes the commit with a key, and takes the chat to what follows.
		send func(f *followed, give func(key []byte) []byte)
	}{
		{"sendMessage", func(f *followed, give func([]byte) []byte) {
			commit, info, next := f.chat.Commit(f.t, f.bob, mlstest.Draft{})
			in := f.chat.Handshake(commit, info)
			f.chat.Move(next)
			in.SendKey = give(f.chat.SendKey())
			f.bob.Post(f.t, mlsapi.MethodSendMessage, in, nil).OK(f.t)
		}},
		{"addMembers", func(f *followed, give func([]byte) []byte) {
			in, next := f.bob.VerifiedAddition(f.t, f.chat, mlstest.Draft{}, f.dave)
			f.chat.Move(next)
			in.SendKey = give(f.chat.SendKey())
			f.bob.Post(f.t, mlsapi.MethodAddMembers, in, nil).OK(f.t)
		}},
		{"removeMember", func(f *followed, give func([]byte) []byte) {
			commit, info, next := f.chat.Commit(f.t, f.alice, mlstest.Draft{Remove: []uint32{2}})
			f.chat.Move(next)
			f.alice.Post(f.t, mlsapi.MethodRemoveMember, &mlsapi.RemoveMemberInput{
				ConvoID: f.chat.ID, IdempotencyKey: *e2e.Key(), TargetDID: f.carol.DID, Commit: e2e.Text(commit), GroupInfo: e2e.Text(info),
				SendKey: give(f.chat.SendKey()),
			}, nil).OK(f.t)
		}},
		{"leaveConvo", func(f *followed, give func([]byte) []byte) {
			f.carol.Leave(f.t, f.chat.Chat, nil).OK(f.t)
			commit, info, next := f.chat.Commit(f.t, f.bob, mlstest.Draft{Remove: []uint32{2}})
			f.chat.Move(next)
			f.bob.Post(f.t, mlsapi.MethodLeaveConvo, &mlsapi.LeaveConvoInput{
				ConvoID: f.chat.ID, TargetDID: &f.carol.DID, Commit: e2e.Text(commit), GroupInfo: e2e.Text(info), SendKey: give(f.chat.SendKey()),
			}, nil).OK(f.t)
		}},
		{"processExternalCommit", func(f *followed, give func([]byte) []byte) {
			commit, info, next := f.made(mlstest.Draft{External: true, Remove: []uint32{0}})
			f.chat.Move(next)
			f.alice.Post(f.t, mlsapi.MethodProcessExternalCommit, &mlsapi.ProcessExternalCommitInput{
				ConvoID: f.chat.ID, ExternalCommit: *e2e.Text(commit), GroupInfo: e2e.Text(info), SendKey: give(f.chat.SendKey()),
			}, nil).OK(f.t)
		}},
		{"resetConvo", func(f *followed, give func([]byte) []byte) {
			in, group := f.alice.ResetInput(f.t, f.chat.Chat, f.bob, f.carol)
			f.chat.Move(group)
			in.SendKey = give(f.chat.SendKey())
			f.alice.Post(f.t, mlsapi.MethodResetConvo, in, nil).OK(f.t)
		}},
		{"createConvo", func(f *followed, give func([]byte) []byte) {
			in, group := f.alice.VerifiedCreation(f.t, f.bob)
			f.chat = &e2e.VerifiedChat{Chat: &e2e.Chat{}}
			f.chat.Move(group)
			in.SendKey = give(f.chat.SendKey())
			var out mlsapi.CreateConvoOutput
			f.alice.Post(f.t, mlsapi.MethodCreateConvo, in, &out).OK(f.t)
			f.chat.ID = out.ID
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := follow(t)
			require.True(t, f.carol.GiveKey(t, f.chat.Chat, f.chat.SendKey()))
			old := *f.chat.Chat
			c.send(f, func(key []byte) []byte { return key })
			f.alice.Server.SendSealed(t, f.chat.Chat)
			a := trySealed(t, f.alice.Server, old.Sealed())
			switch c.name {
			case "createConvo": // another conversation
				a.OK(t)
			case "sendMessage", "addMembers": // they remove nobody
				a.Want(t, conflict, "EpochMismatch")
				assert.NotContains(t, a.Message, "epoch 2")
				assert.NotContains(t, string(a.Body), "commits")
			default:
				a.Want(t, missing, "ConvoNotFound")
			}
		})
	}
}

// Whatever ends an epoch or a membership ends the keys that were given by then, in the same
// transaction, and where it is no commit none is taken again until one has removed who is gone.
func TestSendKeysEnd(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		end  func(f *followed)
		// again says that the present epoch takes a key afterwards.
		again bool
	}{
		{"a removal without its commit", func(f *followed) { f.alice.Remove(f.t, f.chat.Chat, f.carol.User, nil).OK(f.t) }, false},
		{"a leave", func(f *followed) { f.carol.Leave(f.t, f.chat.Chat, nil).OK(f.t) }, false},
		{"a deleted device", func(f *followed) {
			f.carol.Post(f.t, mlsapi.MethodDeleteDevice, &mlsapi.DeleteDeviceInput{DeviceID: f.carol.ID}, nil).OK(f.t)
		}, false},
		{"a commit", func(f *followed) { f.alice.SendCommit(f.t, f.chat, mlstest.Draft{}) }, true},
		{"a commit that removes", func(f *followed) { f.alice.SendCommit(f.t, f.chat, mlstest.Draft{Remove: []uint32{2}}) }, true},
		{"a reset", func(f *followed) { f.chat = f.alice.Reset(f.t, f.chat.Chat, f.bob, f.carol) }, true},
		{"a voiding", func(f *followed) {
			before := f.chat.Tree
			f.alice.SendCommit(f.t, f.chat, mlstest.Draft{})
			require.True(f.t, f.alice.GiveKey(f.t, f.chat.Chat, f.chat.SendKey()))
			f.bob.ReportCommit(f.t, f.chat.Chat, 1, "").OK(f.t)
			f.carol.ReportCommit(f.t, f.chat.Chat, 1, "").OK(f.t)
			trySealed(f.t, f.alice.Server, f.chat.Sealed()).Want(f.t, missing, "ConvoNotFound")
			f.chat.Move(before)
		}, true},
		{"a voiding of a removal", func(f *followed) {
			before := f.chat.Tree
			f.alice.SendCommit(f.t, f.chat, mlstest.Draft{Remove: []uint32{2}})
			require.True(f.t, f.alice.GiveKey(f.t, f.chat.Chat, f.chat.SendKey()))
			f.bob.ReportCommit(f.t, f.chat.Chat, 1, "").OK(f.t)
			trySealed(f.t, f.alice.Server, f.chat.Sealed()).Want(f.t, missing, "ConvoNotFound")
			f.chat.Move(before)
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := follow(t)
			s := f.alice.Server
			require.True(t, f.bob.GiveKey(t, f.chat.Chat, f.chat.SendKey()))
			old := f.chat.Sealed()
			trySealed(t, s, f.chat.Sealed()).OK(t)
			c.end(f)
			if a := trySealed(t, s, old); a.Error != "ConvoNotFound" && (c.name != "a commit" || a.Error != "EpochMismatch") {
				t.Errorf("with the key of before: %d %s", a.Status, a.Error)
			}
			var left int
			row := pgtest.Open(t, s.DatabaseURL).QueryRow(t.Context(), "SELECT count(*) FROM send_keys WHERE cardinality(givers) > 0")
			require.NoError(t, row.Scan(&left))
			assert.Zero(t, left, "keys that are still kept")
			assert.Equal(t, c.again, f.bob.GiveKey(t, f.chat.Chat, f.chat.SendKey()))
			a := trySealed(t, s, f.chat.Sealed())
			if c.again {
				a.OK(t)
				return
			}
			a.Want(t, missing, "ConvoNotFound")
			// A commit that removes who is gone brings the key of the next epoch.
			commit, info, next := f.chat.Commit(t, f.bob, mlstest.Draft{Remove: []uint32{2}})
			in := f.chat.Handshake(commit, info)
			f.chat.Move(next)
			in.SendKey = f.chat.SendKey()
			f.bob.Post(t, mlsapi.MethodSendMessage, in, nil).OK(t)
			trySealed(t, s, f.chat.Sealed()).OK(t)
		})
	}
}

// False keys stop nobody: each member has one place, and the true one another. Four of them do;
// then the next epoch's come with its commit.
func TestFalseSendKeys(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	u, chat := gathering(t, s, 6)
	lie := func(i int) []byte { return bytes.Repeat([]byte{byte(i + 1)}, 32) }
	for i := range 3 {
		require.True(t, u[i].GiveKey(t, chat, lie(i)))
		require.True(t, u[i].GiveKey(t, chat, lie(i)), "a repeat")
		require.False(t, u[i].GiveKey(t, chat, lie(9)), "one of each user")
	}
	trySealed(t, s, chat.Sealed()).Want(t, missing, "ConvoNotFound")
	require.True(t, u[5].GiveKey(t, chat, chat.SendKey()))
	s.SendSealed(t, chat)
	require.True(t, u[0].GiveKey(t, chat, chat.SendKey()), "it is there already")
	require.False(t, u[4].GiveKey(t, chat, lie(4)), "there are four")
	s.SendSealed(t, chat)
	// A false key speaks for its maker alone.
	in := chat.Sealed()
	e2e.Prove(in, lie(1))
	trySealed(t, s, in).OK(t)
}

// A message that was stored, whose answer was lost, is answered the first time's way while its key
// is known: also in the next epoch. Two epochs later nobody can tell.
func TestSealedRepeats(t *testing.T) {
	t.Parallel()
	f := follow(t)
	s := f.alice.Server
	require.True(t, f.bob.GiveKey(t, f.chat.Chat, f.chat.SendKey()))
	in, late := f.chat.Sealed(), f.chat.Sealed()
	first := trySealed(t, s, in).OK(t)
	f.alice.SendCommit(t, f.chat, mlstest.Draft{})
	assert.Equal(t, string(first.Body), string(trySealed(t, s, in).OK(t).Body))
	trySealed(t, s, late).Want(t, conflict, "EpochMismatch")
	// The present key over another epoch is right, and too early or too late.
	require.True(t, f.bob.GiveKey(t, f.chat.Chat, f.chat.SendKey()))
	for _, epoch := range []mls.Epoch{0, 1, 3, 1 << 40} {
		other := *f.chat.Chat
		other.Group = f.chat.Group.At(epoch)
		in := other.Sealed()
		e2e.Prove(in, f.chat.SendKey())
		a := trySealed(t, s, in).Want(t, conflict, "EpochMismatch")
		assert.NotContains(t, a.Message, "2")
	}
	f.alice.SendCommit(t, f.chat, mlstest.Draft{})
	trySealed(t, s, in).Want(t, missing, "ConvoNotFound")
	if page := f.carol.Messages(t, f.chat.Chat).Messages; len(page) != 3 {
		t.Errorf("there are %d messages, want one and two commits", len(page))
	}
}

// In a group that the server does not follow, a commit's word that it has removed somebody is
// enough for the next key: whoever lies about that could as well tell the key. A member who says
// that the leaf is still there is enough to end it.
func TestDisputedRemovalsEndSendKeys(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	u, chat := gathering(t, s, 3)
	alice, bob, carol := u[0], u[1], u[2]
	carol.Leave(t, chat, nil).OK(t)
	require.False(t, bob.GiveKey(t, chat, chat.SendKey()), "the leaver knows it")
	bob.Post(t, mlsapi.MethodLeaveConvo, &mlsapi.LeaveConvoInput{ConvoID: chat.ID, TargetDID: &carol.DID, Commit: e2e.Text(chat.Group.PrivateCommit())}, nil).OK(t)
	chat.Next()
	claim := claims(t, alice.User, chat, carol.User)
	require.True(t, bob.GiveKey(t, chat, chat.SendKey()))
	s.SendSealed(t, chat)
	require.True(t, judge(t, alice.User, chat, claim, false))
	trySealed(t, s, chat.Sealed()).Want(t, missing, "ConvoNotFound")
	require.False(t, bob.GiveKey(t, chat, chat.SendKey()))
}
