// Package lexclient is the runtime of generated clients: it sends XRPC requests
// over net/http, turns error answers into *lexrt.Error, and follows event streams
// across broken connections.
//
// It is independent of any lexicon. It never logs, and no error of its own repeats
// a token.
package lexclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/go-json-experiment/json/jsontext"

	"mls-server/lexrt"
)

// TokenSource returns a token for one call of the method whose NSID is lxm. It is
// asked for each request, so it decides about caching; service tokens that are
// used once must not be cached.
type TokenSource func(ctx context.Context, lxm string) (string, error)

// Options are the settings of a Client. The zero value is usable.
type Options struct {
	// HTTP sends the requests; nil is a client that gives up after 60 seconds. Redirects are not
	// followed unless its CheckRedirect says so. Its
	// timeout does not apply to event streams. Calls of anonymous methods go over
	// connections of their own, without its cookies; where its Transport is not an
	// *http.Transport, that has to see to it.
	HTTP *http.Client
	// Token is where bearer tokens come from; nil sends requests without one. Methods that take
	// none are called without one.
	Token TokenSource
	// UserAgent is sent with each request unless it is "".
	UserAgent string
	// Proxy is the service that calls are meant for when the base address is that of the account's
	// PDS, as DID and service id: "did:web:mls.example.com#atproto_mls". It is sent as
	// atproto-proxy, and Token then gives the tokens of the PDS session, for methods that take none
	// as well: a PDS forwards for its own accounts only. "" calls the service itself.
	Proxy string
	// Header is sent with each request, event streams included, but for those of anonymous methods.
	// What the client sets by itself stands over it.
	Header http.Header
	// MaxResponse is the largest answer that is read, in bytes; 0 means 64 MiB.
	MaxResponse int64
	// MaxEvent is the largest event of a stream, in bytes; 0 means 32 MiB.
	MaxEvent int
	// IdleTimeout is how long a stream may be silent, or take to open, before the
	// connection is taken for dead and made anew; 0 means 60 seconds. Servers send comments to
	// keep streams alive.
	IdleTimeout time.Duration
}

// Client calls the methods of one service. It is safe for use by many goroutines.
type Client struct {
	base string
	http *http.Client
	// stream is http without its timeout.
	stream *http.Client
	// apart sends what shall not be known to be the caller's: over connections of its own, without
	// cookies.
	apart *http.Client
	opt   Options
}

const (
	defaultTimeout  = time.Minute
	defaultResponse = 64 << 20
	defaultEvent    = 32 << 20
	defaultIdle     = time.Minute
	// maxErrorBody is how much of an error answer is read, in bytes.
	maxErrorBody = 1 << 20
)

var (
	errBase           = errors.New("lexclient: the base address must be an absolute http or https URL without query")
	errAnonymousProxy = errors.New("lexclient: a PDS knows its account, and would name it: call the method with a client of the service itself")

	errProxy = errors.New("lexclient: Proxy must be a DID and a service id, for example did:web:mls.example.com#atproto_mls")
)

// New makes a client of the service at base, for example "https://mls.example.com".
func New(base string, opt Options) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errBase
	}
	if opt.Proxy != "" && !isService(opt.Proxy) {
		return nil, errProxy
	}
	opt.Header = opt.Header.Clone() // the caller may go on writing to its own
	if opt.HTTP == nil {
		opt.HTTP = &http.Client{Timeout: defaultTimeout}
	}
	if opt.MaxResponse <= 0 {
		opt.MaxResponse = defaultResponse
	}
	if opt.MaxEvent <= 0 {
		opt.MaxEvent = defaultEvent
	}
	if opt.IdleTimeout <= 0 {
		opt.IdleTimeout = defaultIdle
	}
	plain := *opt.HTTP
	if plain.CheckRedirect == nil {
		plain.CheckRedirect = refuseRedirects
	}
	stream := plain
	stream.Timeout = 0
	apart := &http.Client{Timeout: plain.Timeout, CheckRedirect: plain.CheckRedirect, Transport: apartFrom(plain.Transport)}
	return &Client{base: strings.TrimSuffix(base, "/"), http: &plain, stream: &stream, apart: apart, opt: opt}, nil
}

