package e2e

import (
	"testing"

	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mlstest"
)

// ResetInput is the request by which a device begins a new group for a conversation, with other
// devices, and the group that it is for.
func (d *Device) ResetInput(tb testing.TB, c *Chat, others ...*Device) (*mlsapi.ResetConvoInput, *mlstest.VerifiedGroup) {
	tb.Helper()
	var now mlsapi.GetEpochOutput
	d.Get(tb, mlsapi.MethodGetEpoch, &now, "convoId", c.ID).OK(tb)
	group := mlstest.NewVerifiedGroup(d.Client)
	in := &mlsapi.ResetConvoInput{
		ConvoID: c.ID, ExpectedGeneration: *now.Generation, ExpectedEpoch: now.CurrentEpoch, GroupID: string(group.GroupID()),
		CipherSuite: mlsapi.ResetConvoInputCipherSuite(group.Suite.String()), IdempotencyKey: Key(),
	}
	if len(others) > 0 {
		added := d.Additions(tb, others...)
		_, group = group.Commit(0, nil, mlstest.Draft{Add: added})
		in.WelcomeMessages = []string{*welcome(group, added)}
	}
	in.GroupInfo = *Text(group.GroupInfo(0))
	return in, group
}

// Reset begins a new group for a conversation, which is verified from then on.
func (d *Device) Reset(tb testing.TB, c *Chat, others ...*Device) *VerifiedChat {
	tb.Helper()
	in, group := d.ResetInput(tb, c, others...)
	d.Post(tb, mlsapi.MethodResetConvo, in, nil).OK(tb)
	chat := &VerifiedChat{Chat: &Chat{ID: c.ID}}
	chat.Move(group)
	return chat
}
