package delivery

import (
	"cmp"
	"context"
	"slices"
	"time"

	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// commit accepts a judged commit: the epoch advances from the commit's own by compare-and-set (I2),
// and the commit takes its place in the sequence (I3), with the state of a group that the server
// follows. What it does to the roster is the caller's next step, and conclude the last, in the same
// transaction. packages are those that it adds.
func commit(ctx context.Context, tx *store.Tx, convo *store.Convo, h handshake, packages ...store.KeyPackage) (Stored, error) {
	if err := mayCommit(ctx, tx, convo, h); err != nil {
		return Stored{}, err
	}
	stored := h.stored(convo, h.sender)
	stored.RemovesNobody = h.removesNobody()
	var err error
	if stored.State, err = h.nextState(convo, packages); err != nil {
		return Stored{}, err
	}
	if h.ReInit != nil {
		stored.Successor = &store.Successor{GroupID: mls.GroupIDFromBytes(h.ReInit.GroupID), Suite: h.ReInit.Suite}
	}
	seq, err := tx.AcceptCommit(ctx, stored)
	if err != nil {
		return Stored{}, err
	}
	convo.Epoch, convo.LastSeq, convo.CommitID, convo.Successor = h.Epoch+1, seq, stored.ID, stored.Successor
	if err := settleSeen(ctx, tx, convo, h); err != nil {
		return Stored{}, err
	}
	out := Stored{Epoch: convo.Epoch, CommitID: stored.ID, CommitSeq: seq}
	if stored.State != nil {
		out.leaves = stored.State.Leaves
	}
	return out, tx.AppendEvents(ctx, convo.ID, h.at, store.NewEvent{
		Kind: store.EventEpochAdvanced, Audience: store.ToMembers, Epoch: &convo.Epoch, CommitID: stored.ID,
	})
}

// propose stores a judged proposal at its place in the sequence, without its sender.
func propose(ctx context.Context, tx *store.Tx, convo *store.Convo, h handshake) (Stored, error) {
	stored := h.stored(convo, "")
	seq, err := tx.AcceptProposal(ctx, stored)
	if err == nil {
		convo.LastSeq = seq
	}
	return Stored{Epoch: convo.Epoch, CommitID: stored.ID, CommitSeq: seq}, err
}

func (h *handshake) stored(convo *store.Convo, sender mls.DID) store.Handshake {
	id := h.id
	if id == "" {
		id = mls.NewMessageID(h.at)
	}
	stored := store.Handshake{
		ConvoID: convo.ID, ID: id, Generation: convo.Generation, Epoch: h.Epoch, Bytes: h.bytes, Message: h.Message.Raw,
		DeclaredSize: h.declaredSize, Sender: sender, At: h.at,
	}
	if h.Visible {
		stored.ProposalRef = h.Message.Public.ProposalRef(convo.CipherSuite)
	}
	return stored
}

// nextState is what the server knows of the group that a commit leads to, nil when that is nothing.
func (h *handshake) nextState(convo *store.Convo, packages []store.KeyPackage) (*store.GroupState, error) {
	if h.info == nil {
		return nil, nil //nolint:nilnil // nothing is known
	}
	state := &store.GroupState{GroupInfo: h.info.Raw, Proven: convo.Verified, Depositor: h.sender, At: h.at}
	if h.change == nil {
		return state, nil
	}
	var err error
	state.Leaves, err = h.nextLeaves(packages)
	return state, err
}

// nextLeaves is whose the leaves are behind a commit. Each new one is that of a package, and no
// device has two: who is added anew has its old leaf removed. Else the error is
// mls.ErrInvalidCommit.
func (h *handshake) nextLeaves(packages []store.KeyPackage) ([]store.Leaf, error) {
	leaves := slices.DeleteFunc(slices.Clone(h.leaves), func(l store.Leaf) bool { return h.removesLeaf(l.Index) })
	for _, added := range h.change.Added {
		ref := added.Package.Ref()
		i := slices.IndexFunc(packages, func(k store.KeyPackage) bool { return k.Ref == ref })
		if i < 0 {
			return nil, mls.InvalidCommit(mls.CodeRosterMismatch)
		}
		leaves = append(leaves, store.Leaf{Index: added.Index, Device: packages[i].Owner})
	}
	if h.change.External {
		leaves = append(leaves, store.Leaf{Index: h.change.Committer, Device: h.joiner})
	}
	slices.SortFunc(leaves, func(a, b store.Leaf) int { return cmp.Compare(a.Index, b.Index) })
	return leaves, distinct(leaves)
}

// distinct refuses leaves of which two are one device's.
func distinct(leaves []store.Leaf) error {
	seen := make(map[store.Device]bool, len(leaves))
	for _, l := range leaves {
		if seen[l.Device] {
			return mls.InvalidCommit(mls.CodeRosterMismatch)
		}
		seen[l.Device] = true
	}
	return nil
}

func (h *handshake) removesLeaf(leaf uint32) bool {
	return slices.ContainsFunc(h.change.Removed, func(r mls.RemovedLeaf) bool { return r.Index == leaf })
}

// remaining reports whether a user has a leaf behind the commit.
func (h *handshake) remaining(user mls.DID) bool {
	return slices.ContainsFunc(h.leaves, func(l store.Leaf) bool { return l.Device.User == user && !h.removesLeaf(l.Index) })
}

// unknown reports whether a handshake is readable but for a proposal of an unknown type. Nothing
// can be said of what it does, not even that it contains what the epoch's proposals oblige it to.
func (h *handshake) unknown() bool { return !h.Visible && h.Message.Public != nil }

// seen reports whether all that a commit does can be seen.
func (h *handshake) seen() bool { return h.change != nil || h.Resolved() }

// removesNobody reports whether all members are seen to be in the group behind the commit, with the
// same leaves, and the group goes on.
func (h *handshake) removesNobody() bool {
	if h.ReInit != nil {
		return false
	}
	if h.change != nil {
		return len(h.change.Removed) == 0
	}
	return h.Resolved() && len(h.Removed) == 0
}

// placeOf is the place of the commit that a conversation has just accepted.
func placeOf(convo *store.Convo, at time.Time) store.Place {
	return store.Place{Generation: convo.Generation, Epoch: convo.Epoch, Seq: convo.LastSeq, At: at}
}

// settleSeen settles the removal debts that a commit is seen to settle: those whose leaf it removes
// from a group that the server follows, or by Remove proposals whose leaf the server knows. An
// opaque commit is taken to make the removals that their leavers proposed in its epoch, since it is
// obliged to contain them, until a member says otherwise (ADR 5).
func settleSeen(ctx context.Context, tx *store.Tx, convo *store.Convo, h handshake) error {
	switch {
	case h.unknown():
		return nil
	case h.change == nil && !h.Resolved():
		return tx.ClaimProposedDebts(ctx, convo.ID, h.sender, placeOf(convo, h.at))
	case h.change == nil:
		return tx.SettleLeafDebts(ctx, convo.ID, h.Removed, placeOf(convo, h.at))
	}
	removed := make([]uint32, len(h.change.Removed))
	for i, r := range h.change.Removed {
		removed[i] = r.Index
	}
	return tx.SettleLeafDebts(ctx, convo.ID, removed, placeOf(convo, h.at))
}

// conclude makes the roster follow a commit of a group that the server follows, after the method
// that brought it has done its part: devices whose leaf is gone are gone, and the others have the
// leaves that the tree gives them. A device that asks to be added anew keeps its place meanwhile.
//
// The key for sealed sends that came with the commit, of whichever group, is the very last step.
func conclude(ctx context.Context, tx *store.Tx, convo *store.Convo, h handshake, out Stored) error {
	if h.change != nil {
		if err := h.moveRoster(ctx, tx, convo, out.leaves); err != nil {
			return err
		}
	}
	return giveKeyOf(ctx, tx, convo, &h)
}

// moveRoster makes the roster follow the leaves behind the commit.
func (h *handshake) moveRoster(ctx context.Context, tx *store.Tx, convo *store.Convo, leaves []store.Leaf) error {
	if len(h.change.Removed) > 0 {
		if err := h.endRemoved(ctx, tx, convo, leaves); err != nil {
			return err
		}
	}
	return tx.SetLeaves(ctx, convo.ID, leaves)
}

// endRemoved ends the membership of devices whose leaf is gone and that have no other one.
func (h *handshake) endRemoved(ctx context.Context, tx *store.Tx, convo *store.Convo, leaves []store.Leaf) error {
	requests, err := tx.ListRequests(ctx, convo.ID)
	if err != nil {
		return err
	}
	gone := make(map[mls.DID][]mls.DeviceID)
	var users []mls.DID
	for _, r := range h.change.Removed {
		d, _ := ownerOf(h.leaves, r.Index)
		again := slices.ContainsFunc(leaves, func(l store.Leaf) bool { return l.Device == d })
		if again || rejoins(requests, d) {
			continue
		}
		gone[d.User] = append(gone[d.User], d.ID)
		users = append(users, d.User)
	}
	for _, user := range mls.UniqueDIDs(users) {
		if err := h.endDevices(ctx, tx, convo, user, gone[user]); err != nil {
			return err
		}
	}
	return nil
}

// endDevices takes devices of a user off the roster, and the user when no other device is left on
// it. A place that is kept is no device: it holds no user who is removed. Devices that are off the
// roster already change nothing.
func (h *handshake) endDevices(ctx context.Context, tx *store.Tx, convo *store.Convo, user mls.DID, devices []mls.DeviceID) error {
	active, err := tx.FindActive(ctx, convo.ID, user)
	if err != nil {
		return err
	}
	goes := func(d store.ActiveDevice) bool { return !d.Vacant && slices.Contains(devices, d.ID) }
	stays := slices.ContainsFunc(active, func(d store.ActiveDevice) bool { return !d.Vacant && !goes(d) })
	switch {
	case !slices.ContainsFunc(active, goes):
		return nil
	case stays:
		return tx.RemoveDevices(ctx, convo.ID, user, devices, placeOf(convo, h.at))
	}
	end := ending{Removal: Removal{Actor: h.sender, Target: user, At: h.at}, kicked: !h.ownWish(user), committed: true}
	if err := endMembership(ctx, tx, convo, end); err != nil {
		return err
	}
	return succeed(ctx, tx, convo.ID, user, h.at)
}

// ownWish reports whether a user's leaves were removed by its own proposals.
func (h *handshake) ownWish(user mls.DID) bool {
	for _, p := range h.change.Proposals {
		target := p.Removed
		if p.Type.SelfRemove() {
			target = p.Sender
		} else if p.Type != mls.ProposalRemove {
			continue
		}
		removed, _ := ownerOf(h.leaves, target)
		proposer, _ := ownerOf(h.leaves, p.Sender)
		if removed.User == user && (p.From != mls.SenderMember || proposer.User != user) {
			return false
		}
	}
	return true
}

// founding checks that a new group is its creator's and that of the packages its Welcomes are for,
// byte for byte, none of them expired, and returns whose the leaves are. The error is
// mls.ErrInvalidGroupInfo.
func founding(g *mls.Group, signer uint32, creator store.Device, packages []store.KeyPackage, now time.Time) ([]store.Leaf, error) {
	owners := make(map[string]store.Device, len(packages))
	for _, k := range packages {
		parsed, err := mls.ParseKeyPackage(k.Bytes)
		if err != nil {
			return nil, mls.Impossible(err) // it was read when it was published
		}
		if parsed.Leaf.NotAfterTime().Before(now) {
			return nil, mls.InvalidGroupInfo(mls.CodeExpired)
		}
		owners[string(parsed.Leaf.Raw)] = k.Owner
	}
	var leaves []store.Leaf // in ascending order
	for index, leaf := range g.Leaves() {
		owner, known := owners[string(leaf.Raw)]
		if index == signer {
			owner, known = creator, true
		}
		if !known {
			return nil, mls.InvalidGroupInfo(mls.CodeRosterMismatch)
		}
		leaves = append(leaves, store.Leaf{Index: index, Device: owner})
	}
	if len(leaves) != len(packages)+1 || distinct(leaves) != nil {
		return nil, mls.InvalidGroupInfo(mls.CodeRosterMismatch)
	}
	return leaves, nil
}
