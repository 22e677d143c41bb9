package delivery

import (
	"context"
	"errors"
	"time"

	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// Bundle is a commit or a proposal with what came along with it. Every method that takes one has it
// judged by judge and, a commit, carried out by commit and conclude.
type Bundle struct {
	Handshake *mls.Candidate
	// Info is the GroupInfo of the epoch that a commit leads to, nil for none.
	Info *mls.Deposit
	// SendKey is a key for sealed sends in that epoch, nil for none.
	SendKey *mls.SendKey
	// Joins says that the commit has to come from outside, and that admit will judge who joins. All
	// other bundles come from members.
	Joins bool

	sight *sight // what was found out before the conversation was locked
}

// handshake is a commit or proposal that fits the conversation and breaks no rule that can be seen.
type handshake struct {
	*mls.Handshake
	// bytes are what clients get: the message as it came, padding included.
	bytes []byte
	// id names it in getMessages; "" gets one of the server's.
	id           mls.MessageID
	declaredSize *int64
	// sender is kept for commits only.
	sender mls.DID
	at     time.Time
	// urgent is an admin's removal, which waits for nothing.
	urgent bool
	// placed says that its sender has named the commit that stands.
	placed bool
	// change is what a commit does to a group that the server follows, nil for everything else;
	// leaves are the group's before it.
	change *mls.Transition
	leaves []store.Leaf
	// group is the group before a commit from outside, nil when nothing is known of it; joiner is
	// the device that joins.
	group  *mls.Group
	joiner store.Device
	// info is the GroupInfo of the epoch that the commit leads to, sendKey the key for sealed sends
	// in it, nil for none.
	info    *mls.GroupInfo
	sendKey *mls.SendKey
}

// submission says whose a commit or proposal is, and since when.
type submission struct {
	sender mls.DID
	at     time.Time
}

// groups reads what is known of a group: *store.Store before its conversation is locked, *store.Tx
// under the lock.
type groups interface {
	// FindGroupState is the state of the conversation's epoch, nil when there is none.
	FindGroupState(ctx context.Context, c *store.Convo) (*store.GroupState, error)
	// FindProposals returns the readable proposals of the epoch that have one of the references,
	// and whether there are no others in it that could not be read.
	FindProposals(ctx context.Context, c *store.Convo, refs []mls.ProposalRef) ([][]byte, bool, error)
}

// sight is a bundle as it looks from one epoch of its group. It costs what there is to cost: the
// group's state is read, signatures are verified, the tree is hashed.
type sight struct {
	generation mls.Generation
	epoch      mls.Epoch
	commit     mls.MessageID

	group  *mls.Group
	leaves []store.Leaf
	shown  *mls.Handshake
	change *mls.Transition
	fault  error
}

// from reports whether the sight is that from the conversation as it is now: a generation, an epoch
// and the commit that led there are one state of the group and no other.
func (s *sight) from(c *store.Convo) bool {
	return s != nil && s.generation == c.Generation && s.epoch == c.Epoch && s.commit == c.CommitID
}

// look holds a bundle against the group of a verified conversation. What is wrong with it is in the
// sight; the error is the database's.
func (b *Bundle) look(ctx context.Context, g groups, c *store.Convo) (*sight, error) {
	s := &sight{generation: c.Generation, epoch: c.Epoch, commit: c.CommitID}
	if s.fault = b.Handshake.Fits(c.GroupID, c.Epoch); s.fault != nil {
		return s, nil //nolint:nilerr // the fault is in the sight
	}
	state, err := g.FindGroupState(ctx, c)
	switch {
	case err != nil:
		return nil, err
	case state == nil:
		return nil, errNoState
	}
	if s.group, err = resume(state); err != nil {
		return nil, err
	}
	pending, _, err := readProposals(ctx, g, c, b.Handshake.References())
	if err != nil {
		return nil, err
	}
	s.leaves = state.Leaves
	s.shown, s.change, s.fault = b.Handshake.Follow(s.group, pending, b.Info)
	return s, nil
}

// errNoState: a verified conversation has no state of its epoch.
var errNoState = errors.New("delivery: a verified conversation has no group state")

// readProposals reads those proposals of the epoch that a commit refers to. complete says that the
// epoch has none that could not be read.
func readProposals(ctx context.Context, g groups, c *store.Convo, refs []mls.ProposalRef) (pending map[mls.ProposalRef]*mls.PublicMessage, complete bool, err error) {
	if len(refs) == 0 {
		return nil, false, nil
	}
	found, complete, err := g.FindProposals(ctx, c, refs)
	if err != nil {
		return nil, false, err
	}
	pending = make(map[mls.ProposalRef]*mls.PublicMessage, len(found))
	for _, b := range found {
		if m, _ := mls.UnwrapPadding(b); m != nil && m.Public != nil {
			pending[m.Public.ProposalRef(c.CipherSuite)] = m.Public
		}
	}
	return pending, complete, nil
}

// examine does what is costly about a bundle before its conversation is locked, for members only:
// nobody else shall make the server do that work. Whatever stands against it, the error of the lock
// included, is told in its turn.
func (s *Service) examine(ctx context.Context, key mls.ConvoKey, caller mls.DID, b *Bundle) {
	if standing, err := s.store.RequireMember(ctx, key, caller); err == nil {
		s.examineAt(ctx, &standing.Convo, b)
	}
}

func (s *Service) examineAt(ctx context.Context, c *store.Convo, b *Bundle) {
	if !c.Verified {
		b.Handshake.Examine(c.CipherSuite)
		if b.Joins {
			b.sight, _ = b.lookUnproven(ctx, s.store, c)
		}
		// Its fault is told under the lock, when it is known to be of the right epoch.
		_, _ = b.Info.Open(c.GroupID, c.CipherSuite, c.Epoch+1)
		return
	}
	if seen, err := b.look(ctx, s.store, c); err == nil {
		b.sight = seen
	}
}

// judge holds a bundle against the locked conversation: by the state of its group where the server
// follows it, else by what can be read. The rights of its sender, and of whoever made the proposals
// in it, are those of this moment. Errors: mls.ErrGroupReset, mls.ErrGroupReinitialized, those of
// mls.Candidate, mls.ErrInvalidGroupInfo, mls.ErrNotAdmin.
func judge(ctx context.Context, tx *store.Tx, s *store.Standing, b *Bundle, r submission) (handshake, error) {
	h := handshake{bytes: b.Handshake.Bytes, sender: r.sender, at: r.at, sendKey: b.SendKey}
	if err := refuseFormer(ctx, tx, &s.Convo, b.Handshake.Group()); err != nil {
		return h, err
	}
	if s.Successor != nil {
		return h, mls.ErrGroupReinitialized
	}
	if !s.Verified {
		return h, judgeVisible(ctx, tx, s, b, &h)
	}
	seen := b.sight
	// Proposals may have arrived since; nothing else of the same state has changed.
	if !seen.from(&s.Convo) || mls.CodeOf(seen.fault) == mls.CodeUnknownProposalRef {
		var err error
		if seen, err = b.look(ctx, tx, &s.Convo); err != nil {
			return h, err
		}
	}
	if seen.fault != nil {
		return h, seen.fault
	}
	h.Handshake, h.change, h.leaves = seen.shown, seen.change, seen.leaves
	if h.change != nil {
		info, err := b.Info.Info()
		if err != nil {
			return h, err
		}
		h.info = info
	}
	if h.change != nil && h.change.External != b.Joins {
		return h, mls.InvalidCommit(mls.CodeBadExternalCommit)
	}
	h.group = seen.group
	return h, checkRights(ctx, tx, s.ID, seen, r.sender)
}

// judgeVisible is judge for a conversation whose group the server does not follow.
func judgeVisible(ctx context.Context, tx *store.Tx, s *store.Standing, b *Bundle, h *handshake) error {
	if err := b.Handshake.Fits(s.GroupID, s.Epoch); err != nil {
		return err
	}
	if b.Handshake.External() != b.Joins {
		return mls.InvalidCommit(mls.CodeBadExternalCommit)
	}
	state := mls.GroupState{GroupID: s.GroupID, Epoch: s.Epoch, Suite: s.CipherSuite}
	var err error
	if state.Pending, state.Complete, err = readProposals(ctx, tx, &s.Convo, b.Handshake.References()); err != nil {
		return err
	}
	if h.Handshake, err = b.Handshake.Judge(state); err != nil {
		return err
	}
	if b.Info != nil && h.Content == mls.ContentCommit {
		if h.info, err = b.unproven(&s.Convo); err != nil {
			return err
		}
	}
	if b.Joins {
		seen := b.sight
		if !seen.from(&s.Convo) {
			if seen, err = b.lookUnproven(ctx, tx, &s.Convo); err != nil {
				return err
			}
		}
		h.group = seen.group
	}
	return checkSender(ctx, tx, s, *h)
}

// unproven returns the GroupInfo of a conversation whose commits cannot be followed: it fits the
// epoch and holds together, which is all that can be said of it.
func (b *Bundle) unproven(c *store.Convo) (*mls.GroupInfo, error) {
	if _, err := b.Info.Open(c.GroupID, c.CipherSuite, c.Epoch+1); err != nil {
		return nil, err
	}
	return b.Info.Info()
}
