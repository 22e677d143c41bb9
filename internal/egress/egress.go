// Package egress holds the one HTTP client that talks to other machines on
// behalf of strangers: PLC directories, did:web hosts, PDSs and AppViews, all of
// them named by somebody who may be an attacker.
//
// Invariants it keeps:
//   - a connection is opened only to a public address, and the address is
//     checked after name resolution, on the socket that is about to connect, so
//     neither redirects, odd spellings of an address nor DNS rebinding help;
//   - https only; a redirect never leaves the origin it came from;
//   - an answer is bounded in size, headers and time;
//   - error texts and observations name neither the URL nor the host, because
//     both can be somebody's identity (I9).
//
// The allow-list lifts the first two rules for exact host:port pairs. It exists
// for development and tests. The package must not read the environment, must
// not honour proxy variables, and must not be bypassed with another http.Client.
package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"mls-server/internal/clock"
)

// Defaults and bounds of a Client.
const (
	// DefaultMaxBody is how many bytes of an answer are read unless a Request says otherwise.
	DefaultMaxBody = 64 << 10
	// DefaultTimeout bounds a whole request, from name resolution to the last byte.
	DefaultTimeout = 10 * time.Second

	maxRedirects      = 3
	maxResponseHeader = 32 << 10
	maxConnsPerHost   = 16
	maxIdleConns      = 64
	maxIdlePerHost    = 4
	idleTimeout       = 60 * time.Second
	handshakeTimeout  = 5 * time.Second
	dialTimeout       = 5 * time.Second
)

// The reasons for which a request fails before or after it is sent. Errors of
// Get match exactly one of them with errors.Is.
var (
	// ErrForbidden says that the URL, or the address its host resolves to, is off limits.
	ErrForbidden = errors.New("egress: destination not allowed")
	// ErrRedirect says that the answer was a redirect that must not be followed.
	ErrRedirect = errors.New("egress: redirect not allowed")
	// ErrTooLarge says that the answer is longer than the request allows.
	ErrTooLarge = errors.New("egress: response too large")
	// ErrTimeout says that time ran out, the client's or the caller's.
	ErrTimeout = errors.New("egress: timed out")
	// ErrCanceled says that the caller gave up.
	ErrCanceled = errors.New("egress: canceled")
	// ErrUnknownHost says that the host's name does not exist.
	ErrUnknownHost = errors.New("egress: unknown host")
	// ErrUnreachable says that no answer came for any other reason: refused
	// connections, TLS failures, broken transfers.
	ErrUnreachable = errors.New("egress: unreachable")
)

// Purpose says whom a request goes to. It is a closed set, fit for a metric label.
type Purpose string

// The purposes of this server.
const (
	PurposePLC     Purpose = "plc"
	PurposeDIDWeb  Purpose = "did_web"
	PurposePDS     Purpose = "pds"
	PurposeAppView Purpose = "appview"
)

// Config configures a Client. The zero value is a strict client.
type Config struct {
	// Allow lists host:port pairs that may be reached over http and on addresses
	// that are not public. Hosts are compared as they stand in the URL, without case.
	Allow []string
	// UserAgent is sent with each request, when not empty.
	UserAgent string
	// Timeout bounds a request, 0 means DefaultTimeout.
	Timeout time.Duration
	// RootCAs replaces the system's certificate authorities, when not nil.
	RootCAs *x509.CertPool
	// Resolver replaces the system's resolver, when not nil.
	Resolver *net.Resolver
	// Observe, when not nil, is told of each finished request: its purpose, an
	// outcome out of a closed set (2xx, 3xx, 4xx, 5xx, forbidden, redirect,
	// too_large, timeout, canceled, unknown_host, unreachable) and how long it took.
	Observe func(p Purpose, outcome string, elapsed time.Duration)
	// Clock measures for Observe; nil means clock.System.
	Clock clock.Clock
}

