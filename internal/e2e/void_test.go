package e2e_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/authtest"
	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
	"mls-server/internal/pgtest"
)

// gathering makes a conversation of n users; the first one is its admin.
func gathering(t *testing.T, s *e2e.Server, n int) ([]*e2e.Device, *e2e.Chat) {
	t.Helper()
	users := s.Users(n)
	devices := make([]*e2e.Device, n)
	for i, u := range users {
		devices[i] = u.Register(t, 4)
	}
	return devices, users[0].Create(t, users[1:]...)
}

// reports tells whether a report reopened an epoch.
func reports(t *testing.T, u *e2e.Device, chat *e2e.Chat, epoch mls.Epoch, commit string) bool {
	t.Helper()
	a := u.ReportCommit(t, chat, int64(epoch), commit).OK(t)
	var out mlsapi.ReportCommitOutput
	if err := out.UnmarshalJSON(a.Body); err != nil {
		t.Fatal(err)
	}
	return out.Reopened
}

// garbage is a commit that nobody can process, padded, with a message id of its own.
func garbage(chat *e2e.Chat) *mlsapi.SendMessageInput {
	in := chat.Message()
	in.Ciphertext = mlstest.PadDirect(chat.Group.PrivateCommit(), 0)
	in.PaddedSize = int64(len(in.Ciphertext))
	return in
}

// TestGarbageCommitIsTakenBack: one message of any member ended a conversation for ever. Now a
// majority of those who cannot follow takes it back, a minority cannot, and everybody goes on from
// the epoch before (I14).
func TestGarbageCommitIsTakenBack(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	u, chat := gathering(t, s, 5)
	alice, bob, carol, dave, mallory := u[0], u[1], u[2], u[3], u[4]
	stream := bob.Follow(t, "")
	commit := garbage(chat)
	mallory.Post(t, mlsapi.MethodSendMessage, commit, nil).OK(t)
	lost := *chat
	lost.Next()
	text := mallory.Send(t, &lost)

	if reports(t, mallory, chat, 1, "") || reports(t, alice, chat, 1, commit.MsgID) || reports(t, alice, chat, 1, "") || reports(t, bob, chat, 1, "") {
		t.Fatal("two of four electors took a commit back")
	}
	if got := alice.Epoch(t, chat); got != 2 {
		t.Fatalf("epoch %d after the reports of a minority", got)
	}
	if !reports(t, carol, chat, 1, "") || !reports(t, dave, chat, 1, commit.MsgID) {
		t.Fatal("three of four electors did not take the commit back")
	}
	if got := alice.Epoch(t, chat); got != 1 {
		t.Fatalf("epoch %d, want 1", got)
	}
	stream.Await(t, "epoch-reopened")
	page := dave.Messages(t, chat)
	for i, want := range []struct {
		id, kind string
		void     bool
	}{{commit.MsgID, "commit", true}, {text.MessageID, "app", true}, {"", "notice", false}} {
		m := page.Messages[i]
		if m.Seq != int64(i+1) || string(*m.MessageType) != want.kind || (m.Void != nil && *m.Void) != want.void || want.id != "" && m.ID != want.id {
			t.Errorf("message %d is %s %s, void %v; want %+v", m.Seq, *m.MessageType, m.ID, m.Void, want)
		}
	}
	if n := page.Messages[2]; len(n.Ciphertext) != 0 || n.Epoch != 1 {
		t.Errorf("the notice has %d bytes and names epoch %d", len(n.Ciphertext), n.Epoch)
	}
	var commits mlsapi.GetCommitsOutput
	dave.Get(t, mlsapi.MethodGetCommits, &commits, "convoId", chat.ID, "fromEpoch", "0").OK(t)
	if len(commits.Commits) != 0 {
		t.Errorf("getCommits has %d void commits", len(commits.Commits))
	}

	// Neither the request nor the bytes come back, and its sender waits, which costs the others
	// nothing.
	mallory.Post(t, mlsapi.MethodSendMessage, commit, nil).Want(t, conflict, "CommitVoid")
	again := *commit
	again.MsgID = chat.Message().MsgID
	mallory.Post(t, mlsapi.MethodSendMessage, &again, nil).Want(t, conflict, "CommitVoid")
	bob.Post(t, mlsapi.MethodSendMessage, &again, nil).Want(t, conflict, "CommitVoid")
	a := mallory.Post(t, mlsapi.MethodSendMessage, garbage(chat), nil).Want(t, http.StatusTooManyRequests, "RateLimitExceeded")
	if after := number(t, a, "Retry-After"); after < 500 || after > 600 {
		t.Errorf("Retry-After %d, want ten minutes", after)
	}
	mallory.Send(t, chat)
	alice.SendBytes(t, chat, chat.Group.PrivateCommit()).OK(t)
	chat.Next()
	bob.Send(t, chat)
	// The reports are used up: the next commit begins without any.
	if reports(t, carol, chat, 1, "") {
		t.Error("one report took the next commit back")
	}
	checkInvariants(t, s)
}

