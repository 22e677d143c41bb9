package pull

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"mls-server/lexrt"
)

const (
	// maxDocument and maxRecord bound DID documents and records, in bytes of JSON. A repository
	// takes records up to 1 MiB.
	maxDocument = 64 << 10
	maxRecord   = 2 << 20
)

// Network finds lexicons as the specification says: a TXT record of _lexicon. and the reversed
// authority names the account, whose DID document names its PDS.
type Network struct {
	DNS DNS
	Web *Web
	// PLC is the address of the directory of did:plc.
	PLC string
}

// DNS asks for TXT records. *net.Resolver is one.
type DNS interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
}

// Authority implements Source.
func (n *Network) Authority(ctx context.Context, nsid string) (lexrt.DID, error) {
	labels := strings.Split(nsid, ".")
	name := "_lexicon"
	for i := len(labels) - 2; i >= 0; i-- { // the last label is the name
		name += "." + labels[i]
	}
	// The dot at its end makes it this name and no other: resolvers append the domains that they
	// search in.
	texts, err := n.DNS.LookupTXT(ctx, name+".")
	if err != nil {
		return "", fmt.Errorf("DNS names no account: %w", err)
	}
	var found []string
	for _, text := range texts {
		if did, ok := strings.CutPrefix(text, "did="); ok {
			found = append(found, did)
		}
	}
	switch {
	case len(found) == 0:
		return "", fmt.Errorf("no TXT record of %s begins with did=", name)
	case len(found) > 1:
		return "", fmt.Errorf("%d TXT records of %s begin with did=, and one may", len(found), name)
	case !lexrt.FormatDID.Valid(found[0]):
		return "", fmt.Errorf("the TXT record of %s names no DID", name)
	}
	return lexrt.DID(found[0]), nil
}

// Record implements Source.
func (n *Network) Record(ctx context.Context, did lexrt.DID, nsid string) ([]byte, string, error) {
	host, err := n.host(ctx, did)
	if err != nil {
		return nil, "", err
	}
	host.Path = "/xrpc/com.atproto.repo.getRecord"
	host.RawQuery = url.Values{"repo": {string(did)}, "collection": {collection}, "rkey": {nsid}}.Encode()
	body, err := n.Web.get(ctx, host.String(), maxRecord)
	if err != nil {
		return nil, "", fmt.Errorf("its record cannot be read: %w", err)
	}
	var answer struct {
		URI   string          `json:"uri"`
		CID   string          `json:"cid"`
		Value json.RawMessage `json:"value"`
	}
	switch err := json.Unmarshal(body, &answer); {
	case err != nil:
		return nil, "", fmt.Errorf("its PDS answers with something else than a record: %w", err)
	case answer.URI != resolutionURI(did, nsid):
		return nil, "", fmt.Errorf("its PDS answers with another record, %.200q", answer.URI)
	case answer.Value == nil:
		return nil, "", errors.New("its PDS answers without the record's value")
	}
	return answer.Value, answer.CID, nil
}

// host is the address of the account's PDS.
func (n *Network) host(ctx context.Context, did lexrt.DID) (*url.URL, error) {
	link, err := n.documentOf(did)
	if err != nil {
		return nil, err
	}
	body, err := n.Web.get(ctx, link, maxDocument)
	if err != nil {
		return nil, fmt.Errorf("the document of %s cannot be read: %w", did, err)
	}
	var doc struct {
		ID      lexrt.DID `json:"id"`
		Service []struct {
			ID       string `json:"id"`
			Type     string `json:"type"`
			Endpoint any    `json:"serviceEndpoint"` // a string where it is of use
		} `json:"service"`
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		return nil, fmt.Errorf("the document of %s: %w", did, err)
	}
	if doc.ID != did {
		return nil, fmt.Errorf("the document of %s is of %.200q", did, doc.ID)
	}
	for _, s := range doc.Service {
		if s.ID != "#atproto_pds" && s.ID != string(did)+"#atproto_pds" || s.Type != "AtprotoPersonalDataServer" {
			continue
		}
		endpoint, _ := s.Endpoint.(string)
		pds, err := url.Parse(endpoint)
		if err != nil || pds.Host == "" || pds.User != nil {
			break
		}
		return &url.URL{Scheme: pds.Scheme, Host: pds.Host}, nil
	}
	return nil, fmt.Errorf("the document of %s names no PDS", did)
}

// documentOf is where the DID's document is.
func (n *Network) documentOf(did lexrt.DID) (string, error) {
	_, rest, _ := strings.Cut(string(did), ":")
	method, id, _ := strings.Cut(rest, ":")
	switch method {
	case "plc":
		return strings.TrimSuffix(n.PLC, "/") + "/" + string(did), nil
	case "web":
		host, err := url.PathUnescape(id)
		if err != nil || strings.ContainsAny(id, ":/") || strings.ContainsAny(host, "/?#@\\") {
			return "", fmt.Errorf("%s is no did:web of a host", did)
		}
		return (&url.URL{Scheme: n.Web.scheme(host), Host: host, Path: "/.well-known/did.json"}).String(), nil
	}
	return "", fmt.Errorf("DIDs of the method %s cannot be resolved", method)
}
