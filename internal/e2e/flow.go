package e2e

import (
	"testing"
	"time"

	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
)

// ClaimDevice takes a key package of one device of a user.
func (u *User) ClaimDevice(tb testing.TB, d *Device) []mlsapi.DefsKeyPackageRef {
	tb.Helper()
	var out mlsapi.GetKeyPackagesOutput
	u.Get(tb, mlsapi.MethodGetKeyPackages, &out, "dids", string(d.DID), "deviceIds", d.ID).OK(tb)
	return out.KeyPackages
}

// ClaimRequest takes the key package that a rejoin request has brought.
func (u *User) ClaimRequest(tb testing.TB, requestID string, owner mls.DID) mlsapi.GetKeyPackagesOutput {
	tb.Helper()
	var out mlsapi.GetKeyPackagesOutput
	u.Get(tb, mlsapi.MethodGetKeyPackages, &out, "dids", string(owner), "requestId", requestID).OK(tb)
	return out
}

// AdditionOf is the request by which claimed packages are added, with an
// opaque commit of the chat's epoch.
func AdditionOf(c *Chat, packages []mlsapi.DefsKeyPackageRef, dids ...mls.DID) *mlsapi.AddMembersInput {
	return &mlsapi.AddMembersInput{
		ConvoID: c.ID, IdempotencyKey: Key(), DIDList: dids, Commit: new(mls.EncodeText(c.Group.PrivateCommit())),
		WelcomeMessage: new(mls.EncodeText(c.Group.At(c.Group.Epoch + 1).Welcome(refs(packages)...))),
	}
}

// AddPackages adds claimed packages, whose users accept, and moves the chat to the next epoch.
func (u *User) AddPackages(tb testing.TB, c *Chat, packages []mlsapi.DefsKeyPackageRef, dids ...mls.DID) *mlsapi.AddMembersInput {
	tb.Helper()
	in := AdditionOf(c, packages, dids...)
	var out mlsapi.AddMembersOutput
	u.Post(tb, mlsapi.MethodAddMembers, in, &out).OK(tb)
	c.Group = c.Group.At(mls.Epoch(out.NewEpoch))
	u.accepted(tb, c, dids...)
	return in
}

// Convo is the conversation as the user lists it; nil when it is not listed.
func (u *User) Convo(tb testing.TB, c *Chat) *mlsapi.DefsConvoView {
	tb.Helper()
	for _, v := range u.Convos(tb) {
		if v.ID == c.ID {
			return &v
		}
	}
	return nil
}

// Pending is what the members of the conversation owe, as the user lists it.
func (u *User) Pending(tb testing.TB, c *Chat) []mlsapi.GetConvosPendingRequest {
	tb.Helper()
	v := u.Convo(tb, c)
	if v == nil {
		tb.Fatalf("the conversation is not listed")
	}
	return v.PendingRequests
}

// Welcome asks for the Welcome of a device, "" for any of the user's.
func (u *User) Welcome(tb testing.TB, c *Chat, device string) (mlsapi.GetWelcomeOutput, Answer) {
	tb.Helper()
	args := []string{"convoId", c.ID}
	if device != "" {
		args = append(args, "deviceId", device)
	}
	var out mlsapi.GetWelcomeOutput
	a := u.Get(tb, mlsapi.MethodGetWelcome, &out, args...)
	return out, a
}

// Confirm confirms the Welcome of a device, or says that it could not be read.
func (d *Device) Confirm(tb testing.TB, c *Chat, success bool) bool {
	tb.Helper()
	in := &mlsapi.ConfirmWelcomeInput{ConvoID: c.ID, Success: success, DeviceID: &d.ID}
	if !success {
		in.ErrorDetails = new("no matching key package")
	}
	var out mlsapi.ConfirmWelcomeOutput
	d.Post(tb, mlsapi.MethodConfirmWelcome, in, &out).OK(tb)
	return out.Confirmed
}

// RejoinInput is a request to be added again, with a fresh key package.
func (d *Device) RejoinInput(c *Chat) *mlsapi.RequestRejoinInput {
	return &mlsapi.RequestRejoinInput{
		ConvoID: c.ID, KeyPackage: d.Client.KeyPackage(time.Now()).Text(), DeviceID: &d.ID,
		Reason: new(mlsapi.RequestRejoinInputReason("state_loss")),
	}
}

