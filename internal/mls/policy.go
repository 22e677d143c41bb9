package mls

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// KeyPackagePolicy says which key packages a server takes. The zero value takes
// none; start from DefaultKeyPackagePolicy.
type KeyPackagePolicy struct {
	// Suites are those that are accepted.
	Suites []CipherSuite
	// MaxLifetime is the longest time from not_before to not_after. RFC 9420 7.2 asks applications
	// to set one.
	MaxLifetime time.Duration
	// ClockSkew is by how much a client's clock may differ from ours.
	ClockSkew time.Duration
	// AllowCompressedKeys takes compressed ECDSA signature keys, against RFC 9420 5.1.1: released
	// clients emit them.
	AllowCompressedKeys bool
}

// DefaultKeyPackagePolicy accepts the suites of the contract, lifetimes up to 120
// days, an hour of clock skew and no compressed keys.
func DefaultKeyPackagePolicy() KeyPackagePolicy {
	return KeyPackagePolicy{Suites: CipherSuites(), MaxLifetime: 120 * 24 * time.Hour, ClockSkew: time.Hour}
}

// KeyPackageOwner is what a key package is compared with. Zero fields compare nothing.
type KeyPackageOwner struct {
	// DID is whose package it must be: the credential's identity is the DID, or the DID, '#' and a
	// device's name.
	DID DID
	// SignatureKey is the key that the device registered.
	SignatureKey []byte
	// Suite is the suite under which the package is published.
	Suite CipherSuite
}

// SplitIdentity splits the identity of a basic credential into a DID and the
// device name behind '#', which may be empty; false when it is not of this form.
func SplitIdentity(identity []byte) (DID, string, bool) {
	did, device, found := strings.Cut(string(identity), "#")
	if found && device == "" {
		return "", "", false
	}
	d, err := syntax.ParseDID(did)
	if err != nil {
		return "", "", false
	}
	return d, device, true
}

// Validate checks a key package as RFC 9420 10.1 asks of whoever hands it on, cheap
// checks first, signatures last. The error is a *WireError with the first check that failed.
func (p *KeyPackagePolicy) Validate(k *KeyPackage, owner KeyPackageOwner, at time.Time) error {
	if code := p.check(k, owner, at); code != 0 {
		return &WireError{code, k.at}
	}
	return k.Verify()
}

func (p *KeyPackagePolicy) check(k *KeyPackage, owner KeyPackageOwner, at time.Time) Code {
	l := &k.Leaf
	switch {
	case !k.Suite.Known() || !slices.Contains(p.Suites, k.Suite):
		return CodeUnsupportedSuite
	case owner.Suite != 0 && owner.Suite != k.Suite:
		return CodeWrongSuite
	case l.Source != LeafKeyPackage:
		return CodeBadLeafSource
	}
	if code := p.checkKeys(k); code != 0 {
		return code
	}
	if code := p.checkLifetime(l, at); code != 0 {
		return code
	}
	if l.Credential.Type != CredentialBasic {
		return CodeUnsupportedCredential
	}
	if code := checkCapabilities(k); code != 0 {
		return code
	}
	if did, _, ok := SplitIdentity(l.Credential.Identity); !ok || owner.DID != "" && did != owner.DID {
		return CodeIdentityMismatch
	}
	if owner.SignatureKey != nil && !bytes.Equal(owner.SignatureKey, l.SignatureKey) {
		return CodeSignatureKeyMismatch
	}
	return 0
}

func (p *KeyPackagePolicy) checkKeys(k *KeyPackage) Code {
	if code := k.Suite.checkSignatureKey(k.Leaf.SignatureKey, p.AllowCompressedKeys); code != 0 {
		return code
	}
	if code := k.Suite.checkKEMKey(k.InitKey); code != 0 {
		return code
	}
	if code := k.Suite.checkKEMKey(k.Leaf.EncryptionKey); code != 0 {
		return code
	}
	if bytes.Equal(k.InitKey, k.Leaf.EncryptionKey) {
		return CodeInitKeyEqualsEncryptionKey
	}
	return 0
}

func (p *KeyPackagePolicy) checkLifetime(l *LeafNode, at time.Time) Code {
	now, skew := at.Unix(), int64(p.ClockSkew/time.Second)
	// Seconds beyond 63 bits only make sense as "for ever", which the maximum refuses.
	after := int64(min(l.NotAfter, math.MaxInt64))
	switch {
	case l.NotAfter < l.NotBefore:
		return CodeBadLifetime
	case l.NotAfter-l.NotBefore > uint64(p.MaxLifetime/time.Second): //nolint:gosec // a positive duration
		return CodeLifetimeTooLong
	case l.NotBefore > uint64(max(now+skew, 0)):
		return CodeNotYetValid
	case after < now-skew:
		return CodeExpired
	}
	return 0
}

// checkCapabilities checks that the leaf's own capabilities cover what the package is made of
// (RFC 9420 7.2, 7.3, 10.1), and that extensions stand where their types belong. Values that nobody
// knows are ignored (13.5).
func checkCapabilities(k *KeyPackage) Code {
	c := &k.Leaf.Capabilities
	if !c.Versions.Contains(Version) || !c.CipherSuites.Contains(uint16(k.Suite)) ||
		!c.Credentials.Contains(uint16(k.Leaf.Credential.Type)) {
		return CodeCapabilityMissing
	}
	for _, e := range k.Leaf.Extensions {
		if !e.Type.belongsInLeaf() {
			return CodeMisplacedExtension
		}
	}
	for _, e := range k.Extensions {
		if !e.Type.belongsInKeyPackage() || e.Type == ExtensionLastResort && len(e.Data) > 0 {
			return CodeMisplacedExtension
		}
	}
	for _, e := range k.Leaf.Extensions {
		if e.Type > lastDefaultExtension && !c.Extensions.Contains(uint16(e.Type)) {
			return CodeCapabilityMissing
		}
	}
	for _, e := range k.Extensions {
		if !e.Type.grease() && !c.Extensions.Contains(uint16(e.Type)) {
			return CodeCapabilityMissing
		}
	}
	return 0
}

// belongsInLeaf reports whether a type may stand in a LeafNode (RFC 9420 17.3). Unknown ones may.
func (t ExtensionType) belongsInLeaf() bool {
	return t == ExtensionApplicationID || t > lastDefaultExtension && t != ExtensionLastResort
}

// grease reports whether the type is one of those that only probe whether unknown ones are ignored
// (RFC 9420 13.5): 0x0a0a, 0x1a1a, … 0xeaea.
func (t ExtensionType) grease() bool { return t&0x0f0f == 0x0a0a && t>>8 == t&0xff && t < 0xf000 }

// belongsInKeyPackage reports whether a type may stand in a KeyPackage. Unknown ones may.
func (t ExtensionType) belongsInKeyPackage() bool { return t > lastDefaultExtension }

// NotAfterTime is the end of the leaf's lifetime. Times beyond the year 9999 are returned as its
// end.
func (l *LeafNode) NotAfterTime() time.Time { return unixTime(l.NotAfter) }

// NotBeforeTime is the start of the leaf's lifetime. Times beyond the year 9999 are returned as its
// end.
func (l *LeafNode) NotBeforeTime() time.Time { return unixTime(l.NotBefore) }

func unixTime(s uint64) time.Time {
	const endOf9999 = 253402300799
	return time.Unix(int64(min(s, endOf9999)), 0).UTC()
}
