//go:build pds

package pds_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mls-server/internal/authtest"
	"mls-server/internal/e2e"
	"mls-server/internal/mls"
	"mls-server/internal/pgtest"
	"mls-server/lexrt"
)

// password is that of every account.
const password = "correct-horse-battery"

// serviceID is the entry of the service in its DID document, as SERVICE_ID names it.
const serviceID = "#atproto_mls"

// account is an account of a PDS, and a user of the server whose calls go through that PDS.
type account struct {
	*e2e.User
	n      *network
	Handle string
	// Access is the session's token.
	Access string
}

// answer is what a PDS says.
type answer struct {
	Status         int
	Header         http.Header
	Body           []byte
	Error, Message string
}

// web is the client of the tests' own requests.
var web = &http.Client{Timeout: time.Minute}

// send sends a request with a body, nil for none, and reads the answer.
func send(tb testing.TB, verb, link string, header http.Header, body []byte) answer {
	tb.Helper()
	a, err := trySend(tb.Context(), verb, link, header, body)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

func trySend(ctx context.Context, verb, link string, header http.Header, body []byte) (answer, error) {
	var sent io.Reader = http.NoBody
	if body != nil {
		sent = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, verb, link, sent)
	if err != nil {
		return answer{}, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	maps.Copy(req.Header, header)
	return receive(web, req)
}

// receive sends a request and reads the whole answer.
func receive(client *http.Client, req *http.Request) (answer, error) {
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	a := answer{Status: resp.StatusCode, Header: resp.Header}
	a.Body, err = io.ReadAll(resp.Body)
	if a.Status != http.StatusOK {
		var fault struct {
			Error   string `json:"error"`
			Message string `json:"message"`
		}
		if json.Unmarshal(a.Body, &fault) == nil {
			a.Error, a.Message = fault.Error, fault.Message
		}
	}
	return a, err
}

// ok fails the test unless the request succeeded, and decodes the answer into out, which may be
// nil.
func (a answer) ok(tb testing.TB, out any) {
	tb.Helper()
	if a.Status != http.StatusOK {
		tb.Fatalf("got %d %s: %s", a.Status, a.Error, a.Message)
	}
	if out != nil {
		if err := json.Unmarshal(a.Body, out); err != nil {
			tb.Fatalf("%v: %s", err, a.Body)
		}
	}
}

// want fails the test unless the answer has the status and the error.
func (a answer) want(tb testing.TB, status int, name string) {
	tb.Helper()
	if a.Status != status || a.Error != name {
		tb.Errorf("got %d %s %q, want %d %s", a.Status, a.Error, a.Message, status, name)
	}
}

// procedure calls a procedure of the PDS itself. in is nil for one that takes no input.
func (n *network) procedure(tb testing.TB, nsid, authorization string, in any) answer {
	tb.Helper()
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			tb.Fatal(err)
		}
	}
	return send(tb, http.MethodPost, n.PDS+"/xrpc/"+nsid, credentials(authorization), body)
}

func credentials(authorization string) http.Header {
	if authorization == "" {
		return nil
	}
	return http.Header{"Authorization": {authorization}}
}

// query calls a query of the PDS itself.
func (n *network) query(tb testing.TB, nsid, authorization string, query url.Values) answer {
	tb.Helper()
	return send(tb, http.MethodGet, n.PDS+"/xrpc/"+nsid+"?"+query.Encode(), credentials(authorization), nil)
}

var accountsMade atomic.Int64

func newHandle() string {
	return "user" + strconv.FormatInt(accountsMade.Add(1), 10) + "-" + strconv.FormatInt(time.Now().UnixNano()%1e6, 36) + ".test"
}

// signUp makes an account at the PDS, whose calls to the server go through it.
func signUp(tb testing.TB, n *network, s *e2e.Server) *account {
	tb.Helper()
	return newAccount(tb, n).use(s)
}

// newAccount makes an account that uses no server yet.
func newAccount(tb testing.TB, n *network) *account {
	tb.Helper()
	handle := newHandle()
	var out struct{ DID, AccessJwt string }
	n.procedure(tb, "com.atproto.server.createAccount", "", map[string]any{
		"handle": handle, "email": handle + "@example.com", "password": password,
	}).ok(tb, &out)
	return session(n, out.DID, handle, out.AccessJwt)
}

