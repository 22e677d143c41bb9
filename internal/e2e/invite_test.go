package e2e_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
)

// invitation is a conversation of alice and bob to which carol, whom neither knows, is invited.
func invitation(t *testing.T, env ...e2e.Env) (alice, bob, carol *e2e.Device, chat *e2e.Chat) {
	t.Helper()
	users := e2e.Start(t, env...).Users(3)
	alice, bob, carol = users[0].Register(t, 6), users[1].Register(t, 6), users[2].Register(t, 6)
	chat = alice.Create(t, bob.User)
	alice.Post(t, mlsapi.MethodAddMembers, alice.Addition(t, chat, carol.User), nil).OK(t)
	chat.Next()
	return alice, bob, carol, chat
}

// about are the events of a conversation that name a user.
func about(s *e2e.Stream, user mls.DID) (events []e2e.Event) {
	for _, e := range s.Events() {
		if e.User == user {
			events = append(events, e)
		}
	}
	return events
}

// TestNobodyIsDraggedIn: anybody put anybody into conversations, and learned the ids and names of
// its devices, new ones at once. Now who is added by a stranger is invited (I15).
func TestNobodyIsDraggedIn(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	users := s.Users(2)
	alice, carol := users[0].Register(t, 4), users[1].Register(t, 4)
	watched, invited := alice.Follow(t, ""), carol.Follow(t, "")
	chat, in := alice.Invitation(t, carol.User)
	in.Metadata = &mlsapi.CreateConvoMetadataInput{Name: new("Buy now"), Description: new("cheap")}
	var made mlsapi.CreateConvoOutput
	alice.Post(t, mlsapi.MethodCreateConvo, in, &made).OK(t)
	chat.ID, chat.Group = made.ID, chat.Group.At(1)
	carol.User.Register(t, 1) // nobody is told of it

	view := carol.Invitations(t)[0]
	assert.Equal(t, []any{"invited", alice.DID, chat.ID, int64(1)}, []any{string(*view.State), *view.InvitedBy, view.ID, view.Epoch})
	assert.Nil(t, view.Metadata)
	assert.Nil(t, view.LastMessageAt)
	require.Len(t, view.Members, 2)
	for _, m := range view.Members {
		assert.Equal(t, []any{string(m.UserDID), true, true}, []any{string(m.DID), m.DeviceID == nil && m.DeviceName == nil, m.LeafIndex == nil})
	}
	seen := alice.Convo(t, chat)
	require.Len(t, seen.Members, 2)
	for _, m := range append(made.Members, seen.Members...) {
		if m.UserDID == carol.DID {
			assert.Equal(t, []any{"invited", string(carol.DID), true}, []any{string(*m.State), string(m.DID), m.DeviceID == nil && m.DeviceName == nil})
		}
	}
	assert.Empty(t, seen.PendingRequests)
	sent := alice.Send(t, chat)
	watched.AwaitWhere(t, "message", func(e e2e.Event) bool { return e.MessageID == sent.MessageID })
	for _, e := range about(watched, carol.DID) {
		assert.Equal(t, []any{"membership-changed", ""}, []any{e.Kind, e.DeviceID})
	}

	// It can look, and does not take part.
	_, a := carol.Welcome(t, chat, carol.ID)
	a.OK(t)
	assert.Equal(t, int64(1), carol.Epoch(t, chat))
	carol.Post(t, mlsapi.MethodSendMessage, chat.Message(), nil).Want(t, http.StatusForbidden, "NotMember")
	carol.Get(t, mlsapi.MethodGetMessages, nil, "convoId", chat.ID).Want(t, http.StatusForbidden, "NotMember")

	carol.Accept(t, chat).OK(t)
	carol.Accept(t, chat).OK(t)
	assert.Empty(t, carol.Invitations(t))
	assert.Equal(t, "Buy now", *carol.Convo(t, chat).Metadata.Name)
	assert.Equal(t, sent.MessageID, carol.Messages(t, chat).Messages[0].ID, "history is served from where the user was added")
	watched.AwaitWhere(t, "device-pending", func(e e2e.Event) bool { return e.User == carol.DID && e.DeviceID != "" })
	watched.AwaitWhere(t, "membership-changed", func(e e2e.Event) bool { return e.User == carol.DID && e.DeviceID == carol.ID })
	assert.Len(t, alice.Pending(t, chat), 1)
	next := alice.Send(t, chat)
	invited.AwaitWhere(t, "message", func(e e2e.Event) bool { return e.MessageID == next.MessageID })
	before := true
	for _, e := range invited.Events() {
		switch {
		case e.Kind == "membership-changed" && e.User == carol.DID:
			before = false
		case before && e.ConvoID != "":
			assert.Equal(t, "invitation", e.Kind, "nothing else before the acceptance")
		}
		assert.NotEqual(t, sent.MessageID, e.MessageID, "events begin with the acceptance")
	}

	// The names of devices are their own user's.
	for _, m := range alice.Convo(t, chat).Members {
		assert.Equal(t, m.UserDID == alice.DID, m.DeviceName != nil)
	}
}

