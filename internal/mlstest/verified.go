package mlstest

import (
	"maps"
	"slices"
	"time"

	"mls-server/internal/mls"
)

// VerifiedGroup is a group in which everything is true that a delivery service can check: signed
// leaves, a tree with parent hashes, a transcript, GroupInfos that agree. It holds no secrets: the
// keys of its nodes are random.
type VerifiedGroup struct {
	Group
	// Members are the clients by leaf index.
	Members map[uint32]*Client

	tree       *rangeTree
	extensions []Extension
	confirmed  []byte // confirmed transcript hash
	tag        []byte // confirmation tag
}

// NewVerifiedGroup makes a group of one, at epoch 0.
func NewVerifiedGroup(founder *Client) *VerifiedGroup {
	v := &VerifiedGroup{
		Group: NewGroup(founder.Suite), Members: map[uint32]*Client{0: founder},
		tree: &rangeTree{suite: founder.Suite, parents: map[block]*inner{}}, tag: Random(hashOf(founder.Suite).Size()),
	}
	v.tree.place(mustKeyPackage(founder.KeyPackage(leafTime)).Leaf.Raw)
	return v
}

// AsVerified is a group of one with the id and the epoch of another group: what somebody may claim
// it to be.
func (g Group) AsVerified(founder *Client) *VerifiedGroup {
	v := NewVerifiedGroup(founder)
	v.Group = g
	return v
}

// LeafOf is the leaf of a client that is in the group.
func (v *VerifiedGroup) LeafOf(c *Client) uint32 {
	for index, member := range v.Members {
		if member == c {
			return index
		}
	}
	panic("the client is not in the group")
}

// Addition is a client that a commit adds by a key package.
type Addition struct {
	Client  *Client
	Package *KeyPackage
}

// Draft says what a commit of a VerifiedGroup does, and what is false about it.
type Draft struct {
	Add    []Addition
	Remove []uint32
	// Refs are proposals that were sent before, with what they do.
	Refs []Sent
	// Extensions, when not nil, replace the group's extensions.
	Extensions []Extension
	// Others are proposals by value that do nothing to the tree.
	Others []Proposal
	// NoPath leaves the UpdatePath away. Without it and with Adds only the commit is right.
	NoPath bool
	// External makes the committer a new member; Remove may name its old leaf.
	External bool
	// The rest makes the commit or the GroupInfo false; everything is signed after that.
	BadParentHash, BadSecrets, BadSignature bool
	// Path is who the path's leaf names instead of the committer.
	Path *Client
	// AuthenticatedData goes into the commit's framing.
	AuthenticatedData []byte
}

// Sent is a proposal message with the references that commits name it by.
type Sent struct {
	Message []byte
	Ref     mls.ProposalRef
	// Removes and Updates are the leaf that it removes or renews.
	Removes *uint32
	Update  []byte
	Leaf    uint32
}

// ProposeRemove makes a member's proposal to remove a leaf.
func (v *VerifiedGroup) ProposeRemove(from, leaf uint32) Sent {
	return v.sent(Sent{Message: v.message(v.Members[from], mls.SenderMember, from, mls.ContentProposal, nil, func(e *encoder) { e.u16(3); e.u32(leaf) }), Removes: &leaf, Leaf: from})
}

// ProposeSelfRemove makes a member's SelfRemove.
func (v *VerifiedGroup) ProposeSelfRemove(from uint32, typ mls.ProposalType) Sent {
	return v.sent(Sent{Message: v.message(v.Members[from], mls.SenderMember, from, mls.ContentProposal, nil, func(e *encoder) { e.u16(uint16(typ)) }), Removes: &from, Leaf: from})
}

// ProposeUpdate makes a member's proposal to renew its leaf.
func (v *VerifiedGroup) ProposeUpdate(from uint32) Sent {
	c := v.Members[from]
	leaf := c.groupLeaf(mls.LeafUpdate, v.Group, from, false)
	return v.sent(Sent{Message: v.message(c, mls.SenderMember, from, mls.ContentProposal, nil, func(e *encoder) { e.u16(2); e.raw(leaf) }), Update: leaf, Leaf: from})
}

