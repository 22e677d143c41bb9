package e2e_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"mls-server/internal/authtest"
	"mls-server/internal/blocks/blockstest"
	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
	"mls-server/internal/pgtest"
	"mls-server/lexrt"
)

// The answers of every method, byte for byte: what succeeds here, what every
// method refuses alike in TestWireOfCommonErrors, and each declared error in
// TestEveryDeclaredError. A change of testdata/wire is a change of the protocol.
func TestWireOfSuccesses(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	e2e.Record(t, "successes")
	users := s.Users(4)
	alice, bob, carol := users[0].Register(t, 3), users[1].Register(t, 3), users[2].Register(t, 3)
	// Devices are sorted by id: carol's first has one that sorts before that of the second.
	change(t, s, "SET LOCAL session_replication_role = replica; UPDATE user_devices SET device_id = '"+lowDevice+"' WHERE device_id = '"+carol.ID+
		"'; UPDATE key_packages SET device_id = '"+lowDevice+"' WHERE device_id = '"+carol.ID+"'")
	carol.ID = lowDevice
	live := alice.Listen(t, "")
	chat := playBeginning(t, alice, bob, carol)
	playMessages(t, alice, bob, chat)
	playDevices(t, alice, carol, chat)
	playAdministration(t, alice, bob, carol, chat)
	playBlocks(t, alice, bob, users[3], chat)
	playEnd(t, alice, bob, carol, chat)
	last := alice.Send(t, chat).MessageID
	first := live.Read(t, last)
	alice.Listen(t, "cursor="+first).Read(t, last)
	alice.Listen(t, "convoId="+chat.ID+"&cursor="+first).Read(t, last)
}

