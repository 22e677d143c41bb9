package store

import (
	"context"
	"time"

	"mls-server/internal/gen/db"
	"mls-server/internal/mls"
)

// Convo is a conversation.
type Convo struct {
	ID mls.ConvoID
	// FirstGroup is the group that it began with: its id as clients know it, for ever.
	FirstGroup mls.GroupID
	// GroupID is the group that it has now.
	GroupID     mls.GroupID
	Creator     mls.DID
	CipherSuite mls.CipherSuite
	Epoch       mls.Epoch
	// Generation says which MLS group of the conversation GroupID is.
	Generation mls.Generation
	// Verified says that the server follows the group; see GroupState.
	Verified bool
	// CommitID is the message id of the newest commit of the generation that stands, "" before the
	// first.
	CommitID mls.MessageID
	// Successor is the group that a ReInit commit announced, nil while the group lives.
	Successor *Successor
	// LastSeq is the seq of the newest message, 0 before the first.
	LastSeq           mls.Seq
	Name, Description *string
	// CreatedAt, LastActivityAt and LastMessageAt are floored to 2 seconds (I8).
	CreatedAt, LastActivityAt time.Time
	// LastMessageAt is nil before the first application message.
	LastMessageAt *time.Time
}

// Successor is a group that is to follow one which has ended (RFC 9420 12.1.5).
type Successor struct {
	GroupID mls.GroupID
	Suite   mls.CipherSuite
}

// Standing is what a user is to a conversation.
type Standing struct {
	Convo
	// Ever: the user has a row, of now or of before. Member: an active one, of a user who has
	// accepted.
	Ever, Member bool
	// Invited: an active row, and the user has not accepted yet. It is no member then.
	Invited bool
	// Admin is a property of the user, over all its devices.
	Admin bool
	// JoinSeq and JoinEpoch are where the first of the user's active devices
	// joined: history is served from seq > JoinSeq and commits from JoinEpoch.
	JoinSeq   mls.Seq
	JoinEpoch mls.Epoch
	// LeftReason is how a former member's last membership ended.
	LeftReason LeaveReason
}

// NewConvo is what CreateConvo writes.
type NewConvo struct {
	ID          mls.ConvoID
	GroupID     mls.GroupID
	Creator     mls.DID
	CipherSuite mls.CipherSuite
	Epoch       mls.Epoch
	// Verified says that the server follows the group; PutGroupState comes next then.
	Verified          bool
	Name, Description *string
	// At is floored to 2 seconds (I8).
	At time.Time
}

// CreateConvo writes a conversation without members, locked for the rest of
// the transaction. The error is mls.ErrGroupAlreadyExists when the group id is
// taken.
func (tx *Tx) CreateConvo(ctx context.Context, c NewConvo) error {
	arg := db.InsertConversationParams{
		ID: c.ID, GroupID: c.GroupID, CreatorDID: c.Creator, CipherSuite: c.CipherSuite, Epoch: c.Epoch,
		Name: c.Name, Description: c.Description, CreatedAt: bucket(c.At),
	}
	if c.Verified {
		arg.VerifiedEpoch = (*int64)(&c.Epoch)
	}
	return fail("create conversation", tx.q.InsertConversation(ctx, arg), groupIDTaken, groupIDUsed)
}

// LockConvo locks a conversation for the rest of the transaction, before any
// other row of it. The error is mls.ErrConvoNotFound.
func (tx *Tx) LockConvo(ctx context.Context, key mls.ConvoKey) (Convo, error) {
	row, err := tx.q.LockConversation(ctx, string(key.ConvoID), string(key.GroupID))
	if isNotFound(err) {
		return Convo{}, mls.ErrConvoNotFound
	}
	if err != nil {
		return Convo{}, fail("lock conversation", err)
	}
	return convoOf(db.GetConversationRow(row)), nil
}

