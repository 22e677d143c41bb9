package mlstest

import (
	"mls-server/internal/mls"
)

// Group is a group as its messages show it. It is a value: At makes another epoch of it.
type Group struct {
	ID    []byte
	Epoch mls.Epoch
	Suite mls.CipherSuite
}

// NewGroup makes a group with a random id of 16 bytes, at epoch 0.
func NewGroup(suite mls.CipherSuite) Group { return Group{ID: Random(16), Suite: suite} }

// GroupID is the id as the contract writes it.
func (g Group) GroupID() mls.GroupID { return mls.GroupIDFromBytes(g.ID) }

// At is the group at another epoch.
func (g Group) At(epoch mls.Epoch) Group {
	g.Epoch = epoch
	return g
}

// State is the group as a server knows it.
func (g Group) State() mls.GroupState {
	return mls.GroupState{GroupID: g.GroupID(), Epoch: g.Epoch, Suite: g.Suite}
}

// Context encodes a GroupContext of the group's epoch.
func (g Group) Context(treeHash []byte) []byte {
	e := encoder{0, 1}
	e.u16(uint16(g.Suite))
	e.vec(g.ID)
	e.u64(uint64(g.Epoch)) //nolint:gosec // not negative
	e.vec(treeHash)
	e.vec(nil)
	e.extensions(nil)
	return e
}

// Private makes a PrivateMessage with a random ciphertext of size bytes.
func (g Group) Private(content mls.ContentType, size int) []byte {
	var e encoder
	e.vec(g.ID)
	e.u64(uint64(g.Epoch)) //nolint:gosec // not negative
	e.u8(uint8(content))
	e.vec(nil)
	e.vec(Random(28))
	e.vec(Random(size))
	return wrap(mls.FormatPrivateMessage, e)
}

// Application makes an application message with a ciphertext of size bytes.
func (g Group) Application(size int) []byte { return g.Private(mls.ContentApplication, size) }

// PrivateCommit makes a commit that shows nothing but its framing.
func (g Group) PrivateCommit() []byte { return g.Private(mls.ContentCommit, 600) }

// PrivateProposal makes a proposal that shows nothing but its framing.
func (g Group) PrivateProposal() []byte { return g.Private(mls.ContentProposal, 200) }

// Proposal is something to put into a commit or a proposal message.
type Proposal func(e *encoder, g Group, from *Client, leaf uint32)

// Add proposes to add a client.
func Add(k *KeyPackage) Proposal {
	return func(e *encoder, _ Group, _ *Client, _ uint32) { e.u16(1); e.raw(k.body) }
}

// Update proposes to renew the sender's own leaf.
func Update() Proposal { return UpdateFrom(mls.LeafUpdate) }

// UpdateFrom is Update with a leaf that says it comes from elsewhere.
func UpdateFrom(source mls.LeafSource) Proposal {
	return func(e *encoder, g Group, from *Client, leaf uint32) {
		e.u16(2)
		e.raw(from.groupLeaf(source, g, leaf, false))
	}
}

// Remove proposes to remove a leaf.
func Remove(leaf uint32) Proposal {
	return func(e *encoder, _ Group, _ *Client, _ uint32) { e.u16(3); e.u32(leaf) }
}

// PSK proposes an external pre-shared key of the given id and nonce.
func PSK(id, nonce string) Proposal {
	return func(e *encoder, _ Group, _ *Client, _ uint32) {
		e.u16(4)
		e.u8(1)
		e.vec([]byte(id))
		e.vec([]byte(nonce))
	}
}

// ReInit proposes to start the group anew.
func ReInit() Proposal {
	return func(e *encoder, g Group, c *Client, leaf uint32) { ReInitTo(NewGroup(g.Suite))(e, g, c, leaf) }
}

// ReInitTo proposes to go on with another group.
func ReInitTo(next Group) Proposal {
	return func(e *encoder, _ Group, _ *Client, _ uint32) {
		e.u16(5)
		e.vec(next.ID)
		e.u16(1)
		e.u16(uint16(next.Suite))
		e.extensions(nil)
	}
}

// ExternalInit proposes the secret of an external commit.
func ExternalInit() Proposal {
	return func(e *encoder, _ Group, _ *Client, _ uint32) { e.u16(6); e.vec(Random(32)) }
}

// GroupContextExtensions proposes other extensions for the group.
func GroupContextExtensions(list ...Extension) Proposal {
	return func(e *encoder, _ Group, _ *Client, _ uint32) { e.u16(7); e.extensions(list) }
}

// Custom proposes something of a type that RFC 9420 does not know.
func Custom(typ uint16, body []byte) Proposal {
	return func(e *encoder, _ Group, _ *Client, _ uint32) { e.u16(typ); e.raw(body) }
}

// Commit says what a PublicMessage with a commit is made of.
type Commit struct {
	// From signs. Leaf is its leaf index, also of a joiner.
	From *Client
	Leaf uint32
	// Proposals are there by value, Refs by reference, in this order.
	Proposals []Proposal
	Refs      []mls.ProposalRef
	// NoPath leaves the UpdatePath away.
	NoPath bool
	// BadPathLeaf makes the signature of the path's leaf wrong.
	BadPathLeaf bool
	// External makes the sender a new member that joins by this commit.
	External bool
}

