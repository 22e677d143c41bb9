package mlstest

import (
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"time"

	"mls-server/internal/mls"
)

// Client is one device of a user: a signature key and the name on its credential.
type Client struct {
	// DID is the user.
	DID mls.DID
	// Device is the part of the identity behind '#', "" for none.
	Device string
	// Suite decides the kind of keys.
	Suite mls.CipherSuite
	// SignatureKey is the public key, uncompressed.
	SignatureKey []byte
	// Proposals are proposal types beyond RFC 9420 that the client lists among its capabilities.
	Proposals []uint16

	key crypto.Signer
}

// NewClient makes a client with a fresh key.
func NewClient(did mls.DID, device string, suite mls.CipherSuite) *Client {
	key, pub := newKey(suite)
	return &Client{DID: did, Device: device, Suite: suite, SignatureKey: pub, key: key}
}

// Vouch signs that another client, known by its signature key, is one of the same user's, and may
// join a group by itself.
func (c *Client) Vouch(groupID, key []byte) []byte {
	return signRaw(c.key, mls.VouchContent(groupID, key))
}

// Identity is what the client's credential says: the DID, or the DID, '#' and the device.
func (c *Client) Identity() string {
	if c.Device == "" {
		return c.DID.String()
	}
	return c.DID.String() + "#" + c.Device
}

// Prove signs a change of the user's devices.
func (c *Client) Prove(p mls.DeviceProof) []byte {
	return sign(c.key, "mls-server device change", p.Content())
}

// Extension is an extension to put into an object.
type Extension struct {
	Type mls.ExtensionType
	Data []byte
}

// KeyPackageSpec says what a key package is made of. KeyPackage fills it with a
// valid one; a test changes what it is about. All signatures are made after the changes.
type KeyPackageSpec struct {
	Version  uint16
	Suite    mls.CipherSuite
	InitKey  []byte
	Identity []byte
	// EncryptionKey and SignatureKey are the leaf's keys.
	EncryptionKey, SignatureKey []byte
	// Capabilities.
	Versions, Suites, ExtensionTypes, Proposals, Credentials []uint16
	CredentialType                                           mls.CredentialType
	Source                                                   mls.LeafSource
	NotBefore, NotAfter                                      uint64
	LeafExtensions, Extensions                               []Extension
	// BreakLeafSignature and BreakSignature flip a bit of the signature.
	BreakLeafSignature, BreakSignature bool
	// Bare leaves the header of the MLSMessage away.
	Bare bool
}

// Change alters a key package before it is signed.
type Change func(*KeyPackageSpec)

// Some changes that many tests want.
var (
	// Bare leaves the header of the MLSMessage away.
	Bare Change = func(s *KeyPackageSpec) { s.Bare = true }
	// LastResort marks the package as reusable.
	LastResort Change = func(s *KeyPackageSpec) {
		s.Extensions = append(s.Extensions, Extension{Type: mls.ExtensionLastResort})
	}
	// BadLeafSignature makes the leaf's signature wrong.
	BadLeafSignature Change = func(s *KeyPackageSpec) { s.BreakLeafSignature = true }
	// BadSignature makes the package's signature wrong.
	BadSignature Change = func(s *KeyPackageSpec) { s.BreakSignature = true }
)

// Lifetime sets the bounds of the lifetime.
func Lifetime(notBefore, notAfter time.Time) Change {
	return func(s *KeyPackageSpec) {
		s.NotBefore, s.NotAfter = uint64(notBefore.Unix()), uint64(notAfter.Unix()) //nolint:gosec // after 1970
	}
}

// Identity sets what the credential says.
func Identity(identity string) Change {
	return func(s *KeyPackageSpec) { s.Identity = []byte(identity) }
}

// KeyPackage is a made key package with what it can be named by.
type KeyPackage struct {
	// Bytes is the package in an MLSMessage, or bare if asked for.
	Bytes []byte
	// Ref is its RFC 9420 reference, Hash the SHA-256 of Bytes in hex.
	Ref  mls.KeyPackageRef
	Hash string
	// InitKey is the package's init key.
	InitKey []byte

	body []byte
}

// Text is the package as text fields carry it.
func (k *KeyPackage) Text() string { return base64.StdEncoding.EncodeToString(k.Bytes) }

