package xrpc

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"math/bits"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
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
	body  *pace // nil until somebody reads the request's body
	// account is the caller's DID, the client's address where there is no caller, "" before it is
	// known.
	account string
	// charged is the rate class that the call was counted against, "" before it was.
	charged string
	began   bool // the status line is written
	// abrupt: too many failures came from the client's address to read what is left of this
	// request.
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
	h["X-Request-Id"] = []string{x.id()}
	return x
}

// Values of the headers of every answer. They are shared, so they are replaced
// and never changed in place.
var (
	anyOrigin      = []string{"*"}
	exposedHeaders = []string{"RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, RateLimit-Policy, Retry-After, X-Request-Id"}
	noSniff        = []string{"nosniff"}
	noStore        = []string{"no-store"}
	// a proxy that compresses would hold events back
	noStoreStream = []string{"no-store, no-transform"}
	jsonType      = []string{"application/json; charset=utf-8"}
)

// serve runs one request of a method through the whole pipeline.
func (s *Server) serve(m *lexrt.Method, run func(*exchange, *lexrt.Request) error, w http.ResponseWriter, r *http.Request) {
	x := s.begin(m, w, r)
	defer x.finish(r.Context())
	if r.Method == http.MethodOptions {
		x.options(r.Context(), strings.Join(m.Verbs(), ","))
		return
	}
	err := x.pipeline(r.Context(), run)
	if err == nil && !x.began {
		err = errNoAnswer // net/http would make an empty success of it
	}
	if err != nil {
		x.fail(err)
	}
}

// pipeline looks at the address' limit, checks the token, counts, uses the token
// up, reads and decodes, in this order: work comes after the limit that it counts
// against, and what others share is written to last.
func (x *exchange) pipeline(ctx context.Context, run func(*exchange, *lexrt.Request) error) error {
	if lim := x.s.opt.Limiter.Peek(ratelimit.ClassIP, x.s.opt.ClientIP(x.r)); !lim.Allowed {
		return x.closed(lim)
	}
	if err := x.checkVerb(); err != nil {
		return x.unauthenticated(ctx, err)
	}
	cred, err := x.admit(ctx)
	if err != nil {
		return err
	}
	x.account = cmp.Or(string(cred.Caller.DID), x.s.opt.ClientIP(x.r))
	announced, err := x.countBytes(ctx, x.r.ContentLength, 0)
	if err != nil {
		return err
	}
	req := lexrt.Request{Caller: cred.Caller, Heeded: x.s.opt.Heeded}
	if len(x.m.Cases) > 0 {
		req.Charge = func(class string) error { return x.charge(ctx, class) }
	}
	release, err := x.read(&req) //nolint:contextcheck // it has the request, and with it the context
	if err != nil {
		return err
	}
	defer release()
	if _, err := x.countBytes(ctx, x.event.BytesIn, announced); err != nil {
		return err
	}
	if x.m.Input != "" { // which may have taken its time
		if err := x.check(ctx, cred); err != nil {
			return err
		}
	}
	return run(x, &req)
}

// read takes what the method takes from the request: its query, and its body,
// whose memory the returned function gives back.
func (x *exchange) read(req *lexrt.Request) (release func(), err error) {
	release = func() {}
	if x.r.URL.RawQuery != "" {
		if req.Query, err = url.ParseQuery(x.r.URL.RawQuery); err != nil {
			return release, errBadQuery
		}
	}
	if x.m.Input == "" {
		if hasBody(x.r) {
			return release, errUnexpectedBody
		}
		return release, nil
	}
	if req.ContentType, err = checkContentType(x.m, x.r); err != nil {
		return release, err
	}
	if x.m.Input != "application/json" {
		req.Stream, err = x.streamBody()
		return release, err
	}
	b, err := x.readBody()
	if err != nil {
		return release, err
	}
	req.Body, req.BodyOwned = b.data, b.owned
	x.event.BytesIn = int64(len(b.data))
	return b.release, nil
}

// countBytes counts the size of a body against the subject's limit of the method's byte class,
// where it has one: what is announced before anything is read, and when it is read what goes beyond
// that. It returns how many KiB are counted by now.
func (x *exchange) countBytes(ctx context.Context, size int64, counted int) (int, error) {
	cost := int((max(size, 0) + 1<<10 - 1) >> 10)
	if x.m.ByteClass == "" || cost <= counted {
		return counted, nil
	}
	lim := x.s.opt.Limiter.Take(ctx, x.m.ByteClass, x.account, cost-counted)
	if !lim.Allowed {
		return counted, x.closed(lim)
	}
	return cost, nil
}

