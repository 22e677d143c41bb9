package lexrt

import (
	"context"
	"io"
	"mime"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Kind is the primary type of a lexicon that can be called over HTTP.
type Kind uint8

// The kinds of methods, with the HTTP verb that atproto gives them.
const (
	Query        Kind = iota + 1 // GET (and HEAD)
	Procedure                    // POST
	Subscription                 // GET, upgraded to a WebSocket
)

// String returns the kind as the lexicon language spells it.
func (k Kind) String() string {
	switch k {
	case Query:
		return "query"
	case Procedure:
		return "procedure"
	case Subscription:
		return "subscription"
	}
	return "unknown"
}

// Method describes one endpoint. The generated method table holds one value per
// lexicon; route, metric label, body cap, rate class and the lxm that a service
// token must carry all come from here and nowhere else.
type Method struct {
	// NSID names the endpoint, for example "com.example.sendNote".
	NSID string
	// Kind decides the HTTP verb.
	Kind Kind
	// Input is the required content type of the request body, "" when the method takes none.
	Input string
	// Output is the content type of a successful answer, "" when there is none.
	Output string
	// MaxBody is the largest accepted request body in bytes, 0 when the method takes none.
	MaxBody int64
	// RateClass names the rate limit that the method draws from.
	RateClass string
	// Privileged methods enforce every token rule whatever the configuration says.
	Privileged bool
	// Open methods take no token: Caller is zero, and calls are counted by the client's address.
	Open bool
	// Anonymous methods are open, and refuse a request that comes with a token with
	// ErrTokenNotAllowed, so that no proxy which adds tokens by itself names the caller.
	Anonymous bool
	// ByteClass names the rate limit that the size of a request's body draws from, in KiB, "" for
	// none.
	ByteClass string
	// Cases are calls that draw from another rate limit than RateClass, by what their input asks
	// for. See Classed.
	Cases []Case
	// Changes says of a query that it has effects, so that HEAD must not run it (RFC 9110, 9.2.1).
	Changes bool
	// Errors are those that the lexicon declares, sorted by name.
	Errors []*Error
	// Violations give some broken constraints a declared error name instead of InvalidRequest.
	Violations []Violation
}

// Case is the calls of a method that draw from a rate limit of their own.
type Case struct {
	RateClass string
	// MaxBody is the largest body of such a call, in bytes. A larger one is none.
	MaxBody int64
}

// Classed is an input that knows what its call draws from: the method's RateClass, or that of one
// of its Cases.
type Classed interface{ RateClass() string }

// Violation binds one constraint of a request to a declared error.
type Violation struct {
	// Pointer is the place in the request as Issue.Pointer spells it, with "-" for any array index.
	Pointer string
	// Rule is the constraint, as in Issue.Rule.
	Rule string
	// Error is the declared error.
	Error *Error
}

// Declares reports whether the method's lexicon declares the error name.
func (m *Method) Declares(name string) bool {
	return slices.ContainsFunc(m.Errors, func(e *Error) bool { return e.Name == name })
}

var (
	post    = []string{"POST"}
	get     = []string{"GET"}
	getHead = []string{"GET", "HEAD"}
)

// Verbs are the HTTP methods that it is called with, the usual one first. The slice is shared and
// must not be changed.
func (m *Method) Verbs() []string {
	switch {
	case m.Kind == Procedure:
		return post
	case m.Changes, m.Kind == Subscription:
		return get
	}
	return getHead
}

// Accepts returns the media type that a Content-Type header names, and whether the method takes
// bodies of it.
func (m *Method) Accepts(header string) (media string, ok bool) {
	if header == m.Input {
		return header, true // no need to parse what nearly all clients send
	}
	media, _, err := mime.ParseMediaType(header)
	if err != nil {
		return "", false
	}
	family, all := strings.CutSuffix(m.Input, "/*")
	return media, media == m.Input || m.Input == "*/*" || all && strings.HasPrefix(media, family+"/")
}

// ErrorNames returns the names that the lexicon declares, sorted.
func (m *Method) ErrorNames() []string {
	names := make([]string, len(m.Errors))
	for i, e := range m.Errors {
		names[i] = e.Name
	}
	return names
}

// Refusal is what a request that breaks its schema is answered with: the error that the method has
// for the first constraint with one, and InvalidRequest for all others. m may be nil.
func (m *Method) Refusal(e *InvalidError) *Error {
	if m != nil {
		for _, is := range e.Issues {
			for _, v := range m.Violations {
				if v.Rule == is.Rule && pointerMatches(v.Pointer, is.Pointer) {
					return v.Error.WithMessage(is.Pointer + " " + is.Problem)
				}
			}
		}
	}
	return ErrInvalidRequest.WithMessage(e.Error())
}

// pointerMatches compares a JSON pointer with a pattern in which "-" stands for any array index.
func pointerMatches(pattern, pointer string) bool {
	if pattern == pointer {
		return true
	}
	p, q := strings.Split(pattern, "/"), strings.Split(pointer, "/")
	if len(p) != len(q) {
		return false
	}
	for i := range p {
		if p[i] == q[i] {
			continue
		}
		if _, err := strconv.ParseUint(q[i], 10, 32); p[i] != "-" || err != nil {
			return false
		}
	}
	return true
}

// Caller is the authenticated party behind a request, zero for open methods. It
// is handed to handlers as an argument, never through a context.
type Caller struct {
	// DID is the account's identifier, without a fragment.
	DID DID
}

// Request is what a runtime gives to a generated endpoint: everything is read
// and capped, nothing is decoded yet.
type Request struct {
	Caller Caller
	// Query is the parsed query string.
	Query url.Values
	// Body is the whole request body of a method with a JSON input. It is only valid until the
	// endpoint returns, unless BodyOwned is set.
	Body []byte
	// BodyOwned says that Body is the endpoint's alone: long byte strings are decoded over their
	// own text, and what was decoded keeps the body's memory. A message of 10 MiB then takes no
	// memory beside its text.
	BodyOwned bool
	// Heeded are the names of parameters, and of members of the body itself, that would change what
	// the request means: a method that does not know one refuses it, while everything else that is
	// unknown is ignored.
	Heeded []string
	// Charge counts the call against a rate class, once its input is known; nil where nobody
	// counts. Its error is the answer.
	Charge func(class string) error
	// Stream is the body of a method whose input is not JSON, already capped.
	Stream io.Reader
	// ContentType is the media type of the request body.
	ContentType string
}

// Response is a value that a generated codec can write as JSON.
type Response interface {
	// AppendJSON appends the value's JSON encoding to dst and returns the extended slice.
	AppendJSON(dst []byte) []byte
}

// Endpoint decodes a request, calls one handler and returns what it answers. A
// nil Response means an empty body.
type Endpoint func(ctx context.Context, req *Request) (Response, error)

// StreamEndpoint is the Endpoint of a method whose output is text/event-stream.
type StreamEndpoint func(ctx context.Context, req *Request, out EventStream) error

// RawEndpoint is the Endpoint of a method whose output is neither JSON nor an event stream.
type RawEndpoint func(ctx context.Context, req *Request, out io.Writer) error

// EventStream sends Server-Sent Events. Implementations flush each frame and
// are used by one goroutine at a time.
type EventStream interface {
	// LastEventID is the position the client asks to resume after, from the
	// Last-Event-ID header, or "".
	LastEventID() string
	// Direct reports whether the request has a header that atproto's service
	// proxies drop, such as Last-Event-ID: such a stream is not subject to their
	// limits of size.
	Direct() bool
	// Event sends one frame. The id must not contain line breaks.
	Event(id, name string, data Response) error
	// Frames sends frames that AppendFrame made, in order, and flushes once. It
	// neither changes nor keeps them, so many streams may send the same bytes.
	Frames(frames ...[]byte) error
	// Comment sends a frame that clients ignore; it keeps proxies from closing an idle stream.
	Comment(text string) error
}

// Registrar mounts endpoints. A generated Mount function calls it once for each
// method, so an endpoint cannot be reached without its descriptor.
type Registrar interface {
	Handle(m *Method, e Endpoint)
	HandleStream(m *Method, e StreamEndpoint)
	HandleRaw(m *Method, e RawEndpoint)
}
