package e2e_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mlstest"
)

// ephemeral is a request to pass a message of the chat on.
func ephemeral(chat *e2e.Chat) *mlsapi.SendMessageInput {
	in := chat.Message()
	in.Delivery = new(mlsapi.SendMessageInputDeliveryEphemeral)
	return in
}

// ephemeralBut is one that is not quite as it should be.
func ephemeralBut(chat *e2e.Chat, change func(in *mlsapi.SendMessageInput)) *mlsapi.SendMessageInput {
	in := ephemeral(chat)
	change(in)
	return in
}

// lasting is every row of every table but those that every call may leave.
func lasting(t *testing.T, s *e2e.Server) map[string]string {
	t.Helper()
	rows := contents(t, s.DatabaseURL)
	delete(rows, "did_documents")
	delete(rows, "used_jtis")
	return rows
}

// arrives waits until a stream shows the message, and returns it.
func arrives(t *testing.T, s *e2e.Stream, id string) e2e.Event {
	t.Helper()
	return s.AwaitWhere(t, "message", func(e e2e.Event) bool { return e.MessageID == id })
}

// An ephemeral message comes to those who are connected, over both doors, and leaves nothing
// behind: no row of any table changes by it, and a repeat is another one (I7).
func TestEphemeralMessages(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	users := s.Users(3)
	alice, bob, carol := users[0].Register(t, 1), users[1].Register(t, 1), users[2]
	chat := alice.Create(t, bob.User)
	stored := alice.Send(t, chat)
	stream, own, stranger := bob.Follow(t, ""), alice.Follow(t, ""), carol.Follow(t, "")
	socket := dial(t, bob.User)
	before := lasting(t, s)

	in := ephemeral(chat)
	for n := range 2 {
		var out mlsapi.SendMessageOutput
		alice.Post(t, mlsapi.MethodSendMessage, in, &out).OK(t)
		assert.Equal(t, in.MsgID, out.MessageID)
		assert.Equal(t, int64(0), out.Seq)
		assert.Equal(t, in.Epoch, out.Epoch)
		for _, f := range []*e2e.Stream{stream, own} {
			eventually(t, "it arrives", func() bool { return count(f, in.MsgID) == n+1 })
		}
		until(t, socket, func(n news) bool { return n.Message.ID == in.MsgID })
	}
	seen := arrives(t, stream, in.MsgID)
	assert.Zero(t, seen.Seq)
	assert.Empty(t, stranger.Events())
	assert.Equal(t, before, lasting(t, s))
	page := bob.Messages(t, chat)
	assert.Len(t, page.Messages, 1)
	assert.Equal(t, stored.Seq, page.Messages[0].Seq)

	// Who resumes by its cursor misses nothing.
	next := alice.Send(t, chat)
	assert.Equal(t, stored.Seq+1, next.Seq)
	resumed := bob.Follow(t, "cursor="+seen.Cursor)
	arrives(t, resumed, next.MessageID)
	assert.Zero(t, count(resumed, in.MsgID), "nobody gets it late")
}

func count(s *e2e.Stream, id string) (n int) {
	for _, e := range s.Events() {
		if e.MessageID == id {
			n++
		}
	}
	return n
}

