package delivery

import (
	"bytes"
	"context"
	"slices"

	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// rights says who may do what to a group that the server follows. Rights belong to who makes a
// proposal, not to who commits it.
type rights struct {
	*sight
	admins   []mls.DID
	active   []mls.DID
	devices  []store.UserDevice
	debts    []store.Debt
	requests []store.Request
}

// checkRights refuses what a user may not do to a group: speak for a leaf of somebody else's, give
// its leaf another name, remove others without a ground, change what is the admins' to change.
// Errors: mls.ErrInvalidCommit, mls.ErrNotAdmin.
func checkRights(ctx context.Context, tx *store.Tx, convo mls.ConvoID, seen *sight, caller mls.DID) error {
	proposals := seen.proposals()
	r := rights{sight: seen}
	if err := r.read(ctx, tx, convo, caller, proposals); err != nil {
		return err
	}
	switch {
	case seen.change == nil:
		if err := r.checkSender(caller, &proposals[0]); err != nil {
			return err
		}
	case !seen.change.External:
		if err := r.checkMember(caller, seen.change.Committer, seen.shown.NewLeaf()); err != nil {
			return err
		}
	case !seen.shown.SentBy(caller):
		return mls.InvalidCommit(mls.CodeNotTheCaller)
	}
	for i := range proposals {
		if p := &proposals[i]; p.From == mls.SenderNewMemberCommit && p.Type == mls.ProposalRemove {
			continue // whose leaf a joiner removes is for admit to judge
		}
		if err := r.check(&proposals[i], caller); err != nil {
			return err
		}
	}
	return nil
}

// proposals are those of a commit, or the one that is sent before.
func (s *sight) proposals() []mls.CommittedProposal {
	if s.change != nil {
		return s.change.Proposals
	}
	return []mls.CommittedProposal{{Proposal: s.shown.Message.Public.Proposal, From: s.shown.SenderType, Sender: s.shown.Sender}}
}

// read reads what the rights of those concerned depend on: of a commit that proposes nothing, its
// sender's devices alone.
func (r *rights) read(ctx context.Context, tx *store.Tx, convo mls.ConvoID, caller mls.DID, proposals []mls.CommittedProposal) (err error) {
	users := []mls.DID{caller}
	for i := range proposals {
		for _, leaf := range []uint32{proposals[i].Sender, proposals[i].Removed} {
			if owner, ok := r.owner(leaf); ok {
				users = append(users, owner.User)
			}
		}
	}
	if r.devices, err = tx.ListDevices(ctx, mls.UniqueDIDs(users)...); err != nil || len(proposals) == 0 {
		return err
	}
	roster, err := tx.ListMembers(ctx, convo)
	if err != nil {
		return err
	}
	for _, m := range roster {
		if m.Admin {
			r.admins = append(r.admins, m.User)
		}
	}
	r.active = Members(roster)
	if r.debts, err = tx.ListDebts(ctx, convo); err != nil {
		return err
	}
	r.requests, err = tx.ListRequests(ctx, convo)
	return err
}

// checkSender refuses a proposal that is not its sender's own.
func (r *rights) checkSender(caller mls.DID, p *mls.CommittedProposal) error {
	switch p.From {
	case mls.SenderMember:
		if owner, ok := r.owner(p.Sender); !ok || owner.User != caller || !r.registered(owner) {
			return mls.InvalidCommit(mls.CodeNotTheCaller)
		}
	case mls.SenderNewMemberProposal:
		if did, _, ok := mls.SplitIdentity(p.Add.Leaf.Credential.Identity); !ok || did != caller {
			return mls.InvalidCommit(mls.CodeNotTheCaller)
		}
	case mls.SenderExternal, mls.SenderNewMemberCommit:
		return mls.InvalidCommit(mls.CodeNotTheCaller)
	}
	return nil
}

// checkMember refuses a commit from a leaf that is not the caller's, and one that gives the leaf
// another identity, or a key that is not its device's.
func (r *rights) checkMember(caller mls.DID, leaf uint32, renewed *mls.LeafNode) error {
	owner, ok := r.owner(leaf)
	if !ok || owner.User != caller || !r.registered(owner) || renewed != nil && !r.keeps(leaf, renewed) {
		return mls.InvalidCommit(mls.CodeNotTheCaller)
	}
	return nil
}

// owner is whose device a leaf is.
func (r *rights) owner(leaf uint32) (store.Device, bool) { return ownerOf(r.leaves, leaf) }

func ownerOf(leaves []store.Leaf, leaf uint32) (store.Device, bool) {
	i := slices.IndexFunc(leaves, func(l store.Leaf) bool { return l.Index == leaf })
	if i < 0 {
		return store.Device{}, false
	}
	return leaves[i].Device, true
}

// registered reports whether a device is still one of its user's. A user without a registered
// device speaks for itself.
func (r *rights) registered(d store.Device) bool { return d.ID == "" || r.device(d) != nil }

func (r *rights) device(d store.Device) *store.UserDevice {
	for i := range r.devices {
		if r.devices[i].Device == d {
			return &r.devices[i]
		}
	}
	return nil
}

// keeps reports whether a new leaf has the identity of the one in its place, and its signature key
// or the one that its device has registered.
func (r *rights) keeps(leaf uint32, renewed *mls.LeafNode) bool {
	old := r.group.Leaf(leaf)
	if old == nil || !bytes.Equal(old.Credential.Identity, renewed.Credential.Identity) {
		return false
	}
	if bytes.Equal(old.SignatureKey, renewed.SignatureKey) {
		return true
	}
	owner, _ := r.owner(leaf)
	d := r.device(owner)
	return d != nil && bytes.Equal(d.SignatureKey, renewed.SignatureKey)
}

// check judges one proposal by the rights of who made it: the owner of the leaf, or caller who is
// joining.
func (r *rights) check(p *mls.CommittedProposal, caller mls.DID) error {
	proposer := caller
	if p.From == mls.SenderMember {
		owner, ok := r.owner(p.Sender)
		if !ok {
			return mls.InvalidCommit(mls.CodeUnknownLeaf)
		}
		proposer = owner.User
	}
	switch p.Type {
	case mls.ProposalRemove:
		if !r.mayRemove(proposer, p.Removed) {
			return mls.ErrNotAdmin
		}
	case mls.ProposalUpdate:
		if !r.keeps(p.Sender, p.Update) {
			return mls.InvalidCommit(mls.CodeNotTheCaller)
		}
	case mls.ProposalGroupContextExtensions, mls.ProposalReInit:
		if !slices.Contains(r.admins, proposer) {
			return mls.ErrNotAdmin
		}
		if !acceptable(p.Extensions) {
			return mls.InvalidCommit(mls.CodeForbiddenExtension)
		}
	case mls.ProposalAdd, mls.ProposalPSK:
		// Who has left may still ask for its own removal, and for nothing else.
		if !slices.Contains(r.active, proposer) {
			return mls.InvalidCommit(mls.CodeForbiddenProposal)
		}
	case mls.ProposalSelfRemove, mls.ProposalSelfRemovePrivate, mls.ProposalExternalInit:
		// Nobody else is concerned.
	}
	return nil
}

// mayRemove reports whether a user has a ground to remove a leaf: it is a leaf of its own, the user
// is an admin, or the leaf's device is off the roster, no longer registered, or asks to be added
// anew.
func (r *rights) mayRemove(proposer mls.DID, leaf uint32) bool {
	owner, ok := r.owner(leaf)
	if !ok {
		return false
	}
	return owner.User == proposer || slices.Contains(r.admins, proposer) || !r.registered(owner) || owes(r.debts, owner, leaf) || rejoins(r.requests, owner)
}

// owes reports whether a leaf is that of a device whose removal is due. Leaves change hands, so its
// number alone says nothing.
func owes(debts []store.Debt, owner store.Device, leaf uint32) bool {
	return slices.ContainsFunc(debts, func(d store.Debt) bool {
		return d.Device == owner && d.LeafIndex != nil && *d.LeafIndex == int64(leaf)
	})
}

func rejoins(requests []store.Request, d store.Device) bool {
	return slices.ContainsFunc(requests, func(q store.Request) bool { return q.Device == d && q.Kind == store.RequestRejoin })
}

// acceptable reports whether a group may have the extensions: external senders could remove members
// past their rights, and this server is none.
func acceptable(list mls.Extensions) bool {
	_, external := list.Find(mls.ExtensionExternalSenders)
	return !external
}