// Client sends GET requests to hosts that a stranger may have named. It is safe
// for concurrent use.
type Client struct {
	http      *http.Client
	upgrade   *http.Client // for WebSockets
	allow     map[string]struct{}
	userAgent string
	timeout   time.Duration
	observe   func(Purpose, string, time.Duration)
	clock     clock.Clock
	// beforeConnect, in tests only, sees each address that passed the check.
	beforeConnect func(netip.AddrPort) error
}

// New returns a client, or an error when an entry of the allow-list is not host:port.
func New(cfg Config) (*Client, error) {
	c := &Client{
		allow:     make(map[string]struct{}, len(cfg.Allow)),
		userAgent: cfg.UserAgent,
		timeout:   cfg.Timeout,
		observe:   cfg.Observe,
		clock:     cfg.Clock,
	}
	if c.timeout <= 0 {
		c.timeout = DefaultTimeout
	}
	if c.clock == nil {
		c.clock = clock.System
	}
	for _, entry := range cfg.Allow {
		host, port, err := net.SplitHostPort(strings.TrimSpace(entry))
		if err != nil || host == "" {
			return nil, fmt.Errorf("egress: allow-list entry %q is not host:port", entry)
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return nil, fmt.Errorf("egress: allow-list entry %q has no port between 1 and 65535", entry)
		}
		c.allow[net.JoinHostPort(strings.ToLower(host), port)] = struct{}{}
	}

	open := &net.Dialer{Timeout: dialTimeout, Resolver: cfg.Resolver}
	guarded := &net.Dialer{Timeout: dialTimeout, Resolver: cfg.Resolver, Control: c.control}
	transport := &http.Transport{
		Proxy: nil, // a proxy would be dialled instead of the checked address
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if c.allowed(addr) {
				return open.DialContext(ctx, network, addr)
			}
			return guarded.DialContext(ctx, network, addr)
		},
		TLSClientConfig:        &tls.Config{RootCAs: cfg.RootCAs, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    handshakeTimeout,
		ForceAttemptHTTP2:      true,
		MaxConnsPerHost:        maxConnsPerHost,
		MaxIdleConns:           maxIdleConns,
		MaxIdleConnsPerHost:    maxIdlePerHost,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxResponseHeader,
	}
	c.http = &http.Client{CheckRedirect: checkRedirect, Transport: transport}
	c.upgrade = upgradeClient(transport)
	return c, nil
}

// Allowed reports whether host:port stands on the allow-list.
func (c *Client) Allowed(hostPort string) bool { return c.allowed(hostPort) }

func (c *Client) allowed(hostPort string) bool {
	_, ok := c.allow[strings.ToLower(hostPort)]
	return ok
}

// CloseIdle closes connections that no request uses.
func (c *Client) CloseIdle() { c.http.CloseIdleConnections() }

// control runs on every socket of the guarded dialer, after name resolution and
// before connect(2).
func (c *Client) control(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil || !Public(ap.Addr()) {
		return ErrForbidden
	}
	if c.beforeConnect != nil {
		return c.beforeConnect(ap)
	}
	return nil
}

// Request is one GET.
type Request struct {
	// URL is an absolute https URL; http only for hosts on the allow-list.
	URL string
	// Purpose labels the request for Config.Observe.
	Purpose Purpose
	// Accept is the value of the Accept header, "" means application/json.
	Accept string
	// MaxBody is how many bytes the answer may have, 0 means DefaultMaxBody.
	MaxBody int64
	// NoRedirect refuses every redirect, also one within the origin.
	NoRedirect bool
}

// Response is an answer of any status.
type Response struct {
	// Status is the HTTP status code.
	Status int
	// ContentType is the Content-Type header as it came.
	ContentType string
	// Body is the whole body.
	Body []byte
}

// Get sends the request. A status of 400 or more is not an error. Errors match
// one of the package's variables; their texts hold nothing of the URL.
func (c *Client) Get(ctx context.Context, r Request) (*Response, error) {
	start := c.clock.Now()
	resp, err := c.get(ctx, r)
	if c.observe != nil {
		c.observe(r.Purpose, outcome(resp, err), c.clock.Now().Sub(start))
	}
	return resp, err
}

type redirectKey struct{}

