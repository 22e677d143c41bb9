package mls

import "strconv"

const (
	// MinPaddedSize is the smallest size of a message's ciphertext, in bytes.
	MinPaddedSize = 512
	// MaxPaddedSize is the largest size of a message's ciphertext, in bytes: 10 MiB.
	MaxPaddedSize = 10 << 20
	// MaxEphemeralSize is MaxPaddedSize for messages that are stored nowhere: 64 KiB.
	MaxEphemeralSize = 64 << 10
	// paddedStep is the size above which padded sizes are multiples of it.
	paddedStep = 8192
	// MaxEpochGrace is how many epochs back an application message may be, at most.
	MaxEpochGrace = 3
)

// CheckSizes applies the rules for the sizes of a message, in this order: a ciphertext or padded
// size above 10 MiB is ErrMessageTooLarge; the ciphertext is as long as paddedSize says; paddedSize
// is 512, 1024, 2048, 4096, 8192 or a multiple of 8192; declaredSize, when given, is at most
// paddedSize. The last three are ErrInvalidAsset.
func CheckSizes(ciphertextLen int, paddedSize int64, declaredSize *int64) error {
	switch {
	case ciphertextLen > MaxPaddedSize || paddedSize > MaxPaddedSize:
		return ErrMessageTooLarge
	case int64(ciphertextLen) != paddedSize:
		return InvalidAsset("the ciphertext must be as long as paddedSize says")
	case !PaddedSizeOK(paddedSize):
		return InvalidAsset("paddedSize must be 512, 1024, 2048, 4096, 8192 or a multiple of 8192 up to 10485760")
	case declaredSize != nil && (*declaredSize < 0 || *declaredSize > paddedSize):
		return InvalidAsset("declaredSize must not be greater than paddedSize")
	}
	return nil
}

// CheckEphemeralSize is ErrMessageTooLarge for a ciphertext over MaxEphemeralSize.
func CheckEphemeralSize(ciphertextLen int) error {
	if ciphertextLen > MaxEphemeralSize {
		return Detailed(ErrMessageTooLarge, "an ephemeral message has at most 64 KiB")
	}
	return nil
}

// PaddedSizeOK reports whether n is one of the sizes to which messages are padded:
// 512, 1024, 2048, 4096, 8192 or a multiple of 8192 up to 10 MiB.
func PaddedSizeOK(n int64) bool {
	if n < MinPaddedSize || n > MaxPaddedSize {
		return false
	}
	if n >= paddedStep {
		return n%paddedStep == 0
	}
	return n&(n-1) == 0
}

// CheckEpoch reports ErrEpochMismatch unless an object made for epoch have may
// be accepted at epoch want. grace, 0 to MaxEpochGrace, is how many epochs back it may
// be: 0 for commits and proposals. An epoch ahead is never accepted.
func CheckEpoch(have, want, grace Epoch) error {
	if have > want || have < 0 || want-have > min(max(grace, 0), MaxEpochGrace) {
		return EpochMismatch(have, want)
	}
	return nil
}

// CheckEpochRange checks the bounds of getCommits against the conversation's epoch and returns the
// range's end, which is current when to is nil. A commit of epoch n leads to n+1, so from may equal
// current (there is nothing yet). The error is ErrInvalidEpochRange.
func CheckEpochRange(from Epoch, to *Epoch, current Epoch) (Epoch, error) {
	end := current
	if to != nil {
		end = *to
	}
	if from < 0 || from > end || end > current {
		return 0, ErrInvalidEpochRange
	}
	return end, nil
}

// MaxBaseEpoch is the last epoch in which a conversation may start: integers of atproto end at
// 2^53-1, which no group reaches with commits from there.
const MaxBaseEpoch Epoch = 1 << 52

// BaseEpoch returns the epoch in which a new conversation starts: what its creator says; else 1
// when a Welcome comes with it, since the commit that made the Welcome ended epoch 0; else 0. The
// error is ErrInvalidInput for one above MaxBaseEpoch.
func BaseEpoch(given *Epoch, hasWelcome bool) (Epoch, error) {
	switch {
	case given != nil && *given > MaxBaseEpoch:
		return 0, InvalidInput("/currentEpoch", "must be at most "+strconv.FormatInt(int64(MaxBaseEpoch), 10))
	case given != nil:
		return *given, nil
	case hasWelcome:
		return 1, nil
	}
	return 0, nil
}

// PaddingBuckets returns the sizes to which messages are padded, in bytes, ascending. Above the
// last one its multiples are, up to MaxPaddedSize.
func PaddingBuckets() []int64 {
	var sizes []int64
	for n := int64(MinPaddedSize); n <= paddedStep; n *= 2 {
		sizes = append(sizes, n)
	}
	return sizes
}