// Commit makes a PublicMessage with a commit.
func (g Group) Commit(c Commit) []byte {
	sender := mls.SenderMember
	if c.External {
		sender = mls.SenderNewMemberCommit
	}
	return g.public(c.From, sender, c.Leaf, mls.ContentCommit, func(e *encoder) {
		e.list(func(e *encoder) {
			for _, p := range c.Proposals {
				e.u8(1)
				p(e, g, c.From, c.Leaf)
			}
			for _, ref := range c.Refs {
				e.u8(2)
				e.vec([]byte(ref))
			}
		})
		if c.NoPath {
			e.u8(0)
			return
		}
		e.u8(1)
		e.raw(c.From.groupLeaf(mls.LeafCommit, g, c.Leaf, c.BadPathLeaf))
		e.list(func(e *encoder) {
			e.vec(newKEMKey(g.Suite))
			e.list(func(e *encoder) { e.vec(Random(32)); e.vec(Random(48)) })
		})
	})
}

// Propose makes a PublicMessage with a proposal of the member at a leaf.
func (g Group) Propose(from *Client, leaf uint32, p Proposal) []byte {
	return g.ProposeAs(mls.SenderMember, from, leaf, p)
}

// ProposeAs is Propose for any type of sender; index is that of the sender.
func (g Group) ProposeAs(sender mls.SenderType, from *Client, index uint32, p Proposal) []byte {
	return g.public(from, sender, index, mls.ContentProposal, func(e *encoder) { p(e, g, from, index) })
}

// PublicApplication makes what no client may send: application data in the clear.
func (g Group) PublicApplication(from *Client, text string) []byte {
	return g.public(from, mls.SenderMember, 0, mls.ContentApplication, func(e *encoder) { e.vec([]byte(text)) })
}

func (g Group) public(from *Client, sender mls.SenderType, index uint32, content mls.ContentType, body func(*encoder)) []byte {
	var e encoder
	e.vec(g.ID)
	e.u64(uint64(g.Epoch)) //nolint:gosec // not negative
	e.u8(uint8(sender))
	if sender == mls.SenderMember || sender == mls.SenderExternal {
		e.u32(index)
	}
	e.vec(nil)
	e.u8(uint8(content))
	body(&e)
	tbs := wrap(mls.FormatPublicMessage, e)
	if sender == mls.SenderMember || sender == mls.SenderNewMemberCommit {
		tbs = append(tbs, g.Context(nil)...)
	}
	e.vec(sign(from.key, "FramedContentTBS", tbs))
	if content == mls.ContentCommit {
		e.vec(Random(hashOf(g.Suite).Size()))
	}
	if sender == mls.SenderMember {
		e.vec(Random(hashOf(g.Suite).Size()))
	}
	return wrap(mls.FormatPublicMessage, e)
}

// Welcome makes a Welcome, in an MLSMessage, for the owners of the key packages.
func (g Group) Welcome(refs ...mls.KeyPackageRef) []byte {
	var e encoder
	e.u16(uint16(g.Suite))
	e.list(func(e *encoder) {
		for _, ref := range refs {
			e.vec([]byte(ref))
			e.vec(Random(32))
			e.vec(Random(84))
		}
	})
	e.vec(Random(400))
	return wrap(mls.FormatWelcome, e)
}

// Unwrap cuts off the header of an MLSMessage.
func Unwrap(message []byte) []byte { return message[4:] }

// GroupInfo makes a signed GroupInfo of a group whose leaves 0, 1, … are the key
// packages of the members; the first one signs. withTree adds the ratchet_tree extension.
func (g Group) GroupInfo(signer *Client, withTree bool, leaves ...*KeyPackage) []byte {
	tree := Tree(leaves...)
	parsed, err := mls.ParseRatchetTree(tree)
	if err != nil {
		panic(err)
	}
	var pub encoder
	pub.vec(newKEMKey(g.Suite))
	extensions := []Extension{{Type: mls.ExtensionExternalPub, Data: pub}}
	if withTree {
		extensions = append(extensions, Extension{Type: mls.ExtensionRatchetTree, Data: tree})
	}
	e := encoder(g.Context(parsed.Hash(g.Suite)))
	e.extensions(extensions)
	e.vec(Random(32))
	e.u32(0)
	e.vec(sign(signer.key, "GroupInfoTBS", e))
	return wrap(mls.FormatGroupInfo, e)
}

// Tree encodes a ratchet tree without parents over the leaves of key packages.
func Tree(leaves ...*KeyPackage) []byte {
	var e encoder
	e.list(func(e *encoder) {
		for i, k := range leaves {
			if i > 0 {
				e.u8(0)
			}
			parsed, err := mls.ParseKeyPackage(k.Bytes)
			if err != nil {
				panic(err)
			}
			e.u8(1)
			e.u8(1)
			e.raw(parsed.Leaf.Raw)
		}
	})
	return e
}
