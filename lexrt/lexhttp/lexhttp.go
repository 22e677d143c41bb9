// Package lexhttp serves a generated package over net/http. A server takes a few lines:
//
//	mux := lexhttp.New(lexhttp.Options{Authenticate: authenticate})
//	api.Mount(mux, &handlers.Handlers{})
//	log.Fatal(http.ListenAndServe("localhost:8080", mux))
//
// It does what XRPC asks for: paths, verbs, media types, the largest body of each method,
// parameters, declared errors, WebSockets for subscriptions. What a service adds around that is the
// business of the handlers and of middleware: limits of rates, deadlines (http.Server has them),
// CORS, logs. An http.Server does not wait for subscriptions when it shuts down; Wait does, and
// handlers end them when the server tells them to.
package lexhttp

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"mls-server/lexrt"
	"mls-server/lexrt/lexsocket"
)

// Options are what a service decides.
type Options struct {
	// Authenticate returns the caller of a request to a method that is not open. Its error goes to
	// the client when it is a *lexrt.Error. Without it all such methods answer AuthMissing; Anyone
	// lets everybody in.
	Authenticate func(r *http.Request, m *lexrt.Method) (lexrt.Caller, error)
	// Fault is told of errors that clients do not hear of: those that are no *lexrt.Error, and
	// those that the method does not declare. It may be nil.
	Fault func(m *lexrt.Method, err error)
	// Socket are the settings of subscriptions' connections.
	Socket lexsocket.Options
}

// Anyone is an Authenticate that lets everybody in, as nobody.
func Anyone(*http.Request, *lexrt.Method) (lexrt.Caller, error) { return lexrt.Caller{}, nil }

// Mux serves endpoints below /xrpc/. It implements lexrt.Registrar and http.Handler. Methods are
// registered before it serves.
type Mux struct {
	opt           Options
	methods       map[string]route
	subscriptions sync.WaitGroup
}

var _ lexrt.SubscriptionRegistrar = (*Mux)(nil)

type route struct {
	method *lexrt.Method
	run    func(w *answer, req *lexrt.Request) error
}

// New returns a Mux without methods.
func New(opt Options) *Mux { return &Mux{opt: opt, methods: map[string]route{}} }

// Handle implements lexrt.Registrar.
func (s *Mux) Handle(m *lexrt.Method, e lexrt.Endpoint) {
	s.methods[m.NSID] = route{m, func(w *answer, req *lexrt.Request) error {
		out, err := e(w.r.Context(), req)
		if err == nil {
			w.json(http.StatusOK, out)
		}
		return err
	}}
}

// HandleStream implements lexrt.Registrar.
func (s *Mux) HandleStream(m *lexrt.Method, e lexrt.StreamEndpoint) {
	s.methods[m.NSID] = route{m, func(w *answer, req *lexrt.Request) error {
		stream := &eventStream{answer: w, flush: http.NewResponseController(w.w)}
		err := e(w.r.Context(), req, stream)
		if err == nil {
			err = stream.Frames() // what sent nothing is an empty stream
		}
		if errors.Is(err, http.ErrBodyNotAllowed) {
			return nil // HEAD has its headers
		}
		return err
	}}
}

// HandleRaw implements lexrt.Registrar.
func (s *Mux) HandleRaw(m *lexrt.Method, e lexrt.RawEndpoint) {
	s.methods[m.NSID] = route{m, func(w *answer, req *lexrt.Request) error {
		w.w.Header().Set("Content-Type", m.Output)
		return e(w.r.Context(), req, w)
	}}
}

// HandleSubscription implements lexrt.SubscriptionRegistrar.
func (s *Mux) HandleSubscription(m *lexrt.Method, e lexrt.SubscriptionEndpoint) {
	s.methods[m.NSID] = route{m, func(w *answer, req *lexrt.Request) error {
		if err := lexsocket.Check(w.r); err != nil {
			lexsocket.Headers(w.w.Header(), err)
			return err
		}
		serve, err := e(req)
		if err != nil {
			return err
		}
		conn, err := lexsocket.Accept(w.w, w.r, m, s.opt.Socket)
		if err != nil {
			return err
		}
		s.subscriptions.Add(1)
		defer s.subscriptions.Done()
		conn.Close(s.ended(m, conn, serve(conn.Context(), conn)))
		return nil
	}}
}

