package mls

import "time"

// PublishedKeyPackage is a key package that passed the policy, with what the
// server stores besides its bytes.
type PublishedKeyPackage struct {
	// Bytes is the package as it came, wrapped or bare; it is handed out like this.
	Bytes      []byte
	KeyPackage *KeyPackage
	Ref        KeyPackageRef
	Suite      CipherSuite
	// DID and Device are the two parts of the credential's identity; Device is "" for a bare DID.
	DID    DID
	Device string
	// NotAfter is the end of the lifetime, in UTC.
	NotAfter   time.Time
	LastResort bool
}

// Read parses a key package, wrapped or bare, and validates it. The error is a
// *WireError; callers put the code into an InvalidKeyPackageError with the index they know.
func (p *KeyPackagePolicy) Read(b []byte, owner KeyPackageOwner, at time.Time) (*PublishedKeyPackage, error) {
	k, err := ParseKeyPackage(b)
	if err != nil {
		return nil, err
	}
	if err := p.Validate(k, owner, at); err != nil {
		return nil, err
	}
	did, device, _ := SplitIdentity(k.Leaf.Credential.Identity)
	return &PublishedKeyPackage{
		Bytes: b, KeyPackage: k, Ref: k.Ref(),
		Suite: k.Suite, DID: did, Device: device, NotAfter: k.Leaf.NotAfterTime(), LastResort: k.LastResort(),
	}, nil
}

// ReadText is Read for base64 text in any of the four forms, with the error as handlers return it:
// an *InvalidKeyPackageError for the package at an index of the request (-1 for the only one). Text
// that is not base64 is BadEncoding.
func (p *KeyPackagePolicy) ReadText(text string, index int, owner KeyPackageOwner, at time.Time) (*PublishedKeyPackage, error) {
	b, err := DecodeText(text)
	if err != nil {
		return nil, InvalidKeyPackageAt(index, CodeBadEncoding)
	}
	k, err := p.Read(b, owner, at)
	if err != nil {
		return nil, InvalidKeyPackageAt(index, CodeOf(err))
	}
	return k, nil
}

// WelcomeView is what a Welcome shows.
type WelcomeView struct {
	// Bytes is the Welcome as it came, wrapped or bare; it is handed on like this.
	Bytes []byte
	Suite CipherSuite
	// Refs name the key packages of those who are welcomed, each once, in the Welcome's order.
	Refs []KeyPackageRef
}

// ReadWelcome reads a Welcome, wrapped or bare, that must be for at least one new
// member and for each only once. The error is ErrInvalidWelcome.
func ReadWelcome(b []byte) (*WelcomeView, error) {
	w, err := ParseWelcome(b)
	if err != nil {
		return nil, InvalidWelcome(CodeOf(err))
	}
	if !w.Suite.Known() {
		return nil, InvalidWelcome(CodeUnsupportedSuite)
	}
	if len(w.Secrets) == 0 {
		return nil, InvalidWelcome(CodeWelcomeRefMismatch)
	}
	view := &WelcomeView{Bytes: b, Suite: w.Suite, Refs: make([]KeyPackageRef, 0, len(w.Secrets))}
	seen := make(map[KeyPackageRef]bool, len(w.Secrets))
	for i := range w.Secrets {
		ref := KeyPackageRef(w.Secrets[i].NewMember)
		if seen[ref] {
			return nil, InvalidWelcome(CodeDuplicateWelcomeRef)
		}
		seen[ref] = true
		view.Refs = append(view.Refs, ref)
	}
	return view, nil
}

// Sent is what a ciphertext given to sendMessage turns out to be.
type Sent struct {
	// Padding is PaddingOpaque when no MLSMessage was found.
	Padding Padding
	// Content is ContentApplication for an opaque ciphertext too.
	Content ContentType
	// Handshake is set for a commit or a proposal.
	Handshake *Handshake
}

