package e2e_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"mls-server/internal/authtest"
	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
)

// scenarios produce, together, every error that the lexicons declare.
var scenarios = map[string]func(t *testing.T){
	"standing":        refuseByStanding,
	"subscribing":     loseSubscription,
	"creating":        refuseCreation,
	"adding":          refuseAddition,
	"inviting":        refuseInvitations,
	"leaving":         refuseLeaving,
	"reading":         refuseReading,
	"sending":         refuseSending,
	"sealed sends":    refuseSealed,
	"large messages":  refuseLargeMessages,
	"key packages":    refuseKeyPackages,
	"claims":          refuseClaims,
	"devices":         refuseDevices,
	"rejoining":       refuseRejoining,
	"roles":           refuseRoles,
	"removing":        refuseRemoval,
	"reporting":       refuseReports,
	"role is lost":    refuseLostAdmin,
	"blocks":          refuseBlocked,
	"unverified":      refuseUnverifiedBlocks,
	"blocks unknown":  refuseWithoutBlockSource,
	"caps of members": refuseTooManyMembers,
	"readable":        refuseReadable,
	"verified":        refuseUnfollowed,
	"ended":           refuseEnded,
	"public only":     refuseOpaque,
	"void commits":    refuseVoid,
	"resets":          refuseResets,
	"old groups":      refuseFormerGroups,
	"group infos":     refuseGroupInfos,
	"joining":         refuseJoins,
	"caps of devices": refuseTooManyAtOnce,
	"device changes":  refuseDeviceChanges,
}

// Every declared error of every endpoint is produced through HTTP.
func TestEveryDeclaredError(t *testing.T) {
	t.Parallel()
	t.Cleanup(func() {
		for _, p := range e2e.Unproduced() {
			t.Errorf("%s declares %s, and no test has produced it", p.Method, p.Error)
		}
	})
	for name, run := range scenarios {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if name != "role is lost" && name != "subscribing" { // they overlap, or are many
				e2e.Record(t, strings.ReplaceAll(name, " ", "-"))
			}
			run(t)
		})
	}
}

// couple is a conversation of two on a server of its own.
func couple(t *testing.T, env ...e2e.Env) (alice, bob *e2e.Device, chat *e2e.Chat) {
	t.Helper()
	users := e2e.Start(t, env...).Users(2)
	alice, bob = users[0].Register(t, 4), users[1].Register(t, 4)
	return alice, bob, alice.Create(t, bob.User)
}

const (
	bad       = http.StatusBadRequest
	forbidden = http.StatusForbidden
	missing   = http.StatusNotFound
	conflict  = http.StatusConflict
	outage    = http.StatusServiceUnavailable
)

func refuseByStanding(t *testing.T) {
	t.Helper()
	c := newScene(t, e2e.Start(t))
	for _, m := range matrixMethods(t) {
		for _, r := range roles {
			if want := expected(m, r); want != "200" {
				if got := text(c.do(t, m, r, c.request(t, m, r))); got != want {
					t.Errorf("%s, %s: got %s, want %s", short(m), r, got, want)
				}
			}
		}
	}
}

func refuseCreation(t *testing.T) {
	t.Helper()
	alice, bob, chat := couple(t)
	m := mlsapi.MethodCreateConvo
	input := func() *mlsapi.CreateConvoInput {
		return &mlsapi.CreateConvoInput{
			GroupID: string(mlstest.NewGroup(mls.SuiteX25519AES128).GroupID()), IdempotencyKey: e2e.Key(),
			CipherSuite: mlsapi.CreateConvoInputCipherSuite(mls.SuiteX25519AES128.String()),
		}
	}
	in := input()
	in.GroupID = string(chat.Group.GroupID())
	alice.Post(t, m, in, nil).Want(t, conflict, "GroupAlreadyExists")
	in = input()
	in.CipherSuite = "MLS_255_NONE"
	alice.Post(t, m, in, nil).Want(t, bad, "InvalidCipherSuite")
	for _, id := range []string{"", "abc", "xyz!", "\t\t", hexOf(65)} {
		in = input()
		in.GroupID = id
		alice.Post(t, m, in, nil).Want(t, bad, "InvalidGroupId")
	}
	in = input()
	in.InitialMembers = []mls.DID{bob.DID}
	in.KeyPackageHashes = []mlsapi.CreateConvoKeyPackageHashEntry{{DID: bob.DID, Hash: hexOf(32)}}
	alice.Post(t, m, in, nil).Want(t, conflict, "KeyPackageNotFound")
	bob.Server.Blocks.Block(bob.DID, alice.DID)
	carol := alice.Server.Users(1)[0]
	bob.Server.Blocks.Block(carol.DID, alice.DID)
	in = input()
	in.InitialMembers = []mls.DID{carol.DID}
	alice.Post(t, m, in, nil).Want(t, forbidden, "MutualBlockDetected")
}

