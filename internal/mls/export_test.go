package mls

import "slices"

// What the vector tests need of the inside.

func RefHashForTest(s CipherSuite, label string, value []byte) []byte {
	return refHash(s, label, value)
}

func VerifyWithLabelForTest(s CipherSuite, key, sig []byte, label string, content []byte) bool {
	return s.verifyWithLabel(key, sig, label, content)
}

// LengthForTest reads a vector's length without asking for its bytes.
func LengthForTest(header []byte, have int) (int, error) {
	var f failure
	r := newReader(append(slices.Clip(header), make([]byte, have)...), &f)
	n := r.length()
	return n, r.err()
}

// PartForTest parses a bare struct of RFC 9420 and returns the bytes it took for one.
func PartForTest(kind string, b []byte) error {
	var f failure
	r := newReader(b, &f)
	switch kind {
	case "commit":
		readCommit(&r)
	case "proposal":
		readProposal(&r)
	case "leaf":
		readLeafNode(&r)
	case "extensions":
		readExtensions(&r)
	case "psk":
		readPSK(&r)
	default:
		panic("unknown part " + kind)
	}
	r.finish()
	return r.err()
}

// AuthenticatedContentForTest parses an AuthenticatedContent (RFC 9420 6.1) that
// is framed for a PublicMessage or PrivateMessage and holds a commit.
func AuthenticatedContentForTest(b []byte) (content, signature, tag []byte, err error) {
	var f failure
	r := newReader(b, &f)
	r.u16()
	m := readPublicContent(&r)
	m.Signature = r.opaque(0)
	tag = r.opaque(0)
	r.finish()
	return b[:2+len(m.content)], m.Signature, tag, r.err()
}

// ReadSendForTest parses a ciphertext and judges it at once.
func ReadSendForTest(ciphertext []byte, declared, grace Epoch, g GroupState) (*Sent, error) {
	s := ParseSend(ciphertext)
	return s.Judge(declared, grace, g)
}
