package e2e_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mlstest"
)

// lastReads is what a former member reads of a conversation, message by message: it pages on until
// it is told that it is none.
func lastReads(t *testing.T, u *e2e.User, convo string) (list []mlsapi.DefsMessageView) {
	t.Helper()
	args := []string{"convoId", convo, "limit", "1"}
	for more := true; ; {
		var page mlsapi.GetMessagesOutput
		if a := u.Get(t, mlsapi.MethodGetMessages, &page, args...); a.Error != "" {
			a.Want(t, forbidden, "NotMember")
			assert.True(t, len(list) == 0 || !more, "there was a cursor where nothing more remained")
			return list
		}
		assert.True(t, more, "there was no cursor where more remained")
		require.NotEmpty(t, page.Messages, "who has read everything is no member")
		list = append(list, page.Messages...)
		last := list[len(list)-1]
		assert.Equal(t, last.Seq, *page.LastSeq)
		more = page.Cursor != nil
		args = []string{"convoId", convo, "limit", "1", "sinceMessage", last.ID}
	}
}

// seqs is the seqs of messages.
func seqs(list []mlsapi.DefsMessageView) []int64 {
	out := make([]int64, len(list))
	for i := range list {
		out[i] = list[i].Seq
	}
	return out
}

// lastCommits is the epochs of the commits that a former member reads.
func lastCommits(t *testing.T, u *e2e.User, convo string) []int64 {
	t.Helper()
	epochs := []int64{}
	var out mlsapi.GetCommitsOutput
	if a := u.Get(t, mlsapi.MethodGetCommits, &out, "convoId", convo, "fromEpoch", "0"); a.Error != "" {
		a.Want(t, forbidden, "NotMember")
		return epochs
	}
	assert.Nil(t, out.Cursor)
	for _, c := range out.Commits {
		epochs = append(epochs, c.Epoch)
	}
	return epochs
}

// through is the numbers from first to last.
func through(first, last int64) (list []int64) {
	for n := first; n <= last; n++ {
		list = append(list, n)
	}
	return list
}

// TestLastReadsOfTheRemoved: who is removed by a commit reads it, as RFC 9420 clients learn of
// their removal from it, and all that came before; nothing that came after (I10). So it is in
// verified and in opaque conversations.
func TestLastReadsOfTheRemoved(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	for name, create := range map[string]func(d *e2e.Device, others ...*e2e.Device) *e2e.VerifiedChat{
		"verified": func(d *e2e.Device, others ...*e2e.Device) *e2e.VerifiedChat { return d.CreateVerified(t, others...) },
		"opaque":   func(d *e2e.Device, others ...*e2e.Device) *e2e.VerifiedChat { return d.CreateOpaque(t, others...) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			alice, bob, carol := deviceTrio(t, s)
			chat := create(alice, bob, carol)
			bob.Send(t, chat.Chat)                   // 1
			bob.SendCommit(t, chat, mlstest.Draft{}) // 2, in epoch 1
			carol.Send(t, chat.Chat)                 // 3
			commit, info, next := chat.Commit(t, alice, mlstest.Draft{Remove: []uint32{chat.Leaf(t, carol)}})
			var out mlsapi.RemoveMemberOutput
			alice.Post(t, mlsapi.MethodRemoveMember, &mlsapi.RemoveMemberInput{ // 4, in epoch 2
				ConvoID: chat.ID, IdempotencyKey: *e2e.Key(), TargetDID: carol.DID, Commit: e2e.Text(commit), GroupInfo: e2e.Text(info),
			}, &out).OK(t)
			chat.Move(next)
			beyond := bob.Send(t, chat.Chat)         // 5
			bob.SendCommit(t, chat, mlstest.Draft{}) // 6, in epoch 3

			read := lastReads(t, carol.User, chat.ID)
			assert.Equal(t, through(1, 4), seqs(read))
			assert.Equal(t, string(commit), string(read[3].Ciphertext), "the removal itself")
			assert.Equal(t, []int64{1, 2}, lastCommits(t, carol.User, chat.ID))
			assert.Equal(t, read, lastReads(t, carol.User, string(chat.Tree.GroupID())), "the group id names the conversation")
			page := carol.Messages(t, chat.Chat)
			assert.Equal(t, []any{int64(4), true}, []any{*page.LastSeq, page.Cursor == nil})

			// How far the others have come is not to be learnt.
			for _, args := range [][]string{{"fromEpoch", "4"}, {"fromEpoch", "1", "toEpoch", "4"}} {
				carol.Get(t, mlsapi.MethodGetCommits, nil, append(args, "convoId", chat.ID)...).Want(t, bad, "InvalidEpochRange")
			}
			carol.Get(t, mlsapi.MethodGetCommits, nil, "convoId", chat.ID, "fromEpoch", "3").Want(t, forbidden, "NotMember")
			known := carol.Get(t, mlsapi.MethodGetMessages, nil, "convoId", chat.ID, "sinceMessage", beyond.MessageID).Want(t, bad, "InvalidCursor")
			unknown := carol.Get(t, mlsapi.MethodGetMessages, nil, "convoId", chat.ID, "sinceMessage", chat.Message().MsgID).Want(t, bad, "InvalidCursor")
			assert.Equal(t, string(unknown.Body), string(known.Body), "which messages came later")
			// All else is for members.
			carol.Get(t, mlsapi.MethodGetEpoch, nil, "convoId", chat.ID).Want(t, forbidden, "NotMember")
			carol.Get(t, mlsapi.MethodGetGroupInfo, nil, "convoId", chat.ID).Want(t, forbidden, "NotMember")
			carol.Post(t, mlsapi.MethodUpdateCursor, &mlsapi.UpdateCursorInput{ConvoID: chat.ID, Cursor: read[3].ID}, nil).Want(t, forbidden, "NotMember")
			assert.Nil(t, carol.Convo(t, chat.Chat))
			checkInvariants(t, s)
		})
	}
}

