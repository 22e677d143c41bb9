package e2e_test

import (
	"context"
	"net/http"
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

func refuseRoles(t *testing.T) {
	t.Helper()
	alice, bob, chat := couple(t)
	carol := alice.Server.Users(1)[0]
	alice.Demote(t, chat, alice.User).Want(t, conflict, "LastAdmin")
	alice.Demote(t, chat, bob.User).Want(t, conflict, "NotAdminTarget")
	alice.Demote(t, chat, carol).Want(t, forbidden, "NotMember")
	alice.Promote(t, chat, carol).Want(t, forbidden, "NotMember")
	alice.Promote(t, chat, alice.User).Want(t, conflict, "AlreadyAdmin")
	alice.Get(t, mlsapi.MethodGetAdminStats, nil).Want(t, forbidden, "NotAuthorized")
}

func refuseRemoval(t *testing.T) {
	t.Helper()
	alice, bob, chat := couple(t)
	carol := alice.Server.Users(1)[0]
	alice.Remove(t, chat, alice.User, nil).Want(t, bad, "CannotRemoveSelf")
	alice.Remove(t, chat, carol, nil).Want(t, forbidden, "NotMember")
	alice.Remove(t, chat, bob.User, chat.Group.At(9).PrivateCommit()).Want(t, conflict, "EpochMismatch")
	alice.Remove(t, chat, bob.User, []byte("garbage")).Want(t, bad, "InvalidCommit")
	if members := alice.Convo(t, chat).Members; len(members) != 2 {
		t.Errorf("what was refused has left %d members", len(members))
	}
}

func refuseReports(t *testing.T) {
	t.Helper()
	alice, bob, chat := couple(t)
	carol := alice.Server.Users(1)[0]
	_, a := bob.Report(t, chat, bob.User, "spam")
	a.Want(t, bad, "CannotReportSelf")
	_, a = bob.Report(t, chat, carol, "spam")
	a.Want(t, bad, "TargetNotMember")
	id, _ := alice.Report(t, chat, bob.User, "spam")
	alice.Resolve(t, "no-such-report", "dismissed").Want(t, missing, "ReportNotFound")
	alice.Resolve(t, id, "dismissed").OK(t)
	alice.Resolve(t, id, "no_action").Want(t, conflict, "AlreadyResolved")
}

// An admin who is demoted while it waits to resolve a report is told so. The
// test holds the conversation's lock, to put the two requests in this order.
func refuseLostAdmin(t *testing.T) {
	t.Helper()
	alice, bob, chat := couple(t)
	carol := alice.Server.Users(1)[0].Register(t, 1)
	alice.Add(t, chat, carol.User)
	alice.Promote(t, chat, bob.User).OK(t)
	id, _ := alice.Report(t, chat, carol.User, "spam")

	pool := pgtest.Open(t, alice.Server.DatabaseURL)
	gate, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = gate.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := gate.Exec(t.Context(), "SELECT FROM conversations WHERE id = (SELECT g.convo_id FROM convo_groups g WHERE g.group_id = $1) FOR UPDATE", chat.ID); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { alice.Demote(t, chat, bob.User).Want(t, http.StatusOK, "") })
	awaitLocks(t, alice.Server, 1)
	wg.Go(func() { bob.Resolve(t, id, "dismissed").Want(t, forbidden, "NotAdmin") })
	awaitLocks(t, alice.Server, 2)
	if err := gate.Rollback(t.Context()); err != nil {
		t.Error(err)
	}
	wg.Wait()
	bob.Resolve(t, id, "dismissed").Want(t, missing, "ReportNotFound")
	alice.Resolve(t, id, "dismissed").OK(t)
}

func refuseBlocked(t *testing.T) {
	t.Helper()
	alice, bob, chat := couple(t)
	others := alice.Server.Users(2)
	for i, u := range others {
		u.Register(t, 1)
		// Either direction counts.
		pair := [2]mls.DID{u.DID, bob.DID}
		alice.Server.Blocks.Block(pair[i], pair[1-i])
	}
	for _, u := range others {
		alice.Post(t, mlsapi.MethodAddMembers, alice.Addition(t, chat, u), nil).Want(t, forbidden, "BlockedByMember")
	}
}

