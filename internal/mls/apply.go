package mls

import (
	"bytes"
	"slices"
)

// CommittedProposal is a proposal of a commit with who made it.
type CommittedProposal struct {
	*Proposal
	// From says what kind of sender made it, Sender which one: the leaf index of a member, the
	// index of an external sender, 0 for others.
	From   SenderType
	Sender uint32
	// ByReference says that it was sent before the commit.
	ByReference bool
}

// AddedLeaf is a client that a commit added by an Add proposal.
type AddedLeaf struct {
	Index   uint32
	Package *KeyPackage
}

// RemovedLeaf is a client that a commit removed.
type RemovedLeaf struct {
	Index uint32
	Leaf  *LeafNode
}

// Transition is what a commit does to a group.
type Transition struct {
	// Handshake is what the commit shows.
	Handshake *Handshake
	// Next is the group in the epoch that the commit leads to.
	Next *Group
	// Committer is the leaf index of whoever committed. External says that it joined by this
	// commit.
	Committer uint32
	External  bool
	// Proposals are what was committed, in the commit's order.
	Proposals []CommittedProposal
	Added     []AddedLeaf
	Removed   []RemovedLeaf
	// ReInit is set when the commit ends the group's life (RFC 9420 12.1.5).
	ReInit *ReInit
}

// Apply judges a commit and does to the public state what every member does (RFC 9420 12.4.2):
// signature, the rules of 12.2 to 12.4, the changes to the tree, path and parent hashes, tree hash
// and transcript. pending holds the readable proposals of the epoch, each checked by CheckProposal
// when it came. Lifetimes are the caller's question. The error is a *WireError, or ErrEpochMismatch
// for a commit of another epoch.
//
// It cannot see whether path secrets, membership tag and confirmation tag are honest.
func (g *Group) Apply(m *Message, pending map[ProposalRef]*PublicMessage) (*Transition, error) {
	p, err := g.readable(m, ContentCommit)
	if err != nil {
		return nil, err
	}
	shown, code := examine(m, g.state(pending))
	if code != 0 {
		return nil, &WireError{code, p.at}
	}
	if err := p.Verify(&g.context, g.tree.ratchetTree()); err != nil {
		return nil, err
	}
	s := &step{from: g, message: p, next: g.tree.clone(), context: g.context}
	s.out.Handshake = shown
	s.out.Committer, s.out.External = p.Sender, p.SenderType == SenderNewMemberCommit
	for _, do := range [...]func() Code{func() Code { return s.collect(pending) }, s.propose, s.path, s.finish} {
		if code := do(); code != 0 {
			return nil, &WireError{code, p.at}
		}
	}
	return &s.out, nil
}

// CheckProposal judges a proposal that is sent before a commit: its signature and the rules
// of RFC 9420 12.1 that need no other proposal. Errors as Apply.
func (g *Group) CheckProposal(m *Message) error {
	_, err := g.checkProposal(m)
	return err
}

func (g *Group) checkProposal(m *Message) (*Handshake, error) {
	p, err := g.readable(m, ContentProposal)
	if err != nil {
		return nil, err
	}
	shown, code := examine(m, g.state(nil))
	if code != 0 {
		return nil, &WireError{code, p.at}
	}
	if err := p.Verify(&g.context, g.tree.ratchetTree()); err != nil {
		return nil, err
	}
	if code := g.proposable(p.Proposal); code != 0 {
		return nil, &WireError{code, p.at}
	}
	return shown, nil
}

// proposable checks what a proposal names against the tree.
func (g *Group) proposable(p *Proposal) Code {
	switch {
	case p.Type == ProposalRemove && g.Leaf(p.Removed) == nil:
		return CodeUnknownLeaf
	case p.Type.SelfRemove() && !g.tree.everyone(p.Type):
		return CodeCapabilityMissing
	}
	return 0
}