// deviceTrio is three users with a device each.
func deviceTrio(t *testing.T, s *e2e.Server) (alice, bob, carol *e2e.Device) {
	t.Helper()
	u := s.Users(3)
	return u[0].Register(t, 6), u[1].Register(t, 6), u[2].Register(t, 6)
}

// TestLastReadsWithoutACommit: a removal without its commit ends the reading before it, and the
// commit that makes it true later is not served; nor to who leaves, whose own proposal is the last
// message.
func TestLastReadsWithoutACommit(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	u, chat := gathering(t, s, 4)
	alice, bob, carol, dave := u[0], u[1], u[2], u[3]
	late := s.Users(1)[0]
	late.Register(t, 2)
	bob.Send(t, chat)                                             // 1
	alice.Remove(t, chat, carol.User, nil).OK(t)                  //
	bob.Send(t, chat)                                             // 2
	alice.Add(t, chat, late)                                      // 3
	dave.Leave(t, chat, chat.Group.PrivateProposal()).OK(t)       // 4
	late.Leave(t, chat, nil).OK(t)                                //
	bob.SendBytes(t, chat, chat.Group.PrivateCommit()).OK(t)      // 5
	chat.Next()                                                   //
	bob.Post(t, mlsapi.MethodLeaveConvo, &mlsapi.LeaveConvoInput{ // 6
		ConvoID: chat.ID, TargetDID: &carol.DID, Commit: e2e.Text(chat.Group.PrivateCommit()),
	}, nil).OK(t)
	chat.Next()

	assert.Equal(t, through(1, 1), seqs(lastReads(t, carol.User, chat.ID)))
	assert.Empty(t, lastCommits(t, carol.User, chat.ID))
	read := lastReads(t, dave.User, chat.ID)
	assert.Equal(t, through(1, 4), seqs(read))
	assert.Equal(t, "proposal", string(*read[3].MessageType))
	assert.Equal(t, []int64{1}, lastCommits(t, dave.User, chat.ID))
	// Who came late reads from there, as it did as a member.
	assert.Equal(t, through(4, 4), seqs(lastReads(t, late, chat.ID)))
	assert.Empty(t, lastCommits(t, late, chat.ID))
	// Who was never there learns nothing.
	s.Users(1)[0].Get(t, mlsapi.MethodGetMessages, nil, "convoId", chat.ID).Want(t, missing, "ConvoNotFound")
	// What retention has removed is gone for everybody.
	change(t, s, "DELETE FROM messages WHERE seq = 1")
	assert.Empty(t, lastReads(t, carol.User, chat.ID))
	assert.Equal(t, through(2, 4), seqs(lastReads(t, dave.User, chat.ID)))
}