// A message names nobody, and so it accepts nothing; the confirmation of a Welcome does, unless the
// operator says otherwise.
func TestConfirmationsAccept(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ value, state string }{{"true", "active"}, {"false", "invited"}} {
		t.Run(c.value, func(t *testing.T) {
			t.Parallel()
			_, _, carol, chat := invitation(t, e2e.Env{"CONSENT_BY_WELCOME": c.value})
			carol.Post(t, mlsapi.MethodSendMessage, chat.Message(), nil).Want(t, http.StatusForbidden, "NotMember")
			assert.Equal(t, "invited", string(*carol.Convo(t, chat).State))
			assert.True(t, carol.Confirm(t, chat, true))
			assert.Equal(t, c.state, string(*carol.Convo(t, chat).State))
			carol.Accept(t, chat).OK(t)
			assert.Equal(t, "active", string(*carol.Convo(t, chat).State))
		})
	}
}

// A Welcome that an invited user cannot use is a matter for later: the members are asked when it
// has accepted.
func TestFailuresWaitForTheAcceptance(t *testing.T) {
	t.Parallel()
	alice, _, carol, chat := invitation(t)
	assert.True(t, carol.Confirm(t, chat, false))
	carol.Post(t, mlsapi.MethodRequestRejoin, carol.RejoinInput(chat), nil).Want(t, http.StatusNotFound, "ConvoNotFound")
	assert.Empty(t, alice.Pending(t, chat))
	carol.Accept(t, chat).OK(t)
	pending := alice.Pending(t, chat)
	require.Len(t, pending, 1)
	assert.Equal(t, []string{"rejoin", carol.ID}, []string{string(pending[0].Kind), *pending[0].DeviceID})
}

// Who declines never was there: nobody learns its devices, and no stream, however old its cursor,
// shows what was said meanwhile (I10, I15).
func TestDeclinedInvitationsShowNothing(t *testing.T) {
	t.Parallel()
	alice, bob, carol, chat := invitation(t)
	live := carol.Follow(t, "")
	watched := alice.Follow(t, "")
	start := alice.Send(t, chat)
	carol.Leave(t, chat, nil).OK(t)
	carol.Leave(t, chat, nil).OK(t)
	pending := bob.Pending(t, chat)
	require.Len(t, pending, 1)
	assert.Equal(t, []any{"removal", carol.DID, true}, []any{string(pending[0].Kind), pending[0].UserDID, pending[0].DeviceID == nil})
	watched.AwaitWhere(t, "removal-pending", func(e e2e.Event) bool { return e.User == carol.DID && e.DeviceID == "" })
	carol.Get(t, mlsapi.MethodGetMessages, nil, "convoId", chat.ID).Want(t, http.StatusForbidden, "NotMember")
	carol.Get(t, mlsapi.MethodGetCommits, nil, "convoId", chat.ID, "fromEpoch", "0").Want(t, http.StatusForbidden, "NotMember")
	carol.Accept(t, chat).Want(t, http.StatusForbidden, "NotMember")

	// A conversation of her own marks the end of what could come.
	own := carol.Create(t)
	end := carol.Send(t, own)
	for _, s := range []*e2e.Stream{live, carol.Follow(t, "cursor="+watched.Events()[0].Cursor)} {
		s.AwaitWhere(t, "message", func(e e2e.Event) bool { return e.MessageID == end.MessageID })
		for _, e := range s.Events() {
			assert.NotEqual(t, start.MessageID, e.MessageID)
			assert.True(t, e.ConvoID != chat.ID || e.Kind == "invitation", e.Kind)
		}
	}
}

// The connection is lost at each table that an acceptance writes to: it has happened or not, and
// once more it does.
func TestAcceptanceIsOneTransaction(t *testing.T) {
	t.Parallel()
	alice, _, carol, chat := invitation(t)
	carol.User.Register(t, 1)
	lostAtEachTable(t, alice.Server, func() e2e.Answer { return carol.Accept(t, chat) },
		"members", "invitations", "commit_additions", "removal_debts", "conversations", "event_stream", "pending_welcomes")
	require.Len(t, alice.Pending(t, chat), 1)
	checkInvariants(t, alice.Server)
}

// An invitation that others end is told to the user, and nothing more: by a removal, and by a
// commit that is taken back, of which the inviter may make another.
func TestInvitationsThatOthersEnd(t *testing.T) {
	t.Parallel()
	alice, bob, carol, chat := invitation(t)
	stream := carol.Follow(t, "")
	alice.Remove(t, chat, carol.User, nil).OK(t)
	stream.Await(t, "invitation")
	assert.Empty(t, carol.Invitations(t))

	dave := alice.Server.Users(1)[0].Register(t, 4)
	told := dave.Follow(t, "")
	alice.Post(t, mlsapi.MethodAddMembers, alice.Addition(t, chat, dave.User), nil).OK(t)
	require.Len(t, dave.Invitations(t), 1)
	assert.True(t, reports(t, bob, chat, chat.Group.Epoch, ""), "dave has no voice")
	assert.Empty(t, dave.Invitations(t))
	own := dave.Create(t)
	end := dave.Send(t, own)
	told.AwaitWhere(t, "message", func(e e2e.Event) bool { return e.MessageID == end.MessageID })
	for _, e := range told.Events() {
		assert.True(t, e.ConvoID != chat.ID || e.Kind == "invitation", e.Kind)
	}
	for _, r := range bob.Pending(t, chat) {
		assert.NotEqual(t, dave.DID, r.UserDID, "there is no leaf of his")
	}
}

