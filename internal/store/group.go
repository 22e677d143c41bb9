package store

import (
	"context"
	"crypto/sha256"
	"time"

	"mls-server/internal/gen/db"
	"mls-server/internal/mls"
)

// Leaf is whose device a leaf of a group is.
type Leaf struct {
	Index  uint32
	Device Device
}

// GroupState is a group as the server knows it in one epoch.
type GroupState struct {
	// GroupInfo is the encoded GroupInfo with its tree, without the header of an MLSMessage.
	GroupInfo []byte
	// Proven says that it was held against every commit that led here. The other kind was checked
	// in itself only, and proves nothing.
	Proven bool
	// Depositor is who brought it along.
	Depositor mls.DID
	// Depositors have replaced it in this epoch. PutGroupState begins with none.
	Depositors []mls.DID
	// Retired says that it is given to nobody. PutGroupState begins with false.
	Retired bool
	// Leaves are in ascending order; none of a state that is not proven.
	Leaves []Leaf
	// At is floored to 2 seconds (I8).
	At time.Time
}

// FindGroupState is the state of a conversation's epoch, nil when the server has none.
func (r *reader) FindGroupState(ctx context.Context, c *Convo) (*GroupState, error) {
	return r.FindGroupStateAt(ctx, c.ID, c.Generation, c.Epoch)
}

// FindGroupStateAt is FindGroupState for any epoch. The states of epochs that are over are kept
// while the commit that ended them may be taken back, and one for longer.
func (r *reader) FindGroupStateAt(ctx context.Context, convo mls.ConvoID, generation mls.Generation, epoch mls.Epoch) (*GroupState, error) {
	row, err := r.q.GetGroupState(ctx, db.GetGroupStateParams{ConvoID: convo, Generation: generation, Epoch: epoch})
	if isNotFound(err) {
		return nil, nil //nolint:nilnil // absence is an ordinary answer here
	}
	if err != nil {
		return nil, fail("find group state", err)
	}
	s := &GroupState{
		GroupInfo: row.GroupInfo, Proven: row.Proven, Depositor: row.DepositorDID, Retired: row.Retired,
		Leaves: make([]Leaf, len(row.LeafIndexes)), At: row.CreatedAt,
	}
	for _, did := range row.Depositors {
		s.Depositors = append(s.Depositors, mls.DID(did))
	}
	for i, index := range row.LeafIndexes {
		s.Leaves[i] = Leaf{uint32(index), Device{mls.DID(row.LeafUsers[i]), mls.DeviceID(row.LeafDevices[i])}} //nolint:gosec // a leaf index of MLS
	}
	return s, nil
}

// PutGroupState keeps the state of the conversation's epoch. The caller holds the conversation's
// lock.
func (tx *Tx) PutGroupState(ctx context.Context, c *Convo, s GroupState) error {
	arg := db.PutGroupStateParams{
		ConvoID: c.ID, Generation: c.Generation, Epoch: c.Epoch, GroupInfo: s.GroupInfo, Proven: s.Proven,
		DepositorDID: s.Depositor, CreatedAt: bucket(s.At),
		LeafIndexes: make([]int64, len(s.Leaves)), LeafUsers: make([]string, len(s.Leaves)), LeafDevices: make([]string, len(s.Leaves)),
	}
	for i, l := range s.Leaves {
		arg.LeafIndexes[i], arg.LeafUsers[i], arg.LeafDevices[i] = int64(l.Index), string(l.Device.User), string(l.Device.ID)
	}
	return fail("put group state", tx.q.PutGroupState(ctx, arg))
}

// DepositGroupInfo keeps the GroupInfo that a user brings for the conversation's epoch, and that
// the user has brought one. The caller holds the conversation's lock.
func (tx *Tx) DepositGroupInfo(ctx context.Context, c *Convo, user mls.DID, info []byte, at time.Time) error {
	return fail("deposit GroupInfo", tx.q.DepositGroupInfo(ctx, db.DepositGroupInfoParams{
		ConvoID: c.ID, Generation: c.Generation, Epoch: c.Epoch, GroupInfo: info, DepositorDID: string(user), CreatedAt: bucket(at),
	}))
}