// TestLastReadsOfWhoCameBack: each membership is read by itself. What was sent in between is
// nobody's who was away, also when the addition that ended the absence is taken back (I10).
func TestLastReadsOfWhoCameBack(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	u, chat := gathering(t, s, 5)
	alice, bob, carol, dave, mallory := u[0], u[1], u[2], u[3], u[4]
	bob.Send(t, chat)                                                   // 1
	alice.Remove(t, chat, carol.User, chat.Group.PrivateCommit()).OK(t) // 2
	chat.Next()                                                         //
	alice.Remove(t, chat, dave.User, nil).OK(t)                         //
	bob.Send(t, chat)                                                   // 3
	alice.Add(t, chat, carol.User)                                      // 4
	bob.Send(t, chat)                                                   // 5
	assert.Equal(t, through(5, 5), seqs(carol.Messages(t, chat).Messages))
	alice.Remove(t, chat, carol.User, nil).OK(t)
	assert.Equal(t, through(5, 5), seqs(lastReads(t, carol.User, chat.ID)))

	// Mallory adds dave again by a commit that the others cannot process, and dave leaves.
	before := *chat
	mallory.Post(t, mlsapi.MethodAddMembers, mallory.Addition(t, chat, dave.User), nil).OK(t) // 6
	dave.Accept(t, chat).OK(t)
	chat.Next()
	mallory.Send(t, chat) // 7
	assert.Equal(t, through(7, 7), seqs(dave.Messages(t, chat).Messages))
	dave.Leave(t, chat, nil).OK(t)
	assert.Equal(t, through(7, 7), seqs(lastReads(t, dave.User, chat.ID)))
	for i, r := range []*e2e.Device{alice, bob} {
		require.Equal(t, i == 1, reports(t, r, &before, before.Group.Epoch, ""))
	}
	// The addition never was: dave reads up to its removal, and no further.
	assert.Equal(t, through(1, 2), seqs(lastReads(t, dave.User, chat.ID)))
	dave.Leave(t, chat, nil).OK(t)
}

// TestLastReadsAfterVoiding: a removal stands when its commit is taken back, and so does what the
// removed may read: that commit, which nothing tells it is void, and no later one.
func TestLastReadsAfterVoiding(t *testing.T) {
	t.Parallel()
	f := follow(t)
	before := f.chat.Tree
	commit, info, next := f.chat.Commit(t, f.alice, mlstest.Draft{Remove: []uint32{f.chat.Leaf(t, f.carol)}})
	f.alice.Post(t, mlsapi.MethodRemoveMember, &mlsapi.RemoveMemberInput{
		ConvoID: f.chat.ID, IdempotencyKey: *e2e.Key(), TargetDID: f.carol.DID, Commit: e2e.Text(commit), GroupInfo: e2e.Text(info),
	}, nil).OK(t)
	f.chat.Move(next)
	read, commits := lastReads(t, f.carol.User, f.chat.ID), lastCommits(t, f.carol.User, f.chat.ID)
	require.NotEmpty(t, read)
	f.bob.Send(t, f.chat.Chat)
	require.True(t, reports(t, f.bob, f.chat.Chat, before.Epoch, ""))
	f.chat.Move(before)
	f.bob.SendCommit(t, f.chat, mlstest.Draft{Remove: []uint32{f.chat.Leaf(t, f.carol)}})
	f.bob.Send(t, f.chat.Chat)
	assert.Equal(t, read, lastReads(t, f.carol.User, f.chat.ID))
	assert.Equal(t, commits, lastCommits(t, f.carol.User, f.chat.ID))
	// A member sees what has become of it.
	page := f.bob.Messages(t, f.chat.Chat)
	void := slices.IndexFunc(page.Messages, func(m mlsapi.DefsMessageView) bool { return m.Void != nil && *m.Void })
	require.GreaterOrEqual(t, void, 0)
	assert.Equal(t, read[len(read)-1].ID, page.Messages[void].ID)
	checkInvariants(t, f.alice.Server)
}