// refuseRedirects takes a redirect for the answer. XRPC has none, and net/http would take tokens
// and other headers along.
func refuseRedirects(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// apartFrom is a transport like another one that shares no connection with it. Of a kind that this
// package does not know it is the same one.
func apartFrom(t http.RoundTripper) http.RoundTripper {
	if t == nil {
		t = http.DefaultTransport
	}
	if known, ok := t.(*http.Transport); ok {
		return known.Clone()
	}
	return t
}

// isService tells whether text is a DID with the id of one of its services.
func isService(text string) bool {
	did, id, _ := strings.Cut(text, "#")
	_, err := syntax.ParseDID(did)
	return err == nil && id != "" && !strings.ContainsAny(id, "# ")
}

// Decoder is a value that reads itself from JSON, as generated types do.
type Decoder interface {
	UnmarshalJSON(src []byte) error
}

// Call sends a request and reads a JSON answer into out. query, in and out may be
// nil. An error answer is returned as *lexrt.Error; an answer that breaks its
// schema wraps *lexrt.InvalidError.
func (c *Client) Call(ctx context.Context, m *lexrt.Method, query url.Values, in lexrt.Response, out Decoder) error {
	var body *lexrt.Body
	if in != nil {
		body = JSON(in)
	}
	return c.Send(ctx, m, query, body, out)
}

// Send is Call for a body that is not JSON.
func (c *Client) Send(ctx context.Context, m *lexrt.Method, query url.Values, body *lexrt.Body, out Decoder) error {
	answer, err := c.CallRaw(ctx, m, query, body)
	if err != nil {
		return err
	}
	defer answer.Close()
	if out == nil {
		return nil
	}
	if !isJSON(answer.ContentType) {
		return fmt.Errorf("%s: the answer is not JSON but %q", m.NSID, answer.ContentType)
	}
	data, err := io.ReadAll(io.LimitReader(answer, c.opt.MaxResponse+1))
	if err != nil {
		return fmt.Errorf("%s: reading the answer: %w", m.NSID, err)
	}
	if int64(len(data)) > c.opt.MaxResponse {
		return fmt.Errorf("%s: the answer is larger than %d bytes", m.NSID, c.opt.MaxResponse)
	}
	if err := out.UnmarshalJSON(data); err != nil {
		return fmt.Errorf("%s: the answer breaks its schema: %w", m.NSID, err)
	}
	return nil
}

func isJSON(contentType string) bool {
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && media == "application/json"
}

// Answer is the body of a successful answer. It must be closed.
type Answer struct {
	io.ReadCloser
	// ContentType is the media type that the server gave.
	ContentType string
}

// CallRaw is Call for answers that are not JSON. body may be nil.
func (c *Client) CallRaw(ctx context.Context, m *lexrt.Method, query url.Values, body *lexrt.Body) (*Answer, error) {
	req, err := c.request(ctx, m, query, body)
	if err != nil {
		return nil, err
	}
	send := c.http
	if m.Anonymous {
		send = c.apart
	}
	resp, err := send.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.NSID, err)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, answerError(resp)
	}
	return &Answer{resp.Body, resp.Header.Get("Content-Type")}, nil
}