// KeyPackage makes a key package whose lifetime began an hour before now and ends 30
// days after, with the changes applied in order.
func (c *Client) KeyPackage(now time.Time, changes ...Change) *KeyPackage {
	s := KeyPackageSpec{
		Version: 1, Suite: c.Suite, InitKey: newKEMKey(c.Suite), Identity: []byte(c.Identity()),
		EncryptionKey: newKEMKey(c.Suite), SignatureKey: c.SignatureKey,
		Versions: []uint16{1}, Suites: []uint16{uint16(c.Suite)}, ExtensionTypes: []uint16{uint16(mls.ExtensionLastResort)},
		Credentials: []uint16{1}, CredentialType: mls.CredentialBasic, Source: mls.LeafKeyPackage, Proposals: c.Proposals,
	}
	Lifetime(now.Add(-time.Hour), now.Add(30*24*time.Hour))(&s)
	for _, change := range changes {
		change(&s)
	}
	return c.makeKeyPackage(&s)
}

func (c *Client) makeKeyPackage(s *KeyPackageSpec) *KeyPackage {
	var e encoder
	e.u16(s.Version)
	e.u16(uint16(s.Suite))
	e.vec(s.InitKey)
	e.raw(c.leaf(s, nil, 0, nil))
	e.extensions(s.Extensions)
	signature := sign(c.key, "KeyPackageTBS", e)
	if s.BreakSignature {
		signature[len(signature)-1] ^= 1
	}
	e.vec(signature)
	k := &KeyPackage{Bytes: e, InitKey: s.InitKey, body: e}
	if !s.Bare {
		k.Bytes = wrap(mls.FormatKeyPackage, e)
	}
	var label encoder
	label.vec([]byte("MLS 1.0 KeyPackage Reference"))
	label.vec(e)
	whole := sha256.Sum256(k.Bytes)
	k.Ref, k.Hash = mls.KeyPackageRef(sum(s.Suite, label)), hex.EncodeToString(whole[:])
	return k
}

// leaf encodes and signs a LeafNode. Group id, index and parent hash are for
// sources other than a key package.
func (c *Client) leaf(s *KeyPackageSpec, groupID []byte, index uint32, parentHash []byte) []byte {
	var e encoder
	e.vec(s.EncryptionKey)
	e.vec(s.SignatureKey)
	e.u16(uint16(s.CredentialType))
	e.vec(s.Identity)
	for _, list := range [][]uint16{s.Versions, s.Suites, s.ExtensionTypes, s.Proposals, s.Credentials} {
		e.u16s(list)
	}
	e.u8(uint8(s.Source))
	switch s.Source {
	case mls.LeafKeyPackage:
		e.u64(s.NotBefore)
		e.u64(s.NotAfter)
	case mls.LeafCommit:
		e.vec(parentHash)
	case mls.LeafUpdate:
	}
	e.extensions(s.LeafExtensions)
	tbs := append(encoder{}, e...)
	if s.Source != mls.LeafKeyPackage {
		tbs.vec(groupID)
		tbs.u32(index)
	}
	signature := sign(c.key, "LeafNodeTBS", tbs)
	if s.BreakLeafSignature {
		signature[len(signature)-1] ^= 1
	}
	e.vec(signature)
	return e
}

// pathLeaf encodes the leaf of an UpdatePath.
func (c *Client) pathLeaf(g Group, index uint32, parentHash []byte) []byte {
	return c.leaf(&KeyPackageSpec{
		Identity: []byte(c.Identity()), EncryptionKey: newKEMKey(c.Suite), SignatureKey: c.SignatureKey,
		Versions: []uint16{1}, Suites: []uint16{uint16(c.Suite)}, Credentials: []uint16{1}, Proposals: c.Proposals,
		ExtensionTypes: []uint16{uint16(mls.ExtensionLastResort)}, CredentialType: mls.CredentialBasic, Source: mls.LeafCommit,
	}, g.ID, index, parentHash)
}

// groupLeaf encodes a leaf that the client makes for itself within a group.
func (c *Client) groupLeaf(source mls.LeafSource, g Group, index uint32, broken bool) []byte {
	return c.leaf(&KeyPackageSpec{
		Identity: []byte(c.Identity()), EncryptionKey: newKEMKey(c.Suite), SignatureKey: c.SignatureKey,
		Versions: []uint16{1}, Suites: []uint16{uint16(c.Suite)}, Credentials: []uint16{1}, Proposals: c.Proposals,
		CredentialType: mls.CredentialBasic, Source: source, BreakLeafSignature: broken,
	}, g.ID, index, Random(32))
}

// ReadKeyPackage is a key package that was made before, out of its bytes in an MLSMessage.
func ReadKeyPackage(message []byte) *KeyPackage {
	parsed, err := mls.ParseKeyPackage(message)
	if err != nil {
		panic(err)
	}
	whole := sha256.Sum256(message)
	return &KeyPackage{Bytes: message, Ref: parsed.Ref(), Hash: hex.EncodeToString(whole[:]), InitKey: parsed.InitKey, body: Unwrap(message)}
}
