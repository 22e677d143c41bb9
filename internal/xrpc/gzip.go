package xrpc

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"hash/crc32"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// largeAnswer is the size from which an answer is compressed for those who ask for it. An atproto
// proxy passes on 10 MiB at most, counted as they come: a message of up to 9 MiB passes this way,
// and less than 7 MiB in any way.
const largeAnswer = 7 << 20

var (
	gzipCoding   = []string{"gzip"}
	varyEncoding = []string{"Accept-Encoding"}
)

// acceptsGzip reports whether the client asks for gzip (RFC 9110 12.5.3).
func acceptsGzip(r *http.Request) bool {
	for _, line := range r.Header.Values("Accept-Encoding") {
		for part := range strings.SplitSeq(line, ",") {
			coding, parameter, _ := strings.Cut(strings.TrimSpace(part), ";")
			if !strings.EqualFold(strings.TrimSpace(coding), "gzip") {
				continue
			}
			q, weighed := strings.CutPrefix(strings.ToLower(strings.TrimSpace(parameter)), "q=")
			weight, err := strconv.ParseFloat(q, 64)
			return !weighed || err == nil && weight > 0
		}
	}
	return false
}

// compressors are for large answers. What is in those is base64 of what looks random: its
// characters take six bits each, and looking for more costs time for nothing.
var compressors = sync.Pool{New: func() any {
	z, _ := gzip.NewWriterLevel(io.Discard, gzip.HuffmanOnly) // the level is one that there is
	return z
}}

// compress returns data compressed.
func compress(data []byte) ([]byte, error) {
	var out bytes.Buffer
	out.Grow(len(data)/4*3 + len(data)/64)
	z, ok := compressors.Get().(*gzip.Writer)
	if !ok {
		z, _ = gzip.NewWriterLevel(io.Discard, gzip.HuffmanOnly)
	}
	defer compressors.Put(z)
	z.Reset(&out)
	if _, err := z.Write(data); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	z.Reset(io.Discard)
	return out.Bytes(), nil
}

// envelope writes a stream as gzip without compressing it (RFC 1951, 3.2.4): what a proxy finds
// encoded it does not encode, and so does not hold back. Nothing of what the lengths of ciphertexts
// hide is told by it, and a stream needs no memory for it: a compressor takes most of a megabyte.
type envelope struct {
	begun bool
	sum   uint32
	size  uint32
	head  [5]byte
}

// maxStored is how much a block holds.
const maxStored = 1<<16 - 1

var (
	gzipHeader = []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff}
	// flushed is an empty block, after which readers have all that came before.
	flushed = []byte{0, 0, 0, 0xff, 0xff}
)

// write writes pieces, flushed at their end. It returns how many bytes they became.
func (e *envelope) write(w io.Writer, pieces ...[]byte) (int64, error) {
	out := counted{w: w}
	if !e.begun {
		e.begun = true
		out.write(gzipHeader)
	}
	left := 0
	for _, piece := range pieces {
		left += len(piece)
		e.sum = crc32.Update(e.sum, crc32.IEEETable, piece)
	}
	e.size += uint32(left) // modulo 2^32, RFC 1952
	room := 0              // in the block that is being written
	for _, piece := range pieces {
		for len(piece) > 0 {
			if room == 0 {
				room = min(left, maxStored)
				left -= room
				binary.LittleEndian.PutUint16(e.head[1:], uint16(room))
				binary.LittleEndian.PutUint16(e.head[3:], ^uint16(room))
				out.write(e.head[:])
			}
			n := min(len(piece), room)
			out.write(piece[:n])
			piece, room = piece[n:], room-n
		}
	}
	out.write(flushed)
	return out.n, out.err
}

// end writes what ends the stream.
func (e *envelope) end(w io.Writer) (int64, error) {
	b := append(make([]byte, 0, 13), 1, 0, 0, 0xff, 0xff) // the last block
	b = binary.LittleEndian.AppendUint32(b, e.sum)
	b = binary.LittleEndian.AppendUint32(b, e.size)
	n, err := w.Write(b)
	return int64(n), err
}

// counted counts what is written, up to the first error.
type counted struct {
	w   io.Writer
	n   int64
	err error
}

func (c *counted) write(b []byte) {
	if c.err != nil {
		return
	}
	var n int
	n, c.err = c.w.Write(b)
	c.n += int64(n)
}