// What a send is held against holds an ephemeral one, too, and nobody is given one that is refused.
func TestEphemeralMessagesAreJudged(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	users := s.Users(5)
	alice, bob, carol, dave := users[0].Register(t, 1), users[1].Register(t, 1), users[2].Register(t, 1), users[3].Register(t, 2)
	chat := alice.Create(t, bob.User, carol.User)
	alice.Post(t, mlsapi.MethodAddMembers, alice.Addition(t, chat, dave.User), nil).OK(t)
	chat.Next()
	alice.Remove(t, chat, carol.User, chat.Group.PrivateCommit()).OK(t)
	chat.Next()
	stream := bob.Follow(t, "")
	none := func(*mlsapi.SendMessageInput) {}
	bytes := func(message []byte, size int) func(*mlsapi.SendMessageInput) {
		return func(in *mlsapi.SendMessageInput) {
			in.Ciphertext, in.PaddedSize = mlstest.PadDirect(message, size), int64(size)
		}
	}
	for _, c := range []struct {
		what   string
		by     *e2e.User
		change func(*mlsapi.SendMessageInput)
		status int
		error  string
	}{
		{"a stranger", users[4], none, http.StatusNotFound, "ConvoNotFound"},
		{"who was removed", carol.User, none, http.StatusForbidden, "NotMember"},
		{"who is only invited", dave.User, none, http.StatusForbidden, "NotMember"},
		{"of no conversation", alice.User, func(in *mlsapi.SendMessageInput) { in.ConvoID = "00" }, http.StatusNotFound, "ConvoNotFound"},
		{"of an epoch that is over", alice.User, func(in *mlsapi.SendMessageInput) {
			in.Epoch--
			in.Ciphertext = mlstest.PadDirect(chat.Group.At(chat.Group.Epoch-1).Application(200), 512)
		}, http.StatusConflict, "EpochMismatch"},
		{"of another group", alice.User, bytes(mlstest.NewGroup(chat.Group.Suite).At(chat.Group.Epoch).Application(200), 512), http.StatusBadRequest, "InvalidAsset"},
		{"of another commit", alice.User, func(in *mlsapi.SendMessageInput) { in.CommitID = new("01ARZ3NDEKTSV4RRFFQ69G5FAV") }, http.StatusConflict, "EpochMismatch"},
		{"a commit", alice.User, bytes(chat.Group.PrivateCommit(), 1024), http.StatusBadRequest, "InvalidAsset"},
		{"of no padded size", alice.User, bytes(chat.Group.Application(200), 700), http.StatusBadRequest, "InvalidAsset"},
		{"of 72 KiB", alice.User, bytes(chat.Group.Application(200), 72<<10), http.StatusRequestEntityTooLarge, "MessageTooLarge"},
		{"otherwise", alice.User, func(in *mlsapi.SendMessageInput) { in.Delivery = new(mlsapi.SendMessageInputDelivery("fast")) }, http.StatusBadRequest, "InvalidRequest"},
	} {
		before := lasting(t, s)
		c.by.Post(t, mlsapi.MethodSendMessage, ephemeralBut(chat, c.change), nil).Want(t, c.status, c.error)
		assert.Equal(t, before, lasting(t, s), c.what)
	}
	large := ephemeralBut(chat, bytes(chat.Group.Application(200), 64<<10))
	alice.Post(t, mlsapi.MethodSendMessage, large, nil).OK(t)
	arrives(t, stream, large.MsgID)
	passed := 0
	for _, e := range stream.Events() {
		if e.Kind == "message" && e.Seq == 0 {
			passed++
		}
	}
	assert.Equal(t, 1, passed, "what was refused was given to nobody")
}

// Ephemeral messages and others have a bucket each, and a flood of the ones stops none of the
// others.
func TestEphemeralMessagesHaveTheirOwnLimit(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t, e2e.Env{"RATE_LIMIT_SEND_MESSAGE": "1/3", "RATE_LIMIT_EPHEMERAL": "1/5"})
	alice := s.Users(1)[0].Register(t, 1)
	chat := alice.Create(t)
	send := func(in *mlsapi.SendMessageInput) e2e.Answer { return alice.Post(t, mlsapi.MethodSendMessage, in, nil) }
	for range 5 {
		a := send(ephemeral(chat))
		a.OK(t)
		assert.Equal(t, "5", a.Header.Get("RateLimit-Limit"))
	}
	send(ephemeral(chat)).Want(t, http.StatusTooManyRequests, "RateLimitExceeded")
	a := send(chat.Message())
	a.OK(t)
	assert.Equal(t, "3", a.Header.Get("RateLimit-Limit"))
}

// They pass between servers, to nobody who is removed or whose account is refused, and within a
// server while Redis is away; streams go on.
func TestEphemeralMessagesBetweenServers(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, nil)
	users := c.servers[0].Users(3)
	alice, bob, carol := users[0].Register(t, 1), users[1].Register(t, 1), users[2].Register(t, 1)
	chat := alice.Create(t, bob.User, carol.User)
	var streams []*e2e.Stream
	for i := range c.servers {
		streams = append(streams, c.at(bob.User, i).Follow(t, ""))
	}
	gone := c.at(carol.User, 1).Follow(t, "")
	// Two servers that have just begun may not know of each other yet.
	pass := func(from int, to ...*e2e.Stream) {
		t.Helper()
		eventually(t, "an ephemeral message passes", func() bool {
			in := ephemeral(chat)
			c.at(alice.User, from).Post(t, mlsapi.MethodSendMessage, in, nil).OK(t)
			arrives(t, to[0], in.MsgID)
			for _, s := range to[1:] {
				if count(s, in.MsgID) == 0 {
					return false
				}
			}
			return true
		})
	}
	pass(0, streams[0], streams[1], gone)
	pass(1, streams[1], streams[0], gone)

	alice.Remove(t, chat, carol.User, chat.Group.PrivateCommit()).OK(t)
	chat.Next()
	in := ephemeral(chat)
	alice.Post(t, mlsapi.MethodSendMessage, in, nil).OK(t)
	arrives(t, streams[1], in.MsgID)
	gone.AwaitWhere(t, "membership-changed", func(e e2e.Event) bool { return e.User == carol.DID })
	assert.Zero(t, count(gone, in.MsgID))
	c.at(carol.User, 1).Post(t, mlsapi.MethodSendMessage, ephemeral(chat), nil).Want(t, http.StatusForbidden, "NotMember")

	c.redis.Kill()
	pass(0, streams[0])
	pass(1, streams[1])
	c.redis.Restart(t)
	pass(0, streams[0], streams[1])
	for _, s := range streams {
		for _, kind := range s.Kinds() {
			assert.NotContains(t, []string{"slow-consumer", "server-restart", "compacted"}, kind)
		}
	}
}