// change changes the server's database behind its back.
func change(t *testing.T, s *e2e.Server, sql string, args ...any) {
	t.Helper()
	pool := pgtest.Open(t, s.DatabaseURL)
	defer pool.Close() // a test may ask often
	if _, err := pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

// lowDevice is a device id that sorts before those that the server makes.
const lowDevice = "00000000-0000-4000-8000-000000000000"

// playBeginning publishes, claims, creates and adds.
func playBeginning(t *testing.T, alice, bob, carol *e2e.Device) *e2e.Chat {
	t.Helper()
	s := alice.Server
	alice.Call(t, mlsapi.MethodDescribeServer, e2e.Request{Authorization: "-"}, nil).OK(t)
	alice.Get(t, mlsapi.MethodGetConvos, nil).OK(t)
	alice.Get(t, mlsapi.MethodGetKeyPackageStats, nil).OK(t)
	in := publication(alice.Client.KeyPackage(time.Now()))
	in.Expires = new(lexrt.Datetime(time.Now().Add(24 * time.Hour).UTC().Format(time.RFC3339)))
	alice.Post(t, mlsapi.MethodPublishKeyPackage, in, nil).OK(t)
	alice.Post(t, mlsapi.MethodPublishKeyPackage, in, nil).OK(t) // the answer again
	alice.Get(t, mlsapi.MethodGetKeyPackageStats, nil, "did", string(alice.DID), "cipherSuite", mls.SuiteX25519AES128.String()).OK(t)
	alice.Get(t, mlsapi.MethodGetKeyPackages, nil, "dids", string(s.Users(1)[0].DID)).OK(t)
	alice.Get(t, mlsapi.MethodGetKeyPackages, nil, "dids", string(bob.DID), "cipherSuite", mls.SuiteP256AES128.String()).OK(t)

	chat := &e2e.Chat{Group: mlstest.NewGroup(mls.SuiteX25519AES128)}
	packages := alice.Claim(t, bob.DID)
	create := &mlsapi.CreateConvoInput{
		GroupID: string(chat.Group.GroupID()), IdempotencyKey: e2e.Key(), InitialMembers: []mls.DID{bob.DID},
		CipherSuite:      mlsapi.CreateConvoInputCipherSuite(mls.SuiteX25519AES128.String()),
		Metadata:         &mlsapi.CreateConvoMetadataInput{Name: new("näme \"<&>\u2028"), Description: new("text\nof two lines 🦋")},
		WelcomeMessage:   e2e.AdditionOf(chat, packages).WelcomeMessage,
		KeyPackageHashes: []mlsapi.CreateConvoKeyPackageHashEntry{{DID: bob.DID, Hash: *packages[0].KeyPackageHash}},
	}
	var made mlsapi.CreateConvoOutput
	alice.Post(t, mlsapi.MethodCreateConvo, create, &made).OK(t)
	alice.Post(t, mlsapi.MethodCreateConvo, create, nil).OK(t) // the answer again
	chat.ID, chat.Group = made.ID, chat.Group.At(1)
	bob.Welcome(t, chat, "")
	bob.Confirm(t, chat, true)
	alice.Add(t, chat, carol.User)
	carol.Confirm(t, chat, false)
	carol.Post(t, mlsapi.MethodConfirmWelcome, &mlsapi.ConfirmWelcomeInput{ConvoID: chat.ID, Success: true}, nil).OK(t)
	alice.Epoch(t, chat)
	alice.Get(t, mlsapi.MethodGetEpoch, nil, "convoId", string(chat.Group.GroupID())).OK(t)
	bob.Convos(t)
	alone := alice.Create(t)
	// Which of two is older must not depend on the second in which they were made.
	change(t, s, "UPDATE conversations SET last_activity_at = last_activity_at - interval '1 hour' WHERE id = (SELECT g.convo_id FROM convo_groups g WHERE g.group_id = $1)", alone.ID)
	alice.Get(t, mlsapi.MethodGetConvos, nil, "limit", "2").OK(t)
	alice.Convos(t)
	alice.Get(t, mlsapi.MethodGetEpoch, nil, "convoId", alone.ID).OK(t)
	return chat
}

// playMessages sends, reads in pages, moves the cursor and reads the commits.
func playMessages(t *testing.T, alice, bob *e2e.Device, chat *e2e.Chat) {
	t.Helper()
	first := chat.Message()
	first.DeclaredSize = new(int64(300))
	alice.Post(t, mlsapi.MethodSendMessage, first, nil).OK(t)
	alice.Post(t, mlsapi.MethodSendMessage, first, nil).OK(t) // the answer again
	bob.Send(t, chat)
	alice.SendBytes(t, chat, chat.Group.PrivateProposal()).OK(t)
	alice.SendBytes(t, chat, chat.Group.PrivateCommit()).OK(t)
	chat.Next()
	last := alice.Send(t, chat)
	bob.Messages(t, chat)
	page := bob.Messages(t, chat, "limit", "2")
	bob.Messages(t, chat, "sinceMessage", *page.Cursor)
	bob.Messages(t, chat, "sinceMessage", last.MessageID)
	bob.Post(t, mlsapi.MethodUpdateCursor, &mlsapi.UpdateCursorInput{ConvoID: chat.ID, Cursor: *page.Cursor}, nil).OK(t)
	bob.Post(t, mlsapi.MethodUpdateCursor, &mlsapi.UpdateCursorInput{
		ConvoID: chat.ID, Cursor: last.MessageID, MessageID: &last.MessageID,
	}, nil).OK(t)
	bob.Get(t, mlsapi.MethodGetCommits, nil, "convoId", chat.ID, "fromEpoch", "1").OK(t)
	alice.Get(t, mlsapi.MethodGetCommits, nil, "convoId", chat.ID, "fromEpoch", "2", "toEpoch", "2").OK(t)
	bob.ReportCommit(t, chat, 2, "").OK(t)
	bob.Convos(t)
}

// playDevices registers a second device, which a sister adds, and lets it come back after a loss.
func playDevices(t *testing.T, alice, carol *e2e.Device, chat *e2e.Chat) {
	t.Helper()
	laptop := carol.Register(t, 2)
	alice.Pending(t, chat)
	alice.Get(t, mlsapi.MethodGetKeyPackages, nil, "dids", string(carol.DID), "deviceIds", "no-such-device").OK(t)
	carol.AddPackages(t, chat, carol.ClaimDevice(t, laptop), carol.DID)
	laptop.RegisterAgain(t, 1)
	carol.Welcome(t, chat, laptop.ID)
	laptop.Confirm(t, chat, true)
	laptop.Confirm(t, chat, true)
	backdateConfirmations(t, alice.Server)
	request := laptop.Rejoin(t, chat)
	laptop.Rejoin(t, chat)
	alice.Pending(t, chat)
	alice.AddPackages(t, chat, alice.ClaimRequest(t, request.RequestID, carol.DID).KeyPackages, carol.DID)
	alice.ClaimRequest(t, request.RequestID, carol.DID)
	alice.Get(t, mlsapi.MethodGetKeyPackageStats, nil).OK(t)
	carol.Get(t, mlsapi.MethodGetKeyPackageStats, nil).OK(t)
}

// playAdministration promotes, reports, resolves, counts and demotes.
func playAdministration(t *testing.T, alice, bob, carol *e2e.Device, chat *e2e.Chat) {
	t.Helper()
	alice.Promote(t, chat, bob.User).OK(t)
	alice.Convos(t)
	id, a := carol.Report(t, chat, bob.User, "spam")
	a.OK(t)
	change(t, alice.Server, "UPDATE reports SET created_at = created_at - interval '1 hour'")
	message := bob.Send(t, chat).MessageID
	carol.Post(t, mlsapi.MethodReportMember, &mlsapi.ReportMemberInput{
		ConvoID: chat.ID, ReportedDID: bob.DID, Category: "hate_speech", EncryptedContent: mlstest.Random(100), MessageIDs: []string{message},
	}, nil).OK(t)
	alice.Reports(t, chat)
	page := alice.Reports(t, chat, "limit", "1", "status", "pending")
	alice.Reports(t, chat, "cursor", *page.Cursor)
	bob.Reports(t, chat)
	alice.Resolve(t, id, "dismissed").OK(t)
	alice.Reports(t, chat, "status", "dismissed")
	alice.Reports(t, chat, "status", "resolved")
	alice.Stats(t, chat)
	alice.Get(t, mlsapi.MethodGetAdminStats, nil, "convoId", chat.ID, "since", "2020-01-01T00:00:00Z").OK(t)
	alice.Demote(t, chat, bob.User).OK(t)
}

// playBlocks asks for blocks among strangers and members; TestWireOfBlockChanges has some.
func playBlocks(t *testing.T, alice, bob *e2e.Device, dave *e2e.User, chat *e2e.Chat) {
	t.Helper()
	alice.Server.Blocks.Block(dave.DID, alice.DID)
	alice.Get(t, mlsapi.MethodCheckBlocks, nil, "dids", string(bob.DID), "dids", string(dave.DID)).OK(t)
	alice.Get(t, mlsapi.MethodCheckBlocks, nil, "dids", string(alice.DID), "dids", string(dave.DID)).OK(t)
	alice.Get(t, mlsapi.MethodGetBlockStatus, nil, "convoId", chat.ID).OK(t)
}

// playEnd lets a member leave and removes another.
func playEnd(t *testing.T, alice, bob, carol *e2e.Device, chat *e2e.Chat) {
	t.Helper()
	bob.Leave(t, chat, chat.Group.PrivateProposal()).OK(t)
	bob.Leave(t, chat, nil).OK(t)
	alice.Pending(t, chat)
	alice.Post(t, mlsapi.MethodLeaveConvo, &mlsapi.LeaveConvoInput{
		ConvoID: chat.ID, TargetDID: &bob.DID, Commit: new(mls.EncodeText(chat.Group.PrivateCommit())),
	}, nil).OK(t)
	chat.Next()
	claim := claims(t, carol.User, chat, bob.User)
	judge(t, carol.User, chat, claim, false)
	alice.Pending(t, chat)
	judge(t, carol.User, chat, claim, true)
	judge(t, alice.User, chat, claim, true)
	dave := alice.Server.Users(1)[0].Register(t, 1)
	alice.Add(t, chat, dave.User)
	alice.Remove(t, chat, dave.User, chat.Group.PrivateCommit()).OK(t)
	chat.Next()
	alice.Convos(t)
	alice.Stats(t, chat)
}

// A block of a member changes conversations, and its end does.
func TestWireOfBlockChanges(t *testing.T) {
	t.Parallel()
	source, dir := blockstest.New(t, nil), authtest.NewDirectory(t, nil)
	s := e2e.StartOn(t, pgtest.New(t), dir, e2e.Env{"EGRESS_ALLOW": strings.Join(append(dir.HostPorts(), source.HostPort()), ",")})
	e2e.Record(t, "block-changes")
	users := s.Users(2)
	for _, u := range users {
		u.SetPDS(source.URL())
		source.AddAccount(u.DID)
	}
	alice, bob := users[0].Register(t, 1), users[1].Register(t, 1)
	chat := alice.Create(t, bob.User)
	uri := source.Block(bob.DID, alice.DID)
	bob.Post(t, mlsapi.MethodHandleBlockChange, blockChange(bob.User, alice.DID, "created", &uri), nil).OK(t)
	alice.Get(t, mlsapi.MethodGetBlockStatus, nil, "convoId", chat.ID).OK(t)
	source.Unblock(uri)
	bob.Post(t, mlsapi.MethodHandleBlockChange, blockChange(bob.User, alice.DID, "removed", &uri), nil).OK(t)
	alice.Get(t, mlsapi.MethodGetBlockStatus, nil, "convoId", chat.ID).OK(t)
}

// A conversation gets another group.
func TestWireOfResets(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	e2e.Record(t, "new-groups")
	users := s.Users(2)
	alice, bob := users[0].Register(t, 4), users[1].Register(t, 4)
	live := bob.Listen(t, "")
	chat := alice.Create(t, bob.User)
	alice.Send(t, chat)
	next := alice.Reset(t, chat, bob)
	alice.Post(t, mlsapi.MethodSendMessage, chat.Message(), nil).Want(t, conflict, "GroupReset")
	bob.Welcome(t, chat, bob.ID)
	bob.Messages(t, chat)
	bob.Get(t, mlsapi.MethodGetCommits, nil, "convoId", chat.ID, "fromEpoch", "0").OK(t)
	bob.Get(t, mlsapi.MethodGetEpoch, nil, "convoId", chat.ID).OK(t)
	bob.Get(t, mlsapi.MethodGetEpoch, nil, "convoId", string(chat.Group.GroupID())).OK(t)
	bob.Convos(t)
	live.Read(t, bob.Send(t, next.Chat).MessageID)
	alone := alice.Reset(t, next.Chat)
	alice.Convos(t)
	alice.SendCommit(t, alone, mlstest.Draft{})
}

// What every method refuses alike.
func TestWireOfCommonErrors(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	e2e.Record(t, "common")
	u := s.Users(1)[0]
	for _, m := range mlsapi.Methods() {
		u.Call(t, m, e2e.Request{Authorization: "-"}, nil)
		u.Call(t, m, e2e.Request{Verb: http.MethodOptions, Authorization: "-"}, nil)
		u.Call(t, m, e2e.Request{Verb: http.MethodDelete}, nil)
		u.Call(t, m, e2e.Request{RawQuery: "a=%zz"}, nil)
		if m.Input == "" {
			u.Call(t, m, e2e.Request{Body: []byte("{}"), Header: header("Content-Type", "application/json")}, nil)
			continue
		}
		u.Call(t, m, e2e.Request{Body: []byte("{}"), Header: header("Content-Type", "text/plain")}, nil)
		u.Call(t, m, e2e.Request{Body: []byte("{}")}, nil)
		u.Call(t, m, e2e.Request{Body: []byte("{}"), Header: header("Content-Encoding", "br")}, nil)
		u.Call(t, m, e2e.Request{Body: []byte(strings.Repeat(" ", int(m.MaxBody)+1))}, nil)
	}
	for _, m := range []*lexrt.Method{mlsapi.MethodGetEpoch, mlsapi.MethodPromoteAdmin} {
		for _, c := range badTokens {
			u.Call(t, m, e2e.Request{Authorization: c.value(u, m), RawQuery: "convoId=3jzfcijpj2z2a"}, nil)
		}
	}
	once := e2e.Request{Authorization: u.Bearer(s.DID, mlsapi.MethodGetEpoch.NSID), RawQuery: "convoId=3jzfcijpj2z2a"}
	u.Call(t, mlsapi.MethodGetEpoch, once, nil)
	u.Call(t, mlsapi.MethodGetEpoch, once, nil)
	for _, query := range []string{"", "convoId=", "convoId=x&convoId=y", "convoid=x"} {
		u.Call(t, mlsapi.MethodGetEpoch, e2e.Request{RawQuery: query}, nil)
	}
	for _, body := range []string{"", "null", "{", `{"a":1,"a":2}`, `{"convoId":17}`, `{"convoId":"x","cursor":"` + "\xff" + `"}`} {
		u.Call(t, mlsapi.MethodUpdateCursor, e2e.Request{Body: []byte(body)}, nil)
	}
	unknown := &lexrt.Method{NSID: "blue.catbird.mls.noSuchMethod", Kind: lexrt.Query}
	u.Call(t, unknown, e2e.Request{}, nil)
	u.Call(t, unknown, e2e.Request{Verb: http.MethodPost}, nil)

	alice := u.Register(t, 1)
	chat := alice.Create(t)
	add := alice.Addition(t, chat, s.Users(1)...)
	alice.Post(t, mlsapi.MethodAddMembers, add, nil)
	add.Commit = nil
	alice.Post(t, mlsapi.MethodAddMembers, add, nil) // another request with the key of the first
	change(t, s, "ALTER TABLE messages RENAME TO gone")
	alice.Get(t, mlsapi.MethodGetMessages, nil, "convoId", chat.ID).Want(t, http.StatusInternalServerError, "InternalServerError")
}

// A request that is refused for its rate says when to come back.
func TestWireOfLimits(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t, e2e.Env{"RATE_LIMIT_SEND_MESSAGE": "1"})
	alice := s.NewUser(authtest.P256).Register(t, 1)
	chat := alice.Create(t)
	e2e.Record(t, "limits")
	alice.Send(t, chat)
	alice.Post(t, mlsapi.MethodSendMessage, chat.Message(), nil).Want(t, http.StatusTooManyRequests, "RateLimitExceeded")
}
