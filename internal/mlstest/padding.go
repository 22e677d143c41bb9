package mlstest

import "encoding/binary"

// PaddedSize is the smallest size of the contract that holds n bytes.
func PaddedSize(n int) int {
	for size := 512; size <= 8192; size *= 2 {
		if n <= size {
			return size
		}
	}
	return (n + 8191) / 8192 * 8192
}

// PadDirect appends zeros to a message, up to the size, or to the smallest that
// holds it when size is 0.
func PadDirect(message []byte, size int) []byte {
	if size == 0 {
		size = PaddedSize(len(message))
	}
	padded := make([]byte, size)
	if copy(padded, message) < len(message) {
		panic("mlstest: the message does not fit")
	}
	return padded
}

// PadPrefixed puts the message's length before it, in 4 bytes, and zeros behind
// it, up to the size, or to the smallest that holds it when size is 0.
func PadPrefixed(message []byte, size int) []byte {
	prefixed := binary.BigEndian.AppendUint32(nil, uint32(len(message))) //nolint:gosec // no test makes 4 GiB
	return PadDirect(append(prefixed, message...), size)
}