func (g *Group) state(pending map[ProposalRef]*PublicMessage) *GroupState {
	return &GroupState{
		GroupID: GroupIDFromBytes(g.context.GroupID), Epoch: g.context.Epoch, Suite: g.context.Suite,
		Pending: pending, Complete: true,
	}
}

// readable returns a message's public part if it is a handshake for this group.
func (g *Group) readable(m *Message, want ContentType) (*PublicMessage, error) {
	p := m.Public
	switch {
	case p == nil:
		return nil, &WireError{CodePublicMessageRequired, 0}
	case p.ContentType != want:
		return nil, &WireError{CodeWrongContentType, p.at}
	case !bytes.Equal(p.GroupID, g.context.GroupID):
		return nil, &WireError{CodeWrongGroup, p.at}
	case p.Opaque:
		return nil, &WireError{CodeUnknownProposal, p.at}
	case p.SenderType == SenderMember && g.Leaf(p.Sender) == nil:
		return nil, &WireError{CodeUnknownLeaf, p.at}
	}
	return p, CheckEpoch(p.Epoch, g.context.Epoch, 0)
}

// step is the work on one commit.
type step struct {
	from    *Group
	message *PublicMessage
	next    *publicTree
	context GroupContext
	out     Transition
}

// collect resolves the commit's references.
func (s *step) collect(pending map[ProposalRef]*PublicMessage) Code {
	for _, e := range s.message.Commit.Proposals {
		c := CommittedProposal{Proposal: e.Proposal, From: s.message.SenderType, Sender: s.message.Sender}
		if e.Proposal == nil {
			sent := pending[refOf(e.Ref)]
			if sent == nil || sent.Proposal == nil {
				return CodeUnknownProposalRef
			}
			c = CommittedProposal{Proposal: sent.Proposal, From: sent.SenderType, Sender: sent.Sender, ByReference: true}
		}
		s.out.Proposals = append(s.out.Proposals, c)
	}
	return 0
}

// propose applies the proposals in the order of RFC 9420 12.3.
func (s *step) propose() Code {
	for _, apply := range [...]func(CommittedProposal) Code{s.extend, s.update, s.remove, s.add} {
		for _, p := range s.out.Proposals {
			if code := apply(p); code != 0 {
				return code
			}
		}
	}
	s.next.truncate()
	return 0
}

func (s *step) extend(p CommittedProposal) Code {
	switch p.Type {
	case ProposalGroupContextExtensions:
		s.context.Extensions = p.Extensions
	case ProposalReInit:
		s.out.ReInit = p.ReInit
	case ProposalPSK:
		if len(p.pskNonce) != s.context.Suite.newHash().Size() {
			return CodeBadPSK
		}
	default: // the rest changes the tree
	}
	return 0
}

func (s *step) update(p CommittedProposal) Code {
	if p.Type != ProposalUpdate {
		return 0
	}
	if p.From != SenderMember || s.next.leaf(p.Sender) == nil {
		return CodeUnknownLeaf
	}
	if bytes.Equal(s.next.leaf(p.Sender).EncryptionKey, p.Update.EncryptionKey) {
		return CodeDuplicateKey
	}
	s.next.update(p.Sender, p.Update)
	return 0
}

func (s *step) remove(p CommittedProposal) Code {
	index := p.Removed
	switch {
	case p.Type.SelfRemove():
		if index = p.Sender; !s.from.tree.everyone(p.Type) {
			return CodeCapabilityMissing
		}
	case p.Type != ProposalRemove:
		return 0
	}
	l := s.next.leaf(index)
	if l == nil {
		return CodeUnknownLeaf
	}
	s.next.remove(index)
	s.out.Removed = append(s.out.Removed, RemovedLeaf{Index: index, Leaf: l})
	return 0
}

