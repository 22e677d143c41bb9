package e2e_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
	"mls-server/lexrt"
)

// A repeatScene is a conversation in which a client's answer gets lost. The caller is an admin;
// another admin, members and a newcomer act before the client repeats its request.
type repeatScene struct {
	t                            *testing.T
	server                       *e2e.Server
	chat                         *e2e.Chat
	caller, boss, second, member *e2e.Device
	newcomer                     *e2e.User
	report                       string
}

func newRepeatScene(t *testing.T, s *e2e.Server) *repeatScene {
	t.Helper()
	users := s.Users(5)
	devices := make([]*e2e.Device, len(users))
	for i, u := range users {
		devices[i] = u.Register(t, 6)
	}
	c := &repeatScene{t: t, server: s, caller: devices[1], boss: devices[0], second: devices[2], member: devices[3], newcomer: users[4]}
	c.chat = c.boss.Create(t, users[1:4]...)
	c.boss.Promote(t, c.chat, users[1]).OK(t)
	c.boss.Promote(t, c.chat, users[2]).OK(t)
	id, a := c.member.Report(t, c.chat, users[2], "spam")
	a.OK(t)
	c.report = id
	return c
}

// join is the return of a device into the group, as its own GroupInfo shows it, and how the deposit
// of that was answered.
func (c *repeatScene) join(d *e2e.Device) (*mlsapi.ProcessExternalCommitInput, e2e.Answer) {
	c.t.Helper()
	chat := &e2e.VerifiedChat{Chat: c.chat, Tree: c.chat.Group.AsVerified(d.Client)}
	deposited := d.Post(c.t, mlsapi.MethodUpdateGroupInfo, chat.Deposit(chat.Tree.GroupInfo(0)), nil)
	in, _ := d.Joining(c.t, chat, mlstest.Draft{})
	return in, deposited
}

// catchUp takes the members' clients to the conversation's epoch.
func (c *repeatScene) catchUp() {
	c.t.Helper()
	c.chat.Group = c.chat.Group.At(mls.Epoch(c.boss.Epoch(c.t, c.chat)))
}

// A repeatable is a request that a client may repeat when its answer is lost.
type repeatable struct {
	name   string
	method *lexrt.Method
	// make builds the request, after what has to come before it.
	make func(c *repeatScene) lexrt.Response
	// same compares what must be equal in both answers; nil: all of them.
	same []string
	// done are errors that tell a repeat that what it asks for is so already, or cannot be any
	// more.
	done []string
}

func keyPackage(d *e2e.Device) *mlstest.KeyPackage { return d.Client.KeyPackage(time.Now()) }

