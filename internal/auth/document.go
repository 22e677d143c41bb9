package auth

import (
	"net/url"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"mls-server/lexrt"
)

// Identity is what a DID document says about an account, reduced to what this
// server uses. It is immutable.
type Identity struct {
	// DID is the account's identifier.
	DID lexrt.DID
	// Key is the atproto signing key, nil when the document has none that can be used.
	Key PublicKey
	// PDS is the origin (scheme, host, optional port) of the account's personal
	// data server, "" when the document names none.
	PDS string
}

// document mirrors a DID document. Members that may have several shapes (DID
// Core 5.4) stay raw, so that an odd entry spoils itself and not its neighbours.
type document struct {
	ID                 string           `json:"id"`
	VerificationMethod []jsontext.Value `json:"verificationMethod"`
	Service            []jsontext.Value `json:"service"`
}

type serviceEntry struct {
	ID              string `json:"id"`
	Type            string `json:"type"`
	ServiceEndpoint string `json:"serviceEndpoint"`
}

// parseDocument reads the document of did. A document without a usable key is
// valid; one that speaks of another DID is not.
func parseDocument(did lexrt.DID, body []byte) (*Identity, error) {
	var doc document
	if err := json.Unmarshal(body, &doc); err != nil || doc.ID != string(did) {
		return nil, ErrBadDocument
	}
	id := &Identity{DID: did}
	for _, raw := range doc.VerificationMethod {
		var m verificationMethod
		if json.Unmarshal(raw, &m) != nil || !isFragment(did, m.ID, "atproto") {
			continue
		}
		if m.Controller != "" && m.Controller != string(did) {
			continue
		}
		// The first method of that name counts, as for atproto's own resolver: a
		// later one must not stand in for a key that was put first and is broken.
		if key, err := parseKey(&m); err == nil {
			id.Key = key
		}
		break
	}
	for _, raw := range doc.Service {
		var s serviceEntry
		if json.Unmarshal(raw, &s) != nil || !isFragment(did, s.ID, "atproto_pds") || s.Type != "AtprotoPersonalDataServer" {
			continue
		}
		id.PDS = origin(s.ServiceEndpoint)
		break
	}
	return id, nil
}

// isFragment reports whether id is "#name", bare or behind the DID itself.
func isFragment(did lexrt.DID, id, name string) bool {
	prefix, fragment, ok := strings.Cut(id, "#")
	return ok && fragment == name && (prefix == "" || prefix == string(did))
}

// origin reduces an endpoint to scheme, host and port, "" when it is anything
// but the bare address of a web server. What may be dialled is egress' business.
func origin(endpoint string) string {
	if len(endpoint) > 512 {
		return ""
	}
	u, err := url.Parse(endpoint)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil ||
		(u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.Fragment != "" {
		return ""
	}
	return u.Scheme + "://" + u.Host
}
