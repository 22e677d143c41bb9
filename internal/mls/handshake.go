package mls

// GroupState is what the server knows of a conversation's group when it judges a
// message for it.
type GroupState struct {
	GroupID GroupID
	Epoch   Epoch
	// Suite is the conversation's suite; 0 leaves suites and signatures unchecked.
	Suite CipherSuite
	// Pending holds the readable proposals of this epoch by reference; it may be nil.
	Pending map[ProposalRef]*PublicMessage
	// Complete says that Pending holds all proposals of this epoch, so that a commit may refer to
	// no other.
	Complete bool
}

// Handshake is what a commit or a proposal shows to a delivery service.
type Handshake struct {
	// Message is what was parsed; its Raw has no padding.
	Message *Message
	Content ContentType
	Epoch   Epoch
	// Visible says that the content could be read: a PublicMessage without proposals of
	// unknown types. The fields below are zero when it is not.
	Visible bool
	// SenderType says whether the sender is a member or comes from outside.
	SenderType SenderType
	// Sender is the sending member's leaf index. It means something for SenderMember only.
	Sender uint32
	// Adds are the key packages that are added, in the commit's order.
	Adds []KeyPackageRef
	// Removed are the leaf indices that are removed, in the commit's order.
	Removed []uint32
	// Unresolved are references to proposals that are not in GroupState.Pending, so that
	// Adds and Removed may lack something.
	Unresolved []ProposalRef
	// Foreign is how many Removes the sender makes itself, by value, of leaves that are not its
	// own.
	Foreign int
	// ReInit is set for a commit that ends the group (RFC 9420 12.1.5).
	ReInit *ReInit
	// Joiner is the leaf of who joins by an external commit, nil otherwise.
	Joiner *LeafNode

	// own is the sender's new leaf, of a path or an Update; nil when it shows none.
	own *LeafNode
}

// NewLeaf returns the leaf that the sender gives itself, by a path or an Update; nil when it shows
// none.
func (h *Handshake) NewLeaf() *LeafNode { return h.own }

// SentBy reports whether nothing in the handshake contradicts that a user sent it: the leaf that it
// gives its sender names that user.
func (h *Handshake) SentBy(user DID) bool {
	if h.own == nil {
		return true
	}
	did, _, ok := SplitIdentity(h.own.Credential.Identity)
	return ok && did == user
}

// OwnRemoval reports whether a readable proposal asks for nothing but the removal of its own
// sender.
func (h *Handshake) OwnRemoval() bool {
	return h.SenderType == SenderMember && len(h.Removed) == 1 && h.Removed[0] == h.Sender
}

// Resolved reports whether all that the handshake does is in Adds and Removed.
func (h *Handshake) Resolved() bool { return h.Visible && len(h.Unresolved) == 0 }

// External reports whether the handshake is a commit by which its sender joins from outside.
func (h *Handshake) External() bool { return h.SenderType == SenderNewMemberCommit }

// CheckWelcome is CheckWelcomes for one Welcome.
func (h *Handshake) CheckWelcome(w *WelcomeView, suite CipherSuite) error {
	return h.CheckWelcomes([]*WelcomeView{w}, suite)
}

// CheckWelcomes checks that Welcomes are for exactly the clients whom the commit adds, each for
// some of them, and of the group's suite (RFC 9420 12.4.3.1). A commit that shows only part of its
// Adds is not compared. The error is ErrWelcomeMismatch, or ErrInvalidWelcome for another suite.
func (h *Handshake) CheckWelcomes(welcomes []*WelcomeView, suite CipherSuite) error {
	total := 0
	for _, w := range welcomes {
		if suite != 0 && w.Suite != suite {
			return InvalidWelcome(CodeWrongSuite)
		}
		total += len(w.Refs)
	}
	if !h.Resolved() {
		return nil
	}
	if len(h.Adds) != total {
		return ErrWelcomeMismatch
	}
	added := make(map[KeyPackageRef]bool, len(h.Adds))
	for _, ref := range h.Adds {
		added[ref] = true
	}
	for _, w := range welcomes {
		for _, ref := range w.Refs {
			if !added[ref] {
				return ErrWelcomeMismatch
			}
			delete(added, ref)
		}
	}
	return nil
}

