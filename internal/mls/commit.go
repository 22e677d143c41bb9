package mls

// ProposalType is the type of a proposal (RFC 9420 17.4).
type ProposalType uint16

// The proposal types of RFC 9420, and those beyond it that are understood.
const (
	ProposalAdd                    ProposalType = 1
	ProposalUpdate                 ProposalType = 2
	ProposalRemove                 ProposalType = 3
	ProposalPSK                    ProposalType = 4
	ProposalReInit                 ProposalType = 5
	ProposalExternalInit           ProposalType = 6
	ProposalGroupContextExtensions ProposalType = 7
	// ProposalSelfRemove asks to remove its sender (MLS extensions).
	ProposalSelfRemove ProposalType = 0x000a
	// ProposalSelfRemovePrivate is ProposalSelfRemove under the private-use number by which mls-rs
	// knows it.
	ProposalSelfRemovePrivate ProposalType = 0xf003
)

// String returns the name of RFC 9420.
func (t ProposalType) String() string {
	switch t {
	case ProposalAdd:
		return "add"
	case ProposalUpdate:
		return "update"
	case ProposalRemove:
		return "remove"
	case ProposalPSK:
		return "psk"
	case ProposalReInit:
		return "reinit"
	case ProposalExternalInit:
		return "external_init"
	case ProposalGroupContextExtensions:
		return "group_context_extensions"
	case ProposalSelfRemove, ProposalSelfRemovePrivate:
		return "self_remove"
	}
	return "unknown"
}

// SelfRemove reports whether the proposal asks to remove its sender.
func (t ProposalType) SelfRemove() bool {
	return t == ProposalSelfRemove || t == ProposalSelfRemovePrivate
}

// NeedsPath reports whether a commit that covers such a proposal must carry an
// UpdatePath (RFC 9420 12.4, 17.4).
func (t ProposalType) NeedsPath() bool {
	return t != ProposalAdd && t != ProposalPSK && t != ProposalReInit
}

// ReInit proposes to start the group anew with other parameters (RFC 9420 12.1.5).
type ReInit struct {
	GroupID    []byte
	Version    uint16
	Suite      CipherSuite
	Extensions Extensions
}

// Proposal is one proposed change (RFC 9420 12.1). The field that Type names is set.
type Proposal struct {
	Type ProposalType
	// Raw is the encoded proposal.
	Raw        []byte
	Add        *KeyPackage
	Update     *LeafNode
	Removed    uint32 // leaf index
	PSK        []byte // the encoded PreSharedKeyID
	ReInit     *ReInit
	KEMOutput  []byte
	Extensions Extensions // of ProposalGroupContextExtensions

	pskNonce []byte
}

// ProposalOrRef is an entry of a commit: Ref is nil when the proposal is there by value.
type ProposalOrRef struct {
	Proposal *Proposal
	Ref      []byte
}

// HPKECiphertext is a secret sealed for one recipient.
type HPKECiphertext struct {
	KEMOutput, Ciphertext []byte
}

// UpdatePathNode is one node of an UpdatePath.
type UpdatePathNode struct {
	EncryptionKey []byte
	Secrets       []HPKECiphertext
}

// UpdatePath renews the committer's leaf and its ancestors (RFC 9420 7.6).
type UpdatePath struct {
	Leaf  LeafNode
	Nodes []UpdatePathNode
}

// Commit ends an epoch (RFC 9420 12.4).
type Commit struct {
	Proposals []ProposalOrRef
	Path      *UpdatePath
}

func readProposal(r *reader) (p Proposal) {
	start := r.at()
	p.Type = ProposalType(r.u16())
	switch p.Type {
	case ProposalAdd:
		p.Add = new(readKeyPackage(r))
	case ProposalUpdate:
		p.Update = new(readLeafNode(r))
	case ProposalRemove:
		p.Removed = r.u32()
	case ProposalPSK:
		p.PSK, p.pskNonce = readPSK(r)
	case ProposalReInit:
		// The new group may be of a version and suite that this server does not know.
		p.ReInit = &ReInit{GroupID: r.opaque(maxGroupID), Version: r.u16(), Suite: CipherSuite(r.u16()), Extensions: readExtensions(r)}
	case ProposalExternalInit:
		p.KEMOutput = r.opaque(0)
	case ProposalGroupContextExtensions:
		p.Extensions = readExtensions(r)
	case ProposalSelfRemove, ProposalSelfRemovePrivate: // nothing follows
	default:
		r.refuse(CodeUnsupportedProposal, start)
	}
	p.Raw = r.since(start)
	return p
}

func readPSK(r *reader) (id, nonce []byte) {
	start := r.at()
	switch r.u8() {
	case 1: // external
		r.opaque(0)
	case 2: // resumption
		r.u8()
		r.opaque(maxGroupID)
		r.epoch()
	default:
		r.refuse(CodeUnsupportedContent, start)
	}
	nonce = r.opaque(255)
	return r.since(start), nonce
}

func readCommit(r *reader) (c Commit) {
	for v := r.vector(); v.more(); {
		at := v.at()
		if len(c.Proposals) == maxProposals {
			v.refuse(CodeTooLarge, at)
		}
		var p ProposalOrRef
		switch v.u8() {
		case 1:
			p.Proposal = new(readProposal(&v))
		case 2:
			p.Ref = v.opaque(255)
		default:
			v.refuse(CodeUnsupportedContent, at)
		}
		if v.ok() {
			c.Proposals = append(c.Proposals, p)
		}
	}
	if r.optional() {
		c.Path = new(readUpdatePath(r))
	}
	return c
}

func readUpdatePath(r *reader) (p UpdatePath) {
	p.Leaf = readLeafNode(r)
	if r.ok() && p.Leaf.Source != LeafCommit {
		r.refuse(CodeBadLeafSource, p.Leaf.at)
	}
	for v := r.vector(); v.more(); {
		if len(p.Nodes) == maxPathNodes {
			v.refuse(CodeTooLarge, v.at())
		}
		n := UpdatePathNode{EncryptionKey: v.opaque(0)}
		for s := v.vector(); s.more(); {
			if len(n.Secrets) == maxPathCopies {
				s.refuse(CodeTooLarge, s.at())
			}
			c := HPKECiphertext{KEMOutput: s.opaque(0), Ciphertext: s.opaque(0)}
			if s.ok() {
				n.Secrets = append(n.Secrets, c)
			}
		}
		if v.ok() {
			p.Nodes = append(p.Nodes, n)
		}
	}
	return p
}
