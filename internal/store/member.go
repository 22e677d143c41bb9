package store

import (
	"context"
	"slices"
	"time"

	"mls-server/internal/gen/db"
	"mls-server/internal/mls"
)

// Member is a device on a conversation's roster.
type Member struct {
	ConvoID mls.ConvoID
	User    mls.DID
	// Device is "" for a user without a registered device.
	Device mls.DeviceID
	// MLSDID is the DID URL of the device, or the user's DID.
	MLSDID         string
	DeviceName     *string
	JoinedAt       time.Time
	JoinGeneration mls.Generation
	JoinEpoch      mls.Epoch
	JoinSeq        mls.Seq
	Admin          bool
	PromotedAt     *time.Time
	PromotedBy     *mls.DID
	LeafIndex      *int64
	NeedsRejoin    bool
	// Vacant keeps the place of a user whose device was deleted. It stands for no leaf.
	Vacant bool
	// InvitedBy is who has invited the user, as long as it has not accepted; "" for a member.
	InvitedBy mls.DID
	// SeenOn is the day (UTC) on which the user was last here, in 1970 when it is not known.
	SeenOn time.Time
}

// NewMember is a device that a commit has added.
type NewMember struct {
	User       mls.DID
	Device     mls.DeviceID
	MLSDID     string
	DeviceName *string
	// LeafIndex is nil unless it is really known.
	LeafIndex *int64
	// InvitedBy is who invites the user, unless it is on the roster already; "" makes it a member.
	InvitedBy mls.DID
}

// Place is where a commit, and whatever follows from it, stands in a conversation.
type Place struct {
	Generation mls.Generation
	// Epoch is the one that the commit led into.
	Epoch mls.Epoch
	// Seq is the commit's own; 0 for what a conversation begins with.
	Seq mls.Seq
	// At is floored to 2 seconds (I8).
	At time.Time
}

// Device names a device of a user; ID is "" for a user without one.
type Device struct {
	User mls.DID
	ID   mls.DeviceID
}

// UpsertMembers puts devices on the roster and writes a member-joined event for each that was not
// on it, or opens an invitation for their user and tells it. A device that is on it keeps its join
// point, so that a rejoin loses no history; one that left begins anew. New devices of an admin are
// admin. What a commit changes is kept as it was (ListAdditions). The caller holds the
// conversation's lock.
func (tx *Tx) UpsertMembers(ctx context.Context, convo mls.ConvoID, members []NewMember, at Place) error {
	if len(members) == 0 {
		return nil
	}
	arg := db.UpsertMembersParams{
		ConvoID: string(convo), JoinEpoch: int64(at.Epoch), JoinSeq: int64(at.Seq), JoinedAt: bucket(at.At),
	}
	for _, m := range members {
		arg.UserDids = append(arg.UserDids, string(m.User))
		arg.DeviceIds = append(arg.DeviceIds, string(m.Device))
		arg.MLSDids = append(arg.MLSDids, m.MLSDID)
		arg.DeviceNames = append(arg.DeviceNames, orEmpty(m.DeviceName))
		arg.LeafIndexes = append(arg.LeafIndexes, orAbsent(m.LeafIndex))
		arg.InvitedBys = append(arg.InvitedBys, string(m.InvitedBy))
	}
	rows, err := tx.q.UpsertMembers(ctx, arg)
	if err := complete(int64(len(rows)), len(members), err); err != nil {
		return fail("upsert members", err)
	}
	_, err = tx.q.DropHealedReports(ctx, db.DropHealedReportsParams{ConvoID: convo, UserDids: arg.UserDids, DeviceIds: arg.DeviceIds})
	return fail("drop healed reports", err)
}

// LeaveReason says how a user left.
type LeaveReason string

// The ways to leave.
const (
	LeaveSelf    LeaveReason = "left"
	LeaveRemoved LeaveReason = "removed"
)

// LeftDevice is a device that has left with its user.
type LeftDevice struct {
	Device    mls.DeviceID
	LeafIndex *int64
	// Vacant: it was a place that was kept, without a leaf.
	Vacant bool
	// Invited: its user never accepted, so that nobody is told which device it is.
	Invited bool
}

// RemoveUser takes all devices of a user off the roster, ends what waits for
// them, an invitation included, and writes the member-left event, which is the last event of the
// conversation that the user's streams show (I10). So the commit that removes
// the user is accepted before. The result is empty when the user was not on
// the roster. The caller holds the conversation's lock.
func (tx *Tx) RemoveUser(ctx context.Context, convo mls.ConvoID, did mls.DID, reason LeaveReason, at time.Time) ([]LeftDevice, error) {
	rows, err := tx.q.MarkUserLeft(ctx, db.MarkUserLeftParams{ConvoID: string(convo), UserDID: did, LeftReason: string(reason), LeftAt: bucket(at)})
	if err != nil {
		return nil, fail("remove user", err)
	}
	if len(rows) == 0 {
		return nil, nil
	}
	if err := tx.DropWishes(ctx, convo, did, at); err != nil {
		return nil, err
	}
	left := make([]LeftDevice, len(rows))
	for i, row := range rows {
		left[i] = LeftDevice{Device: row.DeviceID, LeafIndex: row.LeafIndex, Vacant: row.Vacant, Invited: row.Invited}
	}
	return left, nil
}

