package e2e

import (
	"sync"
	"testing"

	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
)

// accounts are the users of all tests by their DIDs, for those who answer for others.
var accounts sync.Map

// Accept accepts an invitation.
func (u *User) Accept(tb testing.TB, c *Chat) Answer {
	tb.Helper()
	return u.Post(tb, mlsapi.MethodAcceptConvo, &mlsapi.AcceptConvoInput{ConvoID: c.ID}, nil)
}

// accepted has users accept whom u has added to a conversation: most tests are about what comes
// after that.
func (u *User) accepted(tb testing.TB, c *Chat, dids ...mls.DID) {
	tb.Helper()
	for _, did := range dids {
		account, _ := accounts.Load(did)
		if known, ok := account.(*User); ok && did != u.DID {
			them := *known
			them.Server = u.Server
			them.Accept(tb, c).OK(tb)
		}
	}
}

// Invitations lists the first page of the conversations that the user is invited to.
func (u *User) Invitations(tb testing.TB) []mlsapi.DefsConvoView {
	tb.Helper()
	var out mlsapi.GetConvosOutput
	u.Get(tb, mlsapi.MethodGetConvos, &out, "state", "invited").OK(tb)
	return out.Conversations
}

// Invite is Create without the answers of the others.
func (u *User) Invite(tb testing.TB, others ...*User) *Chat {
	tb.Helper()
	chat, in := u.Invitation(tb, others...)
	var out mlsapi.CreateConvoOutput
	u.Post(tb, mlsapi.MethodCreateConvo, in, &out).OK(tb)
	chat.ID = out.ID
	chat.Group = chat.Group.At(mls.Epoch(out.Epoch))
	return chat
}
