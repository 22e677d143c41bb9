package store

import (
	"context"
	"time"

	"mls-server/internal/gen/db"
	"mls-server/internal/mls"
)

// NextGroup is the group with which a conversation goes on.
type NextGroup struct {
	GroupID     mls.GroupID
	CipherSuite mls.CipherSuite
	Epoch       mls.Epoch
	// User begins it, as an admin or not.
	User  mls.DID
	Admin bool
	// At is floored to 2 seconds (I8).
	At time.Time
}

// ResetConvo gives a conversation its next group, which the server follows, with a notice in the
// log: the generation goes on by compare-and-set on what c says, and c is what holds then. What
// waited for the former group ends: its Welcomes, its debts, reports about its commits, requests
// with a key package of another suite. Errors: mls.ErrGroupAlreadyExists, and mls.ErrGroupReset
// when the conversation is no longer in c's generation and epoch. The caller holds its lock;
// PutGroupState and the roster come next.
func (tx *Tx) ResetConvo(ctx context.Context, c *Convo, n NextGroup) error {
	if n.GroupID == c.GroupID {
		return mls.ErrGroupAlreadyExists
	}
	seq, err := tx.q.ResetConversation(ctx, db.ResetConversationParams{
		ConvoID: string(c.ID), ExpectedGeneration: int64(c.Generation), ExpectedEpoch: int64(c.Epoch),
		GroupID: string(n.GroupID), CipherSuite: int32(n.CipherSuite), Epoch: int64(n.Epoch), UserDID: string(n.User), ByAdmin: n.Admin,
		MsgID: string(mls.NewMessageID(n.At)), ReceivedAt: bucket(n.At),
	})
	if isNotFound(err) {
		return mls.ErrGroupReset
	}
	if err != nil {
		return fail("reset conversation", err, groupIDTaken, groupIDUsed)
	}
	c.Generation++
	c.GroupID, c.CipherSuite, c.Epoch, c.LastSeq = n.GroupID, n.CipherSuite, n.Epoch, mls.Seq(seq)
	c.Verified, c.CommitID, c.Successor = true, "", nil
	return tx.dropFormer(ctx, c, n.At)
}

// dropFormer ends what waited for the groups that a conversation no longer has.
func (tx *Tx) dropFormer(ctx context.Context, c *Convo, at time.Time) error {
	now := bucket(at)
	if err := tx.dropSendKeys(ctx, c.ID); err != nil {
		return err
	}
	for _, drop := range []func() (int64, error){
		func() (int64, error) { return tx.q.DropFormerStates(ctx, c.ID, c.Generation) },
		func() (int64, error) { return tx.q.DropFormerReports(ctx, c.ID, c.Generation) },
		func() (int64, error) { return tx.q.DropAllWaitingWelcomes(ctx, now, c.ID) },
		func() (int64, error) {
			return tx.q.SettleAllDebts(ctx, db.SettleAllDebtsParams{ConvoID: c.ID, Epoch: int64(c.Epoch), Seq: int64(c.LastSeq), Now: now})
		},
	} {
		if _, err := drop(); err != nil {
			return fail("end the former group", err)
		}
	}
	stale, err := tx.q.DropStaleRequests(ctx, db.DropStaleRequestsParams{ConvoID: c.ID, CipherSuite: c.CipherSuite, Now: now})
	if err != nil {
		return fail("drop requests", err)
	}
	if len(stale) == 0 {
		return nil
	}
	_, err = tx.q.ReleaseKeyPackages(ctx, stale)
	return fail("release key packages", err)
}

// FindBeginning is how the conversation's generation began, as a commit that cannot be taken back:
// by a reset, whose notice it names while the log has it, or with the conversation, at seq 0.
func (r *reader) FindBeginning(ctx context.Context, c *Convo) (*StoredCommit, error) {
	if c.Generation == 0 {
		return &StoredCommit{Committer: c.Creator, Epoch: c.Epoch, CreatedAt: c.CreatedAt}, nil
	}
	row, err := r.q.FindReset(ctx, c.ID, c.Generation)
	if err != nil {
		return nil, fail("find reset", err)
	}
	return &StoredCommit{
		ID: mls.MessageID(row.MsgID), Seq: row.Seq, Generation: c.Generation, Epoch: c.Epoch, Committer: row.UserDID, CreatedAt: row.CreatedAt,
	}, nil
}

// LastMemberReset is when somebody who was no admin last reset the conversation, in 1970 for never.
func (r *reader) LastMemberReset(ctx context.Context, convo mls.ConvoID) (time.Time, error) {
	at, err := r.q.LastMemberReset(ctx, convo)
	return at, fail("find the last reset", err)
}

// ListReachableDevices is the devices of users of which a key package of the suite can be claimed
// that is good until a time. A user without registered devices is one device.
func (r *reader) ListReachableDevices(ctx context.Context, users []mls.DID, suite mls.CipherSuite, until time.Time) ([]Device, error) {
	rows, err := r.q.ListReachableDevices(ctx, db.ListReachableDevicesParams{UserDids: texts(users), CipherSuite: suite, UsableUntil: until})
	if err != nil {
		return nil, fail("list devices with key packages", err)
	}
	devices := make([]Device, len(rows))
	for i, row := range rows {
		devices[i] = Device{row.OwnerDID, row.DeviceID}
	}
	return devices, nil
}
