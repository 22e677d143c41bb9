package e2e_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mlstest"
)

// resets tries a reset and returns its answer, and the chat behind it.
func resets(t *testing.T, d *e2e.Device, c *e2e.Chat, others ...*e2e.Device) (e2e.Answer, *e2e.VerifiedChat) {
	t.Helper()
	in, group := d.ResetInput(t, c, others...)
	chat := &e2e.VerifiedChat{Chat: &e2e.Chat{ID: c.ID}}
	chat.Move(group)
	return d.Post(t, mlsapi.MethodResetConvo, in, nil), chat
}

// age makes all that counts in days a day older.
func age(t *testing.T, s *e2e.Server) {
	t.Helper()
	change(t, s, "UPDATE commits SET created_at = created_at - interval '1 day'")
	change(t, s, "UPDATE convo_resets SET created_at = created_at - interval '1 day'")
	change(t, s, "UPDATE messages SET received_bucket_ts = received_bucket_ts - interval '1 day' WHERE kind = 4")
}

// A member who is no admin resets a conversation only when a majority cannot follow and nothing can
// be taken back, with everybody who can be welcomed; and all such members together once a day, so
// that two who report each other cannot throw the others out again and again (I14).
func TestMembersReset(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	u, chat := gathering(t, s, 4)
	admin, bob, carol, dave := u[0], u[1], u[2], u[3]
	for _, d := range u {
		d.RegisterAgain(t, 20)
	}
	dave.Post(t, mlsapi.MethodSendMessage, garbage(chat), nil).OK(t)
	refused := func(d *e2e.Device, others ...*e2e.Device) {
		t.Helper()
		a, _ := resets(t, d, chat, others...)
		a.Want(t, forbidden, "NotAdmin")
	}
	refused(bob, admin, carol, dave)
	age(t, s)
	refused(bob, admin, carol, dave) // it is old, and nobody says that it cannot be followed
	reports(t, bob, chat, 1, "")
	refused(bob, admin, carol, dave) // one of three
	assert.False(t, reports(t, carol, chat, 1, ""), "a day old, it is not taken back")
	suite := bob.Client.Suite
	bob.Client.Suite = 3
	refused(bob) // of another cipher suite nobody has key packages
	bob.Client.Suite = suite
	a, _ := resets(t, bob, chat, admin, carol)
	a.Want(t, bad, "WelcomeMismatch") // dave could be there
	laptop := carol.Register(t, 20)
	a, _ = resets(t, bob, chat, admin, carol, dave)
	a.Want(t, bad, "WelcomeMismatch") // so could the laptop
	a, _ = resets(t, bob, chat, admin, carol, laptop, dave)
	a.OK(t)
	view := admin.Convo(t, chat)
	assert.Len(t, view.Members, 5)
	for i := range view.Members {
		assert.Equal(t, view.Members[i].UserDID == admin.DID, view.Members[i].IsAdmin)
	}

	// What bob has begun is garbage, say the others: it cannot be taken back, and after a day
	// another member may begin anew. Who has begun it has no voice.
	refused(dave, admin, bob, carol, laptop)
	reports(t, bob, chat, 1, "")
	reports(t, carol, chat, 1, "")
	reports(t, dave, chat, 1, "")
	a, _ = resets(t, dave, chat, admin, bob, carol, laptop)
	a.Want(t, http.StatusTooManyRequests, "RateLimitExceeded")
	if after := number(t, a, "Retry-After"); after < 23*3600 || after > 24*3600 {
		t.Errorf("Retry-After %d, want a day", after)
	}
	a, _ = resets(t, bob, chat, admin, carol, laptop, dave)
	a.Want(t, http.StatusTooManyRequests, "RateLimitExceeded")
	// An admin needs not wait, and may begin with whom it likes; nobody is off the roster by that.
	a, next := resets(t, admin, chat, bob)
	a.OK(t)
	assert.Len(t, bob.Convo(t, chat).Members, 5)
	bob.Send(t, next.Chat)
	age(t, s)
	refused(dave, admin, bob, carol) // reports of the group before mean nothing here
}

// A minority cannot reset, and who joined later has no voice about what was before (I14).
func TestMinorityCannotReset(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	u, chat := gathering(t, s, 5)
	mallory := u[4]
	late := s.Users(1)[0].Register(t, 4)
	u[0].Add(t, chat, late.User)
	mallory.Post(t, mlsapi.MethodSendMessage, garbage(chat), nil).OK(t)
	age(t, s)
	for _, d := range []*e2e.Device{mallory, u[1], u[2]} {
		reports(t, d, chat, 2, "")
	}
	a, _ := resets(t, u[1], chat, u[0], u[2], u[3], mallory, late)
	a.Want(t, forbidden, "NotAdmin") // two of five
	reports(t, late, chat, 2, "")
	a, _ = resets(t, u[1], chat, u[0], u[2], u[3], mallory, late)
	a.OK(t)
}