// DropWishes ends what waits for a user who is off the roster: Welcomes, requests with their key
// packages, block conflicts. The caller holds the conversation's lock.
func (tx *Tx) DropWishes(ctx context.Context, convo mls.ConvoID, did mls.DID, at time.Time) error {
	if _, err := tx.q.DropWaitingWelcomes(ctx, db.DropWaitingWelcomesParams{ConvoID: convo, UserDID: did, Now: bucket(at)}); err != nil {
		return fail("drop Welcomes", err)
	}
	if _, err := tx.q.DropBlockConflicts(ctx, convo, string(did)); err != nil {
		return fail("drop block conflicts", err)
	}
	dropped, err := tx.q.DropRequests(ctx, db.DropRequestsParams{ConvoID: convo, UserDID: did, Now: bucket(at)})
	if err != nil || len(dropped) == 0 {
		return fail("drop requests", err)
	}
	_, err = tx.q.ReleaseKeyPackages(ctx, dropped)
	return fail("release key packages", err)
}

// RemoveDevices takes some of a user's devices off the roster, of which others stay. The caller
// holds the conversation's lock.
func (tx *Tx) RemoveDevices(ctx context.Context, convo mls.ConvoID, did mls.DID, devices []mls.DeviceID, at Place) error {
	_, err := tx.q.MarkDevicesLeft(ctx, db.MarkDevicesLeftParams{
		ConvoID: convo, UserDID: did, DeviceIds: texts(devices), LeftSeq: int64(at.Seq), LeftAt: bucket(at.At),
	})
	return fail("remove devices", err)
}

// ListMembers is the devices on the rosters of conversations, those of invited users included;
// within each, by time of joining. A place that is kept for a user is among them as long as no
// device of the user is.
func (r *reader) ListMembers(ctx context.Context, convos ...mls.ConvoID) ([]Member, error) {
	rows, err := r.q.ListMembers(ctx, texts(convos))
	if err != nil {
		return nil, fail("list members", err)
	}
	members := make([]Member, len(rows))
	for i, row := range rows {
		members[i] = Member{
			ConvoID: row.ConvoID, User: row.UserDID, Device: row.DeviceID, MLSDID: row.MLSDID, DeviceName: row.DeviceName,
			JoinedAt: row.JoinedAt, JoinGeneration: row.JoinGeneration, JoinEpoch: row.JoinEpoch, JoinSeq: row.JoinSeq, Admin: row.IsAdmin,
			PromotedAt: row.PromotedAt, PromotedBy: (*mls.DID)(row.PromotedByDID), LeafIndex: row.LeafIndex, NeedsRejoin: row.NeedsRejoin,
			Vacant: row.Vacant, InvitedBy: mls.DID(row.InvitedBy), SeenOn: row.LastDay,
		}
	}
	return withoutKept(members), nil
}

// withoutKept leaves out the places of users who are on the roster with a device.
func withoutKept(members []Member) []Member {
	if !slices.ContainsFunc(members, func(m Member) bool { return m.Vacant }) {
		return members
	}
	type place struct {
		convo mls.ConvoID
		user  mls.DID
	}
	filled := make(map[place]bool, len(members))
	for _, m := range members {
		if !m.Vacant {
			filled[place{m.ConvoID, m.User}] = true
		}
	}
	return slices.DeleteFunc(members, func(m Member) bool { return m.Vacant && filled[place{m.ConvoID, m.User}] })
}

// ActiveDevice is a device of a user that was asked for.
type ActiveDevice struct {
	Device
	JoinedAt    time.Time
	Admin       bool
	NeedsRejoin bool
	LeafIndex   *int64
	// Vacant: it is no device, but the place of a user that is kept.
	Vacant bool
	// Invited: its user has not accepted yet.
	Invited bool
}

// FindActive is the devices on the roster of some users; a user that is not in
// the result is neither a member nor invited.
func (r *reader) FindActive(ctx context.Context, convo mls.ConvoID, dids ...mls.DID) ([]ActiveDevice, error) {
	rows, err := r.q.FindActiveUsers(ctx, convo, texts(dids))
	if err != nil {
		return nil, fail("find active users", err)
	}
	active := make([]ActiveDevice, len(rows))
	for i, row := range rows {
		active[i] = ActiveDevice{
			Device: Device{row.UserDID, row.DeviceID}, JoinedAt: row.JoinedAt,
			Admin: row.IsAdmin, NeedsRejoin: row.NeedsRejoin, LeafIndex: row.LeafIndex, Vacant: row.Vacant, Invited: row.Invited,
		}
	}
	return active, nil
}

