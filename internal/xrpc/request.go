package xrpc

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/bits"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"mls-server/internal/ratelimit"
	"mls-server/lexrt"
)

// exchange is one request and its answer.
type exchange struct {
	s     *Server
	m     *lexrt.Method // nil when no method matched
	w     http.ResponseWriter
	r     *http.Request
	name  string // see id
	start time.Time
	event Event
	began bool // the status line is written
	// abrupt: too many failures came from the client's address to read what is left of this request.
	abrupt bool
	fault  error
}

func (s *Server) begin(m *lexrt.Method, w http.ResponseWriter, r *http.Request) *exchange {
	x := &exchange{s: s, m: m, w: w, r: r, start: s.opt.Clock.Now()}
	if m != nil {
		x.event.Method = m.NSID
	}
	h := w.Header()
	h["Access-Control-Allow-Origin"] = anyOrigin
	h["Access-Control-Expose-Headers"] = exposedHeaders
	h["X-Content-Type-Options"] = noSniff
	h["Cache-Control"] = noStore
	return x
}

// Values of the headers of every answer. They are shared, so they are replaced
// and never changed in place.
var (
	anyOrigin      = []string{"*"}
	exposedHeaders = []string{"RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, RateLimit-Policy, Retry-After"}
	noSniff        = []string{"nosniff"}
	noStore        = []string{"no-store"}
	jsonType       = []string{"application/json; charset=utf-8"}
)

// serve runs one request of a method through the whole pipeline.
func (s *Server) serve(m *lexrt.Method, run func(*exchange, *lexrt.Request) error, w http.ResponseWriter, r *http.Request) {
	x := s.begin(m, w, r)
	defer x.finish(r.Context())
	if r.Method == http.MethodOptions {
		x.options(r.Context())
		return
	}
	if err := x.pipeline(r.Context(), run); err != nil {
		x.fail(err)
	}
}

// pipeline authenticates, counts, reads and decodes, in this order, so that an
// unknown caller costs no more than its token.
func (x *exchange) pipeline(ctx context.Context, run func(*exchange, *lexrt.Request) error) error {
	if err := x.checkVerb(); err != nil {
		return x.unauthenticated(ctx, err)
	}
	caller, err := x.authenticate(ctx)
	if err != nil {
		return x.unauthenticated(ctx, err)
	}
	lim := x.s.opt.Limiter.Take(ctx, x.m.RateClass, caller.DID.String(), 1)
	x.limitHeaders(lim)
	if !lim.Allowed {
		return rateLimited(lim)
	}
	req := lexrt.Request{Caller: caller}
	if x.r.URL.RawQuery != "" {
		if req.Query, err = url.ParseQuery(x.r.URL.RawQuery); err != nil {
			return errBadQuery
		}
	}
	switch x.m.Input {
	case "":
		if hasBody(x.r) {
			return errUnexpectedBody
		}
	default:
		if req.ContentType, err = checkContentType(x.m, x.r); err != nil {
			return err
		}
		if x.m.Input != "application/json" {
			if req.Stream, err = streamBody(x.w, x.r, x.m.MaxBody); err != nil {
				return err
			}
			break
		}
		b, err := x.s.readBody(x.r, x.m.MaxBody)
		if err != nil {
			return err
		}
		defer b.release()
		req.Body, req.BodyOwned = b.data, b.owned
		x.event.BytesIn = int64(len(b.data))
	}
	return run(x, &req)
}

func (x *exchange) authenticate(ctx context.Context) (lexrt.Caller, error) {
	ctx, cancel := context.WithTimeout(ctx, workWait)
	defer cancel()
	return x.s.opt.Authenticator.Authenticate(ctx, x.m, x.r.Header.Get("Authorization"))
}

func (x *exchange) checkVerb() error {
	want := http.MethodGet
	if x.m.Kind == lexrt.Procedure {
		want = http.MethodPost
	}
	if x.r.Method == want || (x.r.Method == http.MethodHead && want == http.MethodGet) {
		return nil
	}
	return lexrt.ErrInvalidRequest.WithMessage("Incorrect HTTP method expected " + want)
}

// unauthenticated counts a failure that has no caller against the client's
// address. Only failures are counted: callers behind one address whose tokens
// are good never meet this limit.
func (x *exchange) unauthenticated(ctx context.Context, err error) error {
	lim := x.s.opt.Limiter.Take(ctx, ratelimit.ClassIP, x.s.opt.ClientIP(x.r), 1)
	if !lim.Allowed {
		x.abrupt = true
		x.limitHeaders(lim)
		return rateLimited(lim)
	}
	return err
}

// takeIP counts the request against the client's address and answers 429 when that is used up.
func (x *exchange) takeIP(ctx context.Context) bool {
	lim := x.s.opt.Limiter.Take(ctx, ratelimit.ClassIP, x.s.opt.ClientIP(x.r), 1)
	if !lim.Allowed {
		x.limitHeaders(lim)
		x.fail(rateLimited(lim))
	}
	return lim.Allowed
}

func rateLimited(lim ratelimit.Result) error {
	wait := max(lim.RetryAfter, time.Second)
	return retryLater(lexrt.ErrRateLimitExceeded.WithMessage(fmt.Sprintf("Rate Limit Exceeded; try again in %d seconds", ceilSeconds(wait))), wait)
}

