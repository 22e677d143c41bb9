package e2e_test

import (
	"bytes"
	"compress/gzip"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"mls-server/internal/authtest"
	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/gen/mlsapi/mlsapifake"
	"mls-server/lexrt"
)

// short is a method's name without the prefix, for subtests.
func short(m *lexrt.Method) string { return m.NSID[strings.LastIndexByte(m.NSID, '.')+1:] }

// inputName is the generated type of a method's input, however its initialisms are written.
func inputName(m *lexrt.Method) string {
	for name := range mlsapifake.Schemas {
		if strings.EqualFold(name, short(m)+"Input") {
			return name
		}
	}
	return ""
}

// other is a method that is not m.
func other(m *lexrt.Method) *lexrt.Method {
	if m == mlsapi.MethodGetEpoch {
		return mlsapi.MethodSendMessage
	}
	return mlsapi.MethodGetEpoch
}

// header makes an http.Header of one name.
func header(name string, values ...string) http.Header { return http.Header{name: values} }

// badTokens are authorizations that no method may accept, and what it answers.
var badTokens = []struct {
	name  string
	value func(u *e2e.User, m *lexrt.Method) string
	want  string
}{
	{"none", func(*e2e.User, *lexrt.Method) string { return "-" }, "AuthMissing"},
	{"basic", func(*e2e.User, *lexrt.Method) string { return "Basic YTpi" }, "AuthMissing"},
	{"garbage", func(*e2e.User, *lexrt.Method) string { return "Bearer garbage" }, "BadJwt"},
	{"garbage in three parts", func(*e2e.User, *lexrt.Method) string { return "Bearer a.b.c" }, "BadJwt"},
	{"wrong aud", func(u *e2e.User, m *lexrt.Method) string { return u.Bearer("did:web:other.test", m.NSID) }, "BadJwtAudience"},
	{"aud of another of our services", func(u *e2e.User, m *lexrt.Method) string {
		return u.Bearer(u.Server.DID+"#atproto_labeler", m.NSID)
	}, "BadJwtAudience"},
	{"no aud", func(u *e2e.User, m *lexrt.Method) string {
		return u.Bearer(u.Server.DID, m.NSID, authtest.Claim("aud", nil))
	}, "BadJwtAudience"},
	{"wrong lxm", func(u *e2e.User, m *lexrt.Method) string { return u.Bearer(u.Server.DID, other(m).NSID) }, "BadJwtLexiconMethod"},
	{"lxm with a suffix", func(u *e2e.User, m *lexrt.Method) string { return u.Bearer(u.Server.DID, m.NSID+"x") }, "BadJwtLexiconMethod"},
	{"lxm in another case", func(u *e2e.User, m *lexrt.Method) string {
		return u.Bearer(u.Server.DID, strings.ToLower(m.NSID)+"X")
	}, "BadJwtLexiconMethod"},
	{"lxm *", func(u *e2e.User, _ *lexrt.Method) string { return u.Bearer(u.Server.DID, "*") }, "BadJwtLexiconMethod"},
	{"no lxm", func(u *e2e.User, _ *lexrt.Method) string { return u.Bearer(u.Server.DID, "") }, "BadJwtLexiconMethod"},
	{"no jti", func(u *e2e.User, m *lexrt.Method) string {
		return u.Bearer(u.Server.DID, m.NSID, authtest.Claim("jti", nil))
	}, "BadJwt"},
	{"expired", func(u *e2e.User, m *lexrt.Method) string {
		return u.Bearer(u.Server.DID, m.NSID, u.ExpiresIn(-time.Minute))
	}, "JwtExpired"},
	{"valid for two hours", func(u *e2e.User, m *lexrt.Method) string {
		return u.Bearer(u.Server.DID, m.NSID, u.ExpiresIn(2*time.Hour))
	}, "BadJwt"},
	{"from the future", func(u *e2e.User, m *lexrt.Method) string {
		return u.Bearer(u.Server.DID, m.NSID, authtest.Claim("iat", time.Now().Add(10*time.Minute).Unix()))
	}, "BadJwt"},
	{"another's key", func(u *e2e.User, m *lexrt.Method) string {
		return u.Bearer(u.Server.DID, m.NSID, authtest.SignedBy(u.Server.NewUser(authtest.K256).PrivateKey()))
	}, "BadJwtSignature"},
	{"broken signature", func(u *e2e.User, m *lexrt.Method) string {
		return u.Bearer(u.Server.DID, m.NSID, authtest.Signature(func(sig []byte) []byte {
			return append([]byte{sig[0] ^ 1}, sig[1:]...)
		}))
	}, "BadJwtSignature"},
	{"an access token", func(u *e2e.User, m *lexrt.Method) string {
		return u.Bearer(u.Server.DID, m.NSID, authtest.Header("typ", "at+jwt"))
	}, "BadJwtType"},
	{"iss is no DID", func(u *e2e.User, m *lexrt.Method) string {
		return u.Bearer(u.Server.DID, m.NSID, authtest.Claim("iss", "alice.test"))
	}, "BadJwtIss"},
	{"unknown iss", func(u *e2e.User, m *lexrt.Method) string {
		return u.Bearer(u.Server.DID, m.NSID, authtest.Claim("iss", "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"))
	}, "UnresolvedDid"},
}