func (c *Client) request(ctx context.Context, m *lexrt.Method, query url.Values, body *lexrt.Body) (*http.Request, error) {
	verb := http.MethodGet
	if m.Kind == lexrt.Procedure {
		verb = http.MethodPost
	}
	target := c.base + "/xrpc/" + m.NSID
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	var reader io.Reader
	if body != nil {
		reader = body.Reader
	}
	req, err := http.NewRequestWithContext(ctx, verb, target, reader)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.NSID, err)
	}
	if m.Anonymous {
		return req, c.unnamed(req, m, body)
	}
	for name, values := range c.opt.Header {
		req.Header[http.CanonicalHeaderKey(name)] = slices.Clone(values)
	}
	if body != nil {
		req.Header.Set("Content-Type", body.ContentType)
	}
	if c.opt.Proxy != "" {
		req.Header.Set("Atproto-Proxy", c.opt.Proxy)
	}
	if c.opt.UserAgent != "" {
		req.Header.Set("User-Agent", c.opt.UserAgent)
	}
	if m.Output != "" {
		req.Header.Set("Accept", m.Output)
	}
	if c.opt.Token == nil || m.Open && c.opt.Proxy == "" {
		return req, nil
	}
	token, err := c.opt.Token(ctx, m.NSID)
	if err != nil {
		return nil, &sourceError{fmt.Errorf("%s: getting a token: %w", m.NSID, err)}
	}
	req.Header.Set("Authorization", "Bearer "+token)
	return req, nil
}

// unnamed completes the request of an anonymous method: it has nothing but what the method asks
// for.
func (c *Client) unnamed(req *http.Request, m *lexrt.Method, body *lexrt.Body) error {
	if c.opt.Proxy != "" {
		return fmt.Errorf("%s: %w", m.NSID, errAnonymousProxy)
	}
	if body != nil {
		req.Header.Set("Content-Type", body.ContentType)
	}
	if m.Output != "" {
		req.Header.Set("Accept", m.Output)
	}
	if c.opt.UserAgent != "" {
		req.Header.Set("User-Agent", c.opt.UserAgent)
	}
	return nil
}

// answerError reads an error answer and closes its body.
func answerError(resp *http.Response) error {
	defer resp.Body.Close()
	e := &lexrt.Error{Name: nameOf(resp.StatusCode), Status: resp.StatusCode, RetryAfter: retryAfter(resp.Header)}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	if err != nil || !isJSON(resp.Header.Get("Content-Type")) {
		return e
	}
	members := map[string]string{}
	dec := jsontext.NewDecoder(bytes.NewReader(data))
	if tok, err := dec.ReadToken(); err != nil || tok.Kind() != '{' {
		return e
	}
	for dec.PeekKind() == '"' {
		name, err := dec.ReadToken()
		if err != nil {
			return e
		}
		key := name.String()
		value, err := dec.ReadValue()
		if err != nil {
			return e
		}
		if text, err := jsontext.AppendUnquote(nil, value); err == nil {
			members[key] = string(text)
		}
	}
	if members["error"] != "" {
		e.Name = members["error"]
	}
	e.Message, e.Body = members["message"], data
	return e
}

// nameOf is the name of an error that came without one, as the XRPC
// specification has it.
func nameOf(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return "AuthenticationRequired"
	case http.StatusForbidden:
		return "Forbidden"
	case http.StatusNotFound:
		return "XRPCNotSupported"
	case http.StatusRequestEntityTooLarge:
		return "PayloadTooLarge"
	case http.StatusTooManyRequests:
		return "RateLimitExceeded"
	case http.StatusNotImplemented:
		return "MethodNotImplemented"
	case http.StatusBadGateway:
		return "UpstreamFailure"
	case http.StatusServiceUnavailable:
		return "NotEnoughResources"
	case http.StatusGatewayTimeout:
		return "UpstreamTimeout"
	}
	switch {
	case status >= 500:
		return "InternalServerError"
	case status >= 400:
		return "InvalidRequest"
	}
	return "UnexpectedStatus"
}

// retryAfter reads the header of that name: seconds, or a date, which is taken
// relative to the server's own clock.
func retryAfter(h http.Header) time.Duration {
	value := h.Get("Retry-After")
	if n, err := strconv.ParseInt(value, 10, 32); err == nil {
		return time.Duration(max(n, 0)) * time.Second
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return 0
	}
	return max(at.Sub(now), 0)
}

// JSON is the body that holds the JSON of v.
func JSON(v lexrt.Response) *lexrt.Body {
	return &lexrt.Body{Reader: bytes.NewReader(v.AppendJSON(nil)), ContentType: "application/json"}
}
