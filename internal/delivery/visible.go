package delivery

import (
	"context"
	"slices"

	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// What can be read of a commit or a proposal is held against the request that it came with and
// against the roster: the server writes nothing down that the message contradicts. What is
// encrypted, or refers to an encrypted proposal, is the members' word.

// judge holds a commit or proposal of a text field against the locked conversation and its sender's
// rights. Errors: those of mls.Candidate, mls.ErrNotAdmin.
func judge(ctx context.Context, tx *store.Tx, s *store.Standing, c *mls.Candidate, r submission) (handshake, error) {
	state, err := groupState(ctx, tx, &s.Convo, c.References())
	if err != nil {
		return handshake{}, err
	}
	seen, err := c.Judge(state)
	if err != nil {
		return handshake{}, err
	}
	h := handshake{Handshake: seen, bytes: c.Bytes, sender: r.sender, at: r.at}
	return h, checkSender(ctx, tx, s, h)
}

// groupState is what a handshake is judged by: the group, and those proposals of its epoch that the
// handshake refers to.
func groupState(ctx context.Context, tx *store.Tx, convo *store.Convo, refs []mls.ProposalRef) (mls.GroupState, error) {
	state := mls.GroupState{GroupID: convo.GroupID, Epoch: convo.Epoch, Suite: convo.CipherSuite}
	if len(refs) == 0 {
		return state, nil
	}
	found, complete, err := tx.FindProposals(ctx, convo, refs)
	if err != nil {
		return state, err
	}
	state.Complete = complete
	state.Pending = make(map[mls.ProposalRef]*mls.PublicMessage, len(found))
	for _, b := range found {
		if m, _ := mls.UnwrapPadding(b); m != nil && m.Public != nil {
			state.Pending[m.Public.ProposalRef(convo.CipherSuite)] = m.Public
		}
	}
	return state, nil
}

// checkSender refuses a handshake whose own leaf names somebody else, and one that removes others
// without a ground. A proposal that a commit refers to was judged by its own sender's rights.
func checkSender(ctx context.Context, tx *store.Tx, s *store.Standing, h handshake) error {
	if !h.SentBy(h.sender) {
		return mls.InvalidCommit(mls.CodeNotTheCaller)
	}
	if s.Admin || h.Foreign == 0 {
		return nil
	}
	grounds, known, err := groundsToRemove(ctx, tx, s.ID, h.sender)
	if err != nil {
		return err
	}
	// Who joins by an external commit removes its own old leaf, of which the server may know
	// nothing.
	if h.External() {
		grounds++
	}
	if h.Foreign > grounds || slices.ContainsFunc(h.Removed, func(leaf uint32) bool { return known[leaf] }) {
		return mls.ErrNotAdmin
	}
	return nil
}

// groundsToRemove counts the leaves that a user who is not an admin may have a reason to remove:
// those of its own other devices, of devices that want to be added anew, and of those that are off
// the roster. known are the leaves for which it has none.
func groundsToRemove(ctx context.Context, tx *store.Tx, convo mls.ConvoID, user mls.DID) (grounds int, known map[uint32]bool, err error) {
	roster, err := tx.ListMembers(ctx, convo)
	if err != nil {
		return 0, nil, err
	}
	requests, err := tx.ListRequests(ctx, convo)
	if err != nil {
		return 0, nil, err
	}
	debts, err := tx.ListDebts(ctx, convo)
	if err != nil {
		return 0, nil, err
	}
	known = make(map[uint32]bool)
	grounds = len(debts) - 1 // nobody removes the device that it speaks with
	for _, m := range roster {
		rejoins := slices.ContainsFunc(requests, func(r store.Request) bool {
			return r.Device == (store.Device{User: m.User, ID: m.Device}) && r.Kind == store.RequestRejoin
		})
		switch {
		case m.User == user || rejoins:
			grounds++
		case m.LeafIndex != nil:
			known[uint32(*m.LeafIndex)] = true //nolint:gosec // a leaf index of MLS
		}
	}
	return grounds, known, nil
}

// adds refuses a commit that is seen to add nobody.
func (h *handshake) adds() error {
	if h.Resolved() && len(h.Adds) == 0 {
		return mls.InvalidCommit(mls.CodeRosterMismatch)
	}
	return nil
}

// addsNobody refuses a commit that is seen to add somebody, who would be on no roster.
func (h *handshake) addsNobody() error {
	if h.Content == mls.ContentCommit && len(h.Adds) > 0 {
		return mls.InvalidCommit(mls.CodeRosterMismatch)
	}
	return nil
}

// removes refuses a commit that is seen not to remove a user whose leaves are those that are known
// of it.
func (h *handshake) removes(known []*int64) error {
	if err := h.addsNobody(); err != nil || !h.Resolved() {
		return err
	}
	missing := func(leaf *int64) bool { return leaf != nil && !slices.Contains(h.Removed, uint32(*leaf)) } //nolint:gosec // a leaf index of MLS
	if len(h.Removed) == 0 || slices.ContainsFunc(known, missing) {
		return mls.InvalidCommit(mls.CodeRosterMismatch)
	}
	return nil
}