// CountUsers counts the users, not the devices, that are members of a conversation.
func (r *reader) CountUsers(ctx context.Context, convo mls.ConvoID) (int, error) {
	n, err := r.q.CountActiveUsers(ctx, convo)
	return int(n), fail("count users", err)
}

// WasMemberSince says whether a user is on the conversation's roster or was at a time.
func (r *reader) WasMemberSince(ctx context.Context, convo mls.ConvoID, did mls.DID, since time.Time) (bool, error) {
	was, err := r.q.WasMemberSince(ctx, db.WasMemberSinceParams{ConvoID: convo, UserDID: did, Since: since})
	return was, fail("look for a former member", err)
}

// ListUsers is every user that is on a roster.
func (r *reader) ListUsers(ctx context.Context) ([]mls.DID, error) {
	dids, err := r.q.ListUsers(ctx)
	return dids, fail("list users", err)
}

// ListSharedConvos is the conversations that two users are both members of.
func (r *reader) ListSharedConvos(ctx context.Context, first, second mls.DID) ([]mls.ConvoID, error) {
	ids, err := r.q.ListSharedConversations(ctx, first, string(second))
	return ids, fail("list shared conversations", err)
}

// SetNeedsRejoin flags a device whose Welcome failed, or clears the flag.
func (tx *Tx) SetNeedsRejoin(ctx context.Context, convo mls.ConvoID, device Device, needs bool) error {
	_, err := tx.q.SetNeedsRejoin(ctx, db.SetNeedsRejoinParams{ConvoID: convo, UserDID: device.User, DeviceID: device.ID, NeedsRejoin: needs})
	return fail("flag for rejoin", err)
}

// Promote makes a member an admin with all its devices. The error is
// mls.ErrAlreadyAdmin; membership is checked by the caller, under the lock.
func (tx *Tx) Promote(ctx context.Context, convo mls.ConvoID, target, by mls.DID, at time.Time) error {
	n, err := tx.setAdmin(ctx, convo, target, by, at)
	if err == nil && n == 0 {
		return mls.ErrAlreadyAdmin
	}
	return err
}

// AppointAdmin is Promote where there is no admin yet.
func (tx *Tx) AppointAdmin(ctx context.Context, convo mls.ConvoID, target, by mls.DID, at time.Time) error {
	_, err := tx.setAdmin(ctx, convo, target, by, at)
	return err
}

func (tx *Tx) setAdmin(ctx context.Context, convo mls.ConvoID, target, by mls.DID, at time.Time) (int64, error) {
	promoted := bucket(at)
	n, err := tx.q.SetAdmin(ctx, db.SetAdminParams{ConvoID: convo, UserDID: target, PromotedAt: &promoted, PromotedByDID: (*string)(&by)})
	return n, fail("promote", err)
}

// Demote takes a user's adminship. The errors are mls.ErrNotAdminTarget and,
// when no other user is admin, mls.ErrLastAdmin. The caller holds the
// conversation's lock, so that of two that demote each other one is last.
func (tx *Tx) Demote(ctx context.Context, convo mls.ConvoID, target mls.DID) error {
	admins, err := tx.ListAdmins(ctx, convo)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(admins, func(a Admin) bool { return a.User == target })
	if at < 0 {
		return mls.ErrNotAdminTarget
	}
	if others := slices.Delete(slices.Clone(admins), at, at+1); len(others) == 0 || !admins[at].Vacant && !anyHere(others) {
		return mls.ErrLastAdmin
	}
	_, err = tx.q.ClearAdmin(ctx, convo, target)
	return fail("demote", err)
}

// Admin is a user with that role.
type Admin struct {
	User mls.DID
	// Vacant says that the user has no device, and its place is kept.
	Vacant bool
}

func anyHere(admins []Admin) bool {
	return slices.ContainsFunc(admins, func(a Admin) bool { return !a.Vacant })
}

// ListAdmins is the users that are admins of a conversation.
func (r *reader) ListAdmins(ctx context.Context, convo mls.ConvoID) ([]Admin, error) {
	rows, err := r.q.ListAdmins(ctx, convo)
	admins := make([]Admin, len(rows))
	for i, row := range rows {
		admins[i] = Admin{row.UserDID, row.Vacant}
	}
	return admins, fail("list admins", err)
}

// FindSuccessor is the member that has been in the conversation longest, but for one; of those with
// a device, if there are any. The error is mls.ErrLastMember when there is no other.
func (r *reader) FindSuccessor(ctx context.Context, convo mls.ConvoID, except mls.DID) (Admin, error) {
	row, err := r.q.FindLongestStanding(ctx, convo, string(except))
	if isNotFound(err) {
		return Admin{}, mls.ErrLastMember
	}
	return Admin{row.UserDID, row.Vacant}, fail("find successor", err)
}
