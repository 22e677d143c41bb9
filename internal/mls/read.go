package mls

import (
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// PublishedKeyPackage is a key package that passed the policy, with what the
// server stores beside its bytes.
type PublishedKeyPackage struct {
	// Bytes is the package as it came, wrapped or bare; it is handed out like this.
	Bytes      []byte
	KeyPackage *KeyPackage
	Ref        KeyPackageRef
	// SHA256 is the hash of Bytes, in lower-case hex; clients may name the package by it.
	SHA256 string
	// InitKeyHash is the SHA-256 of the init key, which must never be seen again.
	InitKeyHash [sha256.Size]byte
	Suite       CipherSuite
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
	sum := sha256.Sum256(b)
	did, device, _ := SplitIdentity(k.Leaf.Credential.Identity)
	return &PublishedKeyPackage{
		Bytes: b, KeyPackage: k, Ref: k.Ref(), SHA256: hex.EncodeToString(sum[:]), InitKeyHash: k.InitKeyHash(),
		Suite: k.Suite, DID: did, Device: device, NotAfter: k.Leaf.NotAfterTime(), LastResort: k.LastResort(),
	}, nil
}

// ReadText is Read for base64 text in any of the four forms, with the error as
// handlers return it: an *InvalidKeyPackageError for the package at an index of the request (-1 for the only
// one). Text that is not base64 is BadEncoding.
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
// member and for each only once. The error is an *InvalidWelcomeError.
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
		ref := KeyPackageRef(hex.EncodeToString(w.Secrets[i].NewMember))
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

// ReadSend looks into the ciphertext of a message that declares an epoch. What is
// not an MLSMessage is an opaque application message, held to the declared epoch. grace says how many epochs
// back an application message may be. Errors: *EpochMismatchError when the declared or the framing
// epoch is not acceptable or they differ; *InvalidAssetError for another group or a kind of message that cannot be
// sent; *InvalidCommitError when a commit or proposal breaks a rule.
func ReadSend(ciphertext []byte, declared, grace Epoch, g GroupState) (*Sent, error) {
	m, padding := UnwrapPadding(ciphertext)
	if m == nil {
		if err := CheckEpoch(declared, g.Epoch, grace); err != nil {
			return nil, err
		}
		return &Sent{Padding: padding, Content: ContentApplication}, nil
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
	}
	sent := &Sent{Padding: padding, Content: f.ContentType}
	if f.ContentType != ContentApplication {
		h, err := judgeHandshake(m, g)
		if err != nil {
			return nil, err
		}
		sent.Handshake = h
		return sent, nil
	}
	if m.Public != nil {
		// RFC 9420 6: application data is always encrypted. This server stores no plaintext.
		return nil, InvalidAsset("an application message must be a PrivateMessage")
	}
	if err := CheckEpoch(declared, g.Epoch, grace); err != nil {
		return nil, err
	}
	return sent, nil
}
