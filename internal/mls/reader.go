package mls

import (
	"golang.org/x/crypto/cryptobyte"
)

// Caps that bound the work and the memory one object may cost, applied before
// anything is allocated for it.
const (
	maxGroupID      = 255   // bytes
	maxIdentity     = 512   // bytes of a basic credential
	maxCertificates = 16    // certificates of an x509 credential
	maxCapabilities = 64    // entries of one capability list
	maxExtensions   = 32    // extensions of one list
	maxWelcomeRefs  = 4096  // new members of one Welcome
	maxProposals    = 4096  // proposals of one commit
	maxTreeNodes    = 16383 // nodes of a ratchet tree: 8192 leaves
	// nodes of an UpdatePath: the depth of any tree with 32-bit leaf indices
	maxPathNodes  = 32
	maxPathCopies = 8192 // ciphertexts of one path node, at most one a leaf
)

// failure is the first thing that went wrong. All readers of one object share it.
type failure struct {
	code Code
	at   int
}

// reader walks over the bytes of one object. It adds to a cryptobyte.String what that lacks: RFC
// 9420's variable-size vectors, positions for error messages, and a sticky first error, so that the
// parsers read like the structs of the RFC. After a failure all reads return zero values.
type reader struct {
	all  []byte            // the whole input, so that raw parts can be cut out of it
	rest cryptobyte.String // the unread part of this reader's range
	end  int               // where the range ends in all
	fail *failure
}

func newReader(b []byte, f *failure) reader {
	return reader{all: b, rest: b, end: len(b), fail: f}
}

func (r *reader) ok() bool { return r.fail.code == 0 }

// at is the position of the next byte in the whole input.
func (r *reader) at() int { return r.end - len(r.rest) }

// more reports whether another element of a vector follows.
func (r *reader) more() bool { return r.ok() && len(r.rest) > 0 }

// refuse records the failure unless there is one already.
func (r *reader) refuse(c Code, at int) {
	if r.ok() {
		*r.fail = failure{c, at}
	}
	r.rest = nil
}

// err returns the first failure as an error.
func (r *reader) err() error {
	if r.ok() {
		return nil
	}
	return &WireError{Code: r.fail.code, Offset: r.fail.at}
}

// finish refuses bytes that nothing has read.
func (r *reader) finish() {
	if r.more() {
		r.refuse(CodeTrailingBytes, r.at())
	}
}

// since returns the input from a position to the next byte. Its capacity ends with it.
func (r *reader) since(start int) []byte {
	if !r.ok() {
		return nil
	}
	end := r.at()
	return r.all[start:end:end]
}

func (r *reader) u8() (v uint8) {
	if at := r.at(); !r.ok() || !r.rest.ReadUint8(&v) {
		r.refuse(CodeTruncated, at)
	}
	return v
}

func (r *reader) u16() (v uint16) {
	if at := r.at(); !r.ok() || !r.rest.ReadUint16(&v) {
		r.refuse(CodeTruncated, at)
	}
	return v
}

func (r *reader) u32() (v uint32) {
	if at := r.at(); !r.ok() || !r.rest.ReadUint32(&v) {
		r.refuse(CodeTruncated, at)
	}
	return v
}

func (r *reader) u64() (v uint64) {
	if at := r.at(); !r.ok() || !r.rest.ReadUint64(&v) {
		r.refuse(CodeTruncated, at)
	}
	return v
}

// epoch reads an epoch and refuses what storage cannot hold.
func (r *reader) epoch() Epoch {
	at := r.at()
	v := r.u64()
	if v > 1<<63-1 {
		r.refuse(CodeEpochTooLarge, at)
		return 0
	}
	return Epoch(v)
}

// optional reads the presence byte of an optional value.
func (r *reader) optional() bool {
	at := r.at()
	switch r.u8() {
	case 0:
		return false
	case 1:
		return r.ok()
	}
	r.refuse(CodeBadOptional, at)
	return false
}

// length reads the length of a vector (RFC 9420 2.1.2) and checks that so many bytes follow.
func (r *reader) length() int {
	at := r.at()
	first := r.u8()
	n := int(first & 0x3f)
	size := 1
	switch first >> 6 {
	case 1:
		n, size = n<<8|int(r.u8()), 2
	case 2:
		hi := r.u8()
		n, size = n<<24|int(hi)<<16|int(r.u16()), 4
	case 3:
		r.refuse(CodeLengthPrefix, at)
		return 0
	}
	if r.ok() && (size == 2 && n < 1<<6 || size == 4 && n < 1<<14) {
		r.refuse(CodeLengthNotMinimal, at)
		return 0
	}
	if r.ok() && n > len(r.rest) {
		r.refuse(CodeTruncated, at)
		return 0
	}
	return n
}

// opaque reads opaque<V> of at most limit bytes, 0 for no limit but the input's.
func (r *reader) opaque(limit int) []byte {
	at := r.at()
	n := r.length()
	if limit > 0 && n > limit {
		r.refuse(CodeTooLarge, at)
		return nil
	}
	var v []byte
	if !r.ok() || !r.rest.ReadBytes(&v, n) {
		return nil
	}
	return v[:n:n]
}

// vector reads the length of T<V> and returns a reader over the elements. Whoever
// uses it reads until more reports false.
func (r *reader) vector() reader {
	n := r.length()
	if !r.ok() {
		return reader{all: r.all, end: r.end, fail: r.fail}
	}
	at := r.at()
	sub := reader{all: r.all, rest: r.rest[:n:n], end: at + n, fail: r.fail}
	r.rest = r.rest[n:]
	return sub
}

// uints reads a vector of unsigned integers of size bytes, at most limit, without unpacking it.
func (r *reader) uints(size, limit int) []byte {
	at := r.at()
	v := r.opaque(0)
	switch {
	case len(v)%size != 0:
		r.refuse(CodeTruncated, at)
		return nil
	case len(v)/size > limit:
		r.refuse(CodeTooLarge, at)
		return nil
	}
	return v
}