// limitHeaders sets the headers of draft-ietf-httpapi-ratelimit-headers, under
// the names that net/http would give them, without a copy of each.
func (x *exchange) limitHeaders(lim ratelimit.Result) {
	limit := strconv.Itoa(lim.Limit)
	values := []string{
		limit, strconv.Itoa(max(lim.Remaining, 0)), strconv.FormatInt(lim.Reset.Unix(), 10),
		limit + ";w=" + strconv.FormatInt(int64(lim.Window/time.Second), 10),
	}
	h := x.w.Header()
	for i, name := range [...]string{"Ratelimit-Limit", "Ratelimit-Remaining", "Ratelimit-Reset", "Ratelimit-Policy"} {
		h[name] = values[i : i+1 : i+1]
	}
}

// options answers CORS preflights and plain OPTIONS requests.
func (x *exchange) options(ctx context.Context) {
	if !x.takeIP(ctx) {
		return
	}
	allow := "GET,HEAD"
	if x.m.Kind == lexrt.Procedure {
		allow = "POST"
	}
	h := x.w.Header()
	h.Set("Allow", allow)
	h.Set("Access-Control-Allow-Methods", allow)
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Content-Encoding, Last-Event-ID, Atproto-Accept-Labelers")
	h.Set("Access-Control-Max-Age", "86400")
	x.begin(http.StatusOK)
}

func (x *exchange) begin(status int) {
	x.began = true
	x.event.Status = status
	x.w.WriteHeader(status)
}

// encodeBuffers hold encoded answers. Larger ones than 1 MiB are left to the collector.
var encodeBuffers = sync.Pool{New: func() any { b := make([]byte, 0, 4096); return &b }}

func (x *exchange) writeJSON(resp lexrt.Response) error {
	if resp == nil {
		x.w.Header().Set("Content-Length", "0")
		x.begin(http.StatusOK)
		return nil
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
// the client has read it, and each piece of it has its time: who stops reading
// is cut off.
func (x *exchange) writeAnswer(data []byte) error {
	if len(data) <= smallBody {
		x.writeBody(http.StatusOK, data)
		return nil
	}
	size := min(int64(len(data)), x.s.bodies.size)
	if err := x.s.bodies.acquire(x.r.Context(), size); err != nil {
		return err
	}
	defer x.s.bodies.sem.Release(size)
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

// fail answers with an error. After the answer has begun it can only cut the connection.
func (x *exchange) fail(err error) {
	if ctxErr := x.r.Context().Err(); ctxErr != nil && !x.began {
		// The client is gone or the server stops; whatever failed followed from that.
		x.event.Status, x.event.Error = statusClientClosed, "ClientGone"
		return
	}
	pub, fault := x.publicError(err)
	if fault {
		x.fault = err
	}
	x.event.Error = pub.Name
	if x.began {
		x.event.Status = pub.Status
		panic(http.ErrAbortHandler)
	}
	if pub.RetryAfter > 0 {
		x.w.Header().Set("Retry-After", strconv.Itoa(ceilSeconds(pub.RetryAfter)))
	}
	if pub.Status == http.StatusUnauthorized {
		x.w.Header().Set("WWW-Authenticate", `Bearer realm="atproto"`)
	}
	x.linger()
	x.writeBody(pub.Status, appendError(make([]byte, 0, 128), pub))
	x.event.Error = pub.Name
}

// statusClientClosed is logged when the client went away before an answer.
const statusClientClosed = 499

// finish recovers from panics of handlers and reports the request once.
func (x *exchange) finish(ctx context.Context) {
	if p := recover(); p != nil {
		//nolint:errorlint // ErrAbortHandler is compared as the panic value that net/http documents.
		if p == http.ErrAbortHandler {
			x.report(ctx)
			panic(p)
		}
		x.fault = panicError{p}
		if !x.began {
			pub := x.internal()
			x.writeBody(pub.Status, appendError(nil, pub))
		}
		x.event.Status, x.event.Error = http.StatusInternalServerError, "InternalServerError"
	}
	x.report(ctx)
}

// panicError is a panic of a handler. Its value is no part of its text, since
// it may quote anything; where the value is an error, that is its cause.
type panicError struct{ value any }

func (e panicError) Error() string { return fmt.Sprintf("panic: %T", e.value) }

func (e panicError) Unwrap() error {
	err, _ := e.value.(error)
	return err
}

func (x *exchange) report(ctx context.Context) {
	x.event.Duration = x.s.opt.Clock.Now().Sub(x.start)
	x.s.opt.Observer.ObserveRequest(x.event)
	level := slog.LevelInfo
	if x.fault != nil {
		level = slog.LevelError
	}
	ctx = context.WithoutCancel(ctx)
	if !x.s.opt.Logger.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("request_id", x.id()),
		slog.String("method", x.event.Method),
		slog.Int("status", x.event.Status),
		slog.String("error_name", x.event.Error),
		slog.Int64("duration_us", x.event.Duration.Microseconds()),
		slog.Int64("bytes_in", coarseSize(x.event.BytesIn)),
		slog.Int64("bytes_out", coarseSize(x.event.BytesOut)),
	}
	if x.fault != nil {
		// The text of a foreign error may quote values: the logger's handler decides what of it is written.
		attrs = append(attrs, slog.Any("fault", x.fault))
	}
	x.s.opt.Logger.LogAttrs(ctx, level, "request", attrs...)
}

// coarseSize rounds a size up to a power of two, from 512 on. In a log an exact
// one would tell which stored message a request brought (I7).
func coarseSize(n int64) int64 {
	if n <= 0 {
		return 0
	}
	return max(int64(1)<<bits.Len64(uint64(n-1)), 512)
}

// id names the request in the log, and to the client of an internal error.
func (x *exchange) id() string {
	if x.name == "" {
		var b [8]byte
		_, _ = rand.Read(b[:]) // never fails
		x.name = hex.EncodeToString(b[:])
	}
	return x.name
}

func ceilSeconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

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