// A lone reporter is heard once a day about one committer; about the next commit the way on is a
// reset, and of a conversation's beginning it is the only one.
func TestLoneMemberResets(t *testing.T) {
	t.Parallel()
	bob, alice, chat := couple(t) // bob is the admin
	s := alice.Server
	a, _ := resets(t, alice, chat, bob)
	a.Want(t, forbidden, "NotAdmin")
	bob.Post(t, mlsapi.MethodSendMessage, garbage(chat), nil).OK(t)
	assert.True(t, reports(t, alice, chat, 1, ""))
	change(t, s, "UPDATE messages SET received_bucket_ts = received_bucket_ts - interval '12 hours' WHERE kind = 4")
	bob.Post(t, mlsapi.MethodSendMessage, garbage(chat), nil).OK(t)
	assert.False(t, reports(t, alice, chat, 1, ""))
	a, next := resets(t, alice, chat, bob)
	a.OK(t)
	alice.Send(t, next.Chat)

	// A conversation whose Welcome nobody can use.
	dave, erin := s.Users(1)[0].Register(t, 4), s.Users(1)[0].Register(t, 4)
	useless := dave.Create(t, erin.User)
	a, _ = resets(t, erin, useless, dave)
	a.Want(t, forbidden, "NotAdmin")
	assert.False(t, reports(t, erin, useless, 1, ""))
	erin.ReportCommit(t, useless, 2, "").Want(t, missing, "CommitNotFound")
	a, _ = resets(t, erin, useless, dave)
	a.OK(t)
}

// Who blocks the caller cannot be welcomed by it, and holds nobody up.
func TestResetWithoutWhoBlocks(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	u, chat := gathering(t, s, 3)
	u[2].Post(t, mlsapi.MethodSendMessage, garbage(chat), nil).OK(t)
	reports(t, u[1], chat, 1, "")
	age(t, s)
	reports(t, u[0], chat, 1, "")
	s.Blocks.Block(u[2].DID, u[1].DID)
	a, _ := resets(t, u[1], chat, u[0])
	a.OK(t)
	assert.Len(t, u[1].Convo(t, chat).Members, 3)
}

// After a ReInit commit every member may begin the announced group, and no other one, unless it has
// been taken meanwhile.
func TestResetAfterReInit(t *testing.T) {
	t.Parallel()
	for _, taken := range []bool{false, true} {
		f := follow(t)
		next := mlstest.NewVerifiedGroup(f.bob.Client)
		f.alice.SendCommit(t, f.chat, mlstest.Draft{NoPath: true, Others: []mlstest.Proposal{mlstest.ReInitTo(next.Group)}})
		f.bob.Post(t, mlsapi.MethodSendMessage, f.chat.Message(), nil).Want(t, conflict, "GroupReinitialized")
		for _, d := range []*e2e.Device{f.alice, f.bob} {
			a, _ := resets(t, d, f.chat.Chat, without(d, f.alice, f.bob, f.carol)...)
			a.Want(t, conflict, "GroupReinitialized")
		}
		added := f.bob.Additions(t, f.alice, f.carol)
		_, group := next.Commit(0, nil, mlstest.Draft{Add: added})
		in := &mlsapi.ResetConvoInput{
			ConvoID: f.chat.ID, ExpectedEpoch: int64(f.chat.Tree.Epoch), GroupID: string(group.GroupID()), IdempotencyKey: e2e.Key(),
			CipherSuite: mlsapi.ResetConvoInputCipherSuite(group.Suite.String()), GroupInfo: *e2e.Text(group.GroupInfo(0)),
			WelcomeMessages: []string{*e2e.Text(group.Welcome(added[0].Package.Ref, added[1].Package.Ref))},
		}
		if !taken {
			f.bob.Post(t, mlsapi.MethodResetConvo, in, nil).OK(t)
			f.chat.Move(group)
			f.carol.Send(t, f.chat.Chat)
			f.carol.SendCommit(t, f.chat, mlstest.Draft{})
			continue
		}
		create, _ := f.dave.VerifiedCreation(t)
		create.GroupID, create.GroupInfo = string(group.GroupID()), nil
		f.dave.Post(t, mlsapi.MethodCreateConvo, create, nil).OK(t)
		f.bob.Post(t, mlsapi.MethodResetConvo, in, nil).Want(t, conflict, "GroupAlreadyExists")
		a, _ := resets(t, f.carol, f.chat.Chat, f.alice, f.bob)
		a.OK(t)
	}
}

// without are the others of some devices.
func without(d *e2e.Device, all ...*e2e.Device) (others []*e2e.Device) {
	for _, o := range all {
		if o != d {
			others = append(others, o)
		}
	}
	return others
}
