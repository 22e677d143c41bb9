package mls

import "slices"

// KeyPackage is what a client publishes so that others can add it to groups
// (RFC 9420 10).
type KeyPackage struct {
	// Raw is the encoded KeyPackage without the header of an MLSMessage: what
	// references are computed over.
	Raw        []byte
	Suite      CipherSuite
	InitKey    []byte
	Leaf       LeafNode
	Extensions Extensions
	Signature  []byte

	tbs []byte
	at  int
}

// KeyPackageRef is the RFC 9420 5.2 reference of a key package: its raw bytes. Clients see it in
// lower-case hex.
type KeyPackageRef string

func readKeyPackage(r *reader) (k KeyPackage) {
	k.at = r.at()
	readVersion(r)
	k.Suite = CipherSuite(r.u16())
	k.InitKey = r.opaque(0)
	k.Leaf = readLeafNode(r)
	k.Extensions = readExtensions(r)
	k.tbs = r.since(k.at)
	k.Signature = r.opaque(0)
	k.Raw = r.since(k.at)
	return k
}

// WrapKeyPackage puts the header of an MLSMessage before a bare key package.
func WrapKeyPackage(raw []byte) []byte {
	return append(slices.Clone(keyPackageHeader), raw...)
}

// LastResort reports whether the package may be handed out more than once (the
// last_resort extension of the MLS extensions draft).
func (k *KeyPackage) LastResort() bool {
	_, ok := k.Extensions.Find(ExtensionLastResort)
	return ok
}

// Ref returns the package's reference by the hash of its own suite. An unknown
// suite has none: the result is "".
func (k *KeyPackage) Ref() KeyPackageRef {
	if !k.Suite.Known() {
		return ""
	}
	return KeyPackageRef(refHash(k.Suite, "MLS 1.0 KeyPackage Reference", k.Raw))
}