// ended is what the client is told of the end of a subscription.
func (s *Mux) ended(m *lexrt.Method, conn *lexsocket.Conn, err error) error {
	if _, closed := errors.AsType[*lexrt.CloseError](err); err == nil || closed || conn.Context().Err() != nil {
		return err
	}
	return s.public(m, err)
}

// Wait waits until all subscriptions have ended.
func (s *Mux) Wait() { s.subscriptions.Wait() }

// ServeHTTP answers a request.
func (s *Mux) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	a := &answer{w: w, r: r}
	name, below := strings.CutPrefix(r.URL.Path, "/xrpc/")
	m, ok := s.methods[name]
	switch {
	case !below:
		a.fail(&lexrt.Error{Name: "NotFound", Status: http.StatusNotFound, Message: "There is nothing at this path"})
	case !ok:
		a.fail(lexrt.ErrMethodNotImplemented.WithMessage("Method Not Implemented"))
	default:
		if err := s.serve(m, a); err != nil {
			a.fail(s.public(m.method, err))
		}
	}
}

func (s *Mux) serve(m route, a *answer) error {
	if verbs := m.method.Verbs(); !slices.Contains(verbs, a.r.Method) {
		a.w.Header().Set("Allow", strings.Join(verbs, ", "))
		return lexrt.ErrInvalidRequest.WithMessage("Incorrect HTTP method expected " + verbs[0])
	}
	if m.method.Anonymous && a.r.Header.Get("Authorization") != "" {
		return lexrt.ErrTokenNotAllowed.WithMessage("This method takes no token")
	}
	req := &lexrt.Request{}
	var err error
	if !m.method.Open {
		if s.opt.Authenticate == nil {
			return lexrt.ErrAuthMissing.WithMessage("Authentication Required")
		}
		if req.Caller, err = s.opt.Authenticate(a.r, m.method); err != nil {
			return err
		}
	}
	if req.Query, err = url.ParseQuery(a.r.URL.RawQuery); err != nil {
		return lexrt.ErrInvalidRequest.WithMessage("The query string is not well-formed")
	}
	if err := read(m.method, a, req); err != nil {
		return err
	}
	return m.run(a, req)
}

// read takes the body of a request, of at most the size that the method allows.
func read(m *lexrt.Method, a *answer, req *lexrt.Request) error {
	header := a.r.Header.Get("Content-Type")
	switch {
	case m.Input == "" && a.r.ContentLength != 0:
		return lexrt.ErrInvalidRequest.WithMessage("A request body was provided when none was expected")
	case m.Input == "":
		return nil
	case header == "":
		return lexrt.ErrInvalidRequest.WithMessage("Request encoding (Content-Type) required but not provided")
	}
	var ok bool
	if req.ContentType, ok = m.Accepts(header); !ok {
		return lexrt.ErrInvalidRequest.WithMessage("Wrong request encoding (Content-Type)")
	}
	body := http.MaxBytesReader(a.w, a.r.Body, m.MaxBody)
	if m.Input != "application/json" {
		req.Stream = body
		return nil
	}
	data, err := io.ReadAll(body)
	switch _, large := errors.AsType[*http.MaxBytesError](err); {
	case large:
		return err
	case err != nil:
		return lexrt.ErrInvalidRequest.WithMessage("The request body could not be read")
	}
	req.Body, req.BodyOwned = data, true
	return nil
}

// public is what the client is told of an error.
func (s *Mux) public(m *lexrt.Method, err error) *lexrt.Error {
	if invalid, ok := errors.AsType[*lexrt.InvalidError](err); ok {
		return m.Refusal(invalid)
	}
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return lexrt.ErrPayloadTooLarge.WithMessage("The request body is larger than " + strconv.FormatInt(m.MaxBody, 10) + " bytes")
	}
	if named, ok := errors.AsType[*lexrt.Error](err); ok && (m.Declares(named.Name) || lexrt.General(named.Name)) {
		return named
	}
	if s.opt.Fault != nil {
		s.opt.Fault(m, err)
	}
	return lexrt.ErrInternalServer.WithMessage("Internal Server Error")
}
