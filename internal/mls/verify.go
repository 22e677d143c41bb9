package mls

import (
	"encoding/binary"
)

// Verify checks the leaf's own signature by its own key. A leaf made by an update
// or a commit is bound to its group and its place in it: bound says that both are known. Without
// them such a leaf cannot be checked and the error is BadLeafSource. The error is a *WireError.
func (l *LeafNode) Verify(suite CipherSuite, groupID []byte, index uint32, bound bool) error {
	if !suite.Known() {
		return &WireError{CodeUnsupportedSuite, l.at}
	}
	parts := [][]byte{l.tbs}
	if l.Source != LeafKeyPackage {
		if !bound {
			return &WireError{CodeBadLeafSource, l.at}
		}
		parts = append(parts, appendLength(nil, len(groupID)), groupID, binary.BigEndian.AppendUint32(nil, index))
	}
	if !suite.verifyWithLabel(l.SignatureKey, l.Signature, "LeafNodeTBS", parts...) {
		return &WireError{CodeLeafSignature, l.at}
	}
	return nil
}

// Verify checks both signatures, the leaf's and the package's, and nothing else;
// KeyPackagePolicy.Validate does the rest as well. The error is a *WireError.
func (k *KeyPackage) Verify() error {
	if !k.Suite.Known() {
		return &WireError{CodeUnsupportedSuite, k.at}
	}
	if err := k.Leaf.Verify(k.Suite, nil, 0, false); err != nil {
		return err
	}
	if !k.Suite.verifyWithLabel(k.Leaf.SignatureKey, k.Signature, "KeyPackageTBS", k.tbs) {
		return &WireError{CodeKeyPackageSignature, k.at}
	}
	return nil
}

// Verify checks the GroupInfo against a ratchet tree: the tree's hash, all its
// leaves, and the signer's signature. tree may be nil when the GroupInfo carries its own;
// when neither is there the error is MissingTree. The error is a *WireError.
func (g *GroupInfo) Verify(tree *RatchetTree) error {
	if g.Tree != nil {
		tree = g.Tree
	}
	if tree == nil {
		return &WireError{CodeMissingTree, g.at}
	}
	if err := tree.Verify(&g.Context); err != nil {
		return err
	}
	signer := tree.Leaf(g.Signer)
	if signer == nil || !g.VerifySignature(signer.SignatureKey) {
		return &WireError{CodeGroupInfoSignature, g.at}
	}
	return nil
}

// VerifySignature reports whether the GroupInfo was signed by the key.
func (g *GroupInfo) VerifySignature(key []byte) bool {
	return g.Context.Suite.Known() && g.Context.Suite.verifyWithLabel(key, g.Signature, "GroupInfoTBS", g.tbs)
}

// ProposalRef is the RFC 9420 5.2 reference of a proposal: its raw bytes.
type ProposalRef string

// refOf is the reference as it stands in a commit.
func refOf(raw []byte) ProposalRef { return ProposalRef(raw) }

// ProposalRef returns the reference by which a commit names this message's
// proposal; "" when it holds none or the suite is unknown.
func (m *PublicMessage) ProposalRef(suite CipherSuite) ProposalRef {
	if m.Proposal == nil || !suite.Known() {
		return ""
	}
	authenticated := []byte{0, byte(FormatPublicMessage)}
	authenticated = append(authenticated, m.content...)
	authenticated = appendLength(authenticated, len(m.Signature))
	authenticated = append(authenticated, m.Signature...)
	return refOf(refHash(suite, "MLS 1.0 Proposal Reference", authenticated))
}

// Verify checks the signature of a message that is not Opaque against the context and the tree of
// its epoch: the key is the sending member's, an external sender's, or the new member's own (RFC
// 9420 6.1). The error is a *WireError. tree is only needed for members.
func (m *PublicMessage) Verify(c *GroupContext, tree *RatchetTree) error {
	if string(c.GroupID) != string(m.GroupID) {
		return &WireError{CodeWrongGroup, m.at}
	}
	if c.Epoch != m.Epoch {
		return &WireError{CodeWrongEpoch, m.at}
	}
	key := m.newMemberKey()
	switch m.SenderType {
	case SenderMember:
		if tree == nil {
			return &WireError{CodeMissingTree, m.at}
		}
		if l := tree.Leaf(m.Sender); l != nil {
			key = l.SignatureKey
		}
	case SenderExternal:
		senders, err := c.ExternalSenders()
		if err != nil {
			return err
		}
		if uint64(m.Sender) < uint64(len(senders)) {
			key = senders[m.Sender].SignatureKey
		}
	case SenderNewMemberProposal, SenderNewMemberCommit:
	}
	if key == nil || !m.VerifySignature(c.Suite, c.Raw, key) {
		return &WireError{CodeContentSignature, m.at}
	}
	return nil
}

// newMemberKey returns the key that a new member brings along in its proposal or
// commit, nil when the message is not one.
func (m *PublicMessage) newMemberKey() []byte {
	switch {
	case m.SenderType == SenderNewMemberProposal && m.Proposal != nil && m.Proposal.Add != nil:
		return m.Proposal.Add.Leaf.SignatureKey
	case m.SenderType == SenderNewMemberCommit && m.Commit != nil && m.Commit.Path != nil:
		return m.Commit.Path.Leaf.SignatureKey
	}
	return nil
}

// VerifySignature reports whether the message, not Opaque, was signed by the key. context is the
// encoded GroupContext of its epoch; it is not signed, and may be nil, for an external sender and
// for a new member's proposal.
func (m *PublicMessage) VerifySignature(suite CipherSuite, context, key []byte) bool {
	if !suite.Known() || m.Opaque {
		return false
	}
	if m.SenderType == SenderExternal || m.SenderType == SenderNewMemberProposal {
		context = nil
	}
	head := []byte{0, byte(Version), 0, byte(FormatPublicMessage)}
	return suite.verifyWithLabel(key, m.Signature, "FramedContentTBS", head, m.content, context)
}