// advanceState keeps the state that a commit leads to, and ends the time of the one before it.
func (tx *Tx) advanceState(ctx context.Context, h Handshake) error {
	next := &Convo{ID: h.ConvoID, Generation: h.Generation, Epoch: h.Epoch + 1}
	by := string(h.Sender)
	_, err := tx.q.SupersedeGroupStates(ctx, db.SupersedeGroupStatesParams{
		ConvoID: h.ConvoID, Generation: h.Generation, Epoch: next.Epoch, SupersededAt: bucket(h.At), SupersededBy: by,
	})
	if err != nil || h.State == nil {
		return fail("supersede group states", err)
	}
	return tx.PutGroupState(ctx, next, *h.State)
}

// SetLeaves writes onto the roster which leaf of the group each device has. The caller holds the
// conversation's lock.
func (tx *Tx) SetLeaves(ctx context.Context, convo mls.ConvoID, leaves []Leaf) error {
	_, err := tx.q.SetLeaves(ctx, leavesOf(convo, leaves))
	return fail("set leaves", err)
}

// restoreLeaves is SetLeaves when a group of before is the newest one again: debts that came about
// meanwhile name leaves that may be others' now.
func (tx *Tx) restoreLeaves(ctx context.Context, convo mls.ConvoID, leaves []Leaf) error {
	if err := tx.SetLeaves(ctx, convo, leaves); err != nil {
		return err
	}
	_, err := tx.q.MoveDebts(ctx, db.MoveDebtsParams(leavesOf(convo, leaves)))
	return fail("move debts", err)
}

func leavesOf(convo mls.ConvoID, leaves []Leaf) db.SetLeavesParams {
	arg := db.SetLeavesParams{ConvoID: convo, UserDids: []string{}, DeviceIds: []string{}, LeafIndexes: []int64{}}
	for _, l := range leaves {
		arg.UserDids = append(arg.UserDids, string(l.Device.User))
		arg.DeviceIds = append(arg.DeviceIds, string(l.Device.ID))
		arg.LeafIndexes = append(arg.LeafIndexes, int64(l.Index))
	}
	return arg
}

// GroupUse is where a group id was used.
type GroupUse struct {
	ConvoID    mls.ConvoID
	Generation mls.Generation
}

// FindGroup is where a group id was ever used, nil for nowhere.
func (r *reader) FindGroup(ctx context.Context, id mls.GroupID) (*GroupUse, error) {
	row, err := r.q.FindGroup(ctx, id)
	if isNotFound(err) {
		return nil, nil //nolint:nilnil // absence is an ordinary answer here
	}
	return &GroupUse{row.ConvoID, row.Generation}, fail("find group", err)
}

// IsVoidCommit reports whether a commit was taken back in the conversation's generation. message is
// its bytes without padding.
func (r *reader) IsVoidCommit(ctx context.Context, c *Convo, message []byte) (bool, error) {
	hash := sha256.Sum256(message)
	void, err := r.q.HasVoidCommit(ctx, db.HasVoidCommitParams{ConvoID: c.ID, Generation: c.Generation, MessageHash: hash[:]})
	return void, fail("look for void commits", err)
}

// AddedDevice is a device that a commit brought onto the roster.
type AddedDevice struct {
	Device
	// Existed says that it was on the roster at some time before, WasActive that it was then.
	Existed, WasActive bool
}

// ListAdditions is the devices that a commit brought onto the roster, for as long as it may be
// taken back.
func (r *reader) ListAdditions(ctx context.Context, convo mls.ConvoID, commit mls.Seq) ([]AddedDevice, error) {
	rows, err := r.q.ListAdditions(ctx, convo, commit)
	if err != nil {
		return nil, fail("list additions", err)
	}
	added := make([]AddedDevice, len(rows))
	for i, row := range rows {
		added[i] = AddedDevice{Device{row.UserDID, row.DeviceID}, row.Existed, row.Existed && row.WasActive}
	}
	return added, nil
}