// blockChange is a request that says what became of a block of the caller's.
func blockChange(by *e2e.User, of mls.DID, action string, uri *lexrt.ATURI) *mlsapi.HandleBlockChangeInput {
	return &mlsapi.HandleBlockChangeInput{
		BlockerDID: by.DID, BlockedDID: of, Action: mlsapi.HandleBlockChangeInputAction(action), BlockURI: uri,
	}
}

func refuseUnverifiedBlocks(t *testing.T) {
	t.Helper()
	source, dir := blockstest.New(t, nil), authtest.NewDirectory(t, nil)
	s := e2e.StartOn(t, pgtest.New(t), dir, e2e.Env{"EGRESS_ALLOW": strings.Join(append(dir.HostPorts(), source.HostPort()), ",")})
	users := s.Users(3)
	alice, bob, carol := users[0], users[1], users[2]
	m := mlsapi.MethodHandleBlockChange
	for _, u := range users {
		u.SetPDS(source.URL())
		source.AddAccount(u.DID)
	}
	alice.Post(t, m, blockChange(bob, alice.DID, "created", nil), nil).Want(t, forbidden, "NotAuthorized")
	alice.Post(t, m, blockChange(alice, bob.DID, "created", nil), nil).Want(t, bad, "BlockNotVerified")
	uri := source.Block(alice.DID, bob.DID)
	alice.Post(t, m, blockChange(alice, bob.DID, "removed", &uri), nil).Want(t, bad, "BlockNotVerified")
	alice.Post(t, m, blockChange(alice, carol.DID, "created", &uri), nil).Want(t, bad, "BlockNotVerified")
	alice.Post(t, m, blockChange(alice, bob.DID, "created", &uri), nil).OK(t)
	source.Unblock(uri)
	alice.Post(t, m, blockChange(alice, bob.DID, "removed", &uri), nil).OK(t)
}

// While no source of blocks answers and nothing recent is known, nobody is put together.
func refuseWithoutBlockSource(t *testing.T) {
	t.Helper()
	alice, bob, chat := couple(t)
	s := alice.Server
	users := s.Users(2)
	for _, u := range append(users, alice.User, bob.User) {
		u.SetPDS("https://127.0.0.1:1") // the account's own server is the second source
	}
	users[0].Register(t, 2)
	s.Blocks.SetDown(true)
	alice.Get(t, mlsapi.MethodCheckBlocks, nil, "dids", string(users[0].DID), "dids", string(users[1].DID)).
		Want(t, outage, "BlueskyServiceUnavailable")
	in := &mlsapi.CreateConvoInput{
		GroupID: hexOf(16), IdempotencyKey: e2e.Key(), InitialMembers: []mls.DID{users[1].DID},
		CipherSuite: mlsapi.CreateConvoInputCipherSuite(mls.SuiteX25519AES128.String()),
	}
	alice.Post(t, mlsapi.MethodCreateConvo, in, nil).Want(t, outage, "BlueskyServiceUnavailable")
	addition := alice.Addition(t, chat, users[0])
	alice.Post(t, mlsapi.MethodAddMembers, addition, nil).Want(t, outage, "BlueskyServiceUnavailable")
	alice.Post(t, mlsapi.MethodHandleBlockChange, blockChange(alice.User, bob.DID, "created", nil), nil).
		Want(t, outage, "BlueskyServiceUnavailable")
	// Of present members something recent is known.
	alice.Get(t, mlsapi.MethodGetBlockStatus, nil, "convoId", chat.ID).OK(t)
	// A server that has just started has not asked anybody yet.
	other := e2e.StartOn(t, s.DatabaseURL, s.Directory, nil)
	other.Blocks.SetDown(true)
	there := *alice.User
	there.Server = other
	there.Get(t, mlsapi.MethodGetBlockStatus, nil, "convoId", chat.ID).Want(t, outage, "BlueskyServiceUnavailable")
}