var repeatables = []repeatable{
	{"a message", mlsapi.MethodSendMessage, func(c *repeatScene) lexrt.Response { return c.chat.Message() }, nil, nil},
	{"a commit", mlsapi.MethodSendMessage, func(c *repeatScene) lexrt.Response {
		return padded(c.chat, c.chat.Group.PrivateCommit())
	}, nil, []string{"CommitVoid"}},
	{"a proposal", mlsapi.MethodSendMessage, func(c *repeatScene) lexrt.Response {
		return padded(c.chat, c.chat.Group.PrivateProposal())
	}, nil, nil},
	{"a conversation", mlsapi.MethodCreateConvo, func(c *repeatScene) lexrt.Response {
		group := mlstest.NewGroup(mls.SuiteX25519AES128)
		return &mlsapi.CreateConvoInput{
			GroupID: string(group.GroupID()), IdempotencyKey: e2e.Key(),
			CipherSuite: mlsapi.CreateConvoInputCipherSuite(mls.SuiteX25519AES128.String()),
		}
	}, nil, nil},
	{"an addition", mlsapi.MethodAddMembers, func(c *repeatScene) lexrt.Response {
		return c.caller.Addition(c.t, c.chat, c.newcomer)
	}, nil, []string{"CommitVoid"}},
	{"an acceptance", mlsapi.MethodAcceptConvo, func(c *repeatScene) lexrt.Response {
		return &mlsapi.AcceptConvoInput{ConvoID: c.server.Users(1)[0].Invite(c.t, c.caller.User).ID}
	}, nil, nil},
	{"a refusal", mlsapi.MethodLeaveConvo, func(c *repeatScene) lexrt.Response {
		return &mlsapi.LeaveConvoInput{ConvoID: c.server.Users(1)[0].Invite(c.t, c.caller.User).ID}
	}, nil, nil},
	{"a reset", mlsapi.MethodResetConvo, func(c *repeatScene) lexrt.Response {
		in, _ := c.caller.ResetInput(c.t, c.chat)
		return in
	}, nil, nil},
	{"a removal", mlsapi.MethodRemoveMember, func(c *repeatScene) lexrt.Response {
		return &mlsapi.RemoveMemberInput{ConvoID: c.chat.ID, TargetDID: c.member.DID, IdempotencyKey: *e2e.Key()}
	}, nil, nil},
	{"a removal by commit", mlsapi.MethodLeaveConvo, func(c *repeatScene) lexrt.Response {
		return &mlsapi.LeaveConvoInput{ConvoID: c.chat.ID, TargetDID: &c.member.DID, Commit: new(mls.EncodeText(c.chat.Group.PrivateCommit()))}
	}, nil, []string{"CommitVoid"}},
	{"a leave", mlsapi.MethodLeaveConvo, func(c *repeatScene) lexrt.Response {
		return &mlsapi.LeaveConvoInput{ConvoID: c.chat.ID}
	}, []string{"success"}, nil},
	{"a cursor", mlsapi.MethodUpdateCursor, func(c *repeatScene) lexrt.Response {
		id := c.boss.Send(c.t, c.chat).MessageID
		return &mlsapi.UpdateCursorInput{ConvoID: c.chat.ID, Cursor: id, MessageID: &id}
	}, nil, nil},
	{"a key package", mlsapi.MethodPublishKeyPackage, func(c *repeatScene) lexrt.Response {
		return publication(keyPackage(c.caller))
	}, nil, nil},
	{"a new device", mlsapi.MethodRegisterDevice, func(c *repeatScene) lexrt.Response {
		d := &e2e.Device{User: c.caller.User, Client: mlstest.NewClient(c.caller.DID, "", mls.SuiteX25519AES128)}
		return &mlsapi.RegisterDeviceInput{DeviceName: "tablet", SignaturePublicKey: d.Client.SignatureKey, KeyPackages: d.KeyPackages(2)}
	}, []string{"deviceId", "mlsDid"}, nil}, // the rest is what waits for the device now
	{"a known device", mlsapi.MethodRegisterDevice, func(c *repeatScene) lexrt.Response {
		return &mlsapi.RegisterDeviceInput{
			DeviceName: "phone", SignaturePublicKey: c.caller.Client.SignatureKey, KeyPackages: c.caller.KeyPackages(2),
		}
	}, []string{"deviceId", "mlsDid"}, nil},
	{"key packages", mlsapi.MethodPublishKeyPackages, func(c *repeatScene) lexrt.Response {
		return batchOf(keyPackage(c.caller), keyPackage(c.member.NewDevice()))
	}, nil, nil},
	{"a comparison", mlsapi.MethodSyncKeyPackages, func(c *repeatScene) lexrt.Response {
		kept := keyPackage(c.caller)
		c.caller.Post(c.t, mlsapi.MethodPublishKeyPackages, batchOf(kept), nil).OK(c.t)
		return &mlsapi.SyncKeyPackagesInput{DeviceID: c.caller.ID, LocalHashes: []string{hex.EncodeToString([]byte(kept.Ref))}}
	}, []string{"deviceId"}, nil}, // the rest is what there is now
	{"a replacement", mlsapi.MethodRegisterDevice, func(c *repeatScene) lexrt.Response {
		in := c.caller.NewDevice().RegistrationInput(2)
		in.ReplaceDeviceID = &c.caller.Register(c.t, 0).ID
		return in
	}, []string{"deviceId", "mlsDid"}, nil},
	{"a deletion", mlsapi.MethodDeleteDevice, func(c *repeatScene) lexrt.Response {
		return &mlsapi.DeleteDeviceInput{DeviceID: c.caller.Register(c.t, 0).ID}
	}, nil, nil},
	{"a rejoin", mlsapi.MethodRequestRejoin, func(c *repeatScene) lexrt.Response {
		return c.caller.RejoinInput(c.chat)
	}, []string{"requestId"}, nil}, // the rest is what became of the request meanwhile
	{"a confirmation", mlsapi.MethodConfirmWelcome, func(c *repeatScene) lexrt.Response {
		return &mlsapi.ConfirmWelcomeInput{ConvoID: c.chat.ID, Success: true, DeviceID: &c.caller.ID}
	}, []string{}, nil}, // confirmed is false when nothing is left to confirm
	{"a failure", mlsapi.MethodConfirmWelcome, func(c *repeatScene) lexrt.Response {
		return &mlsapi.ConfirmWelcomeInput{ConvoID: c.chat.ID, Success: false, DeviceID: &c.caller.ID, ErrorDetails: new("no key")}
	}, nil, nil},
	{"a report about a commit", mlsapi.MethodReportCommit, func(c *repeatScene) lexrt.Response {
		commit, epoch := padded(c.chat, c.chat.Group.PrivateCommit()), c.chat.Group.Epoch
		c.boss.Post(c.t, mlsapi.MethodSendMessage, commit, nil).OK(c.t)
		c.catchUp()
		return &mlsapi.ReportCommitInput{
			ConvoID: c.chat.ID, Epoch: int64(epoch), MessageID: &commit.MsgID, DeviceID: &c.caller.ID,
			Reason: mlsapi.ReportCommitInputReasonCannotProcess,
		}
	}, []string{}, []string{"GroupReset"}}, // whether the commit is taken back by now
	{"a promotion", mlsapi.MethodPromoteAdmin, func(c *repeatScene) lexrt.Response {
		return &mlsapi.PromoteAdminInput{ConvoID: c.chat.ID, TargetDID: c.member.DID}
	}, nil, []string{"AlreadyAdmin", "NotMember"}},
	{"a demotion", mlsapi.MethodDemoteAdmin, func(c *repeatScene) lexrt.Response {
		return &mlsapi.DemoteAdminInput{ConvoID: c.chat.ID, TargetDID: c.second.DID}
	}, nil, []string{"NotAdminTarget", "NotMember"}},
	{"a resignation", mlsapi.MethodDemoteAdmin, func(c *repeatScene) lexrt.Response {
		return &mlsapi.DemoteAdminInput{ConvoID: c.chat.ID, TargetDID: c.caller.DID}
	}, nil, []string{"NotAdmin"}},
	{"a block", mlsapi.MethodHandleBlockChange, func(c *repeatScene) lexrt.Response {
		c.server.Blocks.Block(c.caller.DID, c.second.DID)
		return blockChange(c.caller.User, c.second.DID, "created", nil)
	}, []string{}, nil}, // what is affected is the conversations that both are in by now
	{"a report", mlsapi.MethodReportMember, func(c *repeatScene) lexrt.Response {
		return &mlsapi.ReportMemberInput{
			ConvoID: c.chat.ID, ReportedDID: c.member.DID, Category: "spam", EncryptedContent: mlstest.Random(64),
		}
	}, nil, nil},
	{"a join", mlsapi.MethodProcessExternalCommit, func(c *repeatScene) lexrt.Response {
		in, deposited := c.join(c.caller)
		deposited.OK(c.t)
		in.IdempotencyKey = e2e.Key()
		return in
	}, nil, []string{"CommitVoid"}},
	{"a join without a key", mlsapi.MethodProcessExternalCommit, func(c *repeatScene) lexrt.Response {
		in, deposited := c.join(c.caller)
		deposited.OK(c.t)
		return in
	}, nil, []string{"CommitVoid"}},
	{"a GroupInfo", mlsapi.MethodUpdateGroupInfo, func(c *repeatScene) lexrt.Response {
		client := c.caller.Client
		return &mlsapi.UpdateGroupInfoInput{
			ConvoID: c.chat.ID, Epoch: int64(c.chat.Group.Epoch),
			GroupInfo: *e2e.Text(c.chat.Group.GroupInfo(client, true, client.KeyPackage(time.Now()))),
		}
	}, nil, []string{"EpochMismatch", "GroupReset"}},
	// Whether the epoch has the key is told as it is by then: keys go with whoever leaves.
	{"a send key", mlsapi.MethodDepositSendKey, func(c *repeatScene) lexrt.Response {
		return &mlsapi.DepositSendKeyInput{ConvoID: c.chat.ID, Epoch: int64(c.chat.Group.Epoch), SendKey: c.chat.SendKey()}
	}, []string{}, []string{"EpochMismatch"}},
	{"a ticket", mlsapi.MethodGetSubscriptionTicket, func(c *repeatScene) lexrt.Response {
		return &mlsapi.GetSubscriptionTicketInput{ConvoID: &c.chat.ID}
	}, []string{"endpoint"}, nil}, // another one is as good
	{"a sealed message", mlsapi.MethodSendSealed, func(c *repeatScene) lexrt.Response {
		c.boss.GiveKey(c.t, c.chat, c.chat.SendKey())
		return c.chat.Sealed()
	}, nil, []string{"ConvoNotFound"}},
	{"a resolution", mlsapi.MethodResolveReport, func(c *repeatScene) lexrt.Response {
		return &mlsapi.ResolveReportInput{ReportID: c.report, Action: "dismissed", Notes: new("looked at it")}
	}, nil, nil},
}

