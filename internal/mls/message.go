package mls

import "bytes"

// Version is the only protocol version there is (RFC 9420 17.2): mls10.
const Version uint16 = 1

// WireFormat says what an MLSMessage holds (RFC 9420 17.2).
type WireFormat uint16

// The wire formats.
const (
	FormatPublicMessage  WireFormat = 1
	FormatPrivateMessage WireFormat = 2
	FormatWelcome        WireFormat = 3
	FormatGroupInfo      WireFormat = 4
	FormatKeyPackage     WireFormat = 5
)

// String returns the name of RFC 9420, for example "mls_private_message".
func (f WireFormat) String() string {
	switch f {
	case FormatPublicMessage:
		return "mls_public_message"
	case FormatPrivateMessage:
		return "mls_private_message"
	case FormatWelcome:
		return "mls_welcome"
	case FormatGroupInfo:
		return "mls_group_info"
	case FormatKeyPackage:
		return "mls_key_package"
	}
	return "unknown"
}

// ContentType says what a framed message carries (RFC 9420 6).
type ContentType uint8

// The content types.
const (
	ContentApplication ContentType = 1
	ContentProposal    ContentType = 2
	ContentCommit      ContentType = 3
)

// String returns the name of RFC 9420.
func (c ContentType) String() string {
	switch c {
	case ContentApplication:
		return "application"
	case ContentProposal:
		return "proposal"
	case ContentCommit:
		return "commit"
	}
	return "unknown"
}

// SenderType says from where a PublicMessage comes (RFC 9420 6).
type SenderType uint8

// The sender types.
const (
	SenderMember            SenderType = 1
	SenderExternal          SenderType = 2
	SenderNewMemberProposal SenderType = 3
	SenderNewMemberCommit   SenderType = 4
)

// String returns the name of RFC 9420.
func (s SenderType) String() string {
	switch s {
	case SenderMember:
		return "member"
	case SenderExternal:
		return "external"
	case SenderNewMemberProposal:
		return "new_member_proposal"
	case SenderNewMemberCommit:
		return "new_member_commit"
	}
	return "unknown"
}

// Message is an MLSMessage (RFC 9420 6). Exactly one of the pointers is set, as Format says.
type Message struct {
	// Raw is the whole message with its header.
	Raw        []byte
	Format     WireFormat
	Public     *PublicMessage
	Private    *PrivateMessage
	Welcome    *Welcome
	GroupInfo  *GroupInfo
	KeyPackage *KeyPackage
}

// Framing is what a PublicMessage and a PrivateMessage have in common.
type Framing struct {
	GroupID           []byte
	Epoch             Epoch
	ContentType       ContentType
	AuthenticatedData []byte
}

// Framing returns the framing of a PublicMessage or PrivateMessage, nil for another message.
func (m *Message) Framing() *Framing {
	switch {
	case m.Private != nil:
		return &m.Private.Framing
	case m.Public != nil:
		return &m.Public.Framing
	}
	return nil
}

// PrivateMessage is an encrypted message; sender and content are hidden (RFC 9420 6.3).
type PrivateMessage struct {
	Framing
	EncryptedSenderData []byte
	Ciphertext          []byte
}

// PublicMessage is a signed, readable message (RFC 9420 6.2).
type PublicMessage struct {
	Framing
	SenderType SenderType
	// Sender is the leaf index of a member, or the index of an external sender.
	Sender uint32
	// Opaque: a proposal of a type beyond RFC 9420 made it impossible to find the
	// end of the content, so the fields below are not set.
	Opaque bool
	// Application, Proposal and Commit hold the content, as ContentType says.
	Application []byte
	Proposal    *Proposal
	Commit      *Commit
	Signature   []byte
	// ConfirmationTag is there for commits only.
	ConfirmationTag []byte
	// MembershipTag is there for members only. Without the group's keys it cannot be checked.
	MembershipTag []byte

	content []byte // the FramedContent
	at      int
}

// EncryptedGroupSecrets is what a Welcome holds for one new member.
type EncryptedGroupSecrets struct {
	// NewMember is the raw KeyPackageRef of the package that was used.
	NewMember  []byte
	KEMOutput  []byte
	Ciphertext []byte
}

// Welcome lets new members join (RFC 9420 12.4.3.1). The group's id is encrypted.
type Welcome struct {
	// Raw is the encoded Welcome without the header of an MLSMessage.
	Raw                []byte
	Suite              CipherSuite
	Secrets            []EncryptedGroupSecrets
	EncryptedGroupInfo []byte
}

// The first bytes of an MLSMessage that holds a KeyPackage, and of one that holds a Welcome.
var (
	keyPackageHeader = []byte{0, 1, 0, byte(FormatKeyPackage)}
	welcomeHeader    = []byte{0, 1, 0, byte(FormatWelcome)}
	// The version of the GroupContext that follows tells it from a bare GroupInfo of suite 4.
	groupInfoHeader = []byte{0, 1, 0, byte(FormatGroupInfo), 0, 1}
)

