package e2e

import (
	"testing"

	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mlstest"
)

// Joining is the request by which a device joins the group of a chat by itself, and the group
// behind it. A device that is in the group replaces its own leaf.
func (d *Device) Joining(tb testing.TB, c *VerifiedChat, draft mlstest.Draft) (*mlsapi.ProcessExternalCommitInput, *mlstest.VerifiedGroup) {
	tb.Helper()
	draft.External = true
	for index, member := range c.Tree.Members {
		if member == d.Client {
			draft.Remove = append(draft.Remove, index)
		}
	}
	commit, next := c.Tree.Commit(0, d.Client, draft)
	return &mlsapi.ProcessExternalCommitInput{
		ConvoID: c.ID, ExternalCommit: *Text(commit), GroupInfo: Text(next.GroupInfo(next.LeafOf(d.Client))),
	}, next
}

// Join joins the group of a chat by itself, and moves the chat to the epoch behind it.
func (d *Device) Join(tb testing.TB, c *VerifiedChat, draft mlstest.Draft) mlsapi.ProcessExternalCommitOutput {
	tb.Helper()
	in, next := d.Joining(tb, c, draft)
	var out mlsapi.ProcessExternalCommitOutput
	d.Post(tb, mlsapi.MethodProcessExternalCommit, in, &out).OK(tb)
	c.Move(next)
	return out
}

// Vouched is a join for which another device vouches.
func (c *VerifiedChat) Vouched(by, joiner *Device) mlstest.Draft {
	return mlstest.Draft{AuthenticatedData: by.Client.Vouch(c.Tree.ID, joiner.Client.SignatureKey)}
}