// An act is what somebody else may do before the request is repeated.
type act struct {
	name string
	// methods are what it calls of what changes anything.
	methods []*lexrt.Method
	do      func(c *repeatScene) e2e.Answer
	// expels says that the caller has no standing to do what it did any more. Without a key there
	// is nothing to tell the repeat by; it may be told so, unless its method says better.
	expels bool
}

func by(methods ...*lexrt.Method) []*lexrt.Method { return methods }

var acts = []act{
	{"nobody acts", nil, func(c *repeatScene) e2e.Answer { return c.boss.Get(c.t, mlsapi.MethodGetConvos, nil) }, false},
	{"packages are claimed", by(mlsapi.MethodGetKeyPackages), func(c *repeatScene) e2e.Answer {
		for range 10 { // all of them
			c.boss.Claim(c.t, c.caller.DID, c.newcomer.DID)
		}
		return e2e.Answer{Status: http.StatusOK}
	}, false},
	{"a message", by(mlsapi.MethodSendMessage), func(c *repeatScene) e2e.Answer {
		return c.boss.Post(c.t, mlsapi.MethodSendMessage, c.chat.Message(), nil)
	}, false},
	{"a commit", by(mlsapi.MethodSendMessage), func(c *repeatScene) e2e.Answer {
		return c.boss.SendBytes(c.t, c.chat, c.chat.Group.PrivateCommit())
	}, false},
	{"a commit that is taken back", by(mlsapi.MethodSendMessage, mlsapi.MethodReportCommit), func(c *repeatScene) e2e.Answer {
		if a := c.boss.SendBytes(c.t, c.chat, c.chat.Group.PrivateCommit()); a.Status != http.StatusOK {
			return a
		}
		return c.takeBack(c.chat.Group.Epoch)
	}, false},
	{"the last commit is taken back", by(mlsapi.MethodReportCommit), func(c *repeatScene) e2e.Answer {
		if c.chat.Group.Epoch < 2 {
			return e2e.Answer{} // there is none
		}
		return c.takeBack(c.chat.Group.Epoch - 1)
	}, false},
	{"an addition", by(mlsapi.MethodAddMembers, mlsapi.MethodAcceptConvo), func(c *repeatScene) e2e.Answer {
		if a := c.boss.Post(c.t, mlsapi.MethodAddMembers, c.boss.Addition(c.t, c.chat, c.newcomer), nil); a.Status != http.StatusOK {
			return a
		}
		return c.newcomer.Accept(c.t, c.chat)
	}, false},
	{"pending devices are added", by(mlsapi.MethodAddMembers), func(c *repeatScene) e2e.Answer {
		for _, p := range c.boss.Pending(c.t, c.chat) {
			if p.UserDID != c.caller.DID || p.Kind == "removal" {
				continue
			}
			packages := c.boss.ClaimRequest(c.t, p.RequestID, p.UserDID).KeyPackages
			if len(packages) == 0 {
				packages = c.boss.ClaimDevice(c.t, &e2e.Device{User: c.caller.User, ID: *p.DeviceID})
			}
			return c.boss.Post(c.t, mlsapi.MethodAddMembers, e2e.AdditionOf(c.chat, packages, p.UserDID), nil)
		}
		return e2e.Answer{}
	}, false},
	{"another comes back by itself", by(mlsapi.MethodUpdateGroupInfo, mlsapi.MethodProcessExternalCommit), func(c *repeatScene) e2e.Answer {
		in, deposited := c.join(c.member)
		if deposited.Status != http.StatusOK {
			return deposited
		}
		return c.member.Post(c.t, mlsapi.MethodProcessExternalCommit, in, nil)
	}, false},
	{"another gives a send key and uses it", by(mlsapi.MethodDepositSendKey, mlsapi.MethodSendSealed), func(c *repeatScene) e2e.Answer {
		c.boss.GiveKey(c.t, c.chat, c.chat.SendKey())
		return trySealed(c.t, c.server, c.chat.Sealed())
	}, false},
	{"a reset", by(mlsapi.MethodResetConvo), func(c *repeatScene) e2e.Answer {
		in, _ := c.boss.ResetInput(c.t, c.chat)
		return c.boss.Post(c.t, mlsapi.MethodResetConvo, in, nil)
	}, false},
	{"another member is removed", by(mlsapi.MethodRemoveMember), func(c *repeatScene) e2e.Answer {
		return c.boss.Remove(c.t, c.chat, c.member.User, c.chat.Group.PrivateCommit())
	}, false},
	{"another member leaves", by(mlsapi.MethodLeaveConvo), func(c *repeatScene) e2e.Answer { return c.member.Leave(c.t, c.chat, nil) }, false},
	{"another admin leaves", by(mlsapi.MethodLeaveConvo), func(c *repeatScene) e2e.Answer { return c.second.Leave(c.t, c.chat, nil) }, false},
	{"another is promoted", by(mlsapi.MethodPromoteAdmin), func(c *repeatScene) e2e.Answer { return c.boss.Promote(c.t, c.chat, c.member.User) }, false},
	{"another is demoted", by(mlsapi.MethodDemoteAdmin), func(c *repeatScene) e2e.Answer { return c.boss.Demote(c.t, c.chat, c.second.User) }, false},
	{"a report", by(mlsapi.MethodReportMember), func(c *repeatScene) e2e.Answer {
		_, a := c.second.Report(c.t, c.chat, c.member.User, "harassment")
		return a
	}, false},
	{"another report is resolved", by(mlsapi.MethodResolveReport), func(c *repeatScene) e2e.Answer {
		id, a := c.boss.Report(c.t, c.chat, c.member.User, "other")
		if a.Status != http.StatusOK {
			return a
		}
		return c.boss.Resolve(c.t, id, "no_action")
	}, false},
	{"another member has a new device, publishes, loses its state and reads on", by(
		mlsapi.MethodRegisterDevice, mlsapi.MethodPublishKeyPackage, mlsapi.MethodConfirmWelcome, mlsapi.MethodUpdateCursor, mlsapi.MethodRequestRejoin,
		mlsapi.MethodPublishKeyPackages, mlsapi.MethodSyncKeyPackages, mlsapi.MethodDeleteDevice, mlsapi.MethodGetSubscriptionTicket,
	), func(c *repeatScene) e2e.Answer {
		a := c.member.Post(c.t, mlsapi.MethodGetSubscriptionTicket, &mlsapi.GetSubscriptionTicketInput{ConvoID: &c.chat.ID}, nil)
		if a.Status != http.StatusOK {
			return a
		}
		message := c.chat.Message()
		id := message.MsgID
		if a := c.boss.Post(c.t, mlsapi.MethodSendMessage, message, nil); a.Status != http.StatusOK {
			return a
		}
		if a := c.member.Post(c.t, mlsapi.MethodUpdateCursor, &mlsapi.UpdateCursorInput{ConvoID: c.chat.ID, Cursor: id}, nil); a.Status != http.StatusOK {
			return a
		}
		c.member.Post(c.t, mlsapi.MethodPublishKeyPackage, publication(keyPackage(c.member)), nil).OK(c.t)
		c.member.Confirm(c.t, c.chat, false)
		c.member.Post(c.t, mlsapi.MethodPublishKeyPackages, batchOf(keyPackage(c.member)), nil).OK(c.t)
		c.member.Post(c.t, mlsapi.MethodSyncKeyPackages, &mlsapi.SyncKeyPackagesInput{DeviceID: c.member.ID, LocalHashes: []string{}}, nil).OK(c.t)
		c.member.User.Register(c.t, 1)
		gone := c.member.User.Register(c.t, 0).ID
		c.member.Post(c.t, mlsapi.MethodDeleteDevice, &mlsapi.DeleteDeviceInput{DeviceID: gone}, nil).OK(c.t)
		return c.member.Post(c.t, mlsapi.MethodRequestRejoin, c.member.RejoinInput(c.chat), nil)
	}, false},
	{"another member's device comes, compares and goes", by(
		mlsapi.MethodRegisterDevice, mlsapi.MethodPublishKeyPackages, mlsapi.MethodSyncKeyPackages, mlsapi.MethodDeleteDevice,
	), func(c *repeatScene) e2e.Answer {
		tablet := c.member.User.Register(c.t, 1)
		tablet.Post(c.t, mlsapi.MethodPublishKeyPackages, batchOf(keyPackage(tablet)), nil).OK(c.t)
		tablet.Post(c.t, mlsapi.MethodSyncKeyPackages, &mlsapi.SyncKeyPackagesInput{DeviceID: tablet.ID, LocalHashes: []string{}}, nil).OK(c.t)
		return c.member.User.Delete(c.t, tablet, nil)
	}, false},
	{"another conversation with the same people", by(mlsapi.MethodCreateConvo), func(c *repeatScene) e2e.Answer {
		c.boss.Create(c.t, c.second.User, c.newcomer)
		return e2e.Answer{Status: http.StatusOK}
	}, false},
	{"another blocks the caller", by(mlsapi.MethodHandleBlockChange), func(c *repeatScene) e2e.Answer {
		c.server.Blocks.Block(c.member.DID, c.caller.DID)
		return c.member.Post(c.t, mlsapi.MethodHandleBlockChange, blockChange(c.member.User, c.caller.DID, "created", nil), nil)
	}, false},
	{"the caller is demoted", by(mlsapi.MethodDemoteAdmin), func(c *repeatScene) e2e.Answer { return c.boss.Demote(c.t, c.chat, c.caller.User) }, true},
	{"the caller is removed", by(mlsapi.MethodRemoveMember), func(c *repeatScene) e2e.Answer { return c.boss.Remove(c.t, c.chat, c.caller.User, nil) }, true},
}

