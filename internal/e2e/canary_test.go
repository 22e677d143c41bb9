package e2e_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/authtest"
	"mls-server/internal/blocks/blockstest"
	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
	"mls-server/internal/pgtest"
)

// traffic is what the canary scenario has done that the searches must know of.
type traffic struct {
	people   []string // DIDs, device ids and device names
	messages []string // ids of application messages
	sends    []send
	say      func() // sends one message more
}

type send struct {
	user *e2e.User
	in   *mlsapi.SendMessageInput
}

const forwardedFor = "203.0.113.77"

// watched is a server for the scenario, and where its users keep their blocks.
func watched(t *testing.T, env ...e2e.Env) (*e2e.Server, *blockstest.Server) {
	t.Helper()
	dir, source := authtest.NewDirectory(t, nil), blockstest.New(t, nil)
	env = append(env, e2e.Env{
		"TRUSTED_PROXY_CIDRS": "127.0.0.0/8", "APPVIEW_URL": source.URL(),
		"EGRESS_ALLOW": strings.Join(append(dir.HostPorts(), source.HostPort()), ","),
	})
	return e2e.StartOn(t, pgtest.New(t), dir, env...), source
}

// everything calls every method, with success and in vain, with both curves.
func everything(t *testing.T, s *e2e.Server, source *blockstest.Server) *traffic {
	t.Helper()
	tr := &traffic{}
	users := s.Users(5)
	for _, u := range users {
		u.SetPDS(source.URL())
		source.AddAccount(u.DID)
	}
	alice, bob, carol, dave, eve := users[0], users[1], users[2], users[3], users[4]
	devices := map[*e2e.User]*e2e.Device{}
	for i, u := range users {
		d := &e2e.Device{User: u, Client: newClient(u)}
		name := "Zelda's telephone no. " + string(rune('A'+i))
		var out mlsapi.RegisterDeviceOutput
		u.Post(t, mlsapi.MethodRegisterDevice, &mlsapi.RegisterDeviceInput{
			DeviceName: name, SignaturePublicKey: d.Client.SignatureKey, KeyPackages: d.KeyPackages(6),
		}, &out).OK(t)
		d.ID = out.DeviceID
		devices[u] = d
		tr.people = append(tr.people, string(u.DID), d.ID, name)
	}
	chat := alice.Create(t, bob, carol)
	stream := bob.Follow(t, "")
	pass := ticket(t, carol, chat.ID).Ticket
	socket, _, err := carol.Dial(t.Context(), mlsapi.MethodSubscribeConvoEvents, with(pass, "convoId", chat.ID))
	require.NoError(t, err)
	defer socket.Close()
	carol.Call(t, mlsapi.MethodSubscribeConvoEvents, with(pass, "convoId", chat.ID), nil).Want(t, http.StatusUnauthorized, "ReplayedToken")
	carol.Call(t, mlsapi.MethodSubscribeConvoEvents, with(ticket(t, carol, "").Ticket), nil).OK(t)
	say := func(u *e2e.User) *mlsapi.SendMessageInput {
		in := chat.Message()
		in.IdempotencyKey = new("send-" + in.MsgID[10:])
		u.Post(t, mlsapi.MethodSendMessage, in, nil).OK(t)
		tr.messages = append(tr.messages, in.MsgID)
		tr.sends = append(tr.sends, send{u, in})
		return in
	}
	for range 5 {
		for _, u := range users[:3] {
			say(u)
		}
	}
	first := say(bob)
	bob.Post(t, mlsapi.MethodUpdateCursor, &mlsapi.UpdateCursorInput{ConvoID: chat.ID, Cursor: first.MsgID}, nil).OK(t)
	bob.Messages(t, chat, "sinceMessage", tr.messages[2], "limit", "5")
	bob.Epoch(t, chat)
	bob.Get(t, mlsapi.MethodGetCommits, nil, "convoId", string(chat.Group.GroupID()), "fromEpoch", "0").OK(t)
	bob.Get(t, mlsapi.MethodGetKeyPackageStats, nil).OK(t)
	bob.Post(t, mlsapi.MethodPublishKeyPackage, &mlsapi.PublishKeyPackageInput{
		KeyPackage: devices[bob].KeyPackages(1)[0].KeyPackage, IdempotencyKey: new("publish-canary-1"),
		CipherSuite: mlsapi.PublishKeyPackageInputCipherSuite(mls.SuiteX25519AES128.String()),
	}, nil).OK(t)
	playLostDevice(t, bob)
	_, a := bob.Welcome(t, chat, devices[bob].ID)
	a.OK(t)
	devices[bob].Confirm(t, chat, false)
	request := devices[bob].Rejoin(t, chat)
	answer(t, alice, chat, devices[bob], request.RequestID)
	devices[bob].Confirm(t, chat, true)
	alice.Add(t, chat, dave)
	say(dave)
	alice.Promote(t, chat, bob).OK(t)
	id, a := carol.Report(t, chat, dave, "spam")
	a.OK(t)
	alice.Post(t, mlsapi.MethodReportMember, &mlsapi.ReportMemberInput{
		ConvoID: chat.ID, ReportedDID: carol.DID, Category: "other", EncryptedContent: []byte("the very words of a report"), MessageIDs: tr.messages[:3],
	}, nil).OK(t)
	bob.Reports(t, chat)
	bob.Post(t, mlsapi.MethodResolveReport, &mlsapi.ResolveReportInput{ReportID: id, Action: "removed_member", Notes: new("notes of an admin, verbatim")}, nil).OK(t)
	bob.Stats(t, chat)
	source.Block(carol.DID, alice.DID)
	alice.Get(t, mlsapi.MethodCheckBlocks, nil, "dids", string(alice.DID), "dids", string(carol.DID)).OK(t)
	alice.Get(t, mlsapi.MethodGetBlockStatus, nil, "convoId", chat.ID).OK(t)
	carol.Post(t, mlsapi.MethodHandleBlockChange, &mlsapi.HandleBlockChangeInput{BlockerDID: carol.DID, BlockedDID: alice.DID, Action: "created"}, nil).OK(t)
	alice.Remove(t, chat, dave, chat.Group.PrivateCommit()).OK(t)
	bob.ReportCommit(t, chat, int64(chat.Group.Epoch), "").OK(t)
	chat.Next()
	bob.Demote(t, chat, bob).OK(t)
	carol.Leave(t, chat, chat.Group.PrivateProposal()).OK(t)
	in, group := devices[alice].ResetInput(t, chat, devices[bob])
	alice.Post(t, mlsapi.MethodResetConvo, in, nil).OK(t)
	alice.Post(t, mlsapi.MethodSendMessage, chat.Message(), nil).Want(t, conflict, "GroupReset")
	chat.Group = group.Group
	say(alice)
	stream.Await(t, "removal-pending")
	own := devices[alice].CreateVerified(t, devices[dave])
	_, a = dave.Entrance(t, own.Chat)
	a.OK(t)
	require.True(t, deposit(t, devices[alice], own, own.Tree.GroupInfo(0)))
	devices[dave].Join(t, own, mlstest.Draft{})
	require.True(t, dave.GiveKey(t, own.Chat, own.SendKey()))
	sealed := own.Sealed()
	trySealed(t, s, sealed).OK(t)
	trySealed(t, s, sealed).OK(t)
	own.Group = own.Group.At(own.Group.Epoch - 1)
	trySealed(t, s, own.Sealed()).Want(t, missing, "ConvoNotFound")
	tr.say = func() { say(alice) }

	// In vain: strangers, wrong arguments, wrong tokens, and failures within.
	for _, m := range mlsapi.Methods() {
		query := map[string][]string{"convoId": {chat.ID}, "fromEpoch": {"90"}, "sinceMessage": {tr.messages[0]}, "did": {string(alice.DID)}, "cursor": {"canary-of-a-cursor"}, "dids": {"did:plc:"}}
		eve.Call(t, m, e2e.Request{Query: query, Body: (&mlsapi.LeaveConvoInput{ConvoID: chat.ID, TargetDID: &alice.DID}).AppendJSON(nil)}, nil)
		eve.Call(t, m, e2e.Request{Query: query, Body: []byte(`{"convoId": "` + chat.ID + `", "secret text of a client": `)}, nil)
	}
	eve.Call(t, mlsapi.MethodDescribeServer, e2e.Request{Authorization: "-"}, nil).OK(t)
	header := http.Header{"X-Forwarded-For": {forwardedFor}}
	unknown := s.NewUser(authtest.P256)
	s.Directory.Remove(unknown.Identity)
	get := mlsapi.MethodGetConvos
	replayed := bob.Token(s.DID, get.NSID)
	for _, token := range []string{
		replayed, replayed, bob.Token(s.DID, "blue.catbird.mls.getEpoch"), bob.Token("did:web:elsewhere.example", get.NSID),
		bob.Token(s.DID, get.NSID, bob.ExpiresIn(-time.Hour)), bob.Token(s.DID, get.NSID, authtest.Claim("iss", string(alice.DID))),
		unknown.Token(s.DID, get.NSID), "three.garbage-parts-of-a.token", bob.Token(s.DID, get.NSID, authtest.Claim("sub", "did:plc:somebodyelse")),
	} {
		bob.Call(t, get, e2e.Request{Authorization: "Bearer " + token, Header: header}, nil)
	}
	source.SetDown(true)
	alice.Get(t, mlsapi.MethodCheckBlocks, nil, "dids", string(bob.DID), "dids", string(eve.DID))
	source.SetDown(false)
	// A conversation row that breaks a constraint, and a database that hangs up.
	db := pgtest.Open(t, s.DatabaseURL)
	for range 3 {
		_, err := db.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
		require.NoError(t, err)
		for range 4 {
			alice.Post(t, mlsapi.MethodSendMessage, chat.Message(), nil)
			alice.Get(t, mlsapi.MethodGetMessages, nil, "convoId", chat.ID)
		}
	}
	_, err = db.Exec(t.Context(), "ALTER TABLE messages ADD CONSTRAINT refuse CHECK (epoch < 0) NOT VALID")
	require.NoError(t, err)
	assert.Equal(t, http.StatusInternalServerError, alice.Post(t, mlsapi.MethodSendMessage, chat.Message(), nil).Status)
	assert.Contains(t, s.Logs.String(), "(23514 refuse)", "a fault says what was violated")
	_, err = db.Exec(t.Context(), "ALTER TABLE messages DROP CONSTRAINT refuse")
	require.NoError(t, err)
	return tr
}

// Nothing that identifies anybody is in logs or metrics, at debug level (I9).
func TestCanaries(t *testing.T) {
	t.Parallel()
	s, source := watched(t)
	c := s.Canary()
	everything(t, s, source)
	for _, m := range mlsapi.Methods() {
		called := c.Called(m.NSID)
		failed := 0
		for status, n := range called {
			if status >= 400 {
				failed += n
			}
		}
		assert.Positive(t, called[http.StatusOK]+called[http.StatusSwitchingProtocols], "%s never succeeded", m.NSID)
		assert.Positive(t, failed, "%s never failed", m.NSID)
	}
	c.Add("part of a device name", "Zelda's")
	s.Stop() // searches
	logs := s.Logs.String()
	assert.Greater(t, strings.Count(logs, "\n"), 50, "a log that says nothing shows nothing")
	assert.Contains(t, logs, `"level":"ERROR"`)
	assert.Greater(t, c.Count(), 300)
}
