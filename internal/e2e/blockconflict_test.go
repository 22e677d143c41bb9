package e2e_test

import (
	"strings"
	"sync"
	"testing"

	"mls-server/internal/authtest"
	"mls-server/internal/blocks/blockstest"
	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/pgtest"
	"mls-server/lexrt"
)

// blockScene is a conversation in which one member may block another, told of by the members'
// clients and by a Jetstream.
type blockScene struct {
	server                  *e2e.Server
	env                     e2e.Env
	source                  *blockstest.Server
	jetstream               *jetstream
	admin, blocker, blocked *e2e.User
	chat                    *e2e.Chat
	toAdmin                 *e2e.Stream
	seen                    float64 // events of the Jetstream
}

func newBlockScene(t *testing.T) *blockScene {
	t.Helper()
	c := &blockScene{source: blockstest.New(t, nil), jetstream: newJetstream(t)}
	dir := authtest.NewDirectory(t, nil)
	c.env = e2e.Env{
		"JETSTREAM_URL": "ws://" + c.jetstream.hostPort() + "/subscribe",
		"EGRESS_ALLOW":  strings.Join(append(dir.HostPorts(), c.jetstream.hostPort(), c.source.HostPort()), ","),
		// The AppView is away: what counts is the records on the members' own servers.
		"APPVIEW_URL": c.source.URL() + "/away",
	}
	c.server = e2e.StartOn(t, pgtest.New(t), dir, c.env)
	users := c.server.Users(3)
	c.admin, c.blocker, c.blocked = users[0], users[1], users[2]
	for _, u := range users {
		u.SetPDS(c.source.URL())
		c.source.AddAccount(u.DID)
		u.Register(t, 3)
	}
	c.chat = c.admin.Create(t, c.blocker, c.blocked)
	c.toAdmin = c.admin.Follow(t, "")
	return c
}

// report has the blocker's client say what became of its block.
func (c *blockScene) report(t *testing.T, action string, uri *lexrt.ATURI) mlsapi.HandleBlockChangeOutput {
	t.Helper()
	var out mlsapi.HandleBlockChangeOutput
	c.blocker.Post(t, mlsapi.MethodHandleBlockChange, blockChange(c.blocker, c.blocked.DID, action, uri), &out).OK(t)
	return out
}

// tell has the Jetstream say it, and waits until the server has dealt with it.
func (c *blockScene) tell(t *testing.T, subject mls.DID, uri lexrt.ATURI) {
	t.Helper()
	event := "block"
	if subject == "" {
		event = "unblock"
	}
	before := c.metric(t, event)
	c.jetstream.publish(t, c.blocker.DID, subject, string(uri.RecordKey()))
	eventually(t, "the Jetstream's event is seen", func() bool { return c.metric(t, event) == before+1 })
	// The next event is read when this one has been dealt with. It is of a record that nobody
	// knows.
	c.seen = c.metric(t, "unblock")
	c.jetstream.publish(t, c.blocker.DID, "", "3kzzzzzzzzzz2")
	eventually(t, "the Jetstream's event is dealt with", func() bool { return c.metric(t, "unblock") == c.seen+1 })
}

func (c *blockScene) metric(t *testing.T, event string) float64 {
	t.Helper()
	return scrape(t, c.server)[`mls_jetstream_events_total{event="`+event+`"}`]
}

// told is how many conflicts the admin's stream has shown, up to now.
func (c *blockScene) told(t *testing.T) (n int) {
	t.Helper()
	in := c.chat.Message()
	c.admin.Post(t, mlsapi.MethodSendMessage, in, nil).OK(t)
	c.toAdmin.AwaitWhere(t, "message", func(e e2e.Event) bool { return e.MessageID == in.MsgID })
	for _, kind := range c.toAdmin.Kinds() {
		if kind == "block-conflict" {
			n++
		}
	}
	return n
}

// resolved is how many conflicts the statistics count as over.
func (c *blockScene) resolved(t *testing.T) int64 {
	t.Helper()
	var out mlsapi.GetAdminStatsOutput
	c.admin.Get(t, mlsapi.MethodGetAdminStats, &out, "convoId", c.chat.ID).OK(t)
	return out.Stats.BlockConflictsResolved
}

