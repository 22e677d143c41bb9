package store

import (
	"context"
	"slices"
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
	// Claimed: a commit that cannot be read is said to remove it.
	Claimed bool
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
	arg.Withheld = slices.ContainsFunc(devices, func(d LeftDevice) bool { return d.Invited })
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
		debts[i] = Debt{ID: RequestID(row.ID), Device: Device{row.UserDID, row.DeviceID}, LeafIndex: row.LeafIndex, CreatedAt: row.CreatedAt, Claimed: row.Claimed}
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

// ClaimDebts notes that a commit is said to remove the leaves of users, by its committer's word.
func (tx *Tx) ClaimDebts(ctx context.Context, convo mls.ConvoID, users []mls.DID, committer mls.DID, by Place) error {
	_, err := tx.q.ClaimDebts(ctx, db.ClaimDebtsParams{ConvoID: convo, UserDids: texts(users), ClaimedBy: string(committer), Seq: int64(by.Seq)})
	return fail("claim removal debts", err)
}

// ClaimProposedDebts is ClaimDebts for the removals that their leavers proposed in the epoch that
// an opaque commit has ended: RFC 9420 12.4 obliges the committer to include them.
func (tx *Tx) ClaimProposedDebts(ctx context.Context, convo mls.ConvoID, committer mls.DID, by Place) error {
	_, err := tx.q.ClaimProposedDebts(ctx, db.ClaimProposedDebtsParams{ConvoID: convo, Epoch: int64(by.Epoch) - 1, ClaimedBy: string(committer), Seq: int64(by.Seq)})
	return fail("claim removal debts", err)
}

// Claim is what the members say of a removal.
type Claim struct {
	Device Device
	// Withheld: the members are not told which device it is.
	Withheld   bool
	Generation mls.Generation
	// Committer is who is said to have made it, "" for nobody.
	Committer mls.DID
	// Confirmed are the users who say that the leaf is gone, Disputed those who have said that it
	// is not, Spent those of the former who were contradicted since.
	Confirmed, Disputed, Spent []mls.DID
	Settled                    bool
}

// FindClaim is a removal that is owed, or was, nil for none.
func (r *reader) FindClaim(ctx context.Context, convo mls.ConvoID, id RequestID) (*Claim, error) {
	row, err := r.q.FindDebt(ctx, string(id), convo)
	if isNotFound(err) {
		return nil, nil //nolint:nilnil // absence is an ordinary answer here
	}
	if err != nil {
		return nil, fail("find removal debt", err)
	}
	c := &Claim{Device: Device{row.UserDID, row.DeviceID}, Withheld: row.Withheld, Generation: row.Generation, Committer: mls.DID(row.ClaimedBy), Settled: row.Settled}
	c.Confirmed, c.Disputed, c.Spent = userList(row.ConfirmedBy), userList(row.DisputedBy), userList(row.SpentBy)
	return c, nil
}

func userList(texts []string) (users []mls.DID) {
	for _, did := range texts {
		users = append(users, mls.DID(did))
	}
	return users
}

// ConfirmDebt notes that a user sees the leaf gone.
func (tx *Tx) ConfirmDebt(ctx context.Context, convo mls.ConvoID, id RequestID, user mls.DID) error {
	return fail("confirm removal", tx.q.ConfirmDebt(ctx, db.ConfirmDebtParams{ID: string(id), ConvoID: convo, UserDID: string(user)}))
}

// CloseDebt settles a debt by the members' word.
func (tx *Tx) CloseDebt(ctx context.Context, c *Convo, id RequestID, at time.Time) error {
	return fail("close removal debt", tx.q.CloseDebt(ctx, db.CloseDebtParams{ID: string(id), ConvoID: c.ID, Epoch: int64(c.Epoch), Now: bucket(at)}))
}

// DisputeDebt opens a debt again by a user's word.
func (tx *Tx) DisputeDebt(ctx context.Context, convo mls.ConvoID, id RequestID, user mls.DID) error {
	err := tx.q.DisputeDebt(ctx, db.DisputeDebtParams{ID: string(id), ConvoID: convo, UserDID: string(user)})
	if err != nil {
		return fail("dispute removal", err, debtOpenAlready)
	}
	return tx.dropSendKeys(ctx, convo)
}
