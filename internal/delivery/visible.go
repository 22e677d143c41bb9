package delivery

import (
	"context"
	"slices"
	"time"

	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// Of a conversation whose group the server does not follow, what can be read of a commit or a
// proposal is held against the request that it came with and against the roster: the server writes
// nothing down that the message contradicts. What is encrypted, or refers to an encrypted proposal,
// is the members' word.

// checkSender refuses a handshake whose own leaf names somebody else, one that removes others
// without a ground, and one of a member who is no admin that ends the group. A proposal that a
// commit refers to was judged by its own sender's rights.
func checkSender(ctx context.Context, tx *store.Tx, s *store.Standing, h handshake) error {
	if !h.SentBy(h.sender) {
		return mls.InvalidCommit(mls.CodeNotTheCaller)
	}
	if s.Admin {
		return nil
	}
	if h.reinitializes() {
		return mls.ErrNotAdmin
	}
	if h.Foreign == 0 || h.External() {
		return nil // whose leaf a joiner removes is for admit to judge
	}
	grounds, known, err := groundsToRemove(ctx, tx, s.ID, h.sender)
	if err != nil {
		return err
	}
	if h.Foreign > grounds || slices.ContainsFunc(h.Removed, func(leaf uint32) bool { return known[leaf] }) {
		return mls.ErrNotAdmin
	}
	return nil
}

// reinitializes reports whether a commit is seen to end its group, or a proposal to ask for that.
func (h *handshake) reinitializes() bool {
	p := h.Message.Public
	return h.ReInit != nil || h.Content == mls.ContentProposal && p != nil && p.Proposal != nil && p.Proposal.Type == mls.ProposalReInit
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
	grounds = -1 // nobody removes the device that it speaks with
	for _, d := range debts {
		if !d.Claimed { // of the others nobody has said that they are still there
			grounds++
		}
	}
	for _, m := range roster {
		rejoins := slices.ContainsFunc(requests, func(r store.Request) bool {
			return r.Device == (store.Device{User: m.User, ID: m.Device}) && r.Kind == store.RequestRejoin
		})
		switch {
		case m.Vacant: // no leaf
		case m.User == user || rejoins:
			grounds++
		case m.LeafIndex != nil:
			known[uint32(*m.LeafIndex)] = true //nolint:gosec // a leaf index of MLS
		}
	}
	return grounds, known, nil
}

// adds refuses a commit that is seen to add nobody, or a package that has expired.
func (h *handshake) adds(now time.Time) error {
	if h.Resolved() && len(h.Adds) == 0 {
		return mls.InvalidCommit(mls.CodeRosterMismatch)
	}
	if h.change == nil {
		return nil
	}
	for _, added := range h.change.Added {
		if added.Package.Leaf.NotAfterTime().Before(now) {
			return mls.InvalidCommit(mls.CodeExpired)
		}
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
func (h *handshake) removes(user mls.DID, known []*int64) error {
	if err := h.addsNobody(); err != nil || !h.Resolved() {
		return err
	}
	if h.change != nil {
		if h.remaining(user) {
			return mls.InvalidCommit(mls.CodeRosterMismatch)
		}
		return nil
	}
	missing := func(leaf *int64) bool { return leaf != nil && !slices.Contains(h.Removed, uint32(*leaf)) } //nolint:gosec // a leaf index of MLS
	if len(h.Removed) == 0 || slices.ContainsFunc(known, missing) {
		return mls.InvalidCommit(mls.CodeRosterMismatch)
	}
	return nil
}
