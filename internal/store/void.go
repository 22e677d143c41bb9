package store

import (
	"context"
	"slices"
	"time"

	"mls-server/internal/gen/db"
	"mls-server/internal/mls"
)

// StoredCommit is a commit as the log has it.
type StoredCommit struct {
	ID    mls.MessageID
	Seq   mls.Seq
	Epoch mls.Epoch
	// Generation is the one that it was made in.
	Generation mls.Generation
	Committer  mls.DID
	// Void says that it was taken back, Joins that its sender joined by it.
	Void, Joins bool
	// CreatedAt is floored to 2 seconds.
	CreatedAt time.Time
}

// FindCommit is the commit of the conversation that an id names, of whichever generation; nil when
// there is none.
func (r *reader) FindCommit(ctx context.Context, c *Convo, id mls.MessageID) (*StoredCommit, error) {
	row, err := r.q.FindCommit(ctx, c.ID, string(id))
	return storedCommit(db.FindStandingCommitRow(row), err)
}

// FindStandingCommit is the newest commit of the conversation's generation that stands, nil when
// there is none.
func (r *reader) FindStandingCommit(ctx context.Context, c *Convo) (*StoredCommit, error) {
	row, err := r.q.FindStandingCommit(ctx, c.ID, c.Generation)
	return storedCommit(row, err)
}

func storedCommit(row db.FindStandingCommitRow, err error) (*StoredCommit, error) {
	if isNotFound(err) {
		return nil, nil //nolint:nilnil // absence is an ordinary answer here
	}
	if err != nil {
		return nil, fail("find commit", err)
	}
	return &StoredCommit{
		ID: row.MsgID, Seq: row.Seq, Generation: row.Generation, Epoch: row.Epoch, Committer: row.SenderDID, Void: row.Void, Joins: row.Joins, CreatedAt: row.CreatedAt,
	}, nil
}

// CommitReport says from which commit on a device cannot follow its group.
type CommitReport struct {
	Device Device
	From   mls.Seq
	At     time.Time
}

// PutCommitReport keeps a report. The caller holds the conversation's lock.
func (tx *Tx) PutCommitReport(ctx context.Context, c *Convo, r CommitReport) error {
	return fail("put commit report", tx.q.PutCommitReport(ctx, db.PutCommitReportParams{
		ConvoID: c.ID, Generation: c.Generation, UserDID: r.Device.User, DeviceID: r.Device.ID, FromSeq: r.From, CreatedAt: bucket(r.At),
	}))
}

// Voices is who may say that a commit cannot be followed, and who does.
type Voices struct {
	// Electors are the users who were in the group before the commit and are in it still, without
	// its committer and those whom it added.
	Electors int64
	// Seen are those of them who were here since a day, or report.
	Seen int64
	// Reporters say that they cannot follow; AdminReports, that an admin is among them.
	Reporters    int64
	AdminReports bool
}

// CountVoices counts the voices about a commit. since is a day (UTC).
func (r *reader) CountVoices(ctx context.Context, c *Convo, k *StoredCommit, since time.Time) (Voices, error) {
	row, err := r.q.CountVoices(ctx, db.CountVoicesParams{
		ConvoID: c.ID, Generation: c.Generation, Seq: int64(k.Seq), Committer: string(k.Committer), Since: since,
	})
	return Voices{row.Electors, row.Seen, row.Reporters, row.AdminReports}, fail("count voices", err)
}

// Voided is what was taken back because of a user.
type Voided struct {
	// Commits counts against the user, the last one at LastAt; Blamed are those among them that
	// others had sent. LastSentAt is when the last one was taken back that the user had sent,
	// whoever it counts against.
	Commits, Blamed    int
	LastAt, LastSentAt time.Time
}

