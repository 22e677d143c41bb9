package mls

// ProposalType is the type of a proposal (RFC 9420 17.4).
type ProposalType uint16

// The proposal types of RFC 9420.
const (
	ProposalAdd                    ProposalType = 1
	ProposalUpdate                 ProposalType = 2
	ProposalRemove                 ProposalType = 3
	ProposalPSK                    ProposalType = 4
	ProposalReInit                 ProposalType = 5
	ProposalExternalInit           ProposalType = 6
	ProposalGroupContextExtensions ProposalType = 7
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
	}
	return "unknown"
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
		p.PSK = readPSK(r)
	case ProposalReInit:
		// The new group may be of a version and suite that this server does not know.
		p.ReInit = &ReInit{GroupID: r.opaque(maxGroupID), Version: r.u16(), Suite: CipherSuite(r.u16()), Extensions: readExtensions(r)}
	case ProposalExternalInit:
		p.KEMOutput = r.opaque(0)
	case ProposalGroupContextExtensions:
		p.Extensions = readExtensions(r)
	default:
		r.refuse(CodeUnsupportedProposal, start)
	}
	p.Raw = r.since(start)
	return p
}

func readPSK(r *reader) []byte {
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
	r.opaque(255) // the nonce
	return r.since(start)
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
