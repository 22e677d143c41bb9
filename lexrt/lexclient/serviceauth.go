package lexclient

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/go-json-experiment/json"

	"mls-server/lexrt"
)

// getServiceAuth is the method of a PDS that makes service tokens.
var getServiceAuth = &lexrt.Method{NSID: "com.atproto.server.getServiceAuth", Kind: lexrt.Query, Output: "application/json"}

// ServiceAuth is a TokenSource that has the account's PDS make a token for each call of service, a
// DID with a service id as in Options.Proxy. pds is a client of the PDS, whose Token is that of the
// session.
//
// OAuth sessions may ask for the audience that their scope names, which has the service id; a PDS
// before 0.5 knows only DIDs as audiences. So the whole name is asked for first, and the DID alone
// when the PDS does not take that; what worked last is asked for first the next time.
func ServiceAuth(pds *Client, service string) (TokenSource, error) {
	if !isService(service) {
		return nil, errProxy
	}
	did, _, _ := strings.Cut(service, "#")
	var bare atomic.Bool
	return func(ctx context.Context, lxm string) (string, error) {
		first := bare.Load()
		token, err := pds.serviceToken(ctx, audience(service, did, first), lxm)
		if err == nil || !refusesAudience(err) {
			return token, err
		}
		token, other := pds.serviceToken(ctx, audience(service, did, !first), lxm)
		if other != nil {
			return "", err
		}
		bare.Store(!first)
		return token, nil
	}, nil
}

func audience(service, did string, bare bool) string {
	if bare {
		return did
	}
	return service
}

// refusesAudience tells whether another audience may be answered better: a scope that does not hold
// it, a parameter that is none to the PDS, or the 500 of those that stumble over it.
func refusesAudience(err error) bool {
	named, ok := errors.AsType[*lexrt.Error](err)
	return ok && (named.Status == http.StatusForbidden || named.Status == http.StatusBadRequest || named.Status == http.StatusInternalServerError)
}

func (c *Client) serviceToken(ctx context.Context, aud, lxm string) (string, error) {
	var out serviceToken
	if err := c.Call(ctx, getServiceAuth, url.Values{"aud": {aud}, "lxm": {lxm}}, nil, &out); err != nil {
		return "", err
	}
	return string(out), nil
}

// serviceToken is the answer of getServiceAuth.
type serviceToken string

var errNoToken = errors.New("the answer has no token")

func (t *serviceToken) UnmarshalJSON(src []byte) error {
	var answer struct {
		Token string `json:"token"`
	}
	if err := json.Unmarshal(src, &answer); err != nil || answer.Token == "" {
		return errNoToken // never what was there instead
	}
	*t = serviceToken(answer.Token)
	return nil
}