// takeBack has the second admin and the member report the commit of an epoch. They are a majority
// unless there is a newcomer, who then reports as well.
func (c *repeatScene) takeBack(epoch mls.Epoch) (a e2e.Answer) {
	c.t.Helper()
	for _, u := range []*e2e.User{c.second.User, c.member.User, c.newcomer} {
		if a = u.ReportCommit(c.t, c.chat, int64(epoch), ""); a.Status != http.StatusOK {
			return a
		}
		if c.boss.Epoch(c.t, c.chat) == int64(epoch) {
			return a
		}
	}
	c.t.Errorf("the commit of epoch %d stands", epoch)
	return a
}

func padded(chat *e2e.Chat, message []byte) *mlsapi.SendMessageInput {
	in := chat.Message()
	in.Ciphertext = mlstest.PadDirect(message, 0)
	in.PaddedSize = int64(len(in.Ciphertext))
	return in
}

// known reports whether a repeat is answered as the first time even when the caller has been
// expelled meanwhile: where the request has an idempotency key, or asks for something outside the
// conversation.
func (w *repeatable) known(in lexrt.Response) bool {
	return w.method != mlsapi.MethodSendMessage && bytes.Contains(in.AppendJSON(nil), []byte(`"idempotencyKey"`)) || slices.Contains([]*lexrt.Method{
		mlsapi.MethodPublishKeyPackage, mlsapi.MethodPublishKeyPackages, mlsapi.MethodSyncKeyPackages, mlsapi.MethodRegisterDevice,
		mlsapi.MethodDeleteDevice,
	}, w.method)
}

