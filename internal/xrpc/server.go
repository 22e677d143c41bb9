package xrpc

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/go-chi/chi/v5"

	"mls-server/internal/clock"
	"mls-server/internal/ratelimit"
	"mls-server/lexrt"
)

// Event describes one finished request. It holds no identity.
type Event struct {
	// Method is the NSID from the method table, "" for requests that matched none.
	Method string
	// Status is the HTTP status, Error the XRPC error name, "" on success.
	Status int
	Error  string
	// Duration is the time from the first byte of the handler to the end of the answer.
	Duration time.Duration
	// BytesIn and BytesOut count decoded request and encoded response bodies.
	BytesIn, BytesOut int64
	// Stream is true for answers that are event streams.
	Stream bool
}

// Observer receives each finished request and each declared-error fault.
type Observer interface {
	ObserveRequest(e Event)
	// ObserveUndeclared reports that a handler returned an error name that its lexicon does not
	// declare.
	ObserveUndeclared(m *lexrt.Method, name string)
}

// Options configure a Server. All fields are required unless they say otherwise.
type Options struct {
	Authenticator Authenticator
	// Tickets, when not nil, are accepted for subscriptions.
	Tickets Tickets
	Limiter ratelimit.Limiter
	// MapError turns an error of a handler into an XRPC error, or returns nil for one that must
	// stay inside.
	MapError func(err error) *lexrt.Error
	Observer Observer
	Logger   *slog.Logger
	Clock    clock.Clock
	// Admit, when not nil, refuses accounts whose tokens are genuine. It is asked again once a body
	// was read, and costs next to nothing.
	Admit func(ctx context.Context, c Credential) error
	// Seen, when not nil, is told of each call whose token is genuine.
	Seen func(m *lexrt.Method, caller lexrt.Caller)
	// ClientIP derives the address that unauthenticated requests are counted under.
	ClientIP func(r *http.Request) string
	// BodyBudget is how many bytes the bodies of requests over 64 KiB may take together, each
	// counted six times for what is made of it. Answers over 64 KiB may take a quarter as much
	// besides. 0 means 256 MiB.
	BodyBudget int64
	// Heeded are the names that no method ignores; see lexrt.Request.
	Heeded []string
	// PadBytes pads the base64 of bytes in answers; see lexrt.Padded.
	PadBytes bool
}

// Server serves generated endpoints. It implements lexrt.SubscriptionRegistrar.
type Server struct {
	opt    Options
	router chi.Router
	// bodies and answers bound the memory of large ones.
	bodies, answers *budget
	// subscriptions are those that net/http knows nothing of any longer.
	subscriptions sync.WaitGroup
}

var _ lexrt.SubscriptionRegistrar = (*Server)(nil)

// New returns a server without endpoints.
func New(opt Options) *Server {
	if opt.BodyBudget <= 0 {
		opt.BodyBudget = 256 << 20
	}
	s := &Server{opt: opt, router: chi.NewRouter(), bodies: newBudget(opt.BodyBudget), answers: newBudget(opt.BodyBudget / 4)}
	s.router.NotFound(s.unmatched)
	return s
}

// ServeHTTP implements http.Handler for the paths under /xrpc/ and for unknown paths.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.router.ServeHTTP(w, singleSlashes(r))
}

// singleSlashes makes the path that was meant of one with doubled slashes, which
// clients send whose base URL ends in one. A redirect would fail their preflights.
func singleSlashes(r *http.Request) *http.Request {
	if !strings.Contains(r.URL.Path, "//") {
		return r
	}
	single := func(path string) string {
		return string(slices.CompactFunc([]byte(path), func(a, b byte) bool { return a == '/' && b == '/' }))
	}
	meant := *r
	link := *r.URL
	link.Path, link.RawPath = single(link.Path), "" // no name of ours has anything to escape
	meant.URL = &link
	return &meant
}

// Page is what a path outside of the methods answers with, as JSON.
type Page func(ctx context.Context) (status int, answer any)