// CountVoided counts what was taken back in the conversation because of a user, in whichever of its
// groups.
func (r *reader) CountVoided(ctx context.Context, c *Convo, user mls.DID) (Voided, error) {
	row, err := r.q.CountVoided(ctx, string(user), c.ID)
	return Voided{int(row.Commits), int(row.Blamed), row.LastAt, row.LastSentAt}, fail("count void commits", err)
}

// Undone is what taking a commit back has left to do.
type Undone struct {
	// Devices are off the roster again, or as they were before; Members are those of them whose
	// users were on it and had accepted, Gone the users without any device on it now, Invited those
	// of them who were on it and had not accepted.
	Devices, Members []Device
	Gone, Invited    []mls.DID
	// Absent are those of Devices that were not on the roster before.
	Absent []Device
	// Owing are the devices whose removal stands, and whose leaves are in the group again.
	Owing map[mls.DID][]LeftDevice
}

// VoidCommit takes the newest standing commit back: the devices that it added, their Welcomes, the
// requests and debts that it settled. The conversation stays in its epoch until ReopenEpoch. The
// caller holds the conversation's lock, and knows at which place ReopenEpoch will write its notice.
func (tx *Tx) VoidCommit(ctx context.Context, c *Convo, k *StoredCommit, notice mls.Seq) (u Undone, err error) {
	if err := tx.q.VoidCommit(ctx, db.VoidCommitParams{ConvoID: c.ID, Seq: k.Seq, VoidSeq: int64(notice)}); err != nil {
		return u, fail("void commit", err)
	}
	if k.Joins {
		// It may have been led astray by the GroupInfo that it joined by.
		err := tx.q.RetireGroupState(ctx, db.RetireGroupStateParams{ConvoID: c.ID, Generation: c.Generation, Epoch: k.Epoch})
		if err != nil {
			return u, fail("retire group state", err)
		}
	}
	if err := tx.undoAdditions(ctx, c, k, &u); err != nil {
		return u, err
	}
	seq := int64(k.Seq)
	for _, undo := range []func() (int64, error){
		func() (int64, error) { return tx.q.WithdrawWelcomes(ctx, c.ID, seq) },
		func() (int64, error) { return tx.q.ReopenRequests(ctx, c.ID, seq) },
		func() (int64, error) { return tx.q.ReopenDebts(ctx, c.ID, seq) },
		func() (int64, error) {
			return tx.q.DropCommitReports(ctx, db.DropCommitReportsParams{ConvoID: c.ID, Generation: c.Generation, Seq: k.Seq})
		},
	} {
		if _, err := undo(); err != nil {
			return u, fail("undo commit", err)
		}
	}
	removed, err := tx.q.ListRemovedBy(ctx, c.ID, seq)
	u.Owing = map[mls.DID][]LeftDevice{}
	for _, row := range removed {
		u.Owing[row.UserDID] = append(u.Owing[row.UserDID], LeftDevice{Device: row.DeviceID, LeafIndex: row.LeafIndex, Invited: row.Invited})
	}
	if err != nil {
		return u, fail("list removed devices", err)
	}
	return u, tx.findGone(ctx, c, &u)
}

// undoAdditions puts the rows of the devices that a commit added back as they were. Of devices that
// were deleted since it takes the places that were kept.
func (tx *Tx) undoAdditions(ctx context.Context, c *Convo, k *StoredCommit, u *Undone) error {
	if _, err := tx.q.DropUndoneDebts(ctx, c.ID, k.Seq); err != nil {
		return fail("drop debts of undone additions", err)
	}
	deleted, err := tx.q.UndoAdditions(ctx, c.ID, k.Seq)
	if err != nil {
		return fail("undo additions", err)
	}
	restored, err := tx.q.RestoreAdditions(ctx, c.ID, k.Seq)
	if err != nil {
		return fail("restore additions", err)
	}
	if _, err := tx.q.MoveUndonePlaces(ctx, c.ID, k.Seq); err != nil {
		return fail("move kept places", err)
	}
	if _, err := tx.q.DropUndonePlaces(ctx, c.ID, k.Seq); err != nil {
		return fail("drop kept places", err)
	}
	for _, row := range deleted {
		restored = append(restored, db.RestoreAdditionsRow(row))
	}
	there := map[mls.DID]bool{}
	for _, row := range restored {
		there[row.UserDID] = there[row.UserDID] || row.There
	}
	for _, row := range restored {
		d := Device{row.UserDID, row.DeviceID}
		u.Devices = append(u.Devices, d)
		if row.Absent {
			u.Absent = append(u.Absent, d)
		}
		switch {
		case !there[d.User]: // it has had its last event
		case row.Invited:
			u.Invited = append(u.Invited, d.User)
		default:
			u.Members = append(u.Members, d)
		}
	}
	return nil
}