// standing are the errors that an expelled caller may be told by the other methods.
var standing = []string{"NotMember", "NotAdmin", "ConvoNotFound", "ReportNotFound"}

// TestRepeats: a client whose answer was lost repeats its request, and gets the first answer or an
// equal one, whatever others have done in between. Under the race detector every fourth of the
// pairs is tried; make test runs all of them without it.
func TestRepeats(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	happened := make([]atomic.Int64, len(acts))
	t.Cleanup(func() {
		for j, a := range acts {
			if !raceEnabled && happened[j].Load() == 0 {
				t.Errorf("%q was possible before no repeat", a.name)
			}
		}
	})
	for i, w := range repeatables {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			tried, possible := 0, 0
			for j, a := range acts {
				if raceEnabled && (i+j)%4 != 0 {
					continue
				}
				tried++
				c := newRepeatScene(t, s)
				in := w.make(c)
				first := c.caller.Post(t, w.method, in, nil).OK(t)
				c.catchUp()
				if between := a.do(c); between.Status != http.StatusOK {
					continue // the write has made it impossible
				}
				possible++
				happened[j].Add(1)
				again := c.caller.Post(t, w.method, in, nil)
				if a.expels && !w.known(in) && slices.Contains(standing, again.Error) {
					continue
				}
				if slices.Contains(w.done, again.Error) || w.name == "a failure" && a.name == "a reset" {
					continue // a reset ends the Welcome, and then nothing is confirmed
				}
				if again.Status != first.Status || !equalAnswers(t, first.Body, again.Body, w.same) {
					t.Errorf("%s, %s, and again: %d %s %s, first %s", w.name, a.name, again.Status, again.Error, again.Body, first.Body)
				}
			}
			if !raceEnabled && possible < tried/2 {
				t.Errorf("only %d of %d acts were possible", possible, tried)
			}
		})
	}
}

// equalAnswers compares two answers, in some of their members when those are named.
func equalAnswers(t *testing.T, a, b []byte, members []string) bool {
	t.Helper()
	if members == nil {
		return bytes.Equal(a, b)
	}
	var x, y map[string]json.RawMessage
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return false
	}
	for _, m := range members {
		if len(x[m]) == 0 || !bytes.Equal(x[m], y[m]) {
			return false
		}
	}
	return true
}

// Every procedure is repeated, and what every procedure does to others happens before a repeat.
func TestRepeatsAreComplete(t *testing.T) {
	t.Parallel()
	repeated, done := map[*lexrt.Method]bool{}, map[*lexrt.Method]bool{}
	for _, w := range repeatables {
		repeated[w.method] = true
	}
	for _, a := range acts {
		for _, m := range a.methods {
			done[m] = true
		}
	}
	for _, m := range mlsapi.Methods() {
		if m.Kind != lexrt.Procedure {
			continue
		}
		if !repeated[m] {
			t.Errorf("no request of %s is repeated in TestRepeats", short(m))
		}
		if !done[m] {
			t.Errorf("nobody calls %s before a repeat in TestRepeats", short(m))
		}
	}
}