// LockAsMember locks a conversation for one of its members, and returns what
// holds under the lock. Errors as RequireMember; strangers never wait for the
// lock, so that they cannot tell a busy conversation from none.
func (tx *Tx) LockAsMember(ctx context.Context, key mls.ConvoKey, did mls.DID) (Standing, error) {
	before, err := tx.RequireMember(ctx, key, did)
	if err != nil {
		return Standing{}, err
	}
	key = mls.ConvoKey{ConvoID: before.ID}
	if _, err := tx.LockConvo(ctx, key); err != nil {
		return Standing{}, err
	}
	return tx.RequireMember(ctx, key, did)
}

// LockOnRoster is LockAsMember that lets invited users in, too.
func (tx *Tx) LockOnRoster(ctx context.Context, key mls.ConvoKey, did mls.DID) (Standing, error) {
	before, err := tx.RequireOnRoster(ctx, key, did)
	if err != nil {
		return Standing{}, err
	}
	key = mls.ConvoKey{ConvoID: before.ID}
	if _, err := tx.LockConvo(ctx, key); err != nil {
		return Standing{}, err
	}
	return tx.RequireOnRoster(ctx, key, did)
}

// LockStanding is LockAsMember that lets invited users and former members in, too.
func (tx *Tx) LockStanding(ctx context.Context, key mls.ConvoKey, did mls.DID) (Standing, error) {
	before, err := tx.FindStanding(ctx, key, did)
	switch {
	case err != nil:
		return Standing{}, err
	case !before.Ever:
		return Standing{}, mls.ErrConvoNotFound
	}
	key = mls.ConvoKey{ConvoID: before.ID}
	if _, err := tx.LockConvo(ctx, key); err != nil {
		return Standing{}, err
	}
	return tx.FindStanding(ctx, key, did)
}

// LockAsAdmin is LockAsMember with mls.ErrNotAdmin for a member who is not an admin.
func (tx *Tx) LockAsAdmin(ctx context.Context, key mls.ConvoKey, did mls.DID) (Standing, error) {
	standing, err := tx.LockAsMember(ctx, key, did)
	if err == nil && !standing.Admin {
		return Standing{}, mls.ErrNotAdmin
	}
	return standing, err
}

// FindStanding says what a user is to a conversation. The error is
// mls.ErrConvoNotFound when there is no such conversation.
func (r *reader) FindStanding(ctx context.Context, key mls.ConvoKey, did mls.DID) (Standing, error) {
	row, err := r.q.GetStanding(ctx, db.GetStandingParams{UserDID: did, ConvoID: string(key.ConvoID), GroupID: string(key.GroupID)})
	if isNotFound(err) {
		return Standing{}, mls.ErrConvoNotFound
	}
	if err != nil {
		return Standing{}, fail("find standing", err)
	}
	return Standing{
		Convo: convoOf(db.GetConversationRow{
			ID: row.ID, GroupID: row.GroupID, CreatorDID: row.CreatorDID, CipherSuite: row.CipherSuite, Epoch: row.Epoch, LastSeq: row.LastSeq,
			Name: row.Name, Description: row.Description, CreatedAt: row.CreatedAt, LastActivityAt: row.LastActivityAt, LastMessageBucketTs: row.LastMessageBucketTs,
			Generation: row.Generation, VerifiedEpoch: row.VerifiedEpoch, CommitID: row.CommitID, ReinitGroupID: row.ReinitGroupID, ReinitSuite: row.ReinitSuite, FirstGroupID: row.FirstGroupID,
		}),
		Ever: row.RowsEver > 0, Member: row.RowsActive > 0, Invited: row.RowsInvited > 0, Admin: row.IsAdmin,
		JoinSeq: mls.Seq(row.JoinSeq), JoinEpoch: mls.Epoch(row.JoinEpoch), LeftReason: LeaveReason(row.LeftReason),
	}, nil
}