func (v *VerifiedGroup) sent(s Sent) Sent {
	m, err := mls.ParseMessage(s.Message)
	if err != nil {
		panic(err)
	}
	s.Ref = m.Public.ProposalRef(v.Suite)
	return s
}

// Commit makes a commit of the member at a leaf, or of c when it is External, and the
// group that it leads to.
func (v *VerifiedGroup) Commit(leaf uint32, c *Client, d Draft) (commit []byte, next *VerifiedGroup) {
	if !d.External {
		c = v.Members[leaf]
	}
	next = v.clone()
	next.Epoch++
	if d.Extensions != nil {
		next.extensions = d.Extensions
	}
	added := next.apply(d)
	next.tree.shrink()
	sender := mls.SenderMember
	if d.External {
		sender = mls.SenderNewMemberCommit
		leaf = next.tree.place([]byte{})
		next.Members[leaf] = c
	}
	path := next.path(leaf, c, d, added)
	commit = v.message(c, sender, leaf, mls.ContentCommit, d.AuthenticatedData, func(e *encoder) {
		e.list(func(e *encoder) { d.proposals(e, v.Group, c, leaf) })
		if d.NoPath {
			e.u8(0)
			return
		}
		e.u8(1)
		e.raw(path)
	})
	return next.finish(v, commit, d), next
}

// leafTime is when the leaves of founders are made.
var leafTime = time.Now() //nolint:forbidigo // what is made for a test is made now

func mustKeyPackage(k *KeyPackage) *mls.KeyPackage {
	parsed, err := mls.ParseKeyPackage(k.Bytes)
	if err != nil {
		panic(err)
	}
	return parsed
}

// clone copies the group.
func (v *VerifiedGroup) clone() *VerifiedGroup {
	next := *v
	next.tree, next.Members = v.tree.clone(), maps.Clone(v.Members)
	return &next
}

// apply does the proposals to the tree and returns the leaves that were added.
func (v *VerifiedGroup) apply(d Draft) (added []uint32) {
	for _, s := range d.Refs {
		if s.Update != nil {
			v.tree.blankAbove(s.Leaf)
			v.tree.leaves[s.Leaf] = s.Update
		}
	}
	remove := slices.Clone(d.Remove)
	for _, s := range d.Refs {
		if s.Removes != nil {
			remove = append(remove, *s.Removes)
		}
	}
	for _, l := range remove {
		if int(l) < len(v.tree.leaves) {
			v.tree.remove(l)
		}
		delete(v.Members, l)
	}
	for _, a := range d.Add {
		at := v.tree.add(mustKeyPackage(a.Package).Leaf.Raw)
		v.Members[at] = a.Client
		added = append(added, at)
	}
	return added
}

// path renews the tree over the committer's leaf and encodes the UpdatePath.
func (v *VerifiedGroup) path(leaf uint32, c *Client, d Draft, added []uint32) []byte {
	if d.NoPath {
		return nil
	}
	blocks, parentHash := v.tree.renew(leaf)
	if d.BadParentHash {
		parentHash = Random(hashOf(v.Suite).Size())
	}
	if d.Path != nil {
		c = d.Path
	}
	v.tree.leaves[leaf] = c.pathLeaf(v.Group, leaf, parentHash)
	var e encoder
	e.raw(v.tree.leaves[leaf])
	e.list(func(e *encoder) {
		for _, b := range blocks {
			e.vec(v.tree.parents[b].key)
			n := v.tree.cover(b.other(leaf), added)
			if d.BadSecrets {
				n++
			}
			e.list(func(e *encoder) {
				for range n {
					e.vec(Random(32))
					e.vec(Random(48))
				}
			})
		}
	})
	return e
}

