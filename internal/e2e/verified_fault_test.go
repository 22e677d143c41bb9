package e2e_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
)

// carrier is a method that takes a commit, with what a commit has to do there.
type carrier struct {
	name  string
	draft mlstest.Draft
	// submit gives a commit of alice's to the method; info is nil for none.
	submit func(commit, info []byte) e2e.Answer
}

// made makes a commit of alice's, or her join from outside, and the GroupInfo that goes along with
// it.
func (f *followed) made(d mlstest.Draft) (commit, info []byte, next *mlstest.VerifiedGroup) {
	if !d.External {
		commit, next = f.chat.Tree.Commit(0, nil, d)
		info = f.chat.Tree.GroupInfo(0) // for the commit that removes its own sender
		if d.Path != nil {
			next.Members[0] = d.Path
		}
		if next.Members[0] != nil {
			info = next.GroupInfo(0)
		}
		return commit, info, next
	}
	joiner := f.alice.Client
	if d.Path != nil {
		joiner = d.Path
	}
	commit, next = f.chat.Tree.Commit(0, joiner, d)
	if !d.NoPath {
		info = next.GroupInfo(next.LeafOf(joiner))
	}
	return commit, info, next
}

// optionalText is Text that leaves nil out.
func optionalText(b []byte) *string {
	if b == nil {
		return nil
	}
	return e2e.Text(b)
}

// carriers are the methods for one conversation.
func (f *followed) carriers() []carrier {
	f.t.Helper()
	dave := f.alice.Additions(f.t, f.dave)
	addition := mlstest.Draft{Add: dave}
	_, behind := f.chat.Tree.Commit(0, nil, addition)
	remove := mlstest.Draft{Remove: []uint32{2}}
	return []carrier{
		{"sendMessage", mlstest.Draft{}, func(commit, info []byte) e2e.Answer {
			return f.alice.Post(f.t, mlsapi.MethodSendMessage, f.chat.Handshake(commit, info), nil)
		}},
		{"addMembers", addition, func(commit, info []byte) e2e.Answer {
			return f.alice.Post(f.t, mlsapi.MethodAddMembers, &mlsapi.AddMembersInput{
				ConvoID: f.chat.ID, IdempotencyKey: e2e.Key(), DIDList: []mls.DID{f.dave.DID}, Commit: e2e.Text(commit),
				GroupInfo: optionalText(info), WelcomeMessage: e2e.Text(behind.Welcome(dave[0].Package.Ref)),
			}, nil)
		}},
		{"removeMember", remove, func(commit, info []byte) e2e.Answer {
			return f.alice.Post(f.t, mlsapi.MethodRemoveMember, &mlsapi.RemoveMemberInput{
				ConvoID: f.chat.ID, IdempotencyKey: *e2e.Key(), TargetDID: f.carol.DID, Commit: e2e.Text(commit), GroupInfo: optionalText(info),
			}, nil)
		}},
		{"leaveConvo", remove, func(commit, info []byte) e2e.Answer {
			return f.alice.Post(f.t, mlsapi.MethodLeaveConvo, &mlsapi.LeaveConvoInput{
				ConvoID: f.chat.ID, TargetDID: &f.carol.DID, Commit: e2e.Text(commit), GroupInfo: optionalText(info),
			}, nil)
		}},
		{"processExternalCommit", mlstest.Draft{External: true, Remove: []uint32{0}}, func(commit, info []byte) e2e.Answer {
			return f.alice.Post(f.t, mlsapi.MethodProcessExternalCommit, &mlsapi.ProcessExternalCommitInput{
				ConvoID: f.chat.ID, ExternalCommit: *e2e.Text(commit), GroupInfo: optionalText(info),
			}, nil)
		}},
	}
}

// fault is what can be false about a commit or what comes with it.
type fault struct {
	name string
	// make changes the draft that a method expects, and what came of it.
	draft func(f *followed, d *mlstest.Draft)
	bytes func(f *followed, d mlstest.Draft, commit, info []byte) ([]byte, []byte)
	// members and joiners say that the fault is one of their commits only.
	members, joiners bool
	// error is the answer's name, code the fault that its message begins with.
	status int
	error  string
	code   mls.Code
}

