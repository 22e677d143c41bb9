package mls

import "bytes"

// GroupContext is the state of a group that all members agree on (RFC 9420 8.1).
type GroupContext struct {
	// Raw is the encoded context.
	Raw                     []byte
	Suite                   CipherSuite
	GroupID                 []byte
	Epoch                   Epoch
	TreeHash                []byte
	ConfirmedTranscriptHash []byte
	Extensions              Extensions
}

// ExternalSender may send proposals without being a member (RFC 9420 12.1.8.1).
type ExternalSender struct {
	SignatureKey []byte
	Credential   Credential
}

// GroupInfo describes a group to those who join it (RFC 9420 12.4.3).
type GroupInfo struct {
	// Raw is the encoded GroupInfo without the header of an MLSMessage.
	Raw             []byte
	Context         GroupContext
	Extensions      Extensions
	ConfirmationTag []byte
	// Signer is the leaf index of the member who signed.
	Signer    uint32
	Signature []byte
	// Tree is the ratchet_tree extension, nil when there is none.
	Tree *RatchetTree
	// ExternalPub is the key of the external_pub extension, nil when there is none.
	ExternalPub []byte

	tbs []byte
	at  int
}

// ParseGroupContext reads an encoded GroupContext and nothing behind it. The
// error is a *WireError.
func ParseGroupContext(b []byte) (*GroupContext, error) {
	var f failure
	r := newReader(b, &f)
	c := readGroupContext(&r)
	r.finish()
	if err := r.err(); err != nil {
		return nil, err
	}
	return &c, nil
}

func readGroupContext(r *reader) (c GroupContext) {
	start := r.at()
	readVersion(r)
	c.Suite = CipherSuite(r.u16())
	c.GroupID = r.opaque(maxGroupID)
	c.Epoch = r.epoch()
	c.TreeHash = r.opaque(255)
	c.ConfirmedTranscriptHash = r.opaque(255)
	c.Extensions = readExtensions(r)
	c.Raw = r.since(start)
	return c
}

func readGroupInfo(r *reader) (g GroupInfo) {
	g.at = r.at()
	g.Context = readGroupContext(r)
	g.Extensions = readExtensions(r)
	g.ConfirmationTag = r.opaque(255)
	g.Signer = r.u32()
	g.tbs = r.since(g.at)
	g.Signature = r.opaque(0)
	g.Raw = r.since(g.at)
	for i := range g.Extensions {
		e := &g.Extensions[i]
		sub := reader{all: r.all, rest: e.Data, end: e.at + len(e.Data), fail: r.fail}
		switch e.Type {
		case ExtensionRatchetTree:
			g.Tree = new(readRatchetTree(&sub))
		case ExtensionExternalPub:
			// RFC 9420 12.4.3.2 has the key's own length here, released clients leave it away.
			if s := g.Context.Suite; s.Known() && len(e.Data) == s.spec().kemKey {
				g.ExternalPub = e.Data
				continue
			}
			g.ExternalPub = sub.opaque(xWingKey) // the longest KEM key
		default:
			continue
		}
		sub.finish()
	}
	return g
}

// FrameGroupInfo puts an encoded GroupInfo into an MLSMessage.
func FrameGroupInfo(b []byte) []byte {
	return append([]byte{0, byte(Version), 0, byte(FormatGroupInfo)}, b...)
}

// Describes reports whether two GroupInfos are of one state of a group: their GroupContexts and
// confirmation tags are equal byte for byte.
func (g *GroupInfo) Describes(other *GroupInfo) bool {
	return bytes.Equal(g.Context.Raw, other.Context.Raw) && bytes.Equal(g.ConfirmationTag, other.ConfirmationTag)
}

// ExternalSenders reads the external_senders extension. There may be none. The
// error is a *WireError whose offset counts from the start of the extension.
func (c *GroupContext) ExternalSenders() ([]ExternalSender, error) {
	data, ok := c.Extensions.Find(ExtensionExternalSenders)
	if !ok {
		return nil, nil
	}
	var f failure
	r := newReader(data, &f)
	var list []ExternalSender
	for v := r.vector(); v.more(); {
		if len(list) == maxExtensions {
			v.refuse(CodeTooLarge, v.at())
		}
		list = append(list, ExternalSender{SignatureKey: v.opaque(0), Credential: readCredential(&v)})
	}
	r.finish()
	if err := r.err(); err != nil {
		return nil, err
	}
	return list, nil
}