func (s *step) add(p CommittedProposal) Code {
	if p.Type != ProposalAdd {
		return 0
	}
	if len(s.next.nodes) >= maxTreeNodes {
		return CodeTooLarge
	}
	index := s.next.add(&p.Add.Leaf)
	s.out.Added = append(s.out.Added, AddedLeaf{Index: index, Package: p.Add})
	return 0
}

// path applies the UpdatePath (RFC 9420 7.5, 12.4.2).
func (s *step) path() Code {
	p := s.message.Commit.Path
	if p == nil {
		return 0
	}
	if s.out.External {
		s.out.Committer = s.next.place(&p.Leaf)
		if p.Leaf.Verify(s.context.Suite, s.context.GroupID, s.out.Committer, true) != nil {
			return CodeLeafSignature
		}
	} else if bytes.Equal(s.next.leaf(s.out.Committer).EncryptionKey, p.Leaf.EncryptionKey) {
		return CodeDuplicateKey
	}
	if code := s.checkSecrets(p); code != 0 {
		return code
	}
	leaf := s.out.Committer
	filtered := s.next.filteredPath(leaf)
	s.next.update(leaf, &p.Leaf)
	// From the root down, since each node holds the hash of the one above it.
	hash := []byte{}
	for i, x := range slices.Backward(filtered) {
		if code := s.context.Suite.checkKEMKey(p.Nodes[i].EncryptionKey); code != 0 {
			return code
		}
		s.next.set(x, TreeNode{Parent: newParentNode(p.Nodes[i].EncryptionKey, hash, nil)})
		hash = s.next.parentHash(x, s.next.copath(x, leaf))
	}
	if !bytes.Equal(p.Leaf.ParentHash, hash) {
		return CodeBadParentHash
	}
	return 0
}

// copath is the child of x that a leaf below x is not under.
func (t *publicTree) copath(x int, leaf uint32) int {
	if under(leaf, left(x)) {
		return right(x)
	}
	return left(x)
}

// checkSecrets checks that the path has a node for every ancestor that needs one, and in it
// a secret for everybody below who is not new (RFC 9420 7.5, 7.6).
func (s *step) checkSecrets(p *UpdatePath) Code {
	filtered := s.next.filteredPath(s.out.Committer)
	if len(filtered) != len(p.Nodes) {
		return CodeBadUpdatePath
	}
	added := make(map[int]bool, len(s.out.Added))
	for _, a := range s.out.Added {
		added[int(2*a.Index)] = true
	}
	for i, x := range filtered {
		want := 0
		for _, y := range s.next.resolution(s.next.copath(x, s.out.Committer)) {
			if !added[y] {
				want++
			}
		}
		if len(p.Nodes[i].Secrets) != want {
			return CodeBadUpdatePath
		}
	}
	return 0
}

// finish judges the new members and writes the context of the next epoch.
func (s *step) finish() Code {
	if code := s.next.checkKeys(); code != 0 {
		return code
	}
	rules, code := newMemberRules(&s.context)
	if code != 0 {
		return code
	}
	for i := range s.next.leafCount() {
		l := s.next.leaf(i)
		if l == nil || l == s.from.Leaf(i) && !s.extended() {
			continue // judged when it came, by the same rules
		}
		if code := rules.check(l); code != 0 {
			return code
		}
	}
	if code := s.next.checkCredentials(); code != 0 {
		return code
	}
	c := s.context
	c.Epoch++
	c.TreeHash = s.next.hash(s.next.root())
	c.ConfirmedTranscriptHash = confirmedHash(c.Suite, s.from.interim, s.message)
	s.out.Next = &Group{
		context: newGroupContext(c), tree: s.next, tag: s.message.ConfirmationTag,
		interim: interimHash(c.Suite, c.ConfirmedTranscriptHash, s.message.ConfirmationTag),
	}
	return 0
}

// extended reports whether the commit changes the group's extensions.
func (s *step) extended() bool {
	for _, p := range s.out.Proposals {
		if p.Type == ProposalGroupContextExtensions {
			return true
		}
	}
	return false
}