// TestLastReadsAfterReset: the conversation's next group is no concern of who was removed from the
// last one, by whichever name the conversation is called; who was there reads on in both.
func TestLastReadsAfterReset(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	u, old := gathering(t, s, 4)
	alice, bob, carol, dave := u[0], u[1], u[2], u[3]
	bob.SendBytes(t, old, old.Group.PrivateCommit()).OK(t) // 1
	old.Next()
	alice.Remove(t, old, carol.User, old.Group.PrivateCommit()).OK(t) // 2
	old.Next()
	chat := alice.Reset(t, old, bob, dave) // 3
	dave.Leave(t, old, nil).OK(t)
	bob.SendCommit(t, chat, mlstest.Draft{}) // 4
	for _, name := range []string{old.ID, string(old.Group.GroupID()), string(chat.Tree.GroupID())} {
		assert.Equal(t, through(1, 2), seqs(lastReads(t, carol.User, name)))
		assert.Equal(t, []int64{1, 2}, lastCommits(t, carol.User, name))
	}
	assert.Equal(t, through(1, 3), seqs(lastReads(t, dave.User, old.ID)))
	for _, from := range []string{"0", "2", "9"} {
		dave.Get(t, mlsapi.MethodGetCommits, nil, "convoId", old.ID, "fromEpoch", from).Want(t, forbidden, "NotMember")
	}
	alice.Remove(t, chat.Chat, bob.User, nil).OK(t)
	assert.Equal(t, through(1, 4), seqs(lastReads(t, bob.User, old.ID)))
	assert.Equal(t, []int64{1}, lastCommits(t, bob.User, old.ID), "of the group that there was at the end")
}

// TestLastReadsOfTheBlocked: a block between two who were in a conversation changes nothing of what
// either has a right to.
func TestLastReadsOfTheBlocked(t *testing.T) {
	t.Parallel()
	c := newBlockScene(t)
	c.admin.Send(t, c.chat)
	c.admin.Remove(t, c.chat, c.blocked, c.chat.Group.PrivateCommit()).OK(t)
	c.chat.Next()
	uri := c.source.Block(c.blocker.DID, c.blocked.DID)
	c.report(t, "created", &uri)
	c.admin.Send(t, c.chat)
	assert.Equal(t, through(1, 2), seqs(lastReads(t, c.blocked, c.chat.ID)))
	assert.Equal(t, through(1, 3), seqs(c.blocker.Messages(t, c.chat).Messages))
}

// TestLastReadsOnTheStream: a stream that goes on from before a removal shows the same, and ends
// with the removal.
func TestLastReadsOnTheStream(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	u, chat := gathering(t, s, 3)
	alice, bob, carol := u[0], u[1], u[2]
	stream := carol.Follow(t, "")
	bob.Send(t, chat) // 1
	first := stream.Await(t, "message")
	alice.Remove(t, chat, carol.User, chat.Group.PrivateCommit()).OK(t) // 2
	chat.Next()
	bob.Send(t, chat) // 3
	again := carol.Follow(t, "cursor="+first.Cursor)
	again.AwaitWhere(t, "membership-changed", func(e e2e.Event) bool { return e.User == carol.DID })
	var got []int64
	for _, e := range again.Events() {
		if e.Kind == "message" || e.Kind == "epoch-advanced" {
			got = append(got, e.Seq)
		}
	}
	assert.Contains(t, got, int64(2))
	assert.NotContains(t, got, int64(3))
	assert.Equal(t, through(1, 2), seqs(lastReads(t, carol.User, chat.ID)))
}
