package mls

// Candidate is a commit or a proposal that was read and is not yet held against the group it is
// for. Reading it, and examining what needs no more than the group's suite (its rules and
// signatures), happen before a conversation is locked; Judge is what is left for the lock. A
// Candidate keeps the fault that it was read with until Judge, so that callers who may not know of
// the conversation are told so first.
type Candidate struct {
	// Bytes are the message as it came.
	Bytes   []byte
	message *Message
	fault   Code // why it is not a handshake of the kind that was asked for, 0 when it is

	examined bool
	suite    CipherSuite // that it was examined for
	shown    *Handshake
	broken   Code // the rule that it breaks, 0 for none
}

// ParseCommit reads the commit of a base64 text field; nil stands for an absent field. The fault of
// what is no commit is told by Judge.
func ParseCommit(text *string) *Candidate { return parseText(text, ContentCommit) }

// ParseProposal is ParseCommit for a proposal.
func ParseProposal(text *string) *Candidate { return parseText(text, ContentProposal) }

func parseText(text *string, want ContentType) *Candidate {
	if text == nil {
		return &Candidate{fault: CodeCommitMissing}
	}
	raw, err := DecodeText(*text)
	if err != nil {
		return &Candidate{fault: CodeBadEncoding}
	}
	return parseCandidate(raw, want)
}

func parseCandidate(raw []byte, want ContentType) *Candidate {
	c := &Candidate{Bytes: raw}
	m, err := ParseMessage(raw)
	if err != nil {
		c.fault = CodeOf(err)
		return c
	}
	switch f := m.Framing(); {
	case f == nil:
		c.fault = CodeWireFormatMismatch
	case f.ContentType != want:
		c.fault = CodeWrongContentType
	}
	c.message = m
	return c
}

// ReadCommit reads an MLSMessage that must be a commit made for the group and its epoch, and
// applies the rules of RFC 9420 12.2 and 12.4 that are visible. A commit for another epoch is an
// ErrEpochMismatch; all else is ErrInvalidCommit.
func ReadCommit(b []byte, g GroupState) (*Handshake, error) {
	return parseCandidate(b, ContentCommit).Judge(g)
}

// ReadProposal is ReadCommit for a proposal (RFC 9420 12.1).
func ReadProposal(b []byte, g GroupState) (*Handshake, error) {
	return parseCandidate(b, ContentProposal).Judge(g)
}

// References returns what a readable commit names by reference: proposals that were sent before.
func (c *Candidate) References() []ProposalRef {
	if c.fault != 0 || c.message == nil || c.message.Public == nil || c.message.Public.Commit == nil {
		return nil
	}
	var refs []ProposalRef
	for _, e := range c.message.Public.Commit.Proposals {
		if e.Proposal == nil {
			refs = append(refs, refOf(e.Ref))
		}
	}
	return refs
}

// Framing returns the framing of a candidate that could be read, nil for another one.
func (c *Candidate) Framing() *Framing {
	if c.fault != 0 {
		return nil
	}
	return c.message.Framing()
}

// Group returns the group that the candidate is framed for, "" when it cannot be read.
func (c *Candidate) Group() GroupID { return framedGroup(c.message) }

func framedGroup(m *Message) GroupID {
	if m == nil || m.Framing() == nil {
		return ""
	}
	return GroupIDFromBytes(m.Framing().GroupID)
}

// MadeFor reports whether the candidate is framed in the epoch.
func (c *Candidate) MadeFor(epoch Epoch) bool {
	return c.fault == 0 && c.message.Framing().Epoch == epoch
}

// Epoch returns the epoch that the candidate is framed in; it has none when it cannot be read.
func (c *Candidate) Epoch() (epoch Epoch, ok bool) {
	if c.fault != 0 || c.message == nil || c.message.Framing() == nil {
		return 0, false
	}
	return c.message.Framing().Epoch, true
}

// Fits checks that the candidate could be read and is framed for the group and its epoch. Errors as
// ReadCommit.
func (c *Candidate) Fits(group GroupID, epoch Epoch) error {
	if c.fault != 0 {
		return InvalidCommit(c.fault)
	}
	f := c.message.Framing()
	if !group.Is(f.GroupID) {
		return InvalidCommit(CodeWrongGroup)
	}
	return CheckEpoch(f.Epoch, epoch, 0)
}

// Examine applies the visible rules and verifies the signatures of a readable handshake, for a
// group of the suite. Judge does so itself where it was not done before.
func (c *Candidate) Examine(suite CipherSuite) {
	if c.fault != 0 || c.message.Framing() == nil || c.examined && c.suite == suite {
		return
	}
	c.examined, c.suite = true, suite
	c.shown, c.broken = examine(c.message, &GroupState{Suite: suite})
}

// Judge holds the candidate against the group. Errors as ReadCommit.
func (c *Candidate) Judge(g GroupState) (*Handshake, error) {
	if err := c.Fits(g.GroupID, g.Epoch); err != nil {
		return nil, err
	}
	shown, broken := c.shown, c.broken
	if !c.examined || c.suite != g.Suite || g.Pending != nil || g.Complete {
		// The proposals of the epoch decide what a commit refers to.
		shown, broken = examine(c.message, &g)
	}
	if broken != 0 {
		return nil, InvalidCommit(broken)
	}
	return shown, nil
}

// examine applies the visible rules to a commit or proposal. The group's id and epoch play no part.
func examine(m *Message, g *GroupState) (*Handshake, Code) {
	f := m.Framing()
	h := &Handshake{Message: m, Content: f.ContentType, Epoch: f.Epoch}
	p := m.Public
	if p == nil || p.Opaque {
		return h, 0
	}
	h.Visible, h.SenderType = true, p.SenderType
	if p.SenderType == SenderMember {
		h.Sender = p.Sender
	}
	j := judge{g: g, m: p, h: h, count: make(map[ProposalType]int)}
	code := j.proposal(p.Proposal)
	if f.ContentType == ContentCommit {
		code = j.commit(p.Commit)
	}
	return h, code
}