const (
	commitFault = "InvalidCommit"
	infoFault   = "InvalidGroupInfo"
)

// faults are those of a commit of alice's, an admin.
var faults = []fault{
	{name: "encrypted", bytes: func(f *followed, _ mlstest.Draft, _, info []byte) ([]byte, []byte) {
		return f.chat.Tree.PrivateCommit(), info
	}, error: commitFault, code: mls.CodePublicMessageRequired},
	{name: "no GroupInfo", bytes: func(_ *followed, _ mlstest.Draft, commit, _ []byte) ([]byte, []byte) {
		return commit, nil
	}, error: infoFault, code: mls.CodeGroupInfoMissing},
	{name: "half a GroupInfo", bytes: func(_ *followed, _ mlstest.Draft, commit, info []byte) ([]byte, []byte) {
		return commit, info[:len(info)/2]
	}, error: infoFault, code: mls.CodeTruncated},
	{name: "the GroupInfo of now", bytes: func(f *followed, _ mlstest.Draft, commit, _ []byte) ([]byte, []byte) {
		return commit, f.chat.Tree.GroupInfo(0)
	}, error: infoFault, code: mls.CodeWrongEpoch},
	{name: "another group's GroupInfo", bytes: func(f *followed, _ mlstest.Draft, commit, _ []byte) ([]byte, []byte) {
		return commit, mlstest.NewVerifiedGroup(f.alice.Client).GroupInfo(0)
	}, error: infoFault, code: mls.CodeWrongGroup},
	{name: "another commit's GroupInfo", bytes: func(f *followed, d mlstest.Draft, commit, _ []byte) ([]byte, []byte) {
		_, other, _ := f.made(d)
		return commit, other
	}, error: infoFault, code: mls.CodeTreeHashMismatch},
	{name: "a GroupInfo that another member signed", bytes: func(f *followed, d mlstest.Draft, _, _ []byte) ([]byte, []byte) {
		commit, _, next := f.made(d)
		return commit, next.GroupInfo(1)
	}, error: infoFault, code: mls.CodeGroupInfoSignature},
	{name: "a broken signature", draft: func(_ *followed, d *mlstest.Draft) { d.BadSignature = true }, error: commitFault, code: mls.CodeContentSignature},
	{name: "parent hashes", draft: func(_ *followed, d *mlstest.Draft) { d.BadParentHash = true }, error: commitFault, code: mls.CodeBadParentHash},
	{name: "secrets for nobody", draft: func(_ *followed, d *mlstest.Draft) { d.BadSecrets = true }, error: commitFault, code: mls.CodeBadUpdatePath},
	{name: "a path of somebody else", draft: func(f *followed, d *mlstest.Draft) { d.Path = mlstest.NewClient(f.dave.DID, "", f.chat.Tree.Suite) }, error: commitFault, code: mls.CodeNotTheCaller},
	{name: "somebody else's commit", bytes: func(f *followed, d mlstest.Draft, _, _ []byte) ([]byte, []byte) {
		if d.External {
			d.Remove = []uint32{1}
		}
		commit, next := f.chat.Tree.Commit(1, f.bob.Client, d)
		return commit, next.GroupInfo(1)
	}, error: commitFault, code: mls.CodeNotTheCaller},
	{name: "a reference to nothing", draft: func(f *followed, d *mlstest.Draft) {
		d.Refs = []mlstest.Sent{f.chat.Tree.ProposeUpdate(1)}
	}, error: commitFault, code: mls.CodeUnknownProposalRef},
	{name: "an unknown proposal", draft: func(_ *followed, d *mlstest.Draft) {
		d.Others = []mlstest.Proposal{mlstest.Custom(0x7a7b, []byte{1})}
	}, error: commitFault, code: mls.CodeUnknownProposal},
	{name: "a removal of nobody", draft: func(_ *followed, d *mlstest.Draft) { d.Remove = []uint32{9} }, error: commitFault, code: mls.CodeUnknownLeaf},
	{name: "a removal of oneself", members: true, draft: func(_ *followed, d *mlstest.Draft) { d.Remove = []uint32{0} }, error: commitFault, code: mls.CodeSelfRemoval},
	{name: "a removal without a path", draft: func(_ *followed, d *mlstest.Draft) {
		d.Remove, d.NoPath = []uint32{2}, true
	}, error: commitFault, code: mls.CodeMissingUpdatePath},
	{name: "external senders", members: true, draft: func(_ *followed, d *mlstest.Draft) {
		d.Extensions = []mlstest.Extension{{Type: mls.ExtensionExternalSenders, Data: []byte{0}}}
	}, error: commitFault, code: mls.CodeForbiddenExtension},
	{name: "a change that only members may make", joiners: true, draft: func(_ *followed, d *mlstest.Draft) {
		d.Extensions = []mlstest.Extension{}
	}, error: commitFault, code: mls.CodeBadExternalCommit},
	{name: "a second removal", joiners: true, draft: func(_ *followed, d *mlstest.Draft) {
		d.Remove = []uint32{0, 2}
	}, error: commitFault, code: mls.CodeBadExternalCommit},
	{name: "the old leaf stays", joiners: true, draft: func(_ *followed, d *mlstest.Draft) {
		d.Remove = nil
	}, error: commitFault, code: mls.CodeDuplicateKey},
	{name: "a member's commit", joiners: true, bytes: func(f *followed, _ mlstest.Draft, _, _ []byte) ([]byte, []byte) {
		commit, info, _ := f.made(mlstest.Draft{})
		return commit, info
	}, error: commitFault, code: mls.CodeBadExternalCommit},
	{name: "an external commit", members: true, bytes: func(f *followed, _ mlstest.Draft, _, _ []byte) ([]byte, []byte) {
		joiner := mlstest.NewClient(f.alice.DID, "", f.chat.Tree.Suite)
		commit, next := f.chat.Tree.Commit(0, joiner, mlstest.Draft{External: true})
		return commit, next.GroupInfo(3)
	}, error: commitFault, code: mls.CodeBadExternalCommit},
	{name: "of the epoch before", bytes: func(f *followed, _ mlstest.Draft, _, _ []byte) ([]byte, []byte) {
		return f.before.commit, f.before.info
	}, status: conflict, error: "EpochMismatch"},
}