// What a void commit added is gone, with its Welcome; whom it removed stays away, and is owed
// (I14).
func TestVoidCommitIsUndone(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	u, chat := gathering(t, s, 5)
	alice, bob, carol, dave, mallory := u[0], u[1], u[2], u[3], u[4]
	eve := s.Users(1)[0].Register(t, 4)
	stream := eve.Follow(t, "")
	add := mallory.Addition(t, chat, eve.User)
	mallory.Post(t, mlsapi.MethodAddMembers, add, nil).OK(t)
	eve.Accept(t, chat).OK(t)
	next := *chat
	next.Next()
	if _, a := eve.User.Welcome(t, chat, ""); a.Status != http.StatusOK {
		t.Fatalf("eve has no Welcome: %d", a.Status)
	}
	eve.Send(t, &next)
	// Whom the commit added has no voice about it.
	eve.ReportCommit(t, chat, 1, "").Want(t, missing, "CommitNotFound")
	for i, r := range []*e2e.Device{alice, bob, carol} {
		if reports(t, r, chat, 1, "") != (i == 2) {
			t.Fatalf("report %d", i)
		}
	}
	stream.Await(t, "welcome-revoked")
	eve.Get(t, mlsapi.MethodGetEpoch, nil, "convoId", chat.ID).Want(t, missing, "ConvoNotFound")
	if _, a := eve.User.Welcome(t, chat, ""); a.Error != "ConvoNotFound" {
		t.Errorf("eve's Welcome: %d %s", a.Status, a.Error)
	}
	// The kept answer of a void commit does not come back.
	mallory.Post(t, mlsapi.MethodAddMembers, add, nil).Want(t, conflict, "CommitVoid")
	alice.Add(t, chat, eve.User)
	eve.Send(t, chat)

	// A removal stands when its commit does not: the leaf is owed again.
	alice.Remove(t, chat, dave.User, chat.Group.PrivateCommit()).OK(t)
	if owes(t, bob.User, chat, dave.User) {
		t.Fatal("a removal came with its commit, and is owed")
	}
	epoch := chat.Group.Epoch
	for i, r := range []*e2e.Device{bob, carol, eve} {
		if reports(t, r, chat, epoch, "") != (i == 2) {
			t.Fatalf("report %d about the removal", i)
		}
	}
	dave.Get(t, mlsapi.MethodGetEpoch, nil, "convoId", chat.ID).Want(t, forbidden, "NotMember")
	pending := bob.Pending(t, chat)
	if len(pending) != 1 || !owes(t, bob.User, chat, dave.User) {
		t.Fatalf("pending: %+v", pending)
	}
	// An admin's removal waits for nothing.
	alice.Remove(t, chat, carol.User, chat.Group.PrivateCommit()).OK(t)
	checkInvariants(t, s)
}

// Where only one may speak it is heard, once a day about one committer; nobody is heard about what
// is a day old.
func TestLoneReporter(t *testing.T) {
	t.Parallel()
	alice, bob, chat := couple(t)
	s := alice.Server
	bob.Post(t, mlsapi.MethodSendMessage, garbage(chat), nil).OK(t)
	if !reports(t, alice, chat, 1, "") {
		t.Fatal("the lone reporter is not heard")
	}
	change(t, s, "UPDATE messages SET received_bucket_ts = received_bucket_ts - interval '12 hours' WHERE kind = 4")
	bob.Post(t, mlsapi.MethodSendMessage, garbage(chat), nil).OK(t)
	if reports(t, alice, chat, 1, "") {
		t.Error("the lone reporter is heard twice a day")
	}
	change(t, s, "UPDATE messages SET received_bucket_ts = received_bucket_ts - interval '12 hours' WHERE kind = 4")
	change(t, s, "UPDATE commits SET created_at = created_at - interval '1 day' WHERE void_seq IS NULL")
	if reports(t, alice, chat, 1, "") {
		t.Error("a commit that is a day old was taken back")
	}
	change(t, s, "UPDATE commits SET created_at = created_at + interval '1 hour' WHERE void_seq IS NULL")
	if !reports(t, alice, chat, 1, "") {
		t.Error("the lone reporter is not heard the next day")
	}
	// Twice taken back is twice the wait.
	a := bob.Post(t, mlsapi.MethodSendMessage, garbage(chat), nil).Want(t, http.StatusTooManyRequests, "RateLimitExceeded")
	if after := number(t, a, "Retry-After"); after < 1100 || after > 1200 {
		t.Errorf("Retry-After %d, want twenty minutes", after)
	}
}