// hexOf is the hex of n bytes.
func hexOf(n int) string { return string(mls.GroupIDFromBytes(mlstest.Random(n))) }

func refuseAddition(t *testing.T) {
	t.Helper()
	alice, bob, chat := couple(t)
	carol := alice.Server.Users(1)[0].Register(t, 4)
	m := mlsapi.MethodAddMembers
	alice.Post(t, m, alice.Addition(t, chat, bob.User), nil).Want(t, conflict, "AlreadyMember")

	old := *chat
	old.Group = chat.Group.At(chat.Group.Epoch + 5)
	a := alice.Post(t, m, alice.Addition(t, &old, carol.User), nil).Want(t, conflict, "EpochMismatch")
	if want := "the conversation is at epoch 1"; !strings.Contains(a.Message, want) {
		t.Errorf("%q does not say that %s", a.Message, want)
	}
	for _, commit := range []*string{
		nil, new("%"), new(""), new(mls.EncodeText(mlstest.NewGroup(mls.SuiteX25519AES128).At(1).PrivateCommit())),
		new(mls.EncodeText(chat.Group.PrivateProposal())), new(mls.EncodeText(chat.Group.Application(10))),
		new(mls.EncodeText(chat.Group.Commit(mlstest.Commit{From: alice.Client, NoPath: true, Proposals: []mlstest.Proposal{mlstest.Remove(1)}}))),
	} {
		in := alice.Addition(t, chat, carol.User)
		in.Commit = commit
		alice.Post(t, m, in, nil).Want(t, bad, "InvalidCommit")
		carol.RegisterAgain(t, 1)
	}
	in := alice.Addition(t, chat, carol.User)
	in.WelcomeMessage = new(mls.EncodeText(chat.Group.At(chat.Group.Epoch + 1).Welcome(mls.KeyPackageRef(mlstest.Random(32)))))
	alice.Post(t, m, in, nil).Want(t, conflict, "KeyPackageNotFound")
	if got := bob.Epoch(t, chat); got != int64(chat.Group.Epoch) {
		t.Errorf("what was refused has moved the epoch to %d", got)
	}
	alice.Add(t, chat, carol.User)
}

func refuseLeaving(t *testing.T) {
	t.Helper()
	alice, bob, chat := couple(t)
	m := mlsapi.MethodLeaveConvo
	bob.Leave(t, chat, chat.Group.At(7).PrivateProposal()).Want(t, conflict, "EpochMismatch")
	bob.Leave(t, chat, []byte("garbage")).Want(t, bad, "InvalidCommit")
	// Nobody can commit its own removal (RFC 9420 12.2).
	bob.Leave(t, chat, chat.Group.PrivateCommit()).Want(t, bad, "InvalidCommit")
	bob.Post(t, m, &mlsapi.LeaveConvoInput{ConvoID: chat.ID, TargetDID: &alice.DID}, nil).Want(t, forbidden, "NotAdmin")
	alice.Post(t, m, &mlsapi.LeaveConvoInput{ConvoID: chat.ID, TargetDID: &bob.DID}, nil).Want(t, bad, "InvalidCommit")
	bob.Leave(t, chat, chat.Group.PrivateProposal()).OK(t)
	alice.Leave(t, chat, nil).Want(t, conflict, "LastMember")
}

