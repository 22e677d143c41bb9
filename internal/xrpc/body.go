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

// bodyBudget bounds the memory that large bodies take together, those of
// requests while they are read and used, those of answers while they are written.
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
	data []byte
	// owned: data comes from no pool, so that the endpoint may do with it as it likes.
	owned   bool
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
	return s.readLarge(r.Context(), src, want, limit)
}

// readLarge reads a body of which want bytes are expected at most. It reserves
// memory as bytes arrive and not as they are announced, so that clients that
// announce much and send nothing take nothing from others.
func (s *Server) readLarge(ctx context.Context, src io.Reader, want, limit int64) (body, error) {
	b := body{owned: true}
	var held, size int64
	b.release = func() { s.bodies.sem.Release(held) }
	for {
		// One spare byte lets the read loop see the end without growing.
		if size = max(size*growth, smallBody); size >= wholeBody || size > want {
			size = want + 1
		}
		if err := s.bodies.hold(ctx, &held, bodyMemory(size, size > want)); err != nil {
			b.release()
			return body{}, err
		}
		b.data = append(make([]byte, 0, size), b.data...)
		done, err := fill(&b.data, src, limit)
		if done {
			// Of a body without a length only now is known how large it is.
			err = s.bodies.hold(ctx, &held, bodyMemory(int64(len(b.data)), true))
		} else if err == nil && size > want {
			err = errTooLarge // more came than was announced, or than the cap allows
		}
		switch {
		case err != nil:
			b.release()
			return body{}, err
		case done:
			return b, nil
		}
	}
}

// bodyMemory is how much is reserved for a buffer of size bytes. The first one
// counts as it is: nothing has arrived yet. The next ones count twice, with those
// that they replace. The one that takes the whole body counts six times: the
// text, which is decoded over itself, the frame in which it goes to the database,
// and as much again that the collector has not taken back yet. So the budget is
// what the process grows by (bench/REPORT.md).
func bodyMemory(size int64, whole bool) int64 {
	switch {
	case size <= smallBody:
		return size
	case whole:
		return 6 * size
	}
	return 2 * size
}

const (
	// growth is by how much more of a large body is read once what was reserved is full.
	growth = 4
	// wholeBody is the size from which on a step takes the whole body.
	wholeBody = 4 << 20
)

// hold makes what is held n bytes, or all that there are if n is more.
func (b *bodyBudget) hold(ctx context.Context, held *int64, n int64) error {
	more := min(n, b.size) - *held
	if more < 0 {
		b.sem.Release(-more)
	} else if err := b.acquire(ctx, more); err != nil {
		return err
	}
	*held += more
	return nil
}

// acquire takes n bytes of the budget, or fails with errBusy after bodyWait.
func (b *bodyBudget) acquire(ctx context.Context, n int64) error {
	ctx, cancel := context.WithTimeout(ctx, bodyWait)
	defer cancel()
	if err := b.sem.Acquire(ctx, n); err != nil {
		return errBusy
	}
	return nil
}

func (b *bodyBudget) put(buf *[]byte) {
	if cap(*buf) > smallBody*2 {
		return
	}
	clear(*buf) // the rest was never written to
	b.pool.Put(buf)
}

// readUpTo appends all of src to buf, or fails with errTooLarge past limit bytes.
func readUpTo(buf []byte, src io.Reader, limit int64) ([]byte, error) {
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		if done, err := fill(&buf, src, limit); done || err != nil {
			return buf, err
		}
	}
}

// fill reads from src until buf is full, and reports whether src has ended. It
// fails with errTooLarge past limit bytes.
func fill(buf *[]byte, src io.Reader, limit int64) (done bool, err error) {
	for len(*buf) < cap(*buf) {
		n, err := src.Read((*buf)[len(*buf):cap(*buf)])
		*buf = (*buf)[:len(*buf)+n]
		if int64(len(*buf)) > limit {
			return false, errTooLarge
		}
		switch {
		case errors.Is(err, io.EOF):
			return true, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			return false, errTimeout
		case err != nil:
			return false, errBadBody
		}
	}
	return false, nil
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

const (
	// netHTTPReads is how much of a body net/http reads by itself after its handler.
	netHTTPReads = 256 << 10
	// lingerSize is how much more is read of a request that is refused, and
	// lingerWait for how long.
	lingerSize = 32 << 20
	lingerWait = 10 * time.Second
)

// linger reads what is left of a refused request, and drops it. Many clients
// read no answer before they have sent all; net/http would close the connection
// on them, and they would see a broken one in the place of the answer. A client
// that asks first (Expect: 100-continue) has nothing under way.
func (x *exchange) linger() {
	left := x.r.ContentLength < 0 || x.r.ContentLength > netHTTPReads
	if x.m == nil || x.m.Input == "" || !left || x.abrupt || x.r.Header.Get("Expect") != "" {
		return
	}
	_ = http.NewResponseController(x.w).SetReadDeadline(x.s.opt.Clock.Now().Add(lingerWait)) // without one, the server's holds
	_, _ = io.CopyN(io.Discard, x.r.Body, lingerSize)                                        // whatever it is, it is refused
}

// hasBody reports whether the client announced a request body.
func hasBody(r *http.Request) bool {
	return r.ContentLength > 0 || (r.ContentLength < 0 && r.Body != nil && r.Body != http.NoBody)
}

// checkContentType compares the request's content type with what the method takes.
func checkContentType(m *lexrt.Method, r *http.Request) (string, error) {
	header := r.Header.Get("Content-Type")
	switch header {
	case "":
		return "", errNoContentType
	case m.Input: // no need to parse what nearly all clients send
		return header, nil
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