// Who has been away for days does not hold the others back; a few of many cannot speak for all.
func TestMembersWhoAreAway(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	u, chat := gathering(t, s, 10)
	mallory := u[9]
	mallory.Post(t, mlsapi.MethodSendMessage, garbage(chat), nil).OK(t)
	change(t, s, "UPDATE user_days SET seen_on = seen_on - interval '10 days' WHERE user_did = ''")
	for _, d := range u[1:4] {
		change(t, s, "INSERT INTO user_days (user_did, seen_on) VALUES ($1, date_bin('1 day', now() - interval '1 day', '2000-01-01 00:00:00+00')) ON CONFLICT (user_did) DO UPDATE SET seen_on = excluded.seen_on", d.DID)
	}
	// Nine electors, three of them here: one is no majority, two are one but no quarter of all.
	if reports(t, u[1], chat, 1, "") || reports(t, u[2], chat, 1, "") {
		t.Error("less than a quarter took a commit back")
	}
	// With an admin among them they need not be a quarter.
	if !reports(t, u[0], chat, 1, "") {
		t.Error("three of four who are here, with an admin, were not heard")
	}
}

// A device that asks to be added again cannot report: it follows nothing anyhow. And a report holds
// for all later commits: the chain goes back to the first that cannot be followed.
func TestChainsAreTakenBack(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	u, chat := gathering(t, s, 4)
	first := garbage(chat)
	u[3].Post(t, mlsapi.MethodSendMessage, first, nil).OK(t)
	next := *chat
	next.Next()
	second := garbage(&next)
	u[2].Post(t, mlsapi.MethodSendMessage, second, nil).OK(t)
	// Both of the others cannot follow the first; about the second, u[3] has a voice too.
	if reports(t, u[0], chat, 1, first.MsgID) {
		t.Fatal("one report")
	}
	if !reports(t, u[1], chat, 1, first.MsgID) {
		t.Fatal("two of three about each did not take them back")
	}
	if got := u[0].Epoch(t, chat); got != 1 {
		t.Errorf("epoch %d, want 1", got)
	}
	u[2].Post(t, mlsapi.MethodSendMessage, second, nil).Want(t, conflict, "CommitVoid")
	page := u[0].Messages(t, chat)
	if len(page.Messages) != 3 || *page.Messages[2].MessageType != "notice" {
		t.Errorf("%d messages", len(page.Messages))
	}
	checkInvariants(t, s)
}

// TestVoidingRaces: reports through two servers, the committer's next commit, and the messages of a
// joiner run against each other. Whatever comes first, there is one notice, no gap, one commit an
// epoch that stands, and a way on (I14).
func TestVoidingRaces(t *testing.T) {
	t.Parallel()
	dir, db := authtest.NewDirectory(t, nil), pgtest.New(t)
	servers := []*e2e.Server{e2e.StartOn(t, db, dir), e2e.StartOn(t, db, dir)}
	for range 5 {
		u, chat := gathering(t, servers[0], 6)
		joiner := servers[0].Users(1)[0].Register(t, 2)
		mallory := u[5]
		mallory.Post(t, mlsapi.MethodAddMembers, mallory.Addition(t, chat, joiner.User), nil).OK(t)
		next := *chat
		next.Next()
		var wg sync.WaitGroup
		try := func(i int, who *e2e.User, in e2e.Request, at string) {
			wg.Go(func() {
				m := mlsapi.MethodSendMessage
				if at == "report" {
					m = mlsapi.MethodReportCommit
				}
				at := &e2e.User{Identity: who.Identity, Server: servers[i%2]}
				if a, err := at.Try(t.Context(), m, in); err != nil || a.Status >= http.StatusInternalServerError {
					t.Errorf("%v %d %s %s", err, a.Status, a.Error, a.Message)
				}
			})
		}
		for i, r := range u[:5] {
			try(i, r.User, post(&mlsapi.ReportCommitInput{ConvoID: chat.ID, Epoch: 1, Reason: "cannot_process"}), "report")
		}
		try(0, mallory.User, post(garbage(&next)), "send")
		for i := range 4 {
			try(i, joiner.User, post(next.Message()), "send")
		}
		wg.Wait()
		for i := range 10 { // some reported another commit than the one they meant
			r := u[i%5]
			for _, epoch := range []int64{2, 1} {
				r.ReportCommit(t, chat, epoch, "")
			}
		}
		if got := u[0].Epoch(t, chat); got != 1 {
			t.Errorf("epoch %d, want 1", got)
		}
		u[0].SendBytes(t, chat, chat.Group.PrivateCommit()).OK(t)
		for _, row := range rowsOf(t, servers[0], "SELECT max(seq), count(*) FROM messages WHERE convo_id = (SELECT g.convo_id FROM convo_groups g WHERE g.group_id = $1)", chat.ID) {
			if row[0] != row[1] {
				t.Errorf("%s messages up to seq %s", row[1], row[0])
			}
		}
		if n := rowsOf(t, servers[0], "SELECT count(*) FROM commits WHERE convo_id = (SELECT g.convo_id FROM convo_groups g WHERE g.group_id = $1) AND void_seq IS NULL", chat.ID)[0][0]; n != "1" {
			t.Errorf("%s commits stand, want 1", n)
		}
	}
	checkInvariants(t, servers[0])
}

