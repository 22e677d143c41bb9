package handlers

import (
	"encoding/hex"
	"time"

	"mls-server/internal/delivery"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

// datetime formats a time as atproto writes it: UTC, no fraction. All times of
// messages are floored to two seconds before they get here (I8).
func datetime(t time.Time) lexrt.Datetime {
	return lexrt.Datetime(t.UTC().Format("2006-01-02T15:04:05Z"))
}

// datetimePtr is datetime for an optional time.
func datetimePtr(t *time.Time) *lexrt.Datetime {
	if t == nil {
		return nil
	}
	d := datetime(*t)
	return &d
}

// optional returns nil for an empty string, else a pointer to it.
func optional[S ~string](s S) *string {
	if s == "" {
		return nil
	}
	t := string(s)
	return &t
}

// ifTrue returns nil for false, else a pointer to it.
func ifTrue(b bool) *bool {
	if !b {
		return nil
	}
	return &b
}

// optionalSeq returns nil for no place, else a pointer to it.
func optionalSeq(s mls.Seq) *int64 {
	if s == 0 {
		return nil
	}
	return new(int64(s))
}

// bundle is a commit with the GroupInfo and the send key that came along with it.
func bundle(commit, groupInfo *string, sendKey []byte) *delivery.Bundle {
	return &delivery.Bundle{Handshake: mls.ParseCommit(commit), Info: mls.ParseDeposit(groupInfo), SendKey: mls.ParseSendKey(sendKey)}
}

// orEmpty is the inverse of optional.
func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// convoView is a conversation as a user sees it at a time: a member, or one who is invited.
func convoView(c *store.ConvoEntry, user mls.DID, at time.Time) mlsapi.DefsConvoView {
	view := convoFacts(c)
	if c.InvitedBy != "" {
		view.State, view.InvitedBy = new(mlsapi.DefsConvoViewStateInvited), &c.InvitedBy
		view.Members = userViews(c.Members)
		return view
	}
	view.State = new(mlsapi.DefsConvoViewStateActive)
	view.LastMessageAt = datetimePtr(c.LastMessageAt)
	if c.Name != nil || c.Description != nil {
		view.Metadata = &mlsapi.DefsConvoMetadata{Name: c.Name, Description: c.Description}
	}
	view.Members = memberViews(c.Members, user)
	view.PendingRequests = requestViews(c, user, at)
	return view
}

// convoViews is a page of conversations as a user sees them. It cuts the page where it would be too
// large an answer.
func convoViews(page *store.ConvoPage, user mls.DID, at time.Time) []mlsapi.DefsConvoView {
	views := make([]mlsapi.DefsConvoView, 0, len(page.Convos))
	var text []byte
	size := 0
	for i := range page.Convos {
		view := convoView(&page.Convos[i], user, at)
		text = view.AppendJSON(text[:0])
		if size += len(text); i > 0 && size > maxAnswer {
			page.Cut(i)
			break
		}
		views = append(views, view)
	}
	return views
}

// convoFacts is what everybody on the roster sees of a conversation.
func convoFacts(c *store.ConvoEntry) mlsapi.DefsConvoView {
	view := mlsapi.DefsConvoView{
		ID: string(c.FirstGroup), GroupID: string(c.GroupID), Creator: c.Creator, Epoch: int64(c.Epoch),
		CipherSuite: mlsapi.DefsConvoViewCipherSuite(c.CipherSuite.String()), CreatedAt: datetime(c.CreatedAt),
	}
	assurance := mlsapi.DefsConvoViewAssurance("opaque")
	if c.Verified {
		assurance = "verified"
	}
	view.Assurance, view.Generation, view.CommitID = &assurance, (*int64)(&c.Generation), optional(c.CommitID)
	return view
}

// requestViews is what members owe in a conversation, as one of them sees it.
func requestViews(c *store.ConvoEntry, user mls.DID, at time.Time) (views []mlsapi.GetConvosPendingRequest) {
	for i := range c.Requests {
		r := &c.Requests[i]
		view := mlsapi.GetConvosPendingRequest{
			RequestID: string(r.ID), Kind: mlsapi.GetConvosPendingRequestKind(r.Kind), UserDID: r.Device.User,
			DeviceID: optional(r.Device.ID), LeafIndex: r.LeafIndex, CreatedAt: datetime(r.CreatedAt),
		}
		if r.Claimed { // nobody has to commit it
			view.Claimed = new(true)
		} else {
			assigned := delivery.Assign(r, c.Members, at)
			view.AssignedTo, view.AssignedUntil = (*lexrt.URI)(optional(assigned.AssignedTo(user))), datetimePtr(&assigned.Until)
		}
		views = append(views, view)
	}
	return views
}

// memberViews is a roster as a member sees it: the devices of members, and of who is invited the
// user alone. Names of devices are for their own user.
func memberViews(roster []store.Member, viewer mls.DID) []mlsapi.DefsMemberView {
	views := make([]mlsapi.DefsMemberView, 0, len(roster))
	invited := map[mls.DID]bool{}
	for i := range roster {
		m := &roster[i]
		if m.InvitedBy != "" {
			if !invited[m.User] {
				views = append(views, userView(m))
			}
			invited[m.User] = true
			continue
		}
		view := mlsapi.DefsMemberView{
			DID: lexrt.URI(m.MLSDID), UserDID: m.User, DeviceID: optional(m.Device),
			JoinedAt: datetime(m.JoinedAt), IsAdmin: m.Admin, PromotedAt: datetimePtr(m.PromotedAt), PromotedBy: m.PromotedBy,
			LeafIndex: m.LeafIndex,
		}
		if m.User == viewer {
			view.DeviceName = m.DeviceName
		}
		views = append(views, view)
	}
	return views
}

// userViews is a roster as an invited user sees it: its users, without their devices.
func userViews(roster []store.Member) []mlsapi.DefsMemberView {
	views := make([]mlsapi.DefsMemberView, 0, len(roster))
	seen := map[mls.DID]bool{}
	for i := range roster {
		if m := &roster[i]; !seen[m.User] {
			views = append(views, userView(m))
			seen[m.User] = true
		}
	}
	return views
}

// userView is a user on a roster, without its devices.
func userView(m *store.Member) mlsapi.DefsMemberView {
	view := mlsapi.DefsMemberView{DID: lexrt.URI(m.User), UserDID: m.User, JoinedAt: datetime(m.JoinedAt), IsAdmin: m.Admin}
	if m.InvitedBy != "" {
		view.State = new(mlsapi.DefsMemberViewStateInvited)
	}
	return view
}

// messageView is a message of the conversation that began with a group.
func messageView(first mls.GroupID, m *store.Message) mlsapi.DefsMessageView {
	kind := messageType(m.Kind)
	return mlsapi.DefsMessageView{
		ID: string(m.ID), ConvoID: string(first), Ciphertext: m.Ciphertext, Epoch: int64(m.Epoch), Seq: int64(m.Seq),
		CreatedAt: datetime(m.ReceivedAt), MessageType: &kind, Void: ifTrue(m.Void),
	}
}

// toldGaps is how many missing messages are named.
const toldGaps = 100

// gapInfo is what a page does not have, for a client that reads on by seq.
func gapInfo(page *store.MessagePage) *mlsapi.GetMessagesGapInfo {
	missing, n := page.Missing(toldGaps)
	info := &mlsapi.GetMessagesGapInfo{HasGaps: n > 0, MissingSeqs: make([]int64, len(missing)), TotalMessages: int64(len(page.Messages))}
	for i, seq := range missing {
		info.MissingSeqs[i] = int64(seq)
	}
	return info
}

// messageType names the kind of a message as the lexicon does.
func messageType(k store.MessageKind) mlsapi.DefsMessageViewMessageType {
	switch k {
	case store.KindCommit:
		return "commit"
	case store.KindProposal:
		return "proposal"
	case store.KindNotice:
		return "notice"
	default:
		return "app"
	}
}

func commitViews(commits []store.Commit) []mlsapi.GetCommitsCommitMessage {
	views := make([]mlsapi.GetCommitsCommitMessage, len(commits))
	for i, c := range commits {
		views[i] = mlsapi.GetCommitsCommitMessage{Epoch: int64(c.Epoch), Sender: c.Sender, CommitData: c.Bytes, CreatedAt: datetime(c.CreatedAt)}
	}
	return views
}

func keyPackageView(k *store.KeyPackage) mlsapi.DefsKeyPackageRef {
	ref := hex.EncodeToString([]byte(k.Ref))
	return mlsapi.DefsKeyPackageRef{
		DID: k.Owner.User, KeyPackage: mls.EncodeText(k.Bytes), CipherSuite: mlsapi.DefsKeyPackageRefCipherSuite(k.CipherSuite.String()),
		KeyPackageHash: &ref, DeviceID: optional(k.Owner.ID),
	}
}

// sizeOfPackage is how many bytes of an answer a key package takes.
func sizeOfPackage(k *store.KeyPackage) int {
	view := keyPackageView(k)
	return len(view.AppendJSON(nil)) + 1
}

func blockViews(found []store.Block) []mlsapi.CheckBlocksBlockRelationship {
	views := make([]mlsapi.CheckBlocksBlockRelationship, len(found))
	for i, b := range found {
		views[i] = mlsapi.CheckBlocksBlockRelationship{BlockerDID: b.Blocker, BlockedDID: b.Blocked, CreatedAt: datetime(b.CreatedAt)}
		if b.URI != "" {
			views[i].BlockURI = &b.URI
		}
	}
	return views
}

func affectedConvo(e delivery.BlockEffect) mlsapi.HandleBlockChangeAffectedConvo {
	view := mlsapi.HandleBlockChangeAffectedConvo{ConvoID: string(e.Convo), Action: "no_action", NotificationSentAt: datetimePtr(e.ToldAt)}
	if e.ToldAt != nil {
		view.Action, view.AdminNotified = "admin_notified", true
	}
	return view
}

func reportView(r *store.Report) mlsapi.GetReportsReportView {
	return mlsapi.GetReportsReportView{
		ID: string(r.ID), ReporterDID: r.Reporter, ReportedDID: r.Reported, EncryptedContent: r.Content, CreatedAt: datetime(r.CreatedAt),
		Status: mlsapi.GetReportsReportViewStatus(r.Status), ResolvedBy: r.ResolvedBy, ResolvedAt: datetimePtr(r.ResolvedAt),
		Category: optional(r.Category),
	}
}

func statsView(s store.ModerationStats) mlsapi.GetAdminStatsModerationStats {
	return mlsapi.GetAdminStatsModerationStats{
		TotalReports: s.Total, PendingReports: s.Pending, ResolvedReports: s.Resolved, TotalRemovals: s.Removals,
		BlockConflictsResolved: s.BlockConflictsResolved, AverageResolutionTimeHours: s.AverageHours,
		ReportsByCategory: &mlsapi.GetAdminStatsReportCategoryCounts{
			Harassment: &s.Harassment, Spam: &s.Spam, HateSpeech: &s.HateSpeech, Violence: &s.Violence, SexualContent: &s.SexualContent,
			Impersonation: &s.Impersonation, PrivacyViolation: &s.PrivacyViolation, OtherCategory: &s.Other,
		},
	}
}