// RequireMember is FindStanding for active members only. The error is
// mls.ErrConvoNotFound for a conversation that does not exist and for one that
// the user was never in, mls.ErrNotMember for one that it left, or is only invited to.
func (r *reader) RequireMember(ctx context.Context, key mls.ConvoKey, did mls.DID) (Standing, error) {
	standing, err := r.RequireOnRoster(ctx, key, did)
	if err == nil && !standing.Member {
		return Standing{}, mls.ErrNotMember
	}
	return standing, err
}

// RequireOnRoster is RequireMember that lets invited users in, too.
func (r *reader) RequireOnRoster(ctx context.Context, key mls.ConvoKey, did mls.DID) (Standing, error) {
	standing, err := r.FindStanding(ctx, key, did)
	switch {
	case err != nil:
		return Standing{}, err
	case !standing.Ever:
		return Standing{}, mls.ErrConvoNotFound
	case !standing.Member && !standing.Invited:
		return Standing{}, mls.ErrNotMember
	}
	return standing, nil
}

// RequireAdmin is RequireMember with mls.ErrNotAdmin for a member who is not an admin.
func (r *reader) RequireAdmin(ctx context.Context, key mls.ConvoKey, did mls.DID) (Standing, error) {
	standing, err := r.RequireMember(ctx, key, did)
	if err == nil && !standing.Admin {
		return Standing{}, mls.ErrNotAdmin
	}
	return standing, err
}

// ConvoCursor is a place in a user's list of conversations: after the one with
// this activity and id or, among its invitations, which come last, the one that
// was made then. The zero value is the list's beginning.
type ConvoCursor struct {
	Invitations bool
	At          time.Time
	ID          mls.ConvoID
}

// ConvoPage is a page of a user's conversations with all that their views show.
type ConvoPage struct {
	Convos []ConvoEntry
	// Next is where the next page begins, nil on the last one.
	Next *ConvoCursor
}

// ConvoEntry is a conversation, the devices on its roster and what is owed in it.
type ConvoEntry struct {
	Convo
	// InvitedBy is who has invited the user whose list it is in, "" for a member.
	InvitedBy mls.DID
	// ListedAt is by what the list that it is in goes on.
	ListedAt time.Time
	Members  []Member
	Requests []Request
}

// ConvoFilter says which conversations a list has. The values are the lexicon's.
type ConvoFilter string

// The filters.
const (
	AllConvos     ConvoFilter = ""
	ActiveConvos  ConvoFilter = "active"
	InvitedConvos ConvoFilter = "invited"
)

// farFuture is later than every activity.
var farFuture = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// ListConvos is a page of the conversations that a user is in or invited to,
// newest activity first, invitations last, the newest first, with three statements whatever its
// size.
func (r *reader) ListConvos(ctx context.Context, did mls.DID, which ConvoFilter, after ConvoCursor, limit int) (ConvoPage, error) {
	if after == (ConvoCursor{}) {
		after.At = farFuture
	}
	rows, err := r.q.ListConversations(ctx, db.ListConversationsParams{
		UserDID: did, State: string(which), AmongInvitations: after.Invitations, BeforeAt: after.At, BeforeID: string(after.ID), MaxRows: rowLimit(limit + 1),
	})
	if err != nil {
		return ConvoPage{}, fail("list conversations", err)
	}
	var page ConvoPage
	if n := pageRows(rows, limit); n < len(rows) {
		rows = rows[:n]
		page.Next = &ConvoCursor{Invitations: rows[n-1].InvitedBy != "", At: rows[n-1].ListedAt, ID: rows[n-1].ID}
	}
	page.Convos = make([]ConvoEntry, len(rows))
	for i, row := range rows {
		page.Convos[i].InvitedBy, page.Convos[i].ListedAt = mls.DID(row.InvitedBy), row.ListedAt
		page.Convos[i].Convo = convoOf(db.GetConversationRow{
			ID: row.ID, GroupID: row.GroupID, CreatorDID: row.CreatorDID, CipherSuite: row.CipherSuite, Epoch: row.Epoch, LastSeq: row.LastSeq,
			Name: row.Name, Description: row.Description, CreatedAt: row.CreatedAt, LastActivityAt: row.LastActivityAt, LastMessageBucketTs: row.LastMessageBucketTs,
			Generation: row.Generation, VerifiedEpoch: row.VerifiedEpoch, CommitID: row.CommitID, ReinitGroupID: row.ReinitGroupID, ReinitSuite: row.ReinitSuite, FirstGroupID: row.FirstGroupID,
		})
	}
	return page, r.fillEntries(ctx, page.Convos)
}