func (c *Client) get(ctx context.Context, r Request) (*Response, error) {
	if err := c.checkURL(r.URL); err != nil {
		return nil, err
	}
	limit := r.MaxBody
	if limit <= 0 {
		limit = DefaultMaxBody
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	if r.NoRedirect {
		ctx = context.WithValue(ctx, redirectKey{}, true)
	}

	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.URL, http.NoBody)
	if err != nil {
		return nil, ErrForbidden
	}
	accept := r.Accept
	if accept == "" {
		accept = "application/json"
	}
	req.Header.Set("Accept", accept)
	if c.userAgent != "" {
		req.Header.Set("User-Agent", c.userAgent)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, classify(err)
	}
	defer func() { _ = resp.Body.Close() }()

	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, classify(err)
	}
	if int64(len(body)) > limit {
		return nil, ErrTooLarge
	}
	return &Response{Status: resp.StatusCode, ContentType: resp.Header.Get("Content-Type"), Body: body}, nil
}

// checkURL refuses what need not be resolved to be known as wrong. The check
// that counts is the one in control.
func (c *Client) checkURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Opaque != "" || u.User != nil {
		return ErrForbidden
	}
	host, port := u.Hostname(), u.Port()
	if port == "" {
		switch u.Scheme {
		case "https":
			port = "443"
		case "http":
			port = "80"
		}
	}
	if c.allowed(net.JoinHostPort(host, port)) && (u.Scheme == "https" || u.Scheme == "http") {
		return nil
	}
	if u.Scheme != "https" || !validHost(host) {
		return ErrForbidden
	}
	return nil
}

// validHost accepts public IP literals in their canonical form and DNS names
// with at least two labels. A last label that starts like a number is an
// address to the C library (2130706433, 0x7f.1, 0177.0.0.1), so it is not a name to us.
func validHost(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return Public(addr)
	}
	host = strings.TrimSuffix(host, ".")
	if len(host) == 0 || len(host) > 253 {
		return false
	}
	labels := strings.Split(host, ".")
	if len(labels) < 2 {
		return false
	}
	for _, l := range labels {
		if !validLabel(l) {
			return false
		}
	}
	last := labels[len(labels)-1]
	return last[0] < '0' || last[0] > '9'
}

func validLabel(l string) bool {
	if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' {
		return false
	}
	for i := range len(l) {
		switch ch := l[i]; {
		case ch >= 'a' && ch <= 'z', ch >= 'A' && ch <= 'Z', ch >= '0' && ch <= '9', ch == '-', ch == '_':
		default:
			return false
		}
	}
	return true
}

func checkRedirect(req *http.Request, via []*http.Request) error {
	first := via[0].URL
	if req.Context().Value(redirectKey{}) != nil || len(via) > maxRedirects ||
		req.URL.Scheme != first.Scheme || !strings.EqualFold(req.URL.Host, first.Host) || req.URL.User != nil {
		return ErrRedirect
	}
	return nil
}

// classify reduces an error of net/http, whose text names the URL, to one of
// the package's own.
func classify(err error) error {
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case errors.Is(err, ErrForbidden):
		return ErrForbidden
	case errors.Is(err, ErrRedirect):
		return ErrRedirect
	case errors.Is(err, context.Canceled):
		return ErrCanceled
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return ErrTimeout
	case errors.As(err, &dns) && dns.IsNotFound:
		return ErrUnknownHost
	}
	return ErrUnreachable
}

func outcome(resp *Response, err error) string {
	switch {
	case err == nil:
		switch {
		case resp.Status < 300:
			return "2xx"
		case resp.Status < 400:
			return "3xx"
		case resp.Status < 500:
			return "4xx"
		}
		return "5xx"
	case errors.Is(err, ErrForbidden):
		return "forbidden"
	case errors.Is(err, ErrRedirect):
		return "redirect"
	case errors.Is(err, ErrTooLarge):
		return "too_large"
	case errors.Is(err, ErrTimeout):
		return "timeout"
	case errors.Is(err, ErrCanceled):
		return "canceled"
	case errors.Is(err, ErrUnknownHost):
		return "unknown_host"
	}
	return "unreachable"
}