// TestSweepTokens: every method of the table is mounted and bound to its NSID (I11). A token
// that is not exactly for the call is refused before anything else of the request is looked at.
func TestSweepTokens(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	for _, m := range mlsapi.Methods() {
		t.Run(short(m), func(t *testing.T) {
			t.Parallel()
			u := s.Users(1)[0]
			if m.Anonymous {
				refusesTokens(t, u, m)
				return
			}
			if m.Open {
				ignoresTokens(t, u, m)
				return
			}
			for _, c := range badTokens {
				a := u.Call(t, m, e2e.Request{Authorization: c.value(u, m)}, nil)
				if a.Status != http.StatusUnauthorized || a.Error != c.want {
					t.Errorf("%s: got %d %s, want 401 %s", c.name, a.Status, a.Error, c.want)
				}
				if a.Header.Get("Www-Authenticate") == "" || !strings.HasPrefix(a.Header.Get("Content-Type"), "application/json") {
					t.Errorf("%s: headers %v", c.name, a.Header)
				}
			}
			// The request is broken on purpose: only the token is under test, and a stream does not
			// begin.
			once := e2e.Request{Authorization: u.Bearer(s.DID, m.NSID), RawQuery: "%zz"}
			u.Call(t, m, once, nil).Want(t, http.StatusBadRequest, "InvalidRequest")
			u.Call(t, m, once, nil).Want(t, http.StatusUnauthorized, "ReplayedToken")
		})
	}
}

// ignoresTokens: a method that takes no token answers with any as without one, and with the same
// one twice: a PDS that passes requests on adds one.
func ignoresTokens(t *testing.T, u *e2e.User, m *lexrt.Method) {
	t.Helper()
	want := u.Call(t, m, e2e.Request{Authorization: "-", RawQuery: "%zz"}, nil).Want(t, http.StatusBadRequest, "InvalidRequest")
	for _, c := range badTokens {
		token := c.value(u, m)
		for range 2 {
			if a := u.Call(t, m, e2e.Request{Authorization: token, RawQuery: "%zz"}, nil); a.Status != want.Status || a.Error != want.Error {
				t.Errorf("%s: got %d %s, want %d %s", c.name, a.Status, a.Error, want.Status, want.Error)
			}
		}
	}
}

// refusesTokens: a method whose caller is nobody's business takes no request that says who it is,
// in whichever form, and a good one least of all.
func refusesTokens(t *testing.T, u *e2e.User, m *lexrt.Method) {
	t.Helper()
	u.Call(t, m, e2e.Request{Authorization: "-", RawQuery: "%zz"}, nil).Want(t, http.StatusBadRequest, "InvalidRequest")
	for _, c := range badTokens {
		if token := c.value(u, m); token != "-" {
			u.Call(t, m, e2e.Request{Authorization: token, RawQuery: "%zz"}, nil).Want(t, http.StatusBadRequest, "TokenNotAllowed")
		}
	}
	for _, token := range []string{u.Bearer(u.Server.DID, m.NSID), "x", " "} {
		u.Call(t, m, e2e.Request{Authorization: "-", Header: header("Authorization", token)}, nil).Want(t, http.StatusBadRequest, "TokenNotAllowed")
	}
}

// Whether a token needs lxm and jti is a property of the method table: the
// configuration decides for standard methods, and never for privileged ones.
func TestSweepPrivileged(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t, e2e.Env{"ENFORCE_LXM": "false", "ENFORCE_JTI": "false"})
	u := s.Users(1)[0]
	privileged := 0
	for _, m := range mlsapi.Methods() {
		if m.Anonymous {
			continue // it takes no token at all
		}
		noLXM := e2e.Request{Authorization: u.Bearer(s.DID, ""), RawQuery: "%zz"}
		noJTI := e2e.Request{Authorization: u.Bearer(s.DID, m.NSID, authtest.Claim("jti", nil)), RawQuery: "%zz"}
		if m.Privileged {
			privileged++
			u.Call(t, m, noLXM, nil).Want(t, http.StatusUnauthorized, "BadJwtLexiconMethod")
			u.Call(t, m, noJTI, nil).Want(t, http.StatusUnauthorized, "BadJwt")
			continue
		}
		for range 2 {
			u.Call(t, m, noLXM, nil).Want(t, http.StatusBadRequest, "InvalidRequest")
			u.Call(t, m, noJTI, nil).Want(t, http.StatusBadRequest, "InvalidRequest")
		}
	}
	if privileged != 7 {
		t.Errorf("%d privileged methods, want registerDevice, deleteDevice, requestRejoin, promoteAdmin, demoteAdmin, removeMember and resolveReport", privileged)
	}
}

