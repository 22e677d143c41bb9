package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// certificateTime is for how long the certificate of the endpoint should last yet.
const certificateTime = 14 * 24 * time.Hour

// answer is what came back from outside.
type answer struct {
	status int
	body   []byte
	// at is the other side's clock by its Date header, zero without one.
	at time.Time
	// until is when its certificate ends, zero without TLS.
	until time.Time
}

func (p *Patient) get(ctx context.Context, address string) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("User-Agent", "mls-server doctor")
	resp, err := p.HTTP.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return answer{}, err
	}
	a := answer{status: resp.StatusCode, body: body}
	if at, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		a.at = at
	}
	if resp.TLS != nil && len(resp.TLS.PeerCertificates) > 0 {
		a.until = resp.TLS.PeerCertificates[0].NotAfter
	}
	return a, nil
}

// document is what is read of a DID document.
type document struct {
	ID      string `json:"id"`
	Service []struct {
		ID              string `json:"id"`
		ServiceEndpoint any    `json:"serviceEndpoint"`
	} `json:"service"`
}

// endpoint is that of the service with an id, "" when there is none.
func (d *document) endpoint(id string) string {
	for _, s := range d.Service {
		if s.ID == "#"+id || s.ID == d.ID+"#"+id {
			text, _ := s.ServiceEndpoint.(string)
			return text
		}
	}
	return ""
}

// documentURL is where the world reads a DID document.
func documentURL(did syntax.DID, plc string) string {
	if did.Method() == "plc" {
		return strings.TrimSuffix(plc, "/") + "/" + did.String()
	}
	host, err := url.PathUnescape(strings.TrimPrefix(did.String(), "did:web:"))
	if err != nil {
		return ""
	}
	scheme := "https://"
	if name, _, _ := strings.Cut(host, ":"); name == "localhost" {
		scheme = "http://"
	}
	return scheme + host + "/.well-known/did.json"
}

// examineIdentity looks at the service as clients find it: from its DID to its health.
func examineIdentity(ctx context.Context, p *Patient, r *report) {
	at := documentURL(p.Config.ServiceDID, p.Config.PLCURL)
	a, err := p.get(ctx, at)
	var doc document
	switch {
	case err != nil:
		r.add(Fault, "DID document", "no answer from "+at, "clients find the service by it: see OPERATIONS.md, Identity")
		return
	case a.status != http.StatusOK || json.Unmarshal(a.body, &doc) != nil:
		r.add(Fault, "DID document", fmt.Sprintf("%s answers %d, without a document", at, a.status), "clients find the service by it: see OPERATIONS.md, Identity")
		return
	}
	r.judge(doc.ID == p.Config.ServiceDID.String(), Fault, "DID document", said("of SERVICE_DID", doc.ID == p.Config.ServiceDID.String()), "its id has to be SERVICE_DID to the letter")
	endpoint := doc.endpoint(p.Config.ServiceID)
	if endpoint == "" {
		r.add(Fault, "service entry", "there is no #"+p.Config.ServiceID, "add it to the document, with the address of this service, or correct SERVICE_ID")
		return
	}
	same := p.Config.PublicURL == "" || strings.TrimSuffix(endpoint, "/") == strings.TrimSuffix(p.Config.PublicURL, "/")
	r.judge(same, Notice, "service entry", endpoint, "PUBLIC_URL says something else: clients follow the document")
	examineEndpoint(ctx, p, r, endpoint)
}

func examineEndpoint(ctx context.Context, p *Patient, r *report, endpoint string) {
	base := strings.TrimSuffix(endpoint, "/")
	a, err := p.get(ctx, base+"/health")
	if err != nil || a.status != http.StatusOK {
		r.add(Fault, "endpoint", "no answer from "+base+"/health", "start the server, and see what the proxy in front of it says")
		return
	}
	r.add(Fine, "endpoint", base+" answers", "")
	if a, err := p.get(ctx, base+"/health/ready"); err == nil {
		r.judge(a.status == http.StatusOK, Fault, "readiness", strings.TrimSpace(string(a.body)), "OPERATIONS.md, When something fails, has each reason")
	}
	u, err := url.Parse(base)
	if err != nil {
		return
	}
	if u.Scheme == "https" {
		left := a.until.Sub(p.Clock.Now())
		r.judge(left > certificateTime, Notice, "certificate", fmt.Sprintf("for %d more days", int(left.Hours()/24)), "renew it")
	} else {
		r.judge(loopback(u.Hostname()), Fault, "certificate", "none: http", "put a TLS proxy in front: tokens pass in the clear")
	}
	examineAdmin(ctx, p, r, u.Hostname())
}

// examineAdmin asks for metrics where the world could.
func examineAdmin(ctx context.Context, p *Patient, r *report, host string) {
	if loopback(host) {
		r.add(Fine, "admin port from outside", "the service is on this machine alone", "")
		return
	}
	at := net.JoinHostPort(host, strconv.Itoa(p.Config.AdminPort))
	a, err := p.get(ctx, "http://"+at+"/metrics")
	open := err == nil && strings.Contains(string(a.body), "mls_")
	r.judge(!open, Fault, "admin port from outside", said("reachable at "+at, open), "close it: profiles and metrics are for nobody else")
}

// examineNetwork looks at what the server asks.
func examineNetwork(ctx context.Context, p *Patient, r *report) {
	plc := strings.TrimSuffix(p.Config.PLCURL, "/")
	a, err := p.get(ctx, plc+"/_health")
	r.judge(err == nil && a.status < http.StatusInternalServerError, Fault, "PLC directory", said("reachable at "+plc, err == nil),
		"allow outbound HTTPS, or correct PLC_URL: tokens of unknown users are refused until then")
	if err == nil && !a.at.IsZero() {
		behind := p.Clock.Now().Sub(a.at)
		r.judge(behind.Abs() < skew, Fault, "our clock", fmt.Sprintf("differs from the directory's by %v", behind.Abs().Round(time.Second)), "keep it by NTP: tokens live a minute")
	}
	if view := strings.TrimSuffix(p.Config.AppViewURL, "/"); view != "" {
		_, err := p.get(ctx, view+"/xrpc/_health")
		r.judge(err == nil, Notice, "AppView", said("reachable at "+view, err == nil), "blocks are asked of the authors' PDS until then")
	}
	if p.Config.JetstreamURL != "" {
		examineJetstream(ctx, p, r)
	}
}

// examineJetstream opens a connection and no subscription.
func examineJetstream(ctx context.Context, p *Patient, r *report) {
	u, err := url.Parse(p.Config.JetstreamURL)
	if err != nil {
		return // config refuses it
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"ws": "80", "http": "80"}[u.Scheme]
	}
	if port == "" {
		port = "443"
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err == nil {
		_ = conn.Close() // nothing was asked
	}
	r.judge(err == nil, Notice, "Jetstream", said("reachable at "+u.Host, err == nil), "allow outbound connections to it, or correct JETSTREAM_URL: news of blocks and accounts come late until then")
}
