package mls

import (
	"encoding/binary"
	"iter"
)

// CredentialType is the type of a credential (RFC 9420 17.5).
type CredentialType uint16

// The credential types that this package can read.
const (
	CredentialBasic CredentialType = 1
	CredentialX509  CredentialType = 2
)

// Credential says who a leaf belongs to (RFC 9420 5.3).
type Credential struct {
	Type CredentialType
	// Identity is the name in a basic credential, at most 512 bytes; empty for another type.
	Identity []byte
	// Certificates is the chain of an x509 credential, leaf first, nil for another type.
	Certificates [][]byte
}

// Uint16s is a vector of 16-bit numbers as it stands on the wire.
type Uint16s []byte

// Len returns how many numbers there are.
func (u Uint16s) Len() int { return len(u) / 2 }

// All yields the numbers in order.
func (u Uint16s) All() iter.Seq[uint16] {
	return func(yield func(uint16) bool) {
		for i := 0; i+2 <= len(u); i += 2 {
			if !yield(binary.BigEndian.Uint16(u[i:])) {
				return
			}
		}
	}
}

// Contains reports whether v is among the numbers.
func (u Uint16s) Contains(v uint16) bool {
	for i := 0; i+2 <= len(u); i += 2 {
		if binary.BigEndian.Uint16(u[i:]) == v {
			return true
		}
	}
	return false
}

// Capabilities is what a client supports beyond what everyone must (RFC 9420 7.2).
type Capabilities struct {
	Versions, CipherSuites, Extensions, Proposals, Credentials Uint16s
}

// ExtensionType is the type of an extension (RFC 9420 17.3).
type ExtensionType uint16

// The extension types that a delivery service has a use for.
const (
	ExtensionApplicationID        ExtensionType = 1
	ExtensionRatchetTree          ExtensionType = 2
	ExtensionRequiredCapabilities ExtensionType = 3
	ExtensionExternalPub          ExtensionType = 4
	ExtensionExternalSenders      ExtensionType = 5
	// ExtensionLastResort marks a key package that may be used more than once (MLS extensions).
	ExtensionLastResort ExtensionType = 10
)

// lastDefaultExtension is the highest type that everyone supports, so that
// capabilities do not list it (RFC 9420 7.2).
const lastDefaultExtension = ExtensionExternalSenders

// Extension is a typed blob. Unknown types are kept and ignored (RFC 9420 13.5, GREASE).
type Extension struct {
	Type ExtensionType
	Data []byte
	at   int // position of Data
}

// Extensions is a list in which no type stands twice.
type Extensions []Extension

// Find returns the data of the extension of type t, and whether it is there.
func (e Extensions) Find(t ExtensionType) ([]byte, bool) {
	for i := range e {
		if e[i].Type == t {
			return e[i].Data, true
		}
	}
	return nil, false
}

// LeafSource says how a leaf node came to be (RFC 9420 7.2).
type LeafSource uint8

// The sources.
const (
	LeafKeyPackage LeafSource = 1
	LeafUpdate     LeafSource = 2
	LeafCommit     LeafSource = 3
)

// String returns the name of RFC 9420.
func (s LeafSource) String() string {
	switch s {
	case LeafKeyPackage:
		return "key_package"
	case LeafUpdate:
		return "update"
	case LeafCommit:
		return "commit"
	}
	return "unknown"
}

// LeafNode is a member's place in the tree (RFC 9420 7.2).
type LeafNode struct {
	// Raw is the encoded leaf.
	Raw           []byte
	EncryptionKey []byte
	SignatureKey  []byte
	Credential    Credential
	Capabilities  Capabilities
	Source        LeafSource
	// NotBefore and NotAfter bound the lifetime, in seconds since 1970; set for LeafKeyPackage
	// only.
	NotBefore, NotAfter uint64
	// ParentHash is set for LeafCommit only.
	ParentHash []byte
	Extensions Extensions
	Signature  []byte

	tbs []byte // Raw without the signature
	at  int
}

func readCredential(r *reader) (c Credential) {
	at := r.at()
	c.Type = CredentialType(r.u16())
	switch c.Type {
	case CredentialBasic:
		c.Identity = r.opaque(maxIdentity)
	case CredentialX509:
		for v := r.vector(); v.more(); {
			if len(c.Certificates) == maxCertificates {
				v.refuse(CodeTooLarge, v.at())
			}
			c.Certificates = append(c.Certificates, v.opaque(0))
		}
	default:
		// Credentials carry no length of their own, so what follows cannot be found.
		r.refuse(CodeUnsupportedCredential, at)
	}
	return c
}

func readCapabilities(r *reader) Capabilities {
	return Capabilities{
		Versions:     r.uints(2, maxCapabilities),
		CipherSuites: r.uints(2, maxCapabilities),
		Extensions:   r.uints(2, maxCapabilities),
		Proposals:    r.uints(2, maxCapabilities),
		Credentials:  r.uints(2, maxCapabilities),
	}
}

func readExtensions(r *reader) (list Extensions) {
	for v := r.vector(); v.more(); {
		at := v.at()
		t := ExtensionType(v.u16())
		data := v.opaque(0)
		if _, twice := list.Find(t); twice {
			v.refuse(CodeDuplicateExtension, at)
		}
		if len(list) == maxExtensions {
			v.refuse(CodeTooLarge, at)
		}
		if v.ok() {
			list = append(list, Extension{Type: t, Data: data, at: v.at() - len(data)})
		}
	}
	return list
}

func readLeafNode(r *reader) (l LeafNode) {
	l.at = r.at()
	l.EncryptionKey = r.opaque(0)
	l.SignatureKey = r.opaque(0)
	l.Credential = readCredential(r)
	l.Capabilities = readCapabilities(r)
	at := r.at()
	l.Source = LeafSource(r.u8())
	switch l.Source {
	case LeafKeyPackage:
		l.NotBefore, l.NotAfter = r.u64(), r.u64()
	case LeafUpdate:
	case LeafCommit:
		l.ParentHash = r.opaque(0)
	default:
		r.refuse(CodeBadLeafSource, at)
	}
	l.Extensions = readExtensions(r)
	l.tbs = r.since(l.at)
	l.Signature = r.opaque(0)
	l.Raw = r.since(l.at)
	return l
}
