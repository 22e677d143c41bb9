package e2e_test

import (
	"testing"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
)

// refuseUnfollowed: every method that takes a commit of a verified conversation wants its
// GroupInfo.
func refuseUnfollowed(t *testing.T) {
	t.Helper()
	f := follow(t)
	for _, c := range f.carriers() {
		commit, _, _ := f.made(c.draft)
		c.submit(commit, nil).Want(t, bad, infoFault)
	}
	in, _ := f.alice.VerifiedCreation(t, f.bob)
	in.GroupInfo = e2e.Text([]byte("no GroupInfo"))
	f.alice.Post(t, mlsapi.MethodCreateConvo, in, nil).Want(t, bad, infoFault)
}

// refuseEnded: a group that a ReInit commit has ended takes no message and no commit more.
func refuseEnded(t *testing.T) {
	t.Helper()
	f := follow(t)
	carriers := f.carriers()
	f.alice.SendCommit(t, f.chat, mlstest.Draft{Others: []mlstest.Proposal{mlstest.ReInit()}, NoPath: true})
	for _, c := range carriers {
		commit, info, _ := f.made(mlstest.Draft{External: c.draft.External})
		c.submit(commit, info).Want(t, conflict, "GroupReinitialized")
	}
	f.bob.Post(t, mlsapi.MethodSendMessage, f.chat.Message(), nil).Want(t, conflict, "GroupReinitialized")
}

// refuseOpaque: a server that follows every group makes no conversation around one that it cannot
// follow.
func refuseOpaque(t *testing.T) {
	t.Helper()
	users := e2e.Start(t, e2e.Env{"HANDSHAKES": "public"}).Users(2)
	alice, bob := users[0].Register(t, 2), users[1].Register(t, 2)
	alice.Post(t, mlsapi.MethodCreateConvo, &mlsapi.CreateConvoInput{
		GroupID: string(mlstest.NewGroup(mls.SuiteX25519AES128).GroupID()), IdempotencyKey: e2e.Key(),
		CipherSuite: mlsapi.CreateConvoInputCipherSuite(mls.SuiteX25519AES128.String()),
	}, nil).Want(t, bad, "GroupInfoRequired")
	alice.CreateVerified(t, bob)
}

// refuseResets produces what resetConvo refuses.
func refuseResets(t *testing.T) {
	t.Helper()
	f := follow(t)
	for _, fault := range resetFaults {
		in, _ := f.alice.ResetInput(t, f.chat.Chat, f.bob)
		fault.make(f, in)
		if a := f.alice.Post(t, mlsapi.MethodResetConvo, in, nil); a.Error != fault.error {
			t.Errorf("%s: %d %s %s", fault.name, a.Status, a.Error, a.Message)
		}
	}
	in, _ := f.bob.ResetInput(t, f.chat.Chat)
	f.bob.Post(t, mlsapi.MethodResetConvo, in, nil).Want(t, forbidden, "NotAdmin")
	f.dave.Post(t, mlsapi.MethodResetConvo, in, nil).Want(t, missing, "ConvoNotFound")
	group := mlstest.NewVerifiedGroup(f.alice.Client)
	group.ID = f.chat.Tree.ID
	in, _ = f.alice.ResetInput(t, f.chat.Chat)
	in.GroupID, in.GroupInfo = string(group.GroupID()), *e2e.Text(group.GroupInfo(0))
	f.alice.Post(t, mlsapi.MethodResetConvo, in, nil).Want(t, conflict, "GroupAlreadyExists")
	stale, _ := f.alice.ResetInput(t, f.chat.Chat)
	f.chat = f.alice.Reset(t, f.chat.Chat, f.bob, f.carol)
	f.alice.Post(t, mlsapi.MethodResetConvo, stale, nil).Want(t, conflict, "GroupReset")
	f.alice.SendCommit(t, f.chat, mlstest.Draft{Others: []mlstest.Proposal{mlstest.ReInit()}, NoPath: true})
	in, _ = f.alice.ResetInput(t, f.chat.Chat)
	f.alice.Post(t, mlsapi.MethodResetConvo, in, nil).Want(t, conflict, "GroupReinitialized")
	f.carol.Leave(t, f.chat.Chat, nil).OK(t)
	f.carol.Post(t, mlsapi.MethodResetConvo, in, nil).Want(t, forbidden, "NotMember")
}

// refuseFormerGroups: who speaks of a group that the conversation no longer has is told which one
// it has.
func refuseFormerGroups(t *testing.T) {
	t.Helper()
	f := follow(t)
	f.bob.SendCommit(t, f.chat, mlstest.Draft{})
	before, commit := *f.chat, *f.view(f.bob).CommitID
	carriers := f.carriers()
	f.alice.Reset(t, f.chat.Chat, f.bob, f.carol)
	f.bob.Post(t, mlsapi.MethodSendMessage, before.Message(), nil).Want(t, conflict, "GroupReset")
	for _, c := range carriers {
		commit, next := before.Tree.Commit(0, nil, mlstest.Draft{})
		c.submit(commit, next.GroupInfo(0)).Want(t, conflict, "GroupReset")
	}
	f.bob.ReportCommit(t, f.chat.Chat, 1, commit).Want(t, conflict, "GroupReset")
	f.bob.Post(t, mlsapi.MethodUpdateGroupInfo, before.Deposit(before.Tree.GroupInfo(1)), nil).Want(t, conflict, "GroupReset")
}

// refuseGroupInfos: what is handed out to those who join is there, of the epoch, and of a group
// that lives.
func refuseGroupInfos(t *testing.T) {
	t.Helper()
	f := follow(t)
	opaque := f.alice.CreateOpaque(t, f.bob)
	handed(t, f.bob, opaque, nil)
	in := opaque.Deposit(opaque.Tree.GroupInfo(1))
	in.Epoch = 7
	f.bob.Post(t, mlsapi.MethodUpdateGroupInfo, in, nil).Want(t, conflict, "EpochMismatch")
	f.bob.Post(t, mlsapi.MethodUpdateGroupInfo, opaque.Deposit([]byte("no GroupInfo")), nil).Want(t, bad, infoFault)
	f.bob.Post(t, mlsapi.MethodUpdateGroupInfo, opaque.Deposit(opaque.Tree.GroupInfo(0)), nil).Want(t, bad, infoFault)
	if !deposit(t, f.bob, opaque, opaque.Tree.GroupInfo(1)) {
		t.Error("a true GroupInfo was not taken")
	}
	if _, a := f.alice.Entrance(t, opaque.Chat); a.Status != 200 {
		t.Errorf("getGroupInfo: %d %s", a.Status, a.Error)
	}
	f.alice.SendCommit(t, f.chat, mlstest.Draft{Others: []mlstest.Proposal{mlstest.ReInit()}, NoPath: true})
	f.bob.Post(t, mlsapi.MethodUpdateGroupInfo, f.chat.Deposit(f.chat.Tree.GroupInfo(1)), nil).Want(t, conflict, "GroupReinitialized")
}