// admit returns the caller of a request whose token is genuine, counts it against
// the account's limit and uses the token up. An open method has no caller and is
// counted by address; a token that came along, as a PDS that passes requests on
// adds one, is not looked at. An anonymous method refuses a request with one unread.
func (x *exchange) admit(ctx context.Context) (Credential, error) {
	if x.m.Anonymous && len(x.r.Header["Authorization"]) > 0 {
		return Credential{}, x.unauthenticated(ctx, errTokenNotAllowed)
	}
	if x.m.Open {
		return Credential{}, x.count(ctx, x.s.opt.ClientIP(x.r))
	}
	work, cancel := context.WithTimeout(ctx, workWait)
	defer cancel()
	cred, err := x.authenticate(work)
	if err != nil {
		return Credential{}, x.unauthenticated(ctx, err)
	}
	if err := x.count(ctx, cred.Caller.DID.String()); err != nil {
		return Credential{}, err
	}
	if err := x.check(work, cred); err != nil {
		return Credential{}, err
	}
	if err := x.s.opt.Authenticator.Spend(work, cred); err != nil {
		return Credential{}, err
	}
	if x.s.opt.Seen != nil {
		x.s.opt.Seen(x.m, cred.Caller)
	}
	return cred, nil
}

// authenticate checks the token of the request, or the ticket of a subscription.
func (x *exchange) authenticate(ctx context.Context) (Credential, error) {
	if x.m.Kind == lexrt.Subscription {
		query := x.r.URL.Query()
		if ticket := query.Get("ticket"); ticket != "" && x.s.opt.Tickets != nil {
			return x.s.opt.Tickets.AuthenticateTicket(ctx, ticket, query.Get("convoId"))
		}
	}
	return x.s.opt.Authenticator.Authenticate(ctx, x.m, x.r.Header.Get("Authorization"), x.s.opt.ClientIP(x.r))
}

// check refuses accounts that are not to be served. An open method has none.
func (x *exchange) check(ctx context.Context, c Credential) error {
	if x.s.opt.Admit == nil || x.m.Open {
		return nil
	}
	return x.s.opt.Admit(ctx, c)
}

// count counts the call against the subject's limit of the method's class. While that is used up,
// one whose body is small enough may still be one of the method's cases.
func (x *exchange) count(ctx context.Context, subject string) error {
	refused := x.take(ctx, x.m.RateClass, subject)
	if refused == nil {
		return nil
	}
	for _, c := range x.m.Cases {
		if n := x.r.ContentLength; n > 0 && n <= c.MaxBody && x.take(ctx, c.RateClass, subject) == nil {
			return nil
		}
	}
	return refused
}

func (x *exchange) take(ctx context.Context, class, subject string) error {
	lim := x.s.opt.Limiter.Take(ctx, class, subject, 1)
	x.limitHeaders(lim)
	if !lim.Allowed {
		return rateLimited(lim)
	}
	x.charged = class
	return nil
}

// charge counts a call against the class that its input turns out to be of, in place of the one
// that it was counted against before anything was read. A call that is refused now keeps that, so
// that what was read is paid for.
func (x *exchange) charge(ctx context.Context, class string) error {
	large := func(c lexrt.Case) bool { return c.RateClass == class && x.event.BytesIn > c.MaxBody }
	if slices.ContainsFunc(x.m.Cases, large) {
		class = x.m.RateClass
	}
	before := x.charged
	if class == before {
		return nil
	}
	if err := x.take(ctx, class, x.account); err != nil {
		return err
	}
	x.s.opt.Limiter.Give(ctx, before, x.account, 1)
	return nil
}

func (x *exchange) checkVerb() error {
	allowed := x.m.Verbs()
	if slices.Contains(allowed, x.r.Method) {
		return nil
	}
	want := allowed[0]
	return lexrt.ErrInvalidRequest.WithMessage("Incorrect HTTP method expected " + want)
}

// unauthenticated counts a failure that has no caller against the client's
// address, and only failures. Those that cost work have a bucket of their own: the
// first that finds it empty, and all requests from there until it fills again, are
// refused unread.
func (x *exchange) unauthenticated(ctx context.Context, err error) error {
	class := ratelimit.ClassRefused
	if isCostly(err) {
		class = ratelimit.ClassIP
	}
	if limited := x.takeAddress(ctx, class); limited != nil {
		return limited
	}
	return err
}

// takeAddress counts the request against the client's address, and returns an
// error when its bucket of the class is empty.
func (x *exchange) takeAddress(ctx context.Context, class string) error {
	lim := x.s.opt.Limiter.Take(ctx, class, x.s.opt.ClientIP(x.r), 1)
	if lim.Allowed {
		return nil
	}
	return x.closed(lim)
}

// closed refuses a request from an address whose bucket is empty: nothing more of
// it is read.
func (x *exchange) closed(lim ratelimit.Result) error {
	x.abrupt = true
	x.limitHeaders(lim)
	return rateLimited(lim)
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

// finish recovers from panics of handlers and reports the request once.
func (x *exchange) finish(ctx context.Context) {
	if p := recover(); p != nil {
		//nolint:errorlint // ErrAbortHandler is compared as the panic value that net/http documents.
		if p == http.ErrAbortHandler {
			x.report(ctx)
			panic(p)
		}
		x.fault = panicError{p}
		cut := x.began
		if !cut {
			x.writeError(x.internal())
		}
		x.event.Status, x.event.Error = http.StatusInternalServerError, "InternalServerError"
		if cut {
			x.report(ctx)
			// else what is written so far would pass for the whole answer
			panic(http.ErrAbortHandler)
		}
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
		// The text of a foreign error may quote values: the logger's handler decides what of it is
		// written.
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
