package e2e_test

import (
	"slices"
	"testing"

	"mls-server/internal/e2e"
)

// A stream that resumes from before what retention has removed is told so when something of the
// user's is gone, and only then.
func TestCompactedIsToldToThoseWhoLost(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	u := s.Users(10)
	devices := make([]*e2e.Device, len(u))
	for i := range u {
		devices[i] = u[i].Register(t, 3)
	}
	alice, bob, carol, dave, erin, frank, gina, hank, kim, lea := u[0], u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9]
	quiet := alice.Create(t, bob, dave)
	busy := carol.Create(t, dave)
	reporting := gina.Create(t, hank, bob)
	stream := bob.Follow(t, "")
	id := alice.Send(t, quiet).MessageID
	cursor := "cursor=" + stream.AwaitWhere(t, "message", func(e e2e.Event) bool { return e.MessageID == id }).Cursor

	// What is lost: a message, a membership from its beginning to its end, a report to an admin,
	// and that packages run low.
	carol.Send(t, busy)
	carol.Add(t, busy, frank)
	carol.Remove(t, busy, frank, nil).OK(t)
	_, a := hank.Report(t, reporting, bob, "spam")
	a.OK(t)
	for range 3 {
		lea.Claim(t, kim.DID)
	}
	after(t, s, 31)
	if left := rowsOf(t, s, "SELECT 1 FROM event_stream"); len(left) > 0 {
		t.Fatalf("%d events are left", len(left))
	}

	for _, d := range devices { // their key packages have expired
		d.RegisterAgain(t, 2)
	}
	alice.Send(t, quiet)
	gina.Send(t, reporting)
	carol.Add(t, busy, erin)
	alice.Create(t, lea)
	for _, c := range []struct {
		name  string
		user  *e2e.User
		query string
		lost  bool
		last  string
	}{
		{"a member of a conversation without events", bob, "&convoId=" + quiet.ID, false, "message"},
		{"in that conversation, while another one has lost events", dave, "&convoId=" + quiet.ID, false, "message"},
		{"a member of both", dave, "", true, "compacted"},
		{"in the other conversation", dave, "&convoId=" + busy.ID, true, "compacted"},
		{"who has sent what is lost", carol, "", true, "compacted"},
		{"who joined after it", erin, "", false, "membership-changed"},
		{"who was added and removed in between", frank, "", true, "compacted"},
		{"an admin who was told of a report", gina, "", true, "compacted"},
		{"a member where only admins were told", hank, "", false, "message"},
		{"who was told that packages run low", kim, "", true, "compacted"},
		{"who was in nothing", lea, "", false, "membership-changed"},
	} {
		got := c.user.Follow(t, cursor+c.query)
		got.Await(t, c.last)
		if told := slices.Contains(got.Kinds(), "compacted"); told != c.lost {
			t.Errorf("%s: told compacted %t, want %t; %v", c.name, told, c.lost, got.Kinds())
		}
	}
}