func refuseReading(t *testing.T) {
	t.Helper()
	alice, bob, chat := couple(t)
	other := alice.Create(t)
	alice.Send(t, chat)
	alice.Send(t, chat)
	cursor := *bob.Messages(t, chat, "limit", "1").Cursor
	foreign := alice.Send(t, other).MessageID

	for _, since := range []string{"x", "m.", "m.AAAA", foreign, "01ARZ3NDEKTSV4RRFFQ69G5FAV", cursor + "A"} {
		alice.Get(t, mlsapi.MethodGetMessages, nil, "convoId", chat.ID, "sinceMessage", since).Want(t, bad, "InvalidCursor")
	}
	alice.Get(t, mlsapi.MethodGetMessages, nil, "convoId", other.ID, "sinceMessage", cursor).Want(t, bad, "InvalidCursor")
	for _, c := range []string{"", "x", foreign, "m.AAAA"} {
		bob.Post(t, mlsapi.MethodUpdateCursor, &mlsapi.UpdateCursorInput{ConvoID: chat.ID, Cursor: c}, nil).Want(t, bad, "InvalidCursor")
	}
	alice.Post(t, mlsapi.MethodUpdateCursor, &mlsapi.UpdateCursorInput{ConvoID: other.ID, Cursor: cursor}, nil).Want(t, bad, "InvalidCursor")
	for _, c := range []string{"x", "c.AAAA", cursor} {
		alice.Get(t, mlsapi.MethodGetConvos, nil, "cursor", c).Want(t, bad, "InvalidCursor")
	}
	for _, args := range [][]string{{"fromEpoch", "99"}, {"fromEpoch", "1", "toEpoch", "0"}, {"fromEpoch", "0", "toEpoch", "99"}} {
		alice.Get(t, mlsapi.MethodGetCommits, nil, append(args, "convoId", chat.ID)...).Want(t, bad, "InvalidEpochRange")
	}
	alice.Get(t, mlsapi.MethodGetWelcome, nil, "convoId", chat.ID).Want(t, missing, "WelcomeNotFound")
	bob.Get(t, mlsapi.MethodGetWelcome, nil, "convoId", chat.ID, "deviceId", "no-such-device").Want(t, missing, "WelcomeNotFound")
}

func refuseSending(t *testing.T) {
	t.Helper()
	alice, _, chat := couple(t)
	m := mlsapi.MethodSendMessage
	send := func(change func(in *mlsapi.SendMessageInput)) e2e.Answer {
		t.Helper()
		in := chat.Message()
		change(in)
		return alice.Post(t, m, in, nil)
	}
	for _, epoch := range []int64{0, 2} {
		send(func(in *mlsapi.SendMessageInput) { in.Epoch = epoch }).Want(t, conflict, "EpochMismatch")
		send(func(in *mlsapi.SendMessageInput) {
			in.Epoch, in.Ciphertext = epoch, mlstest.Random(512) // opaque
		}).Want(t, conflict, "EpochMismatch")
	}
	send(func(in *mlsapi.SendMessageInput) { in.PaddedSize = 1024 }).Want(t, bad, "InvalidAsset")
	send(func(in *mlsapi.SendMessageInput) { in.PaddedSize = 511 }).Want(t, bad, "InvalidAsset")
	send(func(in *mlsapi.SendMessageInput) { in.DeclaredSize = new(int64(513)) }).Want(t, bad, "InvalidAsset")
	send(func(in *mlsapi.SendMessageInput) {
		in.Ciphertext, in.PaddedSize = mlstest.Random(600), 600
	}).Want(t, bad, "InvalidAsset")
	send(func(in *mlsapi.SendMessageInput) {
		in.Ciphertext = mlstest.PadDirect(mlstest.NewGroup(mls.SuiteX25519AES128).At(1).Application(100), 512)
	}).Want(t, bad, "InvalidAsset")
	send(func(in *mlsapi.SendMessageInput) { in.MsgID = "not-a-ulid" }).Want(t, bad, "InvalidRequest")
	alice.SendBytes(t, chat, chat.Group.Commit(mlstest.Commit{
		From: alice.Client, NoPath: true, Proposals: []mlstest.Proposal{mlstest.Remove(1)},
	})).Want(t, bad, "InvalidCommit")
	first := chat.Message()
	alice.Post(t, m, first, nil).OK(t)
	send(func(in *mlsapi.SendMessageInput) { in.MsgID = first.MsgID }).Want(t, conflict, "MessageIdConflict")
}

