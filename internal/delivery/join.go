package delivery

import (
	"bytes"
	"context"
	"slices"
	"time"

	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// ExternalJoin says which devices of members may join a group by a commit of their own. The values
// are those of EXTERNAL_JOIN.
type ExternalJoin string

// The policies.
const (
	// JoinNobody leaves requestRejoin and pending devices.
	JoinNobody ExternalJoin = "none"
	// JoinDevices lets a device replace its own leaf, and one that a device of the same user in the
	// group vouches for join. A token alone never gets into a group.
	JoinDevices ExternalJoin = "device"
	// JoinOpen lets every device of an active member join.
	JoinOpen ExternalJoin = "open"
)

// joinsPerHour is how often a device may join a conversation by itself.
const joinsPerHour = 5

// JoinRequest is a commit from outside, by which a device of a member joins the group.
type JoinRequest struct {
	Key    mls.ConvoKey
	User   mls.DID
	Commit *Bundle
	At     time.Time
}

// Joined is what became of a join.
type Joined struct {
	Stored
	// At is floored to 2 seconds.
	At time.Time
}

// ExamineJoin verifies the signatures of a join before Join locks the conversation.
func (s *Service) ExamineJoin(ctx context.Context, r JoinRequest) error {
	if s.ExternalJoin != JoinNobody {
		s.examine(ctx, r.Key, r.User, r.Commit)
	}
	return nil
}

// Join accepts a commit by which a device of a member joins the group, and does everything that
// follows from it: leaf, roster, fulfilled requests, settled debts. A repeat gets the first answer.
// Errors: those of LockAsMember and of judge, mls.ErrExternalJoinNotAllowed, mls.ErrCommitVoid,
// mls.ErrRateLimitExceeded.
func (s *Service) Join(ctx context.Context, tx *store.Tx, r JoinRequest) (Joined, error) {
	standing, err := tx.LockAsMember(ctx, r.Key, r.User)
	if err != nil {
		return Joined{}, err
	}
	convo := &standing.Convo
	if before, err := r.before(ctx, tx, convo); err != nil || before.CommitSeq != 0 {
		return before, err
	}
	if s.ExternalJoin == JoinNobody {
		return Joined{}, mls.ErrExternalJoinNotAllowed
	}
	h, err := judge(ctx, tx, &standing, r.Commit, submission{r.User, r.At})
	if err != nil {
		return Joined{}, err
	}
	j, err := s.admit(ctx, tx, &standing, &h)
	if err != nil {
		return Joined{}, err
	}
	h.joiner = j.device
	out, err := commit(ctx, tx, convo, h)
	if err != nil {
		return Joined{}, err
	}
	if err := j.enter(ctx, tx, convo, &h); err != nil {
		return Joined{}, err
	}
	return Joined{Stored: out, At: r.At}, conclude(ctx, tx, convo, h, out)
}

// before is what the request has done already, zero for nothing. The error is mls.ErrCommitVoid.
func (r *JoinRequest) before(ctx context.Context, tx *store.Tx, convo *store.Convo) (Joined, error) {
	made, readable := r.Commit.Handshake.Epoch()
	if !readable {
		return Joined{}, nil
	}
	void, err := tx.IsVoidCommit(ctx, convo, r.Commit.Handshake.Bytes)
	switch {
	case err != nil:
		return Joined{}, err
	case void:
		return Joined{}, mls.ErrCommitVoid
	}
	seq, id, err := tx.FindAccepted(ctx, convo.ID, made, r.User, r.Commit.Handshake.Bytes)
	if err != nil || seq == 0 {
		return Joined{}, err
	}
	k, err := tx.FindCommit(ctx, convo, id)
	if err != nil || k == nil {
		return Joined{}, err
	}
	return Joined{Stored{Epoch: made + 1, CommitID: id, CommitSeq: seq}, k.CreatedAt}, nil
}

// joining is a device that joins by itself.
type joining struct {
	device     store.Device
	registered []store.UserDevice // all devices of its user
	// replaces is the leaf that it removes, nil for none.
	replaces *uint32
	// known says that it replaces its own leaf, or that a device of its user in the group vouches
	// for it.
	known bool
}

// admit tells which device joins, and whether it may. Errors: mls.ErrInvalidCommit,
// mls.ErrNotAdmin, mls.ErrExternalJoinNotAllowed, mls.ErrRateLimitExceeded.
func (s *Service) admit(ctx context.Context, tx *store.Tx, standing *store.Standing, h *handshake) (joining, error) {
	leaf := h.NewLeaf()
	if leaf == nil {
		return joining{}, mls.InvalidCommit(mls.CodeUnknownProposal) // the rest is hidden
	}
	devices, err := tx.ListDevices(ctx, h.sender)
	if err != nil {
		return joining{}, err
	}
	j := joining{registered: devices}
	if j.device, err = deviceAt(h.sender, leaf, devices); err != nil {
		return joining{}, mls.InvalidCommit(mls.CodeNotTheCaller)
	}
	if err := j.recognise(ctx, tx, standing, h); err != nil {
		return joining{}, err
	}
	if !j.known && s.ExternalJoin != JoinOpen {
		return joining{}, mls.ErrExternalJoinNotAllowed
	}
	if !j.known {
		deleted, err := tx.FindDeletedKey(ctx, h.sender, leaf.SignatureKey)
		switch {
		case err != nil:
			return joining{}, err
		case deleted != nil:
			return joining{}, mls.InvalidCommit(mls.CodeDeletedDevice)
		}
	}
	n, first, err := tx.CountJoins(ctx, &standing.Convo, j.device, h.at.Add(-time.Hour))
	if err == nil && n >= joinsPerHour {
		err = mls.RateLimited(first.Add(time.Hour).Sub(h.at))
	}
	return j, err
}

// recognise finds out whether the group knows the device, and refuses a join that removes the leaf
// of another one: not even an admin may do that.
func (j *joining) recognise(ctx context.Context, tx *store.Tx, standing *store.Standing, h *handshake) error {
	own, err := j.ownLeaves(ctx, tx, h)
	if err != nil {
		return err
	}
	leaf, replaces := h.Replaced()
	if replaces {
		j.replaces = &leaf
		owner, err := ownerBefore(ctx, tx, standing.ID, h, leaf)
		i := slices.IndexFunc(own, func(l ownLeaf) bool { return l.index == leaf })
		switch {
		case err != nil:
			return err
		case i >= 0 && sameClient(own[i].node, h.NewLeaf()):
			j.known = true
			return nil
		case owner != nil && owner.User != h.sender && !standing.Admin:
			return mls.ErrNotAdmin
		case owner != nil && *owner != j.device:
			return mls.InvalidCommit(mls.CodeBadExternalCommit)
		}
	}
	j.known = slices.ContainsFunc(own, func(l ownLeaf) bool { return h.VouchedFor(standing.CipherSuite, l.node) })
	return nil
}

// ownerBefore is whose leaf it was before a commit, nil when that is not known. Of a group that the
// server does not follow, the roster knows some.
func ownerBefore(ctx context.Context, tx *store.Tx, convo mls.ConvoID, h *handshake, leaf uint32) (*store.Device, error) {
	if h.change != nil {
		owner, ok := ownerOf(h.leaves, leaf)
		if !ok {
			return nil, mls.InvalidCommit(mls.CodeUnknownLeaf)
		}
		return &owner, nil
	}
	if h.group != nil {
		// The commit was made by this GroupInfo, true or not: its maker knows whose leaf that is.
		if node := h.group.Leaf(leaf); node != nil {
			if did, _, ok := mls.SplitIdentity(node.Credential.Identity); ok && did != h.sender {
				return &store.Device{User: did}, nil
			}
		}
	}
	roster, err := tx.ListMembers(ctx, convo)
	for _, m := range roster {
		if m.LeafIndex != nil && *m.LeafIndex == int64(leaf) && m.Device != "" {
			return &store.Device{User: m.User, ID: m.Device}, err
		}
	}
	return nil, err
}

// sameClient reports whether two leaves are of one client: identity and signature key are equal.
func sameClient(a, b *mls.LeafNode) bool {
	return bytes.Equal(a.SignatureKey, b.SignatureKey) && bytes.Equal(a.Credential.Identity, b.Credential.Identity)
}

// ownLeaf is a leaf of the joiner's user.
type ownLeaf struct {
	index  uint32
	node   *mls.LeafNode
	device store.Device
}

// maxOwnLeaves is how many leaves of its own name a joiner has looked at. A GroupInfo of an opaque
// conversation may have any number of them, and no user has as many devices.
const maxOwnLeaves = 100

// ownLeaves are those leaves of the user that belong to a registered device, or to a user without
// one; none of a group of which nothing is known.
func (j *joining) ownLeaves(ctx context.Context, tx *store.Tx, h *handshake) ([]ownLeaf, error) {
	if h.group == nil {
		return nil, nil
	}
	r := rights{devices: j.registered}
	var own []ownLeaf
	looked := 0
	for index, node := range h.group.Leaves() {
		device, ok := ownerOf(h.leaves, index)
		if h.change == nil {
			var err error
			device, err = deviceAt(h.sender, node, j.registered)
			ok = err == nil
		}
		if !ok || device.User != h.sender || !r.registered(device) {
			continue
		}
		if looked++; looked > maxOwnLeaves {
			break
		}
		if device.ID == "" { // to a user without devices, every leaf of its name seems to belong
			deleted, err := tx.FindDeletedKey(ctx, h.sender, node.SignatureKey)
			switch {
			case err != nil:
				return nil, err
			case deleted != nil:
				continue
			}
		}
		own = append(own, ownLeaf{index, node, device})
	}
	return own, nil
}

// enter puts the device onto the roster.
func (j *joining) enter(ctx context.Context, tx *store.Tx, convo *store.Convo, h *handshake) error {
	place := placeOf(convo, h.at)
	if err := tx.UpsertMembers(ctx, convo.ID, []store.NewMember{newMember(j.device, j.registered)}, place); err != nil {
		return err
	}
	if err := tx.RecordJoin(ctx, convo, store.Join{Device: j.device, By: place}); err != nil {
		return err
	}
	if h.change == nil && j.replaces != nil {
		if err := tx.SettleDeviceDebts(ctx, convo.ID, []store.Device{j.device}, place); err != nil {
			return err
		}
	}
	if j.known && h.change != nil {
		return nil // in an opaque conversation it is known by a GroupInfo that proves nothing
	}
	return tx.AppendEvents(ctx, convo.ID, h.at, store.NewEvent{
		Kind: store.EventJoinedExternal, Audience: store.ToMembers, User: j.device.User, Device: j.device.ID, Epoch: &convo.Epoch,
	})
}

// lookUnproven is look for a commit from outside of a group that the server does not follow: there
// is something to see when it fits the GroupInfo that somebody has deposited. That one proves
// nothing: it may let a joiner in, and keeps nobody out.
func (b *Bundle) lookUnproven(ctx context.Context, g groups, c *store.Convo) (*sight, error) {
	s := &sight{generation: c.Generation, epoch: c.Epoch, commit: c.CommitID}
	state, err := g.FindGroupState(ctx, c)
	if err != nil || state == nil || state.Retired || b.Handshake.Fits(c.GroupID, c.Epoch) != nil {
		return s, err
	}
	group, err := resume(state)
	if err != nil {
		return nil, err
	}
	pending, _, err := readProposals(ctx, g, c, b.Handshake.References())
	if err != nil {
		return nil, err
	}
	if _, err := b.Handshake.Apply(group, pending); err == nil {
		s.group = group
	}
	return s, nil
}