// TestVoidingIsOneTransaction: the connection is lost at each table that a voiding writes to.
// Either all of it has happened or nothing, and the same report, sent again, does it (I14).
func TestVoidingIsOneTransaction(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	u, chat := gathering(t, s, 4)
	laptop := u[0].Register(t, 4) // the commit fulfils a request, adds a device, and another user
	eve := s.Users(1)[0].Register(t, 4)
	packages := append(u[3].ClaimDevice(t, laptop), u[3].Claim(t, eve.DID)...)
	u[3].Post(t, mlsapi.MethodAddMembers, e2e.AdditionOf(chat, packages, u[0].DID, eve.DID), nil).OK(t)
	if reports(t, u[1], chat, 1, "") {
		t.Fatal("one report of two electors")
	}
	lostAtEachTable(t, s, func() e2e.Answer { return u[2].ReportCommit(t, chat, 1, "") },
		"commit_reports", "commits", "members", "welcomes", "pending_welcomes", "removal_debts", "event_stream", "messages", "group_states", "conversations",
		"welcome_routes", "block_conflicts", "invitations", "send_keys")
	if got := u[2].Epoch(t, chat); got != 1 {
		t.Errorf("epoch %d, want 1", got)
	}
	// The device that was added is asked for again, and its user is still there.
	pending := u[0].Pending(t, chat)
	if len(pending) != 1 || pending[0].Kind != "device" || *pending[0].DeviceID != laptop.ID {
		t.Errorf("pending: %+v", pending)
	}
	if _, a := u[0].User.Welcome(t, chat, laptop.ID); a.Error != "WelcomeNotFound" {
		t.Errorf("the Welcome of a void commit: %d %s", a.Status, a.Error)
	}
	checkInvariants(t, s)
}

// refuseVoid produces what a commit that was taken back is answered, by each method that takes one.
func refuseVoid(t *testing.T) {
	t.Helper()
	alice, bob, chat := couple(t)
	carol := alice.Server.Users(1)[0].Register(t, 2)
	alice.ReportCommit(t, chat, 0, "").Want(t, missing, "CommitNotFound")
	bytes := chat.Group.PrivateCommit()
	bob.SendBytes(t, chat, bytes).OK(t)
	alice.ReportCommit(t, chat, 2, "").Want(t, missing, "CommitNotFound")
	alice.ReportCommit(t, chat, 1, "no such commit").Want(t, missing, "CommitNotFound")
	in := &mlsapi.ReportCommitInput{ConvoID: chat.ID, Epoch: 1, Reason: "I do not like it"}
	if a := alice.Post(t, mlsapi.MethodReportCommit, in, nil).Want(t, bad, "InvalidRequest"); !strings.Contains(a.Message, "/reason") {
		t.Errorf("%q does not name the field", a.Message)
	}
	in = &mlsapi.ReportCommitInput{ConvoID: chat.ID, Epoch: 1, Reason: "cannot_process", DeviceID: &bob.ID}
	alice.Post(t, mlsapi.MethodReportCommit, in, nil).Want(t, bad, "InvalidRequest")
	alice.ReportCommit(t, chat, 1, "").OK(t)
	alice.SendBytes(t, chat, bytes).Want(t, conflict, "CommitVoid")
	add := alice.Addition(t, chat, carol.User)
	add.Commit = new(mls.EncodeText(bytes))
	alice.Post(t, mlsapi.MethodAddMembers, add, nil).Want(t, conflict, "CommitVoid")
	alice.Remove(t, chat, bob.User, bytes).Want(t, conflict, "CommitVoid")
	text := mls.EncodeText(bytes)
	alice.Post(t, mlsapi.MethodLeaveConvo, &mlsapi.LeaveConvoInput{ConvoID: chat.ID, TargetDID: &bob.DID, Commit: &text}, nil).
		Want(t, conflict, "CommitVoid")
}