// findGone finds the users of undone devices who have no other on the roster.
func (tx *Tx) findGone(ctx context.Context, c *Convo, u *Undone) error {
	var users []mls.DID
	for _, d := range u.Devices {
		users = append(users, d.User)
	}
	users = mls.UniqueDIDs(users)
	active, err := tx.FindActive(ctx, c.ID, users...)
	u.Gone = slices.DeleteFunc(users, func(did mls.DID) bool {
		return slices.ContainsFunc(active, func(d ActiveDevice) bool { return d.User == did })
	})
	u.Invited = slices.DeleteFunc(u.Invited, func(did mls.DID) bool { return !slices.Contains(u.Gone, did) })
	return err
}

// ReopenEpoch takes the conversation back to the epoch of the oldest commit that was taken back,
// with a notice in the log and the last events of the users who are gone. The caller holds the
// lock.
func (tx *Tx) ReopenEpoch(ctx context.Context, c *Convo, epoch mls.Epoch, at time.Time) error {
	err := tx.q.ReopenEpoch(ctx, db.ReopenEpochParams{
		ConvoID: string(c.ID), Epoch: int64(epoch), MsgID: string(mls.NewMessageID(at)), ReceivedAt: bucket(at),
	})
	if err != nil {
		return fail("reopen epoch", err)
	}
	c.Epoch, c.LastSeq = epoch, c.LastSeq+1
	if err := tx.dropSendKeys(ctx, c.ID); err != nil {
		return err
	}
	if _, err := tx.q.ForgetProposedDebts(ctx, c.ID, int64(epoch)); err != nil {
		return fail("forget proposed debts", err)
	}
	if err := tx.q.RestoreState(ctx, db.RestoreStateParams{ConvoID: c.ID, Generation: c.Generation, Epoch: epoch}); err != nil {
		return fail("restore group state", err)
	}
	if _, err := tx.q.DropLaterStates(ctx, db.DropLaterStatesParams{ConvoID: c.ID, Generation: c.Generation, Epoch: epoch}); err != nil {
		return fail("drop later group states", err)
	}
	state, err := tx.FindGroupState(ctx, c)
	if err != nil || state == nil || !state.Proven {
		return err
	}
	return tx.restoreLeaves(ctx, c.ID, state.Leaves)
}

// WithdrawInvitations ends the open invitations of users whose addition was taken back.
func (tx *Tx) WithdrawInvitations(ctx context.Context, convo mls.ConvoID, users []mls.DID, at time.Time) error {
	_, err := tx.q.WithdrawInvitations(ctx, db.WithdrawInvitationsParams{EndedAt: bucket(at), ConvoID: convo, UserDids: texts(users)})
	return fail("withdraw invitations", err)
}

// LogDepartures writes the last events of members whom a void commit had brought onto the roster
// (I10).
func (tx *Tx) LogDepartures(ctx context.Context, c *Convo, users []mls.DID, at time.Time) error {
	if len(users) == 0 {
		return nil
	}
	return fail("log departures", tx.q.LogDepartures(ctx, db.LogDeparturesParams{ConvoID: string(c.ID), UserDids: texts(users), BucketTs: bucket(at)}))
}