// Submission is the ciphertext of a message that was read and is not yet held against the group it
// is for. The zero value is not usable; see ParseSend.
type Submission struct {
	message *Message // nil when the ciphertext is opaque
	padding Padding
	// handshake is the message as a commit or proposal; unused when it is neither.
	handshake Candidate
}

// ParseSend looks for an MLSMessage in the ciphertext of a message. It judges nothing: what does
// not parse is an opaque application message.
func ParseSend(ciphertext []byte) Submission {
	m, padding := UnwrapPadding(ciphertext)
	return Submission{message: m, padding: padding, handshake: Candidate{Bytes: ciphertext, message: m}}
}

// IsApplicationOf reports whether the message is opaque, or an encrypted application message framed
// in the epoch; and the group that it is framed for, "" when it is opaque. Whatever else it is has
// to be judged.
func (s *Submission) IsApplicationOf(epoch Epoch) (bool, GroupID) {
	if s.message == nil {
		return true, ""
	}
	p := s.message.Private
	if p == nil || p.ContentType != ContentApplication || p.Epoch != epoch {
		return false, ""
	}
	return true, GroupIDFromBytes(p.GroupID)
}

// Group returns the group that the message is framed for, "" when it cannot be read.
func (s *Submission) Group() GroupID { return framedGroup(s.message) }

// IsCommit reports whether the message is a commit.
func (s *Submission) IsCommit() bool {
	return s.message != nil && s.message.Framing() != nil && s.message.Framing().ContentType == ContentCommit
}

// Judge holds the message against the group and the epoch that was declared for it. What is opaque
// is held to the declared epoch. grace says how many epochs back an application message may be.
// Errors: those of Handshake, and ErrInvalidCommit when a commit or proposal breaks a rule.
func (s *Submission) Judge(declared, grace Epoch, g GroupState) (*Sent, error) {
	c, err := s.Handshake(declared, grace, g)
	if err != nil {
		return nil, err
	}
	sent := &Sent{Padding: s.padding, Content: ContentApplication}
	if c == nil {
		return sent, nil
	}
	sent.Content = c.message.Framing().ContentType
	sent.Handshake, err = c.Judge(g)
	if err != nil {
		return nil, err
	}
	return sent, nil
}

// Handshake returns the commit or proposal that the message is, nil for an application message. It
// holds the message against its group and the epoch that was declared for it, and judges nothing
// else. Errors: ErrEpochMismatch when the declared or the framing epoch is not acceptable or they
// differ; ErrInvalidAsset for another group or a kind of message that cannot be sent.
func (s *Submission) Handshake(declared, grace Epoch, g GroupState) (*Candidate, error) {
	m := s.message
	if m == nil {
		return nil, CheckEpoch(declared, g.Epoch, grace)
	}
	f := m.Framing()
	switch {
	case f == nil:
		return nil, InvalidAsset("a message must be a PrivateMessage or a PublicMessage")
	case !g.GroupID.Is(f.GroupID):
		return nil, InvalidAsset("the message belongs to another group")
	case f.Epoch != declared:
		// Name the one of the two that is not the conversation's.
		have := f.Epoch
		if have == g.Epoch {
			have = declared
		}
		return nil, EpochMismatch(have, g.Epoch)
	case f.ContentType != ContentApplication:
		return &s.handshake, CheckEpoch(f.Epoch, g.Epoch, 0)
	case m.Public != nil:
		// RFC 9420 6: application data is always encrypted. This server stores no plaintext.
		return nil, InvalidAsset("an application message must be a PrivateMessage")
	}
	return nil, CheckEpoch(declared, g.Epoch, grace)
}

// AsHandshake returns the message as a commit or proposal, to be examined in advance; nil for
// anything else.
func (s *Submission) AsHandshake() *Candidate {
	if s.message == nil || s.message.Framing() == nil || s.message.Framing().ContentType == ContentApplication {
		return nil
	}
	return &s.handshake
}
