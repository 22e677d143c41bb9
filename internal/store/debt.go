package store

import (
	"context"
	"time"

	"mls-server/internal/gen/db"
	"mls-server/internal/mls"
)

// Debt is a device that is gone from the roster and not yet from the group.
type Debt struct {
	ID        RequestID
	Device    Device
	LeafIndex *int64
	CreatedAt time.Time
}

// Owing says how a debt came about.
type Owing struct {
	// Generation and Epoch are those in which the user left.
	Generation mls.Generation
	Epoch      mls.Epoch
	// Proposed says that the leaver's own proposal stands in that epoch.
	Proposed bool
	// At is floored to 2 seconds (I8).
	At time.Time
}

// OweRemovals records that the leaves of a user's devices are still to be
// removed by a commit. The ids are those of the requests, in the devices' order.
func (tx *Tx) OweRemovals(ctx context.Context, convo mls.ConvoID, user mls.DID, devices []LeftDevice, o Owing) ([]RequestID, error) {
	arg := db.InsertRemovalDebtsParams{ConvoID: convo, Generation: o.Generation, UserDID: user, CreatedAt: bucket(o.At)}
	if o.Proposed {
		arg.ProposedEpoch = (*int64)(&o.Epoch)
	}
	ids := make([]RequestID, len(devices))
	for i, d := range devices {
		ids[i] = NewRequestID()
		arg.Ids = append(arg.Ids, string(ids[i]))
		arg.DeviceIds = append(arg.DeviceIds, string(d.Device))
		arg.LeafIndexes = append(arg.LeafIndexes, orAbsent(d.LeafIndex))
	}
	return ids, fail("owe removals", tx.q.InsertRemovalDebts(ctx, arg), debtOpenAlready)
}

// ListDebts is the removals that a conversation's members owe.
func (r *reader) ListDebts(ctx context.Context, convo mls.ConvoID) ([]Debt, error) {
	rows, err := r.q.ListRemovalDebts(ctx, convo)
	if err != nil {
		return nil, fail("list removal debts", err)
	}
	debts := make([]Debt, len(rows))
	for i, row := range rows {
		debts[i] = Debt{ID: RequestID(row.ID), Device: Device{row.UserDID, row.DeviceID}, LeafIndex: row.LeafIndex, CreatedAt: row.CreatedAt}
	}
	return debts, nil
}

// SettleDebts settles the removals of users by a commit.
func (tx *Tx) SettleDebts(ctx context.Context, convo mls.ConvoID, users []mls.DID, by Place) (int, error) {
	n, err := tx.q.SettleRemovalDebts(ctx, db.SettleRemovalDebtsParams{
		ConvoID: convo, UserDids: texts(users), Epoch: int64(by.Epoch), Seq: int64(by.Seq), Now: bucket(by.At),
	})
	return int(n), fail("settle removal debts", err)
}

// SettleDebtsOf settles debts whose leaves are gone from a group that the server follows.
func (tx *Tx) SettleDebtsOf(ctx context.Context, convo mls.ConvoID, debts []Debt, by Place) error {
	if len(debts) == 0 {
		return nil
	}
	arg := db.SettleDebtsParams{ConvoID: convo, Epoch: int64(by.Epoch), Seq: int64(by.Seq), Now: bucket(by.At)}
	for _, d := range debts {
		arg.Ids = append(arg.Ids, string(d.ID))
	}
	_, err := tx.q.SettleDebts(ctx, arg)
	return fail("settle removal debts", err)
}

// SettleDeviceDebts settles the removals of devices that a commit adds anew.
func (tx *Tx) SettleDeviceDebts(ctx context.Context, convo mls.ConvoID, devices []Device, by Place) error {
	if len(devices) == 0 {
		return nil
	}
	arg := db.SettleDeviceDebtsParams{ConvoID: convo, Epoch: int64(by.Epoch), Seq: int64(by.Seq), Now: bucket(by.At)}
	for _, d := range devices {
		arg.UserDids = append(arg.UserDids, string(d.User))
		arg.DeviceIds = append(arg.DeviceIds, string(d.ID))
	}
	_, err := tx.q.SettleDeviceDebts(ctx, arg)
	return fail("settle removal debts", err)
}

// SettleLeafDebts settles the removals of leaves that a commit is seen to remove.
func (tx *Tx) SettleLeafDebts(ctx context.Context, convo mls.ConvoID, leaves []uint32, by Place) error {
	if len(leaves) == 0 {
		return nil
	}
	arg := db.SettleLeafDebtsParams{ConvoID: convo, Epoch: int64(by.Epoch), Seq: int64(by.Seq), Now: bucket(by.At)}
	for _, leaf := range leaves {
		arg.LeafIndexes = append(arg.LeafIndexes, int64(leaf))
	}
	_, err := tx.q.SettleLeafDebts(ctx, arg)
	return fail("settle removal debts", err)
}

// SettleProposedDebts settles the removals that their leavers proposed in the
// epoch that an opaque commit has ended: RFC 9420 12.4 obliges the committer to include them.
func (tx *Tx) SettleProposedDebts(ctx context.Context, convo mls.ConvoID, by Place) error {
	_, err := tx.q.SettleProposedDebts(ctx, db.SettleProposedDebtsParams{
		ConvoID: convo, Epoch: int64(by.Epoch) - 1, Seq: int64(by.Seq), Now: bucket(by.At),
	})
	return fail("settle removal debts", err)
}
