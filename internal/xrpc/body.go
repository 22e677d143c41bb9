package xrpc

import (
	"compress/gzip"
	"compress/zlib"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"mls-server/lexrt"
)

const (
	// smallBody is the size up to which bodies come from a pool and are not counted.
	smallBody = 64 << 10
	// bodyGrace is how long a body may take to arrive before its pace counts: after
	// that it must have come at bodyPace bytes a second at least, and within bodyTime.
	bodyGrace = 10 * time.Second
	bodyPace  = 4 << 10
	bodyTime  = 2 * time.Minute
	// madeOf is how many times its size a body counts once it is complete: the text,
	// which is decoded over itself, the frame in which it goes to the database, and
	// as much again that the collector has not taken back yet. So the budget is what
	// the process grows by (bench/REPORT.md).
	madeOf = 6
)

// smallBodies keeps the buffers of small bodies.
var smallBodies = sync.Pool{New: func() any { b := make([]byte, 0, smallBody); return &b }}

func keepSmall(buf *[]byte) {
	if cap(*buf) > smallBody*2 {
		return
	}
	clear(*buf) // the rest was never written to
	smallBodies.Put(buf)
}

// body is a request body in memory. Release gives its memory back.
type body struct {
	data []byte
	// owned: data comes from no pool, so that the endpoint may do with it as it likes.
	owned   bool
	release func()
}

// readBody reads and decompresses the request body within the method's cap.
func (x *exchange) readBody() (body, error) {
	limit := x.m.MaxBody
	if x.r.ContentLength > limit {
		return body{}, errTooLarge
	}
	src, encoded, err := x.plainBody()
	if err != nil {
		return body{}, err
	}
	want := x.r.ContentLength
	if want < 0 || encoded {
		want = limit
	}
	if want > smallBody {
		mem := &claim{b: x.s.bodies, account: x.account}
		return readLarge(x.r.Context(), mem, src, want)
	}
	buf, _ := smallBodies.Get().(*[]byte)
	data, err := readUpTo((*buf)[:0], src, limit)
	*buf = data
	if err != nil {
		keepSmall(buf)
		return body{}, err
	}
	return body{data: data, release: func() { keepSmall(buf) }}, nil
}

// readLarge reads a body of want bytes at most. It holds memory for what has
// arrived, and not for what is announced, so that clients that announce much and
// send nothing take nothing from others; what is made of the body is held when
// all of it is there.
func readLarge(ctx context.Context, mem *claim, src io.Reader, want int64) (body, error) {
	b := body{owned: true, release: mem.release}
	fail := func(err error) (body, error) {
		mem.release()
		return body{}, err
	}
	for size := int64(smallBody); ; size *= 2 {
		// One spare byte lets the read loop see the end without growing.
		size = min(size, want+1)
		if err := mem.hold(ctx, int64(cap(b.data))+size); err != nil {
			return fail(err)
		}
		b.data = append(make([]byte, 0, size), b.data...)
		if err := mem.hold(ctx, size); err != nil {
			return fail(err)
		}
		switch done, err := fill(&b.data, src, want); {
		case err != nil:
			return fail(err)
		case done:
			if err := mem.hold(ctx, madeOf*int64(len(b.data))); err != nil {
				return fail(err)
			}
			return b, nil
		}
	}
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
		switch {
		case int64(len(*buf)) > limit:
			return false, errTooLarge
		case errors.Is(err, io.EOF):
			return true, nil
		case err != nil:
			return false, unreadable(err)
		}
	}
	return false, nil
}

// unreadable names what keeps a body from being read.
func unreadable(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errTimeout
	}
	return errBadBody
}

// plainBody returns a reader of the body without its content encoding, and
// whether it had one.
func (x *exchange) plainBody() (io.Reader, bool, error) {
	src := x.paced()
	switch strings.ToLower(strings.TrimSpace(x.r.Header.Get("Content-Encoding"))) {
	case "", "identity":
		return src, false, nil
	case "gzip", "x-gzip":
		z, err := gzip.NewReader(src)
		if err != nil {
			return nil, false, unreadable(err)
		}
		return z, true, nil
	case "deflate":
		z, err := zlib.NewReader(src)
		if err != nil {
			return nil, false, unreadable(err)
		}
		return z, true, nil
	}
	return nil, false, errContentEncoding
}

// streamBody is the plain body for a handler that reads it by itself. Past the
// method's cap its Read fails with *http.MaxBytesError, which publicError knows.
func (x *exchange) streamBody() (io.Reader, error) {
	if x.r.ContentLength > x.m.MaxBody {
		return nil, errTooLarge
	}
	src, _, err := x.plainBody()
	if err != nil {
		return nil, err
	}
	return http.MaxBytesReader(x.w, io.NopCloser(src), x.m.MaxBody), nil
}

// pace reads a request's body, and gives it less time the slower it comes.
type pace struct {
	src   io.Reader
	rc    *http.ResponseController
	start time.Time
	n     int64 // bytes read
	until time.Time
}

// paced is the request's body, whose time begins with the first call.
func (x *exchange) paced() io.Reader {
	if x.body == nil {
		x.body = &pace{src: x.r.Body, rc: http.NewResponseController(x.w), start: x.s.opt.Clock.Now()}
	}
	return x.body
}

// Read implements io.Reader. A body that is too slow fails with os.ErrDeadlineExceeded.
func (p *pace) Read(b []byte) (int, error) {
	allowed := min(bodyGrace+time.Duration(p.n)*time.Second/bodyPace, bodyTime)
	if until := p.start.Add(allowed); until.Sub(p.until) >= time.Second || allowed == bodyTime {
		p.until = until
		_ = p.rc.SetReadDeadline(until) // fails on a connection that is gone, which Read finds out
	}
	n, err := p.src.Read(b)
	p.n += int64(n)
	return n, err
}

// lingerSize is how much is read of a request that is refused.
const lingerSize = 32 << 20

// linger reads what is left of a refused request, and drops it. Many clients
// read no answer before they have sent all; net/http would close the connection
// on them, and they would see a broken one in the place of the answer. A client
// that asks first (Expect: 100-continue) has nothing under way.
func (x *exchange) linger() {
	if x.abrupt || !hasBody(x.r) || x.r.Header.Get("Expect") != "" {
		return
	}
	_, _ = io.CopyN(io.Discard, x.paced(), lingerSize) // whatever it is, it is refused
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
	media, ok := m.Accepts(header)
	if !ok {
		return "", errContentType
	}
	return media, nil
}
