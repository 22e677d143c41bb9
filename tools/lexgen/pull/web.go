package pull

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"syscall"
	"time"
)

// requestTime bounds a request, from the resolution of the name to the last byte of the answer.
const requestTime = 20 * time.Second

// Web fetches from hosts that strangers name: over TLS, from public addresses, without redirects.
// The address is looked at on the socket that is about to connect, so that no name leads elsewhere.
type Web struct {
	allowed []string
	client  *http.Client
}

var (
	errPrivate  = errors.New("the host is not on the public Internet")
	errRedirect = errors.New("the host answers with a redirect")
	errPlain    = errors.New("the address is not one of https")
	errLong     = errors.New("the answer is too long")
)

// NewWeb returns a Web. allowed are host:port pairs that may be private and without TLS, for tests.
func NewWeb(allowed []string) *Web {
	w := &Web{allowed: allowed}
	// There is no proxy of the environment: it would be asked for private hosts.
	transport := &http.Transport{
		DialContext:            w.dial,
		TLSHandshakeTimeout:    requestTime,
		MaxResponseHeaderBytes: 64 << 10,
		ForceAttemptHTTP2:      true,
	}
	w.client = &http.Client{
		Transport: transport, Timeout: requestTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return errRedirect },
	}
	return w
}

// dial connects to a host:port.
func (w *Web) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: requestTime}
	if !slices.Contains(w.allowed, address) {
		d.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
			if at, err := netip.ParseAddrPort(address); err != nil || !public(at.Addr()) {
				return errPrivate
			}
			return nil
		}
	}
	return d.DialContext(ctx, network, address)
}

// scheme is that of a did:web's host.
func (w *Web) scheme(host string) string {
	if slices.Contains(w.allowed, host) {
		return "http"
	}
	return "https"
}

// get reads an answer of at most limit bytes.
func (w *Web) get(ctx context.Context, link string, limit int64) ([]byte, error) {
	u, err := url.Parse(link)
	if err != nil {
		return nil, errPlain
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !slices.Contains(w.allowed, u.Host)) {
		return nil, errPlain
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(body)) > limit:
		return nil, errLong
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%s answers %d", u.Host, resp.StatusCode)
	}
	return body, nil
}

// special are networks of the public parts of the address space that are not reached over the
// Internet, or that lead to another address (RFC 6890 and its updates).
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("168.63.129.16/32"),
	netip.MustParsePrefix("192.0.0.0/24"), netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("192.88.99.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("2001::/23"), netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("3fff::/20"),
}

// global is the part of IPv6 that is handed out for the Internet (RFC 4291).
var global = netip.MustParsePrefix("2000::/3")

// public reports whether an address is on the public Internet. One of IPv4 in the clothes of IPv6
// is not: nothing hands it out.
func public(a netip.Addr) bool {
	if !a.IsGlobalUnicast() || a.IsPrivate() || a.Is6() && !global.Contains(a) {
		return false
	}
	return !slices.ContainsFunc(special, func(p netip.Prefix) bool { return p.Contains(a) })
}
