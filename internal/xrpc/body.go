package xrpc

import (
	"compress/gzip"
	"compress/zlib"
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"mls-server/lexrt"
)

// Bodies up to smallBody bytes come from a pool and are not counted.
const smallBody = 64 << 10

// bodyWait is how long a large request waits for memory before it is told to come back.
const bodyWait = 2 * time.Second

// bodyBudget bounds the memory that large request bodies take together.
type bodyBudget struct {
	size int64
	sem  *semaphore.Weighted
	pool sync.Pool
}

func newBodyBudget(size int64) *bodyBudget {
	return &bodyBudget{
		size: size,
		sem:  semaphore.NewWeighted(size),
		pool: sync.Pool{New: func() any { b := make([]byte, 0, smallBody); return &b }},
	}
}

// body is a request body in memory. Release gives its memory back.
type body struct {
	data    []byte
	release func()
}

// readBody reads and decompresses the request body within the method's cap.
func (s *Server) readBody(r *http.Request, limit int64) (body, error) {
	if r.ContentLength > limit {
		return body{}, errTooLarge
	}
	src, encoded, err := decompress(r)
	if err != nil {
		return body{}, err
	}
	want := r.ContentLength
	if want < 0 || encoded {
		want = limit
	}
	if want <= smallBody {
		buf, _ := s.bodies.pool.Get().(*[]byte)
		data, err := readUpTo((*buf)[:0], src, limit)
		*buf = data
		b := body{data: data, release: func() { s.bodies.put(buf) }}
		if err != nil {
			b.release()
			return body{}, err
		}
		return b, nil
	}
	weight := min(want, s.bodies.size)
	ctx, cancel := context.WithTimeout(r.Context(), bodyWait)
	defer cancel()
	if err := s.bodies.sem.Acquire(ctx, weight); err != nil {
		return body{}, errBusy
	}
	capacity := int64(smallBody)
	if !encoded && r.ContentLength > 0 {
		// One spare byte lets the read loop see the end without growing.
		capacity = r.ContentLength + 1
	}
	data, err := readUpTo(make([]byte, 0, capacity), src, limit)
	if err != nil {
		s.bodies.sem.Release(weight)
		return body{}, err
	}
	return body{data: data, release: func() { s.bodies.sem.Release(weight) }}, nil
}

func (b *bodyBudget) put(buf *[]byte) {
	if cap(*buf) > smallBody*2 {
		return
	}
	clear((*buf)[:cap(*buf)])
	b.pool.Put(buf)
}

// readUpTo appends all of src to buf, or fails with errTooLarge past limit bytes.
func readUpTo(buf []byte, src io.Reader, limit int64) ([]byte, error) {
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := src.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if int64(len(buf)) > limit {
			return buf, errTooLarge
		}
		switch {
		case errors.Is(err, io.EOF):
			return buf, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			return buf, errTimeout
		case err != nil:
			return buf, errBadBody
		}
	}
}

// decompress returns a reader of the plain body and whether it was encoded.
func decompress(r *http.Request) (io.Reader, bool, error) {
	switch strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding"))) {
	case "", "identity":
		return r.Body, false, nil
	case "gzip", "x-gzip":
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			return nil, false, errBadBody
		}
		return z, true, nil
	case "deflate":
		z, err := zlib.NewReader(r.Body)
		if err != nil {
			return nil, false, errBadBody
		}
		return z, true, nil
	}
	return nil, false, errContentEncoding
}

// streamBody is the plain body for a handler that reads it by itself. Past
// limit bytes its Read fails with *http.MaxBytesError, which publicError knows.
func streamBody(w http.ResponseWriter, r *http.Request, limit int64) (io.Reader, error) {
	if r.ContentLength > limit {
		return nil, errTooLarge
	}
	src, _, err := decompress(r)
	if err != nil {
		return nil, err
	}
	return http.MaxBytesReader(w, io.NopCloser(src), limit), nil
}

// hasBody reports whether the client announced a request body.
func hasBody(r *http.Request) bool {
	return r.ContentLength > 0 || (r.ContentLength < 0 && r.Body != nil && r.Body != http.NoBody)
}

// checkContentType compares the request's content type with what the method takes.
func checkContentType(m *lexrt.Method, r *http.Request) (string, error) {
	header := r.Header.Get("Content-Type")
	if header == "" {
		return "", errNoContentType
	}
	got, _, err := mime.ParseMediaType(header)
	if err != nil {
		return "", errContentType
	}
	if got == m.Input || m.Input == "*/*" {
		return got, nil
	}
	if family, ok := strings.CutSuffix(m.Input, "/*"); ok && strings.HasPrefix(got, family+"/") {
		return got, nil
	}
	return "", errContentType
}