// In a verified conversation the group's state goes back with the epoch, and the next commit is
// judged by it (I14).
func TestVoidCommitOfVerifiedGroup(t *testing.T) {
	t.Parallel()
	f := follow(t)
	before := f.chat.Tree
	f.carol.AddVerified(t, f.chat, mlstest.Draft{}, f.dave)
	epoch := before.Epoch
	if reports(t, f.alice, f.chat.Chat, epoch, "") || !reports(t, f.bob, f.chat.Chat, epoch, "") {
		t.Fatal("two electors did not decide together")
	}
	f.chat.Move(before)
	f.roster(map[*e2e.Device]int64{f.alice: 0, f.bob: 1, f.carol: 2})
	f.alice.SendCommit(t, f.chat, mlstest.Draft{})
	f.bob.AddVerified(t, f.chat, mlstest.Draft{}, f.dave)
	f.roster(map[*e2e.Device]int64{f.alice: 0, f.bob: 1, f.carol: 2, f.dave: 3})
	f.dave.Send(t, f.chat.Chat)
}

// Whose membership has ended before the commit that had begun it is taken back hears nothing of
// that: its last event was that of its leaving (I10).
func TestVoidingTellsNothingToWhoLeft(t *testing.T) {
	t.Parallel()
	u, chat := gathering(t, e2e.Start(t), 3)
	alice, bob, carol := u[0], u[1], u[2]
	dave := alice.Server.Users(1)[0].Register(t, 6)
	alice.Create(t, dave.User) // dave accepts: they know each other from now on
	told, members := dave.Follow(t, ""), bob.Follow(t, "")
	epoch := chat.Group.Epoch
	alice.Add(t, chat, dave.User)
	dave.Leave(t, chat, nil).OK(t)
	require.False(t, reports(t, bob, chat, epoch, ""))
	require.True(t, reports(t, carol, chat, epoch, ""))
	own := dave.Create(t)
	end := dave.Send(t, own)
	told.AwaitWhere(t, "message", func(e e2e.Event) bool { return e.MessageID == end.MessageID })
	chat.Group = chat.Group.At(epoch)
	last := alice.Send(t, chat)
	members.AwaitWhere(t, "message", func(e e2e.Event) bool { return e.MessageID == last.MessageID })
	var kinds []string
	for _, e := range told.Events() {
		if e.ConvoID == chat.ID {
			kinds = append(kinds, e.Kind)
		}
	}
	assert.Equal(t, "membership-changed", kinds[len(kinds)-1], kinds)
	changes := 0
	for _, e := range about(members, dave.DID) {
		if e.ConvoID == chat.ID && e.Kind == "membership-changed" {
			changes++
		}
	}
	assert.Equal(t, 2, changes, "the members were told of his coming and of his leaving")
}

// A user whose place alone is left, since it has deleted the device that the commit had added, is
// off the roster with that commit, and told so.
func TestVoidingEndsKeptPlaces(t *testing.T) {
	t.Parallel()
	u, chat := gathering(t, e2e.Start(t), 3)
	alice, bob, carol := u[0], u[1], u[2]
	dave := alice.Server.Users(1)[0].Register(t, 6)
	alice.Create(t, dave.User)
	members := bob.Follow(t, "")
	epoch := chat.Group.Epoch
	alice.Add(t, chat, dave.User)
	dave.User.Delete(t, dave, nil).OK(t)
	require.False(t, reports(t, bob, chat, epoch, ""))
	require.True(t, reports(t, carol, chat, epoch, ""))
	dave.Get(t, mlsapi.MethodGetEpoch, nil, "convoId", chat.ID).Want(t, missing, "ConvoNotFound")
	chat.Group = chat.Group.At(epoch)
	last := alice.Send(t, chat)
	members.AwaitWhere(t, "message", func(e e2e.Event) bool { return e.MessageID == last.MessageID })
	var kinds []string
	for _, e := range about(members, dave.DID) {
		if e.ConvoID == chat.ID {
			kinds = append(kinds, e.Kind)
		}
	}
	assert.Equal(t, "membership-changed", kinds[len(kinds)-1], kinds)
}