// Every fault that can be seen in a commit, or in the GroupInfo that comes with it, is refused by
// name by every method that takes a commit, and nothing of the request stays; the commit without
// the fault is accepted (I13).
func TestFaultsOfVerifiedCommits(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"sendMessage", "addMembers", "removeMember", "leaveConvo", "processExternalCommit"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := follow(t)
			f.before.commit, f.before.info, _ = f.chat.Commit(t, f.alice, mlstest.Draft{})
			f.bob.SendCommit(t, f.chat, mlstest.Draft{})
			c := f.carrier(name)
			before := f.picture()
			for _, fault := range faults {
				d := c.draft
				if d.External && fault.members || !d.External && fault.joiners {
					continue
				}
				if fault.draft != nil {
					fault.draft(f, &d)
				}
				commit, info, _ := f.made(d)
				if fault.bytes != nil {
					commit, info = fault.bytes(f, d, commit, info)
				}
				a := c.submit(commit, info)
				status := fault.status
				if status == 0 {
					status = bad
				}
				a.Want(t, status, fault.error)
				if fault.code != 0 {
					assert.Contains(t, a.Message, fault.code.String(), fault.name)
				}
				assert.Equal(t, before, f.picture(), fault.name)
			}
			commit, info, next := f.made(c.draft)
			c.submit(commit, info).OK(t)
			assert.Equal(t, int64(next.Epoch), f.alice.Epoch(t, f.chat.Chat))
		})
	}
}

func (f *followed) carrier(name string) carrier {
	f.t.Helper()
	for _, c := range f.carriers() {
		if c.name == name {
			return c
		}
	}
	require.FailNow(f.t, "no such method", name)
	return carrier{}
}

// picture is what a request that was refused must leave as it was.
func (f *followed) picture() any {
	f.t.Helper()
	v := *f.view(f.alice)
	page := f.alice.Messages(f.t, f.chat.Chat)
	return []any{v.Epoch, v.Members, v.PendingRequests, v.CommitID, len(page.Messages), *page.LastSeq}
}