// The shape of a request is judged alike on every method.
func TestSweepRequests(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	spaces := bytes.Repeat([]byte(" "), 32<<20)
	for _, m := range mlsapi.Methods() {
		t.Run(short(m), func(t *testing.T) {
			t.Parallel()
			u := s.Users(1)[0]
			invalid := func(what string, r e2e.Request) {
				t.Helper()
				a := u.Call(t, m, r, nil)
				if a.Status != http.StatusBadRequest || a.Error != "InvalidRequest" || a.Message == "" {
					t.Errorf("%s: got %d %s %q, want 400 InvalidRequest", what, a.Status, a.Error, a.Message)
				}
			}
			wrong := []string{http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodPost}
			if m.Kind == lexrt.Procedure {
				wrong[3] = http.MethodGet
			}
			for _, verb := range wrong {
				invalid(verb, e2e.Request{Verb: verb})
			}
			invalid("malformed query", e2e.Request{RawQuery: "a=%zz"})
			preflight := u.Call(t, m, e2e.Request{Verb: http.MethodOptions, Authorization: "-"}, nil)
			if allow := preflight.Header.Get("Access-Control-Allow-Methods"); preflight.Status != http.StatusOK || strings.Contains(allow, wrong[3]) {
				t.Errorf("OPTIONS: got %d and allowed methods %q", preflight.Status, allow)
			}
			if m.Input == "" {
				invalid("unexpected body", e2e.Request{Body: []byte("{}"), Header: header("Content-Type", "application/json")})
				return
			}
			invalid("no content type", e2e.Request{Body: []byte("{}"), Header: header("Content-Type")})
			invalid("wrong content type", e2e.Request{Body: []byte("{}"), Header: header("Content-Type", "text/plain")})
			invalid("malformed content type", e2e.Request{Body: []byte("{}"), Header: header("Content-Type", ";")})
			for _, body := range []string{
				"", "{", "null", "[]", `"x"`, "1", "{}{}", `{"a":1,"a":2}`, "{\"\xff\":1}", `{"a":"` + "\xff" + `"}`, "\xef\xbb\xbf{}",
				strings.Repeat(`{"a":`, 500) + strings.Repeat("}", 500), `{"secretvalue":tru}`,
			} {
				invalid("body "+body[:min(len(body), 20)], e2e.Request{Body: []byte(body)})
			}
			if a := u.Call(t, m, e2e.Request{Body: []byte(`{"convoId":17,"x":"secretvalue}`)}, nil); strings.Contains(a.Message, "secretvalue") {
				t.Errorf("the message quotes the request: %s", a.Message)
			}
			u.Call(t, m, e2e.Request{Body: []byte("{}"), Header: header("Content-Encoding", "br")}, nil).
				Want(t, http.StatusUnsupportedMediaType, "UnsupportedMediaTypeError")
			u.Call(t, m, e2e.Request{Body: spaces[:m.MaxBody+1]}, nil).Want(t, http.StatusRequestEntityTooLarge, "PayloadTooLargeError")
			u.Call(t, m, e2e.Request{Body: squeeze(t, spaces[:m.MaxBody+1]), Header: header("Content-Encoding", "gzip")}, nil).
				Want(t, http.StatusRequestEntityTooLarge, "PayloadTooLargeError")
			invalid("as large as may be", e2e.Request{Body: spaces[:m.MaxBody]})
		})
	}
}

func squeeze(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Every constraint of every input is enforced before a handler runs, and broken
// ones have the name that the policy gives them.
func TestSweepConstraints(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	for _, m := range mlsapi.Methods() {
		if m.Input == "" {
			continue
		}
		t.Run(short(m), func(t *testing.T) {
			t.Parallel()
			u := s.Users(1)[0]
			n := 0
			for mutation := range mlsapifake.Schemas.Mutations(inputName(m), rand.New(rand.NewPCG(1, 2))) {
				if int64(len(mutation.JSON)) > m.MaxBody {
					continue // refused for its size, which TestSweepRequests shows
				}
				n++
				status, name := http.StatusBadRequest, "InvalidRequest"
				for _, v := range m.Violations {
					if v.Rule == mutation.Rule && v.Pointer == mutation.Pointer {
						status, name = v.Error.Status, v.Error.Name
					}
				}
				a := u.Call(t, m, e2e.Request{Body: mutation.JSON}, nil)
				if a.Status != status || a.Error != name || !strings.Contains(a.Message, mutation.Pointer) {
					t.Errorf("%s %s: got %d %s %q, want %d %s", mutation.Pointer, mutation.Rule, a.Status, a.Error, a.Message, status, name)
				}
			}
			if n == 0 && len(mlsapifake.Schemas[inputName(m)].Props) > 0 {
				t.Error("no constraint was broken")
			}
		})
	}
}