// A reset invites nobody, and accepts for nobody.
func TestResetsKeepInvitations(t *testing.T) {
	t.Parallel()
	alice, bob, carol, chat := invitation(t)
	next := alice.Reset(t, chat, bob)
	assert.Equal(t, "invited", string(*carol.Convo(t, chat).State))
	assert.Empty(t, alice.Pending(t, chat), "carol's device is nobody's business yet")
	carol.Accept(t, chat).OK(t)
	pending := alice.Pending(t, chat)
	require.Len(t, pending, 1)
	assert.Equal(t, carol.ID, *pending[0].DeviceID)
	alice.AddVerified(t, next, mlstest.Draft{}, carol)
}

// Who is invited is in no one's way: it does not keep the last member, it gets no role, and whoever
// else is added is still held against its blocks.
func TestInvitedUsersHaveNoRole(t *testing.T) {
	t.Parallel()
	alice, bob, carol, chat := invitation(t)
	alice.Promote(t, chat, carol.User).Want(t, http.StatusForbidden, "NotMember")
	alice.Leave(t, chat, nil).OK(t)
	bob.Leave(t, chat, nil).Want(t, http.StatusConflict, "LastMember")
	dave := alice.Server.Users(1)[0].Register(t, 4)
	alice.Server.Blocks.Block(carol.DID, dave.DID)
	bob.Post(t, mlsapi.MethodAddMembers, bob.Addition(t, chat, dave.User), nil).Want(t, http.StatusForbidden, "BlockedByMember")
	carol.Accept(t, chat).OK(t)
	bob.Leave(t, chat, nil).OK(t)
	assert.True(t, carol.Convo(t, chat).Members[0].IsAdmin)
}

// Lists have invitations last, page by page, or by themselves.
func TestListsOfInvitations(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	carol := s.Users(1)[0]
	carol.Register(t, 9)
	var want []string
	for range 3 {
		want = append(want, carol.Create(t).ID)
	}
	for _, u := range s.Users(3) {
		want = append(want, u.Invite(t, carol).ID)
	}
	list := func(args ...string) (ids []string) {
		t.Helper()
		for page := args; ; {
			var out mlsapi.GetConvosOutput
			carol.Get(t, mlsapi.MethodGetConvos, &out, append(page, "limit", "2")...).OK(t)
			for i := range out.Conversations {
				ids = append(ids, out.Conversations[i].ID)
			}
			if out.Cursor == nil {
				return ids
			}
			page = append(append([]string{}, args...), "cursor", *out.Cursor)
		}
	}
	assert.ElementsMatch(t, want[:3], list()[:3])
	assert.ElementsMatch(t, want[3:], list()[3:])
	assert.ElementsMatch(t, want, list("state", "all"))
	assert.ElementsMatch(t, want[:3], list("state", "active"))
	assert.ElementsMatch(t, want[3:], list("state", "invited"))
}

// TestListsTellNothingOfInvitations: what happens in a conversation moves nothing in the list of
// who is only invited to it, and its cursors stay as they are.
func TestListsTellNothingOfInvitations(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	carol := s.Users(1)[0].Register(t, 9)
	inviters := s.Users(3)
	chats := make([]*e2e.Chat, len(inviters))
	for i, u := range inviters {
		chats[i] = u.Invite(t, carol.User)
	}
	// A day apart.
	for i, c := range chats {
		change(t, s, "UPDATE members SET joined_at = joined_at - make_interval(days => $1) WHERE convo_id = (SELECT convo_id FROM convo_groups WHERE group_id = $2)", 3-i, c.ID)
		change(t, s, "UPDATE conversations SET last_activity_at = last_activity_at - make_interval(days => $1) WHERE id = (SELECT convo_id FROM convo_groups WHERE group_id = $2)", 3-i, c.ID)
	}
	list := func() (ids, cursors []string) {
		t.Helper()
		args := []string{"state", "invited", "limit", "1"}
		for {
			var out mlsapi.GetConvosOutput
			carol.Get(t, mlsapi.MethodGetConvos, &out, append(args, cursors[max(len(cursors)-2, 0):]...)...).OK(t)
			ids = append(ids, out.Conversations[0].ID)
			if out.Cursor == nil {
				return ids, cursors
			}
			cursors = append(cursors, "cursor", *out.Cursor)
		}
	}
	ids, cursors := list()
	assert.Equal(t, []string{chats[2].ID, chats[1].ID, chats[0].ID}, ids, "the newest one first")
	inviters[0].Send(t, chats[0])
	idsAfter, cursorsAfter := list()
	assert.Equal(t, ids, idsAfter)
	assert.Equal(t, cursors, cursorsAfter)
}