// 10 MiB pass and come back as they were; one block more is refused by name.
func refuseLargeMessages(t *testing.T) {
	t.Helper()
	alice, bob, chat := couple(t)
	m := mlsapi.MethodSendMessage
	in := chat.Message()
	in.Ciphertext, in.PaddedSize = mlstest.PadDirect(chat.Group.Application(9<<20), 10<<20), 10<<20
	alice.Post(t, m, in, nil).OK(t)
	if got := bob.Messages(t, chat).Messages[0].Ciphertext; string(got) != string(in.Ciphertext) {
		t.Errorf("10 MiB came back as %d other bytes", len(got))
	}
	in = chat.Message()
	in.Ciphertext, in.PaddedSize = mlstest.Random(10<<20+8192), 10<<20+8192
	alice.Post(t, m, in, nil).Want(t, http.StatusRequestEntityTooLarge, "MessageTooLarge")
	in = chat.Message()
	in.PaddedSize = 10<<20 + 8192
	alice.Post(t, m, in, nil).Want(t, http.StatusRequestEntityTooLarge, "MessageTooLarge")
}

func refuseRejoining(t *testing.T) {
	t.Helper()
	alice, bob, chat := couple(t)
	m := mlsapi.MethodRequestRejoin
	in := bob.RejoinInput(chat)
	in.KeyPackage = "garbage"
	bob.Post(t, m, in, nil).Want(t, bad, "InvalidKeyPackage")
	in = bob.RejoinInput(chat)
	in.KeyPackage = alice.Client.KeyPackage(time.Now()).Text()
	bob.Post(t, m, in, nil).Want(t, bad, "InvalidKeyPackage")
	in = bob.RejoinInput(chat)
	in.DeviceID = &alice.ID
	bob.Post(t, m, in, nil).Want(t, bad, "InvalidKeyPackage")

	for range 3 {
		request := bob.Rejoin(t, chat).RequestID
		alice.AddPackages(t, chat, alice.ClaimRequest(t, request, bob.DID).KeyPackages, bob.DID)
	}
	a := bob.Post(t, m, bob.RejoinInput(chat), nil).Want(t, http.StatusTooManyRequests, "RateLimitExceeded")
	if a.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	bob.Confirm(t, chat, true)
	bob.Post(t, m, bob.RejoinInput(chat), nil).Want(t, conflict, "AlreadyMember")
}

func refuseTooManyMembers(t *testing.T) {
	t.Helper()
	alice, _, chat := couple(t, e2e.Env{"MAX_MEMBERS": "3"})
	others := alice.Server.Users(3)
	for _, u := range others {
		u.Register(t, 2)
	}
	alice.Post(t, mlsapi.MethodAddMembers, alice.Addition(t, chat, others[:2]...), nil).Want(t, bad, "TooManyMembers")
	alice.Post(t, mlsapi.MethodCreateConvo, &mlsapi.CreateConvoInput{
		GroupID: hexOf(16), IdempotencyKey: e2e.Key(), CipherSuite: mlsapi.CreateConvoInputCipherSuite(mls.SuiteX25519AES128.String()),
		InitialMembers: e2e.DIDs(others),
	}, nil).Want(t, bad, "TooManyMembers")
	crowd := make([]mls.DID, 101)
	for i := range crowd {
		crowd[i] = alice.Server.NewUser(authtest.K256).DID
	}
	alice.Post(t, mlsapi.MethodAddMembers, &mlsapi.AddMembersInput{ConvoID: chat.ID, DIDList: crowd[:51]}, nil).Want(t, bad, "TooManyMembers")
	alice.Post(t, mlsapi.MethodCreateConvo, &mlsapi.CreateConvoInput{
		GroupID: hexOf(16), CipherSuite: mlsapi.CreateConvoInputCipherSuite(mls.SuiteX25519AES128.String()), InitialMembers: crowd,
	}, nil).Want(t, bad, "TooManyMembers")
	alice.Add(t, chat, others[0])
}