// Rights belong to who proposes: what a plain member may not commit it may not propose either, and
// nobody can commit it for it (I13).
func TestRightsInVerifiedGroups(t *testing.T) {
	t.Parallel()
	f := follow(t)
	before := f.picture()
	refused := func(a e2e.Answer, status int, name string, code mls.Code) {
		t.Helper()
		a.Want(t, status, name)
		if code != 0 {
			assert.Contains(t, a.Message, code.String())
		}
		assert.Equal(t, before, f.picture())
	}
	send := func(from *e2e.Device, message, info []byte) e2e.Answer {
		t.Helper()
		return from.Post(t, mlsapi.MethodSendMessage, f.chat.Handshake(message, info), nil)
	}
	bobs := func(d mlstest.Draft) (commit, info []byte) {
		t.Helper()
		commit, info, _ = f.chat.Commit(t, f.bob, d)
		return commit, info
	}
	commit, info := bobs(mlstest.Draft{Remove: []uint32{2}})
	refused(send(f.bob, commit, info), forbidden, "NotAdmin", 0)
	commit, info = bobs(mlstest.Draft{Remove: []uint32{0}})
	refused(send(f.bob, commit, info), forbidden, "NotAdmin", 0)
	refused(send(f.bob, f.chat.Tree.ProposeRemove(1, 2).Message, nil), forbidden, "NotAdmin", 0)
	commit, info = bobs(mlstest.Draft{Extensions: []mlstest.Extension{}})
	refused(send(f.bob, commit, info), forbidden, "NotAdmin", 0)
	commit, info = bobs(mlstest.Draft{Others: []mlstest.Proposal{mlstest.ReInit()}, NoPath: true})
	refused(send(f.bob, commit, info), forbidden, "NotAdmin", 0)
	// An addition has to name whom it adds, and to whom the Welcome goes.
	added := f.bob.Additions(t, f.dave)
	commit, info = bobs(mlstest.Draft{Add: added})
	refused(send(f.bob, commit, info), bad, "InvalidCommit", mls.CodeRosterMismatch)
	in, _ := f.bob.VerifiedAddition(t, f.chat, mlstest.Draft{}, f.dave)
	in.DIDList = []mls.DID{f.alice.DID}
	in.KeyPackageHashes = nil
	refused(f.bob.Post(t, mlsapi.MethodAddMembers, in, nil), conflict, "KeyPackageNotFound", 0)
	// A member's own device that is in the group already is not added twice.
	again := f.carol.Additions(t, f.carol)
	commit, info, next := f.chat.Commit(t, f.bob, mlstest.Draft{Add: again})
	refused(f.bob.Post(t, mlsapi.MethodAddMembers, &mlsapi.AddMembersInput{
		ConvoID: f.chat.ID, IdempotencyKey: e2e.Key(), DIDList: []mls.DID{f.carol.DID}, Commit: e2e.Text(commit), GroupInfo: e2e.Text(info),
		WelcomeMessage: e2e.Text(next.Welcome(again[0].Package.Ref)),
	}, nil), bad, "InvalidCommit", mls.CodeDuplicateKey)
	// Somebody else's proposal, and an unreadable one.
	refused(send(f.bob, f.chat.Tree.ProposeUpdate(2).Message, nil), bad, "InvalidCommit", mls.CodeNotTheCaller)
	refused(send(f.bob, f.chat.Tree.PrivateProposal(), nil), bad, "InvalidCommit", mls.CodePublicMessageRequired)
	// What is framed for no group could be a handshake of another one.
	unframed := f.chat.Message()
	unframed.Ciphertext = make([]byte, 512)
	for i := range unframed.Ciphertext {
		unframed.Ciphertext[i] = 0xee
	}
	refused(f.bob.Post(t, mlsapi.MethodSendMessage, unframed, nil), bad, "InvalidAsset", 0)

	// The admin may do all of that.
	f.alice.SendCommit(t, f.chat, mlstest.Draft{Extensions: []mlstest.Extension{}})
	f.alice.SendCommit(t, f.chat, mlstest.Draft{Remove: []uint32{1}})
	f.roster(map[*e2e.Device]int64{f.alice: 0, f.carol: 2})
}
