package mls

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
)

// SendKeySize is the length of a key for sealed sends in bytes, and of a proof by one.
const SendKeySize = 32

// MaxSealedSize is the size of the largest ciphertext of a sealed send in bytes.
const MaxSealedSize = 1 << 20

// sealedLabel begins what a proof is over. It is also the label of MLS-Exporter (RFC 9420 8.5) by
// which members derive the key.
const sealedLabel = "mls-server sealed send"

// SendKey is a key for sealed sends in an epoch: who knows it is a member of the group.
type SendKey [SendKeySize]byte

// ParseSendKey returns the key that a request brings, nil for none. Its length is the decoder's
// matter.
func ParseSendKey(key []byte) *SendKey {
	if len(key) != SendKeySize {
		return nil
	}
	return (*SendKey)(key)
}

// SealedStatement is what a proof of a sealed send is over: everything that decides what is stored
// and where.
type SealedStatement struct{ text []byte }

// NewSealedStatement returns the statement of a message. The conversation is named as the sender
// names it.
func NewSealedStatement(convo string, epoch Epoch, id MessageID, ciphertext []byte) SealedStatement {
	sum := sha256.Sum256(ciphertext)
	b := make([]byte, 0, len(sealedLabel)+4+len(convo)+8+4+len(id)+len(sum))
	b = append(b, sealedLabel...)
	b = append(binary.BigEndian.AppendUint32(b, uint32(len(convo))), convo...) //nolint:gosec // a field of a request
	b = binary.BigEndian.AppendUint64(b, uint64(epoch))                        //nolint:gosec // epochs are not negative
	b = append(binary.BigEndian.AppendUint32(b, uint32(len(id))), id...)       //nolint:gosec // a field of a request
	return SealedStatement{append(b, sum[:]...)}
}

// Prove returns the proof under a key: HMAC-SHA256.
func (s SealedStatement) Prove(key *SendKey) []byte {
	mac := hmac.New(sha256.New, key[:])
	mac.Write(s.text)
	return mac.Sum(nil)
}

// Proves reports whether a proof is one under any of the keys. It takes as long whichever it is,
// and when it is none.
func (s SealedStatement) Proves(proof []byte, keys []SendKey) bool {
	found := 0
	for i := range keys {
		found |= subtle.ConstantTimeCompare(s.Prove(&keys[i]), proof)
	}
	return found == 1
}

// CheckSealedSizes is CheckSizes for sealed sends, which are smaller.
func CheckSealedSizes(ciphertextLen int, paddedSize int64) error {
	if ciphertextLen > MaxSealedSize || paddedSize > MaxSealedSize {
		return ErrMessageTooLarge
	}
	return CheckSizes(ciphertextLen, paddedSize, nil)
}
