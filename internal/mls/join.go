package mls

import "encoding/binary"

// External reports whether the candidate is a commit from outside of the group.
func (c *Candidate) External() bool {
	return c.fault == 0 && c.message.Public != nil && c.message.Public.SenderType == SenderNewMemberCommit
}

// Replaced returns the leaf that an external commit removes by itself: the joiner's own of before.
func (h *Handshake) Replaced() (leaf uint32, ok bool) {
	if p := h.Message.Public; p != nil && p.Commit != nil && h.External() {
		for _, e := range p.Commit.Proposals {
			if e.Proposal != nil && e.Proposal.Type == ProposalRemove {
				return e.Proposal.Removed, true
			}
		}
	}
	return 0, false
}

// vouchLabel begins what a device signs that vouches for another one.
const vouchLabel = "mls-server device"

// VouchContent is what a device of a group signs, with its signature key in the group and as it is,
// to vouch for the signature key of another device of its user: "mls-server device", and the
// group's id and the key, each behind its length in 32 bits, big-endian. No content that MLS signs
// begins like it.
func VouchContent(groupID, key []byte) []byte {
	b := []byte(vouchLabel)
	for _, part := range [...][]byte{groupID, key} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(part))) //nolint:gosec // both are at most 255 bytes
		b = append(b, part...)
	}
	return b
}

// VouchedFor reports whether a commit's authenticated data is the signature by which the owner of a
// leaf vouches for the key of the joiner (see VouchContent).
func (h *Handshake) VouchedFor(suite CipherSuite, by *LeafNode) bool {
	if h.own == nil || !suite.Known() {
		return false
	}
	f := h.Message.Framing()
	return len(f.AuthenticatedData) > 0 && suite.verify(by.SignatureKey, f.AuthenticatedData, VouchContent(f.GroupID, h.own.SignatureKey))
}
