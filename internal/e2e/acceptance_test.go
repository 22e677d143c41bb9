package e2e_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mlstest"
)

// A device that went while its user was invited does not make it one that never accepted.

// TestUndoneMembersLeave: who has accepted is told that it is off the roster when its addition is
// taken back, and no stream of its, live or replayed, shows anything later (I10), whatever has
// become of the devices that were added while it was invited.
func TestUndoneMembersLeave(t *testing.T) {
	t.Parallel()
	// Each returns the first commit that has added her.
	for name, invite := range map[string]func(u []*e2e.Device, chat *e2e.Chat, eve *e2e.Device) string{
		"a device is gone": func(u []*e2e.Device, chat *e2e.Chat, eve *e2e.Device) string {
			tablet := eve.User.Register(t, 4)
			commit := addStranger(t, u[2], chat, eve)
			eve.User.Delete(t, tablet, nil).OK(t)
			return commit
		},
		"all devices are gone": func(u []*e2e.Device, chat *e2e.Chat, eve *e2e.Device) string {
			commit := addStranger(t, u[2], chat, eve)
			eve.User.Delete(t, eve, nil).OK(t)
			return commit
		},
		"each device is gone before the next one comes": func(u []*e2e.Device, chat *e2e.Chat, eve *e2e.Device) string {
			commit := addStranger(t, u[2], chat, eve)
			for range 2 {
				old := eve
				eve = eve.User.Register(t, 4)
				addStranger(t, u[2], chat, eve)
				eve.User.Delete(t, old, old.Prove(old, nil)).OK(t)
			}
			return commit
		},
		"it was invited before": func(u []*e2e.Device, chat *e2e.Chat, eve *e2e.Device) string {
			commit := addStranger(t, u[2], chat, eve)
			u[0].Remove(t, chat, eve.User, nil).OK(t)
			eve.User.Delete(t, eve, nil).OK(t)
			eve.User.Register(t, 4)
			addStranger(t, u[2], chat, eve)
			return commit
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := e2e.Start(t)
			u, chat := gathering(t, s, 3)
			eve := s.Users(1)[0].Register(t, 4)
			live := eve.Follow(t, "")
			before := chat.Group.Epoch
			commit := invite(u, chat, eve)
			eve.Accept(t, chat).OK(t)
			live.AwaitWhere(t, "membership-changed", func(e e2e.Event) bool { return e.User == eve.DID })
			for i, r := range u[:2] {
				require.Equal(t, i == 1, reports(t, r, chat, before, commit))
			}
			live.Await(t, "welcome-revoked")
			chat.Group = chat.Group.At(before)
			later := u[0].Send(t, chat)
			// A conversation of her own marks the end of what could come.
			own := eve.Create(t)
			end := eve.Send(t, own)
			for _, stream := range []*e2e.Stream{live, eve.Follow(t, "cursor="+live.Events()[0].Cursor)} {
				stream.AwaitWhere(t, "message", func(e e2e.Event) bool { return e.MessageID == end.MessageID })
				told := 0
				for _, e := range stream.Events() {
					assert.NotEqual(t, later.MessageID, e.MessageID)
					if e.Kind == "membership-changed" && e.User == eve.DID && e.ConvoID == chat.ID {
						told++
					}
				}
				assert.Equal(t, 2, told, "she came, and went")
			}
			checkInvariants(t, s)
		})
	}
}

// addStranger adds a user's devices to an opaque conversation, and returns the commit's id.
func addStranger(t *testing.T, u *e2e.Device, chat *e2e.Chat, stranger *e2e.Device) string {
	t.Helper()
	var out mlsapi.AddMembersOutput
	u.Post(t, mlsapi.MethodAddMembers, e2e.AdditionOf(chat, u.Claim(t, stranger.DID), stranger.DID), &out).OK(t)
	chat.Next()
	return *out.MessageID
}