// maxAdds bounds the signatures that one commit can make the server verify: 50 users of
// 10 devices are the most that addMembers can name.
const maxAdds = 512

// judge applies the visible rules to one handshake and fills in what it shows.
type judge struct {
	g *GroupState
	m *PublicMessage
	h *Handshake

	touched     map[uint32]bool // leaves removed or updated
	keys        map[string]bool // keys of added clients
	psks        map[string]bool
	count       map[ProposalType]int
	total       int
	needsPath   bool
	foreign     int // references to anything but a SelfRemove
	selfRemoves int
}

// proposal judges a proposal message by who sent it (RFC 9420 12.1).
func (j *judge) proposal(p *Proposal) Code {
	if p == nil {
		return 0
	}
	allowed := true
	switch j.m.SenderType {
	case SenderMember:
		allowed = p.Type != ProposalExternalInit
	case SenderExternal:
		// RFC 9420 12.1.8: what an external sender may ask for.
		allowed = p.Type != ProposalUpdate && p.Type != ProposalExternalInit && !p.Type.SelfRemove()
	case SenderNewMemberProposal:
		allowed = p.Type == ProposalAdd
	case SenderNewMemberCommit:
		allowed = false
	}
	if !allowed {
		return CodeForbiddenProposal
	}
	// The two proposals that are signed with a key they bring along.
	if j.g.Suite.Known() && j.m.SenderType == SenderNewMemberProposal &&
		p.Add.Suite == j.g.Suite && !j.m.VerifySignature(j.g.Suite, nil, p.Add.Leaf.SignatureKey) {
		return CodeContentSignature
	}
	switch {
	case p.Type == ProposalUpdate:
		j.h.own = p.Update
	case p.Type == ProposalRemove && (j.m.SenderType != SenderMember || p.Removed != j.m.Sender):
		j.h.Foreign++
	}
	return j.count1(p, j.m.SenderType, j.m.Sender, false)
}

// commit judges a commit (RFC 9420 12.2, 12.4, 12.4.3.2).
func (j *judge) commit(c *Commit) Code {
	if j.m.SenderType != SenderMember && j.m.SenderType != SenderNewMemberCommit {
		return CodeWrongContentType
	}
	for i := range c.Proposals {
		if code := j.entry(&c.Proposals[i]); code != 0 {
			return code
		}
	}
	rules := j.memberCommit
	if j.h.External() {
		rules = j.externalCommit
	}
	if code := rules(c); code != 0 {
		return code
	}
	return j.path(c.Path)
}

func (j *judge) entry(e *ProposalOrRef) Code {
	if e.Proposal != nil {
		if e.Proposal.Type.SelfRemove() {
			return CodeForbiddenProposal // it is its sender's own word, so it comes by reference
		}
		if e.Proposal.Type == ProposalRemove {
			j.h.Foreign++
		}
		return j.count1(e.Proposal, j.m.SenderType, j.m.Sender, true)
	}
	ref := refOf(e.Ref)
	known := j.g.Pending[ref]
	if known == nil || known.Proposal == nil || !known.Proposal.Type.SelfRemove() {
		j.foreign++
	}
	switch {
	case known != nil && known.Proposal != nil:
		return j.count1(known.Proposal, known.SenderType, known.Sender, true)
	case j.g.Complete:
		return CodeUnknownProposalRef
	}
	j.h.Unresolved = append(j.h.Unresolved, ref)
	return 0
}