// HandlePage mounts a page. It is open to everybody, is not counted against
// anybody's limit and not reported: it must cost next to nothing.
func (s *Server) HandlePage(path string, page Page) {
	s.router.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		x := s.begin(nil, w, r)
		switch r.Method {
		case http.MethodOptions:
			x.options(r.Context(), "GET,HEAD")
		case http.MethodGet, http.MethodHead:
			status, answer := page(r.Context())
			data, err := json.Marshal(answer)
			if err != nil {
				x.fail(err)
				return
			}
			x.writeBody(status, data)
		default:
			s.unmatched(w, r)
		}
	})
}

// workWait is how long the check of a token may take, and the work of an
// endpoint after its request has arrived. A hung database would end neither.
const workWait = 30 * time.Second

// Handle mounts an endpoint that answers with JSON. It has workWait to do so.
func (s *Server) Handle(m *lexrt.Method, e lexrt.Endpoint) {
	s.mount(m, func(x *exchange, req *lexrt.Request) error {
		ctx, cancel := context.WithTimeout(x.r.Context(), workWait)
		defer cancel()
		resp, err := e(ctx, req)
		if err != nil {
			return err
		}
		return x.writeJSON(resp)
	})
}

// HandleStream mounts an endpoint that answers with Server-Sent Events.
func (s *Server) HandleStream(m *lexrt.Method, e lexrt.StreamEndpoint) {
	s.mount(m, func(x *exchange, req *lexrt.Request) error {
		x.event.Stream = true
		err := x.stream(req, e)
		if err == nil || !x.began {
			return err
		}
		// A stream that has begun has no way left to tell an error but its end.
		if x.r.Context().Err() == nil {
			x.event.Error = "StreamAborted"
		}
		return nil
	})
}

// HandleRaw mounts an endpoint that answers with bytes of its own content type.
func (s *Server) HandleRaw(m *lexrt.Method, e lexrt.RawEndpoint) {
	s.mount(m, func(x *exchange, req *lexrt.Request) error {
		x.w.Header().Set("Content-Type", m.Output)
		return e(x.r.Context(), req, &countingWriter{w: x.w, n: &x.event.BytesOut, began: &x.began})
	})
}

func (s *Server) mount(m *lexrt.Method, run func(*exchange, *lexrt.Request) error) {
	h := func(w http.ResponseWriter, r *http.Request) { s.serve(m, run, w, r) }
	path := "/xrpc/" + m.NSID
	s.router.HandleFunc(path, h)
	s.router.HandleFunc(path+"/", h)
}

// unmatched answers requests that no method was mounted for, as atproto's own
// server does, and counts them against the client's address. Their preflights are
// answered, too, or a page would learn nothing of what is wrong.
func (s *Server) unmatched(w http.ResponseWriter, r *http.Request) {
	x := s.begin(nil, w, r)
	defer x.finish(r.Context())
	if err := x.takeAddress(r.Context(), ratelimit.ClassRefused); err != nil {
		x.fail(err)
		return
	}
	if r.Method == http.MethodOptions {
		if headers, preflight := askedHeaders(r); preflight {
			x.permit(everyVerb, headers)
			return
		}
	}
	nsid, ok := xrpcPath(r.URL.Path)
	switch {
	case !ok:
		x.fail(&lexrt.Error{Name: "NotFound", Status: http.StatusNotFound, Message: "There is nothing at this path"})
	case nsid == "":
		x.fail(errInvalidPath)
	default:
		x.fail(errMethodNotImplemented)
	}
}

// xrpcPath reports whether a path is under /xrpc/ and returns the NSID it
// names, "" when that is malformed.
func xrpcPath(path string) (nsid string, ok bool) {
	const prefix = "/xrpc/"
	if len(path) < len(prefix) || path[:len(prefix)] != prefix {
		return "", path == "/xrpc"
	}
	name := path[len(prefix):]
	if n := len(name); n > 0 && name[n-1] == '/' {
		name = name[:n-1]
	}
	id, err := syntax.ParseNSID(name)
	if err != nil {
		return "", true
	}
	return id.String(), true
}
