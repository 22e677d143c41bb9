package e2e_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mlstest"
)

// The others are told of an erased account as of one that left: its leaves are owed, an admin
// follows, and what it sent stays. The account may come back, and begins anew.
func TestErasedAccountIsRemoved(t *testing.T) {
	t.Parallel()
	f := follow(t)
	s := f.alice.Server
	opaque := f.alice.Create(t, f.bob.User, f.carol.User)
	alone := f.alice.Create(t)
	f.alice.Send(t, alone)
	f.alice.Send(t, f.chat.Chat)
	f.alice.Send(t, opaque)
	stream := f.bob.Follow(t, "")

	s.Operate(t, "erase-user", "--wait", "0s", string(f.alice.DID))
	for _, chat := range []*e2e.Chat{f.chat.Chat, opaque} {
		here := func(e e2e.Event) bool { return e.ConvoID == chat.ID && e.User == f.alice.DID }
		stream.AwaitWhere(t, "membership-changed", here)
		stream.AwaitWhere(t, "removal-pending", here)
		assert.True(t, owes(t, f.bob.User, chat, f.alice.User))
		v := f.bob.Convo(t, chat)
		assert.Regexp(t, `^did:web:[a-z0-9]+\.erased\.invalid$`, string(v.Creator))
		admins := 0
		for _, m := range v.Members {
			assert.NotEqual(t, f.alice.DID, m.UserDID)
			if m.IsAdmin {
				admins++
			}
		}
		assert.Equal(t, 1, admins, "somebody follows the last admin")
		assert.NotEmpty(t, f.bob.Messages(t, chat).Messages, "what was sent stays")
	}
	f.bob.SendCommit(t, f.chat, mlstest.Draft{Remove: []uint32{0}})
	assert.Empty(t, f.bob.Pending(t, f.chat.Chat))
	f.carol.Send(t, f.chat.Chat)
	checkInvariantsBut(t, s, "I5: a message for each event", "I5: an audit row for each removal")

	eventually(t, "the account is served again", func() bool { return f.alice.Get(t, mlsapi.MethodGetConvos, nil).Error == "" })
	assert.Empty(t, f.alice.Convos(t))
	for _, chat := range []*e2e.Chat{f.chat.Chat, opaque, alone} {
		f.alice.Get(t, mlsapi.MethodGetMessages, nil, "convoId", chat.ID).Want(t, missing, "ConvoNotFound")
	}
	assert.Empty(t, f.alice.Devices(t))
	phone := f.alice.User.Register(t, 4)
	f.bob.AddVerified(t, f.chat, mlstest.Draft{}, phone)
	phone.Send(t, f.chat.Chat)
	assert.Len(t, f.alice.Convos(t), 1)
}

// A leaf that a commit has removed is owed again when the commit is taken back, though the account
// was erased meanwhile.
func TestErasedAfterARemoval(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	u, chat := gathering(t, s, 5)
	u[0].Remove(t, chat, u[4].User, chat.Group.PrivateCommit()).OK(t)
	epoch := chat.Group.Epoch
	require.False(t, owes(t, u[1].User, chat, u[4].User))
	s.Operate(t, "erase-user", "--wait", "0s", string(u[4].DID))
	require.False(t, owes(t, u[1].User, chat, u[4].User))
	assert.False(t, reports(t, u[1], chat, epoch, ""))
	assert.True(t, reports(t, u[2], chat, epoch, ""))
	assert.True(t, owes(t, u[1].User, chat, u[4].User))
}

// Who blocks an account goes on blocking it when it comes back after its erasure.
func TestErasedAccountStaysBlocked(t *testing.T) {
	t.Parallel()
	s, source := watched(t)
	users := s.Users(3)
	for _, u := range users {
		u.SetPDS(source.URL())
		source.AddAccount(u.DID)
	}
	alice, bob := users[0].Register(t, 4), users[1].Register(t, 4)
	carol := users[2].Register(t, 4)
	chat := carol.Create(t, bob.User)
	source.Block(bob.DID, alice.DID)
	carol.Post(t, mlsapi.MethodAddMembers, carol.Addition(t, chat, alice.User), nil).Want(t, forbidden, "BlockedByMember")
	// Newer than what the server has in memory.
	change(t, s, "UPDATE block_checks SET checked_at = checked_at + interval '1 minute'")
	s.Operate(t, "erase-user", "--wait", "0s", string(alice.DID))
	eventually(t, "the account is served again", func() bool { return alice.Get(t, mlsapi.MethodGetConvos, nil).Error == "" })
	alice.User.Register(t, 4)
	carol.Post(t, mlsapi.MethodAddMembers, carol.Addition(t, chat, alice.User), nil).Want(t, forbidden, "BlockedByMember")
}

// A conversation that is closed is over for everybody at once, and holds nothing any more.
func TestClosedConvo(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	u, chat := gathering(t, s, 25)
	u[3].Send(t, chat)
	streams := []*e2e.Stream{u[0].Follow(t, ""), u[24].Follow(t, "convoId="+chat.ID)}
	assert.Contains(t, s.Operate(t, "close-convo", "--reason", "court order", chat.ID), "25 users removed")
	for _, stream := range streams {
		assert.Equal(t, chat.ID, stream.Await(t, "membership-changed").ConvoID)
	}
	for _, d := range u {
		d.Get(t, mlsapi.MethodGetMessages, nil, "convoId", chat.ID).Want(t, missing, "ConvoNotFound")
		assert.Empty(t, d.Convos(t))
	}
	u[0].Post(t, mlsapi.MethodSendMessage, chat.Message(), nil).Want(t, missing, "ConvoNotFound")
	for _, table := range []string{"conversations", "members", "messages", "commits", "welcomes", "welcome_routes", "cursors", "pending_welcomes"} {
		assert.Empty(t, rowsOf(t, s, "SELECT 1 FROM "+table), table)
	}
	assert.Equal(t, [][]string{{"close", chat.ID, "court order"}}, rowsOf(t, s, "SELECT a.action, g.group_id, a.reason FROM operator_actions a JOIN convo_groups g USING (convo_id)"))
	_, faults, err := s.TryOperate(t, "close-convo", chat.ID)
	require.Error(t, err)
	assert.Contains(t, faults, "there is no such conversation")
	// Its group's id stays taken.
	u[0].Post(t, mlsapi.MethodCreateConvo, &mlsapi.CreateConvoInput{
		GroupID: string(chat.Group.GroupID()), IdempotencyKey: e2e.Key(), CipherSuite: mlsapi.CreateConvoInputCipherSuite(chat.Group.Suite.String()),
	}, nil).Want(t, conflict, "GroupAlreadyExists")
	again := u[0].Create(t, u[1].User)
	u[1].Send(t, again)
	checkInvariantsBut(t, s, "I5: a message for each event", "I5: an audit row for each removal")
}