// Rejoin asks to be added again.
func (d *Device) Rejoin(tb testing.TB, c *Chat) mlsapi.RequestRejoinOutput {
	tb.Helper()
	var out mlsapi.RequestRejoinOutput
	d.Post(tb, mlsapi.MethodRequestRejoin, d.RejoinInput(c), &out).OK(tb)
	return out
}

// Promote makes another user an admin.
func (u *User) Promote(tb testing.TB, c *Chat, target *User) Answer {
	tb.Helper()
	return u.Post(tb, mlsapi.MethodPromoteAdmin, &mlsapi.PromoteAdminInput{ConvoID: c.ID, TargetDID: target.DID}, nil)
}

// Demote takes another user's, or the own, admin role.
func (u *User) Demote(tb testing.TB, c *Chat, target *User) Answer {
	tb.Helper()
	return u.Post(tb, mlsapi.MethodDemoteAdmin, &mlsapi.DemoteAdminInput{ConvoID: c.ID, TargetDID: target.DID}, nil)
}

// Leave leaves, with a proposal or without.
func (u *User) Leave(tb testing.TB, c *Chat, proposal []byte) Answer {
	tb.Helper()
	in := &mlsapi.LeaveConvoInput{ConvoID: c.ID}
	if proposal != nil {
		in.Commit = new(mls.EncodeText(proposal))
	}
	return u.Post(tb, mlsapi.MethodLeaveConvo, in, nil)
}

// Remove takes another user out, with a commit or without.
func (u *User) Remove(tb testing.TB, c *Chat, target *User, commit []byte) Answer {
	tb.Helper()
	in := &mlsapi.RemoveMemberInput{ConvoID: c.ID, TargetDID: target.DID, IdempotencyKey: *Key(), Reason: new("spam in the group")}
	if commit != nil {
		in.Commit = new(mls.EncodeText(commit))
	}
	return u.Post(tb, mlsapi.MethodRemoveMember, in, nil)
}

// SendBytes sends an MLS message of any kind through sendMessage.
func (u *User) SendBytes(tb testing.TB, c *Chat, message []byte) Answer {
	tb.Helper()
	in := c.Message()
	in.Ciphertext = mlstest.PadDirect(message, 0)
	in.PaddedSize = int64(len(in.Ciphertext))
	return u.Post(tb, mlsapi.MethodSendMessage, in, nil)
}

// ReportCommit says that the user cannot follow a commit, "" for the newest one.
func (u *User) ReportCommit(tb testing.TB, c *Chat, epoch int64, commit string) Answer {
	tb.Helper()
	in := &mlsapi.ReportCommitInput{ConvoID: c.ID, Epoch: epoch, Reason: "cannot_process"}
	if commit != "" {
		in.MessageID = &commit
	}
	return u.Post(tb, mlsapi.MethodReportCommit, in, nil)
}

// Next moves the chat to the next epoch.
func (c *Chat) Next() { c.Group = c.Group.At(c.Group.Epoch + 1) }

// Report reports a user.
func (u *User) Report(tb testing.TB, c *Chat, target *User, category string) (string, Answer) {
	tb.Helper()
	var out mlsapi.ReportMemberOutput
	a := u.Post(tb, mlsapi.MethodReportMember, &mlsapi.ReportMemberInput{
		ConvoID: c.ID, ReportedDID: target.DID, Category: mlsapi.ReportMemberInputCategory(category), EncryptedContent: mlstest.Random(64),
	}, &out)
	return out.ReportID, a
}

// Reports lists a page of reports.
func (u *User) Reports(tb testing.TB, c *Chat, args ...string) mlsapi.GetReportsOutput {
	tb.Helper()
	var out mlsapi.GetReportsOutput
	u.Get(tb, mlsapi.MethodGetReports, &out, append([]string{"convoId", c.ID}, args...)...).OK(tb)
	return out
}

// Resolve resolves a report.
func (u *User) Resolve(tb testing.TB, id, action string) Answer {
	tb.Helper()
	return u.Post(tb, mlsapi.MethodResolveReport, &mlsapi.ResolveReportInput{
		ReportID: id, Action: mlsapi.ResolveReportInputAction(action), Notes: new("looked at it"),
	}, nil)
}

// Stats counts the moderation of a conversation.
func (u *User) Stats(tb testing.TB, c *Chat) mlsapi.GetAdminStatsModerationStats {
	tb.Helper()
	var out mlsapi.GetAdminStatsOutput
	u.Get(tb, mlsapi.MethodGetAdminStats, &out, "convoId", c.ID).OK(tb)
	return out.Stats
}