// ParseMessage reads one MLSMessage and nothing behind it. The error is a
// *WireError. The result refers to b.
func ParseMessage(b []byte) (*Message, error) {
	box := new(parsed)
	r := newReader(b, &box.fail)
	box.read(&r)
	if p := box.message.Public; p == nil || !p.Opaque {
		r.finish()
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	return &box.message, nil
}

// ParseKeyPackage reads a KeyPackage, wrapped in an MLSMessage (first bytes 00 01 00 05)
// or bare. A bare package of suite 5 starts with the same four bytes and is taken as wrapped,
// so clients of that suite must wrap. The error is a *WireError.
func ParseKeyPackage(b []byte) (*KeyPackage, error) {
	var f failure
	r := newReader(b, &f)
	if bytes.HasPrefix(b, keyPackageHeader) {
		r.u32()
	}
	k := readKeyPackage(&r)
	r.finish()
	if err := r.err(); err != nil {
		return nil, err
	}
	return &k, nil
}

// ParseWelcome reads a Welcome, wrapped in an MLSMessage (first bytes 00 01 00 03) or
// bare. The error is a *WireError, WireFormatMismatch for an MLSMessage of another kind.
func ParseWelcome(b []byte) (*Welcome, error) {
	var f failure
	r := newReader(b, &f)
	switch {
	case bytes.HasPrefix(b, welcomeHeader):
		r.u32()
	case len(b) > 4 && bytes.HasPrefix(b, welcomeHeader[:3]) && b[3] >= 1 && b[3] <= 5:
		// As a bare Welcome this would be suite 1 with no new member, which is useless.
		r.refuse(CodeWireFormatMismatch, 2)
	}
	w := readWelcome(&r)
	r.finish()
	if err := r.err(); err != nil {
		return nil, err
	}
	return &w, nil
}

// ParseGroupInfo reads a GroupInfo, wrapped in an MLSMessage or bare. The error is a *WireError.
func ParseGroupInfo(b []byte) (*GroupInfo, error) {
	var f failure
	r := newReader(b, &f)
	if bytes.HasPrefix(b, groupInfoHeader) {
		r.u32()
	}
	g := readGroupInfo(&r)
	r.finish()
	if err := r.err(); err != nil {
		return nil, err
	}
	return &g, nil
}

func readVersion(r *reader) {
	at := r.at()
	if v := r.u16(); v != Version {
		r.refuse(CodeUnsupportedVersion, at)
	}
}

// parsed is where a message is parsed into. It holds the parts that every
// PrivateMessage needs, so that the message that arrives most often costs one allocation.
type parsed struct {
	message Message
	private PrivateMessage
	fail    failure
}

// read reads an MLSMessage; the reader knows whether it is any good.
func (p *parsed) read(r *reader) {
	m, start := &p.message, r.at()
	readVersion(r)
	at := r.at()
	m.Format = WireFormat(r.u16())
	switch m.Format {
	case FormatPrivateMessage:
		p.private = readPrivateMessage(r)
		m.Private = &p.private
	case FormatPublicMessage:
		m.Public = new(readPublicMessage(r))
	case FormatWelcome:
		m.Welcome = new(readWelcome(r))
	case FormatGroupInfo:
		m.GroupInfo = new(readGroupInfo(r))
	case FormatKeyPackage:
		m.KeyPackage = new(readKeyPackage(r))
	default:
		r.refuse(CodeUnsupportedWireFormat, at)
	}
	m.Raw = r.since(start)
}

func readContentType(r *reader) ContentType {
	at := r.at()
	c := ContentType(r.u8())
	if c < ContentApplication || c > ContentCommit {
		r.refuse(CodeUnsupportedContent, at)
	}
	return c
}

func readPrivateMessage(r *reader) (m PrivateMessage) {
	m.GroupID = r.opaque(maxGroupID)
	m.Epoch = r.epoch()
	m.ContentType = readContentType(r)
	m.AuthenticatedData = r.opaque(0)
	m.EncryptedSenderData = r.opaque(0)
	m.Ciphertext = r.opaque(0)
	return m
}

func readPublicMessage(r *reader) PublicMessage {
	m := readPublicContent(r)
	if r.fail.code == CodeUnsupportedProposal {
		// The framing is good all the same; of the rest neither meaning nor length is known.
		*r.fail = failure{}
		r.rest, r.end = nil, len(r.all)
		m.Opaque, m.Proposal, m.Commit = true, nil, nil
		return m
	}
	m.Signature = r.opaque(0)
	if m.ContentType == ContentCommit {
		m.ConfirmationTag = r.opaque(255)
	}
	if m.SenderType == SenderMember {
		m.MembershipTag = r.opaque(255)
	}
	return m
}

// readPublicContent reads the FramedContent of a PublicMessage.
func readPublicContent(r *reader) (m PublicMessage) {
	m.at = r.at()
	m.GroupID = r.opaque(maxGroupID)
	m.Epoch = r.epoch()
	at := r.at()
	switch m.SenderType = SenderType(r.u8()); m.SenderType {
	case SenderMember, SenderExternal:
		m.Sender = r.u32()
	case SenderNewMemberProposal, SenderNewMemberCommit:
	default:
		r.refuse(CodeUnsupportedContent, at)
	}
	m.AuthenticatedData = r.opaque(0)
	m.ContentType = readContentType(r)
	switch m.ContentType {
	case ContentApplication:
		m.Application = r.opaque(0)
	case ContentProposal:
		m.Proposal = new(readProposal(r))
	case ContentCommit:
		m.Commit = new(readCommit(r))
	}
	m.content = r.since(m.at)
	return m
}

func readWelcome(r *reader) (w Welcome) {
	start := r.at()
	w.Suite = CipherSuite(r.u16())
	for v := r.vector(); v.more(); {
		if len(w.Secrets) == maxWelcomeRefs {
			v.refuse(CodeTooLarge, v.at())
		}
		s := EncryptedGroupSecrets{NewMember: v.opaque(255), KEMOutput: v.opaque(0), Ciphertext: v.opaque(0)}
		if v.ok() {
			w.Secrets = append(w.Secrets, s)
		}
	}
	w.EncryptedGroupInfo = r.opaque(0)
	w.Raw = r.since(start)
	return w
}
