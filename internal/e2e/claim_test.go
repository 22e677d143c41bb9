package e2e_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mlstest"
)

// claims is the request id of a removal that a commit is said to have made, "" for none.
func claims(t *testing.T, u *e2e.User, chat *e2e.Chat, target *e2e.User) string {
	t.Helper()
	for _, p := range u.Pending(t, chat) {
		if p.Kind == "removal" && p.UserDID == target.DID && p.Claimed != nil && *p.Claimed {
			return p.RequestID
		}
	}
	return ""
}

// judge says of a removal whether it was made, and tells whether it is open by that.
func judge(t *testing.T, u *e2e.User, chat *e2e.Chat, request string, gone bool) bool {
	t.Helper()
	in := &mlsapi.ReportCommitInput{ConvoID: chat.ID, Reason: "removed", RequestID: &request}
	if !gone {
		in.Reason = "not_removed"
	}
	var out mlsapi.ReportCommitOutput
	u.Post(t, mlsapi.MethodReportCommit, in, &out).OK(t)
	return out.Reopened
}

// Whom an opaque commit is said to remove stays in sight until others than its committer say so:
// an admin, or two users, each once for a commit. Anybody may say the opposite each time.
func TestRemovalsByWord(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	u, chat := gathering(t, s, 6)
	alice, bob, carol, dave, erin, mallory := u[0], u[1], u[2], u[3], u[4], u[5]
	// A leaver's garbage instead of a proposal, and a commit that knows nothing of it: nobody's
	// word is taken for more than it is.
	mallory.Leave(t, chat, chat.Group.PrivateProposal()).OK(t)
	assert.True(t, owes(t, alice.User, chat, mallory.User))
	bob.SendBytes(t, chat, chat.Group.PrivateCommit()).OK(t)
	chat.Next()
	claim := claims(t, carol.User, chat, mallory.User)
	assert.NotEmpty(t, claim)
	assert.False(t, owes(t, carol.User, chat, mallory.User), "nobody has to commit it meanwhile")
	assert.False(t, judge(t, bob.User, chat, claim, true))
	assert.False(t, judge(t, carol.User, chat, claim, true))
	assert.NotEmpty(t, claims(t, alice.User, chat, mallory.User), "the committer and one user are not enough")
	stream := erin.Follow(t, "")
	assert.True(t, judge(t, dave.User, chat, claim, false))
	assert.Equal(t, claim, stream.Await(t, "removal-pending").RequestID)
	assert.True(t, owes(t, carol.User, chat, mallory.User))
	assert.False(t, judge(t, carol.User, chat, claim, true))
	assert.True(t, owes(t, carol.User, chat, mallory.User), "what was said before the dispute is forgotten")

	// The removal is committed by name; two others confirm it, and one who disputes it anew is
	// heard once more, since there was another commit.
	carol.Post(t, mlsapi.MethodLeaveConvo, &mlsapi.LeaveConvoInput{ConvoID: chat.ID, TargetDID: &mallory.DID, Commit: e2e.Text(chat.Group.PrivateCommit())}, nil).OK(t)
	chat.Next()
	for _, d := range []*e2e.Device{carol, bob, bob, dave} {
		assert.Equal(t, claim, claims(t, alice.User, chat, mallory.User))
		assert.False(t, judge(t, d.User, chat, claim, true))
	}
	assert.Empty(t, alice.Pending(t, chat))
	assert.True(t, judge(t, erin.User, chat, claim, false), "two who lie can be contradicted")
	assert.True(t, owes(t, alice.User, chat, mallory.User))
	assert.False(t, judge(t, alice.User, chat, claim, true))
	assert.Empty(t, alice.Pending(t, chat), "an admin's word is enough")
	assert.True(t, judge(t, erin.User, chat, claim, false), "who sees the leaf is heard each time")
	for _, d := range []*e2e.Device{alice, bob, dave} {
		assert.False(t, judge(t, d.User, chat, claim, true))
	}
	assert.True(t, owes(t, alice.User, chat, mallory.User), "nobody says the same of one commit twice")
	carol.Post(t, mlsapi.MethodLeaveConvo, &mlsapi.LeaveConvoInput{ConvoID: chat.ID, TargetDID: &mallory.DID, Commit: e2e.Text(chat.Group.PrivateCommit())}, nil).OK(t)
	chat.Next()
	assert.False(t, judge(t, alice.User, chat, claim, true))
	assert.Empty(t, alice.Pending(t, chat))

	// An admin's removal with an opaque commit is its word, too, and goes back with the commit.
	alice.Remove(t, chat, erin.User, chat.Group.PrivateCommit()).OK(t)
	epoch := chat.Group.Epoch
	claim = claims(t, bob.User, chat, erin.User)
	assert.NotEmpty(t, claim)
	judge(t, alice.User, chat, claim, true)
	assert.Equal(t, claim, claims(t, bob.User, chat, erin.User), "an admin does not confirm itself")
	reports(t, bob, chat, epoch, "")
	assert.True(t, reports(t, carol, chat, epoch, ""))
	assert.True(t, owes(t, bob.User, chat, erin.User))
	// Who is left alone has nobody to ask.
	for _, d := range []*e2e.Device{bob, carol, dave} {
		alice.Remove(t, chat, d.User, chat.Group.PrivateCommit()).OK(t)
		chat.Next()
	}
	for _, d := range []*e2e.Device{bob, carol, dave} {
		judge(t, alice.User, chat, claims(t, alice.User, chat, d.User), true)
	}
	assert.Len(t, alice.Pending(t, chat), 1, "erin's is owed and nobody has committed it")
}

// Nobody's word counts about a group that the server follows, about what is no removal, or from
// outside.
func TestNoWordAboutWhatIsSeen(t *testing.T) {
	t.Parallel()
	f := follow(t)
	f.carol.Leave(t, f.chat.Chat, nil).OK(t)
	debt := f.view(f.bob).PendingRequests[0].RequestID
	say := func(d *e2e.Device, request *string) e2e.Answer {
		return d.Post(t, mlsapi.MethodReportCommit, &mlsapi.ReportCommitInput{ConvoID: f.chat.ID, Reason: "removed", RequestID: request}, nil)
	}
	assert.Contains(t, say(f.alice, &debt).Want(t, bad, "InvalidRequest").Message, "/requestId")
	say(f.alice, nil).Want(t, bad, "InvalidRequest")
	say(f.alice, new("no such request")).Want(t, bad, "InvalidRequest")
	say(f.carol, &debt).Want(t, forbidden, "NotMember")
	say(f.dave, &debt).Want(t, missing, "ConvoNotFound")
	assert.Len(t, f.view(f.bob).PendingRequests, 1)
	f.bob.SendCommit(t, f.chat, mlstest.Draft{Remove: []uint32{2}})
	assert.Empty(t, f.view(f.bob).PendingRequests)
}