// maxRosterRows ends a page of conversations early, after its first one: this many devices are read
// at once.
const maxRosterRows = 20000

// pageRows is how many conversations go on a page.
func pageRows(rows []db.ListConversationsRow, limit int) int {
	n, devices := 0, int64(0)
	for ; n < min(len(rows), limit); n++ {
		if devices += rows[n].RosterRows; n > 0 && devices > maxRosterRows {
			break
		}
	}
	return n
}

// Cut ends the page after n conversations.
func (p *ConvoPage) Cut(n int) {
	if n >= len(p.Convos) {
		return
	}
	last := &p.Convos[n-1]
	p.Convos = p.Convos[:n]
	p.Next = &ConvoCursor{Invitations: last.InvitedBy != "", At: last.ListedAt, ID: last.ID}
}

// FindConvoEntry is one conversation as ListConvos shows it, for callers that
// have checked membership.
func (r *reader) FindConvoEntry(ctx context.Context, id mls.ConvoID) (ConvoEntry, error) {
	row, err := r.q.GetConversation(ctx, id)
	if isNotFound(err) {
		return ConvoEntry{}, mls.ErrConvoNotFound
	}
	if err != nil {
		return ConvoEntry{}, fail("get conversation", err)
	}
	entries := []ConvoEntry{{Convo: convoOf(row)}}
	err = r.fillEntries(ctx, entries)
	return entries[0], err
}

func (r *reader) fillEntries(ctx context.Context, entries []ConvoEntry) error {
	if len(entries) == 0 {
		return nil
	}
	ids := make([]mls.ConvoID, len(entries))
	at := make(map[mls.ConvoID]*ConvoEntry, len(entries))
	for i := range entries {
		ids[i] = entries[i].ID
		at[ids[i]] = &entries[i]
	}
	members, err := r.ListMembers(ctx, ids...)
	if err != nil {
		return err
	}
	for _, m := range members {
		at[m.ConvoID].Members = append(at[m.ConvoID].Members, m)
	}
	requests, err := r.ListRequests(ctx, ids...)
	if err != nil {
		return err
	}
	for _, q := range requests {
		at[q.ConvoID].Requests = append(at[q.ConvoID].Requests, q)
	}
	return nil
}

func convoOf(row db.GetConversationRow) Convo {
	c := Convo{
		ID: row.ID, FirstGroup: mls.GroupID(row.FirstGroupID), GroupID: row.GroupID, Creator: row.CreatorDID, CipherSuite: row.CipherSuite, Epoch: row.Epoch, LastSeq: row.LastSeq,
		Name: row.Name, Description: row.Description, CreatedAt: row.CreatedAt, LastActivityAt: row.LastActivityAt, LastMessageAt: row.LastMessageBucketTs,
		Generation: row.Generation, Verified: row.VerifiedEpoch != nil, CommitID: mls.MessageID(orEmpty(row.CommitID)),
	}
	if row.ReinitGroupID != nil && row.ReinitSuite != nil {
		c.Successor = &Successor{mls.GroupID(*row.ReinitGroupID), mls.CipherSuite(*row.ReinitSuite)} //nolint:gosec // 16 bits of MLS
	}
	return c
}

// CountActiveConvos counts the conversations that had a message since a time.
func (s *Store) CountActiveConvos(ctx context.Context, since time.Time) (int64, error) {
	n, err := s.q.CountActiveConversations(ctx, since)
	return n, fail("count active conversations", err)
}
