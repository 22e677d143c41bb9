package mls

// Deposit is a GroupInfo that came with a request. Like a Candidate it keeps the fault that it was
// read with until it is asked for, so that callers who may not know of the conversation are told so
// first.
type Deposit struct {
	info  *GroupInfo
	fault Code

	group  *Group // of openGroup, once it was called
	broken error
}

// ParseDeposit reads the GroupInfo of a base64 text field, wrapped in an MLSMessage or bare. nil
// stands for an absent field, and is what it returns then.
func ParseDeposit(text *string) *Deposit {
	if text == nil {
		return nil
	}
	raw, err := DecodeText(*text)
	if err != nil {
		return &Deposit{fault: CodeBadEncoding}
	}
	info, err := ParseGroupInfo(raw)
	if err != nil {
		return &Deposit{fault: CodeOf(err)}
	}
	return &Deposit{info: info}
}

// Info returns the GroupInfo. Nothing in it is verified. The error is ErrInvalidGroupInfo; of a nil
// Deposit, GroupInfoMissing.
func (d *Deposit) Info() (*GroupInfo, error) {
	switch {
	case d == nil:
		return nil, InvalidGroupInfo(CodeGroupInfoMissing)
	case d.fault != 0:
		return nil, InvalidGroupInfo(d.fault)
	}
	return d.info, nil
}

// Open checks the GroupInfo in itself, with its tree and all leaves, and returns the group (see
// OpenGroup), which costs a signature for each member when it is done for the first time. It must
// be of the group, the suite and the epoch that are asked for. The error is ErrInvalidGroupInfo.
func (d *Deposit) Open(id GroupID, suite CipherSuite, epoch Epoch) (*Group, error) {
	info, err := d.Info()
	if err != nil {
		return nil, err
	}
	switch {
	case !id.Is(info.Context.GroupID):
		return nil, InvalidGroupInfo(CodeWrongGroup)
	case info.Context.Suite != suite:
		return nil, InvalidGroupInfo(CodeWrongSuite)
	case info.Context.Epoch != epoch:
		return nil, InvalidGroupInfo(CodeWrongEpoch)
	case info.ExternalPub == nil:
		return nil, InvalidGroupInfo(CodeMissingExternalPub)
	}
	if d.group == nil && d.broken == nil {
		if d.group, err = OpenGroup(info); err != nil {
			d.broken = InvalidGroupInfo(CodeOf(err))
		}
	}
	return d.group, d.broken
}

// Follow judges the candidate by the public state of its group: a commit by Group.Apply, with the
// GroupInfo of the epoch that it leads to (signed by the committer, see Group.Agrees), a proposal
// by Group.CheckProposal. pending holds the readable proposals of the epoch. The Transition is that
// of a commit, nil for a proposal. Errors: ErrInvalidCommit, ErrEpochMismatch, ErrInvalidGroupInfo.
func (c *Candidate) Follow(g *Group, pending map[ProposalRef]*PublicMessage, info *Deposit) (*Handshake, *Transition, error) {
	if c.fault != 0 {
		return nil, nil, InvalidCommit(c.fault)
	}
	if c.message.Framing().ContentType == ContentProposal {
		h, err := g.checkProposal(c.message)
		return h, nil, followError(err)
	}
	t, err := c.Apply(g, pending)
	if err != nil {
		return nil, nil, err
	}
	next, err := info.Info()
	if err != nil {
		return nil, nil, err
	}
	if err := t.Next.Agrees(next); err != nil {
		return nil, nil, InvalidGroupInfo(CodeOf(err))
	}
	if next.Signer != t.Committer {
		return nil, nil, InvalidGroupInfo(CodeGroupInfoSignature)
	}
	return t.Handshake, t, nil
}

// Apply is Group.Apply for a candidate that could be read. Errors: ErrInvalidCommit,
// ErrEpochMismatch.
func (c *Candidate) Apply(g *Group, pending map[ProposalRef]*PublicMessage) (*Transition, error) {
	if c.fault != 0 {
		return nil, InvalidCommit(c.fault)
	}
	t, err := g.Apply(c.message, pending)
	return t, followError(err)
}

// followError gives a fault of a handshake the name that clients get.
func followError(err error) error {
	if code := CodeOf(err); code != 0 {
		return InvalidCommit(code)
	}
	return err
}