// Admins hear of a block once, however often and by however many ways the server hears of it; and
// again of one that is made anew.
func TestBlockConflictIsToldOnce(t *testing.T) {
	t.Parallel()
	for _, jetstreamFirst := range []bool{false, true} {
		t.Run(map[bool]string{false: "the client first", true: "the Jetstream first"}[jetstreamFirst], func(t *testing.T) {
			t.Parallel()
			c := newBlockScene(t)
			for round := 1; round <= 2; round++ {
				uri := c.source.Block(c.blocker.DID, c.blocked.DID)
				if jetstreamFirst {
					c.tell(t, c.blocked.DID, uri)
				}
				first := c.report(t, "created", &uri)
				if a := first.AffectedConvos; len(a) != 1 || a[0].Action != "admin_notified" || !a[0].AdminNotified || a[0].NotificationSentAt == nil {
					t.Fatalf("round %d: affected: %+v", round, a)
				}
				if !jetstreamFirst {
					c.tell(t, c.blocked.DID, uri)
				}
				var at sync.WaitGroup
				for range 8 {
					at.Go(func() {
						if again := c.report(t, "created", nil); *again.AffectedConvos[0].NotificationSentAt != *first.AffectedConvos[0].NotificationSentAt {
							t.Errorf("a repeat says that the admins were told at %v, not at %v", again, first)
						}
					})
				}
				at.Wait()
				if n := c.told(t); n != round {
					t.Errorf("round %d: the admin was told %d times", round, n)
				}
				c.source.Unblock(uri)
				if jetstreamFirst {
					c.tell(t, "", uri)
				}
				for range 3 {
					if out := c.report(t, "removed", &uri); out.AffectedConvos[0].Action != "no_action" {
						t.Errorf("affected by an unblock: %+v", out.AffectedConvos)
					}
				}
				if !jetstreamFirst {
					c.tell(t, "", uri)
				}
				if n := c.resolved(t); n != int64(round) {
					t.Errorf("round %d: %d conflicts resolved", round, n)
				}
			}
		})
	}
}

// Without any report of a client, the Jetstream alone begins and ends conflicts.
func TestBlockConflictsOfTheJetstream(t *testing.T) {
	t.Parallel()
	c := newBlockScene(t)
	for round := 1; round <= 2; round++ {
		uri := c.source.Block(c.blocker.DID, c.blocked.DID)
		c.tell(t, c.blocked.DID, uri)
		if n := c.told(t); n != round {
			t.Errorf("round %d: the admin was told %d times", round, n)
		}
		c.source.Unblock(uri)
		c.tell(t, "", uri)
		if n := c.resolved(t); n != int64(round) {
			t.Errorf("round %d: %d conflicts resolved", round, n)
		}
	}
}

// The end of a block that the admins never heard of leaves nothing in audit and statistics.
func TestUnblocksCannotBeForged(t *testing.T) {
	t.Parallel()
	c := newBlockScene(t)
	for range 20 {
		c.report(t, "removed", nil)
	}
	if n := c.resolved(t); n != 0 {
		t.Errorf("%d conflicts resolved that never were", n)
	}
	// Nor does a block that was there before both were in one conversation, and ended in it.
	uri := c.source.Block(c.blocker.DID, c.blocked.DID)
	c.blocker.Post(t, mlsapi.MethodLeaveConvo, &mlsapi.LeaveConvoInput{ConvoID: c.chat.ID}, nil).OK(t)
	c.report(t, "created", &uri)
	c.source.Unblock(uri)
	c.report(t, "removed", &uri)
	if n := c.resolved(t); n != 0 {
		t.Errorf("%d conflicts resolved that never were", n)
	}
}

// A conflict ends with the membership: who comes back and blocks again is told of again.
func TestBlockConflictEndsWithTheMembership(t *testing.T) {
	t.Parallel()
	c := newBlockScene(t)
	uri := c.source.Block(c.blocker.DID, c.blocked.DID)
	c.report(t, "created", &uri)
	c.blocker.Post(t, mlsapi.MethodLeaveConvo, &mlsapi.LeaveConvoInput{ConvoID: c.chat.ID}, nil).OK(t)
	c.source.Unblock(uri)
	c.report(t, "removed", &uri)
	c.admin.Add(t, c.chat, c.blocker)
	uri = c.source.Block(c.blocker.DID, c.blocked.DID)
	c.report(t, "created", &uri)
	if n := c.told(t); n != 2 {
		t.Errorf("the admin was told %d times", n)
	}
}
