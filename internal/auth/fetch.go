package auth

import (
	"context"
	"errors"
	"net"
	"net/http"
	"regexp"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"

	"mls-server/internal/egress"
	"mls-server/lexrt"
)

const (
	// fetchTime is how long a directory has to send a document.
	fetchTime = 3 * time.Second
	// fetchWait is how long a fetch waits for its turn.
	fetchWait = 2 * time.Second
	// addressFetches is how many requests from one address may wait for documents.
	addressFetches = 4
	// domainFetches is how many fetches one registrable domain may have under way:
	// did:web hosts can be as slow as their owner likes, and names below a domain
	// cost nothing.
	domainFetches = 1
	// The hosts of did:web must not be able to use up the fetches that the PLC
	// directory needs, nor bad signatures those of newcomers.
	maxPLCFetches   = 64
	maxWebFetches   = 32
	maxAgainFetches = 8
)

// fetcher gets documents from directories, within bounds.
type fetcher struct {
	client *egress.Client
	local  func(did lexrt.DID) []byte
	plcURL string
	plc    *outage
	// domains are the fetches under way by registrable domain, the others those of
	// a kind.
	domains, plcTurns, webTurns, againTurns *slots
}

func newFetcher(cfg ResolverConfig) *fetcher {
	return &fetcher{
		client: cfg.Client, local: cfg.Local, plcURL: strings.TrimRight(cfg.PLCURL, "/"), plc: &outage{clock: cfg.Clock},
		domains: newSlots(domainFetches), plcTurns: newSlots(maxPLCFetches), webTurns: newSlots(maxWebFetches),
		againTurns: newSlots(maxAgainFetches),
	}
}

// source is where a document comes from.
type source struct {
	request egress.Request
	domain  string // registrable, "" for the PLC directory
}

// fetch gets and reads the document of did; again says that a signature did not
// fit the one that is known. The error is one of the package's Err variables, or
// the context's.
func (f *fetcher) fetch(ctx context.Context, did lexrt.DID, again bool) (*Identity, error) {
	if f.local != nil {
		if document := f.local(did); document != nil {
			return parseDocument(did, document)
		}
	}
	src, err := f.source(did)
	if err != nil {
		return nil, err
	}
	release, err := f.turn(ctx, src, again)
	if err != nil {
		return nil, err
	}
	defer release()
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	id, err := f.get(ctx, did, src.request)
	if src.domain == "" {
		f.plc.report(!errors.Is(err, ErrDIDUnreachable))
	}
	return id, err
}

// away reports whether the directory of did is not to be asked at the moment.
func (f *fetcher) away(did lexrt.DID) bool {
	return plcPattern.MatchString(string(did)) && f.plc.away()
}

// turn waits until a fetch from src may begin.
func (f *fetcher) turn(ctx context.Context, src source, again bool) (release func(), err error) {
	turns := f.plcTurns
	leave := func() {}
	if src.domain != "" {
		if leave, err = f.domains.acquire(ctx, src.domain, fetchWait); err != nil {
			return nil, err
		}
		turns = f.webTurns
	}
	if again {
		turns = f.againTurns
	}
	end, err := turns.acquire(ctx, "", fetchWait)
	if err != nil {
		leave()
		return nil, err
	}
	return func() { end(); leave() }, nil
}

// get sends the request. Only an answer that says no is a reason to refuse an
// account; whatever may be otherwise in a minute is ErrDIDUnreachable.
func (f *fetcher) get(ctx context.Context, did lexrt.DID, req egress.Request) (*Identity, error) {
	resp, err := f.client.Get(ctx, req)
	switch {
	case errors.Is(err, egress.ErrUnknownHost):
		return nil, ErrDIDNotFound
	case errors.Is(err, egress.ErrForbidden), errors.Is(err, egress.ErrRedirect), errors.Is(err, egress.ErrTooLarge):
		return nil, ErrBadDocument
	case err != nil:
		return nil, ErrDIDUnreachable
	}
	switch {
	case resp.Status == http.StatusOK:
		return parseDocument(did, resp.Body)
	case resp.Status == http.StatusNotFound, resp.Status == http.StatusGone:
		return nil, ErrDIDNotFound
	case resp.Status >= 500, resp.Status == http.StatusTooManyRequests, resp.Status == http.StatusRequestTimeout:
		return nil, ErrDIDUnreachable
	}
	return nil, ErrBadDocument
}

var (
	plcPattern = regexp.MustCompile(`^did:plc:[a-z2-7]{24}$`)
	// One spelling per host: lower case, a port only behind an upper-case %3A.
	webPattern = regexp.MustCompile(`^did:web:([a-z0-9-]+(?:\.[a-z0-9-]+)*)(?:%3A([1-9][0-9]{0,4}))?$`)
)

// source says where the document of did is, or ErrUnsupportedDID.
func (f *fetcher) source(did lexrt.DID) (source, error) {
	const accept = "application/did+ld+json, application/json"
	if plcPattern.MatchString(string(did)) {
		return source{request: egress.Request{URL: f.plcURL + "/" + string(did), Purpose: egress.PurposePLC, Accept: accept}}, nil
	}
	m := webPattern.FindStringSubmatch(string(did))
	if m == nil || len(did) > 2048 {
		return source{}, ErrUnsupportedDID
	}
	scheme, host := "https", m[1]
	if port := m[2]; port != "" || isAddress(host) {
		// Ports and addresses are for development (atproto DID specification): for
		// hosts that the operator listed. Anywhere else they would make the server
		// connect to any port of any machine for whoever names it.
		if port == "" {
			port = "443"
		}
		host = net.JoinHostPort(m[1], port)
		if !f.client.Allowed(host) {
			return source{}, ErrUnsupportedDID
		}
		if port != "443" {
			scheme = "http" // what listens there
		}
	}
	return source{domain: registrable(m[1]), request: egress.Request{
		URL: scheme + "://" + host + "/.well-known/did.json", Purpose: egress.PurposeDIDWeb, Accept: accept, NoRedirect: true,
	}}, nil
}

// isAddress reports whether a host is, or may be read as, an IPv4 address: its
// last label is a number (WHATWG URL, section 3.5).
func isAddress(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	return strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x")
}

// registrable is the part of a host name that somebody registered, the whole
// name where there is none.
func registrable(host string) string {
	if domain, err := publicsuffix.EffectiveTLDPlusOne(host); err == nil {
		return domain
	}
	return host
}