// session is an account by a token of its PDS.
func session(n *network, did, handle, access string) *account {
	return &account{User: &e2e.User{Identity: &authtest.Identity{DID: lexrt.DID(did)}}, n: n, Handle: handle, Access: access}
}

// use makes the account a user of a server.
func (a *account) use(s *e2e.Server) *account {
	a.User = s.Adopt(a.Identity, a.proxy)
	return a
}

// bearer is the Authorization header of the account's session.
func (a *account) bearer() string { return "Bearer " + a.Access }

// proxy sends a request to the account's PDS, which passes it on.
func (a *account) proxy(r *http.Request) {
	pds, err := url.Parse(a.n.PDS)
	if err != nil {
		panic(err)
	}
	r.URL.Scheme, r.URL.Host, r.Host = pds.Scheme, pds.Host, ""
	r.Header.Set("Authorization", a.bearer())
	r.Header.Set("Atproto-Proxy", a.Server.DID+serviceID)
}

// serviceToken asks the PDS for a token. lxm may be "".
func (a *account) serviceToken(tb testing.TB, aud, lxm string) answer {
	tb.Helper()
	q := url.Values{"aud": {aud}}
	if lxm != "" {
		q.Set("lxm", lxm)
	}
	return a.n.query(tb, "com.atproto.server.getServiceAuth", a.bearer(), q)
}

// token is a token of the PDS for a call without it.
func (a *account) token(tb testing.TB, lxm string) string {
	tb.Helper()
	var out struct{ Token string }
	a.serviceToken(tb, a.Server.DID, lxm).ok(tb, &out)
	return out.Token
}

// direct is the account as a user who calls the server without the PDS, with tokens of the PDS.
func (a *account) direct(tb testing.TB) *e2e.User {
	tb.Helper()
	return &e2e.User{Identity: a.Identity, Server: a.Server, Through: func(r *http.Request) {
		_, nsid, _ := strings.Cut(r.URL.Path, "/xrpc/")
		r.Header.Set("Authorization", "Bearer "+a.token(tb, nsid))
	}}
}

// record writes a record into the account's repository and returns its URI.
func (a *account) record(tb testing.TB, collection string, record map[string]any) string {
	tb.Helper()
	var out struct{ URI string }
	record["$type"], record["createdAt"] = collection, time.Now().UTC().Format(time.RFC3339)
	a.n.procedure(tb, "com.atproto.repo.createRecord", a.bearer(), map[string]any{
		"repo": a.DID, "collection": collection, "record": record,
	}).ok(tb, &out)
	return out.URI
}

// block writes a block into the account's repository.
func (a *account) block(tb testing.TB, whom mls.DID) string {
	tb.Helper()
	return a.record(tb, "app.bsky.graph.block", map[string]any{"subject": whom})
}

// remove deletes a record.
func (a *account) remove(tb testing.TB, uri string) {
	tb.Helper()
	parts := strings.Split(strings.TrimPrefix(uri, "at://"), "/")
	a.n.procedure(tb, "com.atproto.repo.deleteRecord", a.bearer(), map[string]any{
		"repo": a.DID, "collection": parts[1], "rkey": parts[2],
	}).ok(tb, nil)
}

// identity is the form of a service's DID.
type identity string

const (
	didPLC identity = "did:plc"
	didWeb identity = "did:web"
)

// serve runs a server beside a network, without an AppView.
func serve(tb testing.TB, n *network, form identity, env ...e2e.Env) *e2e.Server {
	tb.Helper()
	port := e2e.FreePort(tb)
	service := "did:web:localhost%3A" + port
	if form == didPLC {
		service = n.publish(tb, "http://localhost:"+port)
	}
	dir := authtest.NewDirectory(tb, nil)
	hosts := dir.HostPorts()
	for _, link := range []string{n.PLC, n.PDS, n.Jetstream} {
		u, err := url.Parse(link)
		if err != nil {
			tb.Fatal(err)
		}
		hosts = append(hosts, u.Host)
	}
	base := e2e.Env{
		"SERVICE_DID": service, "SERVER_PORT": port, "PUBLIC_URL": "http://localhost:" + port, "PLC_URL": n.PLC,
		"APPVIEW_URL": "none", "EGRESS_ALLOW": strings.Join(hosts, ","),
	}
	s := e2e.StartOn(tb, pgtest.New(tb), dir, append([]e2e.Env{base}, env...)...)
	s.DID = service
	return s
}