// finish takes the commit into the transcript and makes its tag. It returns the commit.
func (v *VerifiedGroup) finish(before *VerifiedGroup, commit []byte, d Draft) []byte {
	m, err := mls.ParseMessage(commit)
	if err != nil {
		panic(err)
	}
	var tag encoder
	tag.vec(before.tag)
	// Behind the signature stand the confirmation tag and a member's tag, as vectors.
	tail := len(tag)
	if !d.External {
		tail *= 2
	}
	v.confirmed, v.tag = sum(v.Suite, sum(v.Suite, before.confirmed, tag), commit[2:len(commit)-tail]), m.Public.ConfirmationTag
	if d.BadSignature {
		commit = slices.Clone(commit)
		commit[len(commit)-tail-1] ^= 1
	}
	return commit
}

func (d *Draft) proposals(e *encoder, g Group, from *Client, leaf uint32) {
	if d.External {
		e.u8(1)
		e.u16(6)
		e.vec(Random(32))
	}
	if d.Extensions != nil {
		e.u8(1)
		e.u16(7)
		e.extensions(d.Extensions)
	}
	for _, l := range d.Remove {
		e.u8(1)
		e.u16(3)
		e.u32(l)
	}
	for _, a := range d.Add {
		e.u8(1)
		e.u16(1)
		e.raw(a.Package.body)
	}
	for _, p := range d.Others {
		e.u8(1)
		p(e, g, from, leaf)
	}
	for _, s := range d.Refs {
		e.u8(2)
		e.vec([]byte(s.Ref))
	}
}

// Context encodes the GroupContext of the group's epoch.
func (v *VerifiedGroup) Context() []byte {
	e := encoder{0, 1}
	e.u16(uint16(v.Suite))
	e.vec(v.ID)
	e.u64(uint64(v.Epoch)) //nolint:gosec // not negative
	e.vec(v.tree.hash(v.tree.root(), nil))
	e.vec(v.confirmed)
	e.extensions(v.extensions)
	return e
}

// GroupInfo makes the GroupInfo of the epoch, with tree and external_pub, signed by the
// member at a leaf.
func (v *VerifiedGroup) GroupInfo(signer uint32) []byte {
	return v.FalseGroupInfo(signer, InfoFaults{})
}

// InfoFaults says what is false about a GroupInfo.
type InfoFaults struct {
	NoExternalPub, NoTree, OtherTag, BadSignature bool
}

// FalseGroupInfo is GroupInfo with faults; but for BadSignature it is signed after that.
func (v *VerifiedGroup) FalseGroupInfo(signer uint32, f InfoFaults) []byte {
	var pub encoder
	pub.vec(newKEMKey(v.Suite))
	var list []Extension
	if !f.NoExternalPub {
		list = append(list, Extension{Type: mls.ExtensionExternalPub, Data: pub})
	}
	if !f.NoTree {
		list = append(list, Extension{Type: mls.ExtensionRatchetTree, Data: v.tree.encode()})
	}
	e := encoder(v.Context())
	e.extensions(list)
	if f.OtherTag {
		e.vec(Random(32))
	} else {
		e.vec(v.tag)
	}
	e.u32(signer)
	signature := sign(v.Members[signer].key, "GroupInfoTBS", e)
	if f.BadSignature {
		signature[len(signature)-1] ^= 1
	}
	e.vec(signature)
	return wrap(mls.FormatGroupInfo, e)
}

// message makes a signed PublicMessage with random tags.
func (v *VerifiedGroup) message(from *Client, sender mls.SenderType, index uint32, content mls.ContentType, aad []byte, body func(*encoder)) []byte {
	var e encoder
	e.vec(v.ID)
	e.u64(uint64(v.Epoch)) //nolint:gosec // not negative
	e.u8(uint8(sender))
	if sender == mls.SenderMember || sender == mls.SenderExternal {
		e.u32(index)
	}
	e.vec(aad)
	e.u8(uint8(content))
	body(&e)
	e.vec(sign(from.key, "FramedContentTBS", append(wrap(mls.FormatPublicMessage, e), v.Context()...)))
	if content == mls.ContentCommit {
		e.vec(Random(hashOf(v.Suite).Size()))
	}
	if sender == mls.SenderMember {
		e.vec(Random(hashOf(v.Suite).Size()))
	}
	return wrap(mls.FormatPublicMessage, e)
}
