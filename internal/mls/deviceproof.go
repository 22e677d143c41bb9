package mls

// DeviceProof is what a device signs to let a change of its user's devices happen.
type DeviceProof struct {
	User DID
	// Removed is the device that goes, "" for none; Added is the signature key that comes, nil for
	// none.
	Removed DeviceID
	Added   []byte
}

// deviceProofLabel is that of SignWithLabel (RFC 9420 5.1.2).
const deviceProofLabel = "mls-server device change"

// Content is the Content that SignWithLabel signs under the label "mls-server device change": three
// vectors, the DID, the id of the device that goes and the signature key that comes. What there is
// none of is empty.
func (p *DeviceProof) Content() []byte {
	var b []byte
	for _, part := range [][]byte{[]byte(p.User), []byte(p.Removed), p.Added} {
		b = append(appendLength(b, len(part)), part...)
	}
	return b
}

// Verify reports whether a signature is a device's. The length of its signature key tells the
// algorithm: no two suites with keys of one length sign differently.
func (p *DeviceProof) Verify(key, signature []byte) bool {
	suite, ok := SignatureKeySuite(key)
	return ok && suite.verifyWithLabel(key, signature, deviceProofLabel, p.Content())
}

// SignatureKeySuite returns a suite that has signature keys of this length, and whether there is
// one. Points may be compressed.
func SignatureKeySuite(key []byte) (CipherSuite, bool) {
	for _, s := range CipherSuites() {
		spec := s.spec()
		if len(key) == spec.sigKey || spec.curve != nil && len(key) == (spec.sigKey+1)/2 {
			return s, true
		}
	}
	return 0, false
}

// CheckSignatureKey judges the signature key of a device that has no key package yet. The error is
// a Code.
func (p *KeyPackagePolicy) CheckSignatureKey(key []byte) error {
	suite, ok := SignatureKeySuite(key)
	if !ok {
		return CodeBadKeySize
	}
	if code := suite.checkSignatureKey(key, p.AllowCompressedKeys); code != 0 {
		return code
	}
	return nil
}