// count1 takes one proposal into account. The sender is the proposal's own.
func (j *judge) count1(p *Proposal, from SenderType, leaf uint32, committed bool) Code {
	j.total++
	j.count[p.Type]++
	j.needsPath = j.needsPath || p.Type.NeedsPath()
	switch p.Type {
	case ProposalAdd:
		return j.add(p.Add)
	case ProposalUpdate:
		if p.Update.Source != LeafUpdate {
			return CodeBadLeafSource
		}
		// RFC 9420 12.2: whoever commits renews its leaf by the path, never by an Update.
		if committed && j.m.SenderType == SenderMember && leaf == j.m.Sender {
			return CodeForbiddenProposal
		}
		if from == SenderMember && j.g.Suite.Known() &&
			p.Update.Verify(j.g.Suite, j.m.GroupID, leaf, true) != nil {
			return CodeLeafSignature
		}
		return j.touch(leaf)
	case ProposalRemove:
		j.h.Removed = append(j.h.Removed, p.Removed)
		if committed && j.m.SenderType == SenderMember && p.Removed == j.m.Sender {
			return CodeSelfRemoval
		}
		return j.touch(p.Removed)
	case ProposalPSK:
		if j.psks[string(p.PSK)] {
			return CodeForbiddenProposal
		}
		mark(&j.psks, string(p.PSK))
	case ProposalSelfRemove, ProposalSelfRemovePrivate:
		j.selfRemoves++
		j.h.Removed = append(j.h.Removed, leaf)
		if committed && j.m.SenderType == SenderMember && leaf == j.m.Sender {
			return CodeSelfRemoval
		}
		return j.touch(leaf)
	case ProposalReInit:
		if committed {
			j.h.ReInit = p.ReInit
		}
	case ProposalExternalInit, ProposalGroupContextExtensions:
	}
	return 0
}

func mark[K comparable](set *map[K]bool, key K) {
	if *set == nil {
		*set = make(map[K]bool)
	}
	(*set)[key] = true
}

func (j *judge) touch(leaf uint32) Code {
	if j.touched[leaf] {
		return CodeDuplicateRemoval
	}
	mark(&j.touched, leaf)
	return 0
}

// add checks an Add by what needs no clock; whether the package is one that the
// server handed out is the store's question.
func (j *judge) add(k *KeyPackage) Code {
	if len(j.h.Adds) == maxAdds {
		return CodeTooLarge
	}
	if j.g.Suite != 0 && k.Suite != j.g.Suite {
		return CodeWrongSuite
	}
	if k.Leaf.Source != LeafKeyPackage {
		return CodeBadLeafSource
	}
	if j.g.Suite.Known() {
		if err := k.Verify(); err != nil {
			return CodeOf(err)
		}
	}
	// RFC 9420 7.3: signature and encryption keys are unique among the members. The prefixes keep
	// the kinds apart.
	for _, key := range [...]string{"s" + string(k.Leaf.SignatureKey), "e" + string(k.Leaf.EncryptionKey), "i" + string(k.InitKey)} {
		if j.keys[key] {
			return CodeDuplicateKey
		}
		mark(&j.keys, key)
	}
	j.h.Adds = append(j.h.Adds, k.Ref())
	return 0
}

func (j *judge) memberCommit(c *Commit) Code {
	switch {
	case j.count[ProposalExternalInit] > 0,
		j.count[ProposalGroupContextExtensions] > 1,
		j.count[ProposalReInit] > 0 && j.total+len(j.h.Unresolved) > 1:
		return CodeForbiddenProposal
	case c.Path == nil && (j.needsPath || len(c.Proposals) == 0):
		return CodeMissingUpdatePath
	}
	return 0
}

func (j *judge) externalCommit(c *Commit) Code {
	external, removed := j.count[ProposalExternalInit], j.count[ProposalRemove]
	switch {
	case c.Path == nil:
		return CodeMissingUpdatePath
	case j.foreign > 0, external != 1, removed > 1,
		external+removed+j.selfRemoves+j.count[ProposalPSK] != j.total:
		return CodeBadExternalCommit
	}
	j.h.Joiner = &c.Path.Leaf
	return 0
}

// path checks the new leaf of the path. A joiner's leaf signs an index that only
// the tree tells, so it is checked with the message's own signature at most.
func (j *judge) path(p *UpdatePath) Code {
	if p != nil {
		j.h.own = &p.Leaf
	}
	if p == nil || !j.g.Suite.Known() {
		return 0
	}
	if code := j.g.Suite.checkKEMKey(p.Leaf.EncryptionKey); code != 0 {
		return code
	}
	if j.keys["s"+string(p.Leaf.SignatureKey)] || j.keys["e"+string(p.Leaf.EncryptionKey)] {
		return CodeDuplicateKey
	}
	if j.m.SenderType == SenderMember {
		return CodeOf(p.Leaf.Verify(j.g.Suite, j.m.GroupID, j.m.Sender, true))
	}
	return 0
}