// TestDebtsOfMembersAreShown: a removal that is open again because its commit is void is a
// member's, whenever its user has accepted: members learn which device it is.
func TestDebtsOfMembersAreShown(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]func(f *followed, tablet *e2e.Device){
		"removed":             func(*followed, *e2e.Device) {},
		"deleted and removed": func(f *followed, tablet *e2e.Device) { f.dave.User.Delete(t, tablet, nil).OK(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := follow(t)
			tablet := f.dave.User.Register(t, 4)
			in, next := f.alice.VerifiedAddition(t, f.chat, mlstest.Draft{}, f.dave, tablet)
			f.alice.Post(t, mlsapi.MethodAddMembers, in, nil).OK(t)
			f.chat.Move(next)
			first(f, tablet)
			before := f.chat.Tree
			f.alice.SendCommit(t, f.chat, mlstest.Draft{Remove: []uint32{f.chat.Leaf(t, tablet)}})
			require.Empty(t, f.bob.Pending(t, f.chat.Chat))
			f.dave.Accept(t, f.chat.Chat).OK(t)
			var owed []mlsapi.GetConvosPendingRequest
			for i, r := range []*e2e.Device{f.bob, f.carol} {
				require.Equal(t, i == 1, reports(t, r, f.chat.Chat, before.Epoch, ""))
			}
			for _, p := range f.bob.Pending(t, f.chat.Chat) {
				if p.Kind == "removal" {
					owed = append(owed, p)
				}
			}
			require.Len(t, owed, 1)
			require.NotNil(t, owed[0].DeviceID)
			assert.Equal(t, tablet.ID, *owed[0].DeviceID)
		})
	}
}

// TestWithheldLeavesCanBeRemoved: of what a user owes that is still invited, any member removes the
// leaf that is named, and nothing else.
func TestWithheldLeavesCanBeRemoved(t *testing.T) {
	t.Parallel()
	f := follow(t)
	tablet := f.dave.User.Register(t, 4)
	in, next := f.alice.VerifiedAddition(t, f.chat, mlstest.Draft{}, f.dave, tablet)
	f.alice.Post(t, mlsapi.MethodAddMembers, in, nil).OK(t)
	f.chat.Move(next)
	f.dave.User.Delete(t, tablet, nil).OK(t)
	owed := f.bob.Pending(t, f.chat.Chat)
	require.Len(t, owed, 1)
	assert.Equal(t, "removal", string(owed[0].Kind))
	assert.Nil(t, owed[0].DeviceID)
	require.NotNil(t, owed[0].LeafIndex)
	assert.Equal(t, int64(f.chat.Leaf(t, tablet)), *owed[0].LeafIndex)
	f.bob.SendCommit(t, f.chat, mlstest.Draft{Remove: []uint32{uint32(*owed[0].LeafIndex)}})
	assert.Empty(t, f.bob.Pending(t, f.chat.Chat))
	assert.Len(t, f.dave.Invitations(t), 1)
	f.dave.Accept(t, f.chat.Chat).OK(t)
	f.dave.Send(t, f.chat.Chat)
}

// TestLastReadsAfterAcceptance: who accepted, and left before anybody said a word, reads what it
// could read as a member, whichever device went while it was invited.
func TestLastReadsAfterAcceptance(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	u, chat := gathering(t, s, 2)
	eve := s.Users(1)[0].Register(t, 4)
	tablet := eve.User.Register(t, 4)
	u[0].Post(t, mlsapi.MethodAddMembers, e2e.AdditionOf(chat, u[0].Claim(t, eve.DID), eve.DID), nil).OK(t)
	chat.Next()
	sent := u[0].Send(t, chat)
	eve.User.Delete(t, tablet, nil).OK(t)
	eve.Accept(t, chat).OK(t)
	eve.Leave(t, chat, nil).OK(t)
	read := lastReads(t, eve.User, chat.ID)
	require.Len(t, read, 1)
	assert.Equal(t, sent.MessageID, read[0].ID)
}

// TestInvitationsOutliveTheirInviter: who is invited by an account that is erased can accept as
// before, and is a member with all that was added of it.
func TestInvitationsOutliveTheirInviter(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	u, chat := gathering(t, s, 2)
	eve := s.Users(1)[0].Register(t, 4)
	tablet := eve.User.Register(t, 4)
	addStranger(t, u[1], chat, eve)
	sent := u[0].Send(t, chat)
	eve.User.Delete(t, tablet, nil).OK(t)
	s.Operate(t, "erase-user", "--wait", "0s", string(u[1].DID))
	view := eve.Invitations(t)
	require.Len(t, view, 1)
	assert.Regexp(t, `^did:web:[a-z0-9]+\.erased\.invalid$`, string(*view[0].InvitedBy))
	eve.Accept(t, chat).OK(t)
	assert.Empty(t, eve.Invitations(t))
	var owed []string
	for _, p := range u[0].Pending(t, chat) {
		if p.UserDID == eve.DID {
			owed = append(owed, *p.DeviceID)
		}
	}
	assert.Equal(t, []string{tablet.ID}, owed)
	eve.Leave(t, chat, nil).OK(t)
	read := lastReads(t, eve.User, chat.ID)
	require.Len(t, read, 1)
	assert.Equal(t, sent.MessageID, read[0].ID)
}
