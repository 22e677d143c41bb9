package xrpc

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"

	"mls-server/lexrt"
)

func (x *exchange) begin(status int) {
	x.began = true
	x.event.Status = status
	x.w.WriteHeader(status)
}

// encodeBuffers hold encoded answers. Buffers above 1 MiB are not kept.
var encodeBuffers = sync.Pool{New: func() any { b := make([]byte, 0, 4096); return &b }}

func (x *exchange) writeJSON(resp lexrt.Response) error {
	if resp == nil {
		x.w.Header().Set("Content-Length", "0")
		x.begin(http.StatusOK)
		return nil
	}
	if x.s.opt.PadBytes {
		resp = lexrt.Padded(resp)
	}
	buf, _ := encodeBuffers.Get().(*[]byte)
	*buf = resp.AppendJSON((*buf)[:0])
	if err := x.writeAnswer(*buf); err != nil {
		return err
	}
	if cap(*buf) <= 1<<20 {
		clear(*buf)
		encodeBuffers.Put(buf)
	}
	return nil
}

// writeAnswer writes a successful answer. A large one counts as memory until
// the client has read it, and each piece of it has its time: a client that stops
// reading is cut off.
func (x *exchange) writeAnswer(data []byte) error {
	if len(data) <= smallBody {
		x.writeBody(http.StatusOK, data)
		return nil
	}
	size, compressed := int64(len(data)), false
	if len(data) > largeAnswer {
		x.w.Header()["Vary"] = varyEncoding
		compressed = acceptsGzip(x.r) && x.r.Method != http.MethodHead
	}
	if compressed {
		size += size / 4 * 3
	}
	mem := claim{b: x.s.answers, account: x.account}
	if err := mem.hold(x.r.Context(), size); err != nil {
		return err
	}
	defer mem.release()
	if compressed {
		small, err := compress(data)
		if err != nil {
			return err
		}
		x.w.Header()["Content-Encoding"], data = gzipCoding, small
	}
	x.writeBody(http.StatusOK, data)
	return nil
}

// writePieces writes data piece by piece, with a deadline for each. What is one
// piece has the time that the HTTP server gives to any answer.
func (x *exchange) writePieces(data []byte) (written int, err error) {
	if len(data) <= smallBody {
		return x.w.Write(data) //nolint:gosec // as below
	}
	rc := http.NewResponseController(x.w)
	for len(data) > 0 && err == nil {
		if err := rc.SetWriteDeadline(x.s.opt.Clock.Now().Add(writeWait)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return written, err
		}
		var n int
		n, err = x.w.Write(data[:min(len(data), smallBody)]) //nolint:gosec // JSON by a generated codec, sent as application/json with nosniff
		written, data = written+n, data[n:]
	}
	return written, err
}

func (x *exchange) writeBody(status int, data []byte) {
	h := x.w.Header()
	h["Content-Type"] = jsonType
	h["Content-Length"] = []string{strconv.Itoa(len(data))}
	x.begin(status)
	if x.r.Method == http.MethodHead {
		return
	}
	n, err := x.writePieces(data)
	x.event.BytesOut = int64(n)
	if err != nil {
		x.event.Error = "ClientGone"
	}
}

// statusClientClosed is logged when the client went away before an answer.
const statusClientClosed = 499

// fail answers with an error, or cuts the connection where no answer is possible:
// when one has begun, or when the client is gone, from which whatever failed
// followed. It never returns without either, since net/http would make a success
// of silence.
func (x *exchange) fail(err error) {
	pub, fault := x.publicError(err)
	// A body that cannot be read ends the request's context like a client that leaves.
	unread := errors.Is(err, errTimeout) || errors.Is(err, errBadBody)
	if x.r.Context().Err() != nil && !x.began && !unread {
		x.event.Status, x.event.Error = statusClientClosed, "ClientGone"
		panic(http.ErrAbortHandler)
	}
	if fault {
		x.fault = err
	}
	x.event.Error = pub.Name
	if x.began {
		x.event.Status = pub.Status
		panic(http.ErrAbortHandler)
	}
	x.linger()
	x.writeError(pub)
	x.event.Error = pub.Name
}

func (x *exchange) writeError(pub *lexrt.Error) {
	h := x.w.Header()
	if pub.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(ceilSeconds(pub.RetryAfter)))
	}
	if pub.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="atproto"`)
	}
	if x.abrupt {
		h.Set("Connection", "close") // what follows on it would be the rest of this request
	}
	if pub.Details != nil && x.s.opt.PadBytes {
		padded := *pub
		padded.Details = lexrt.Padded(pub.Details)
		pub = &padded
	}
	x.writeBody(pub.Status, pub.AppendJSON(make([]byte, 0, 128)))
}

// countingWriter counts what a raw endpoint writes and notes that the answer has begun.
type countingWriter struct {
	w     io.Writer
	n     *int64
	began *bool
}

func (c *countingWriter) Write(p []byte) (int, error) {
	*c.began = true
	n, err := c.w.Write(p)
	*c.n += int64(n)
	return n, err
}
