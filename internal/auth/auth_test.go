package auth_test

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	indigoauth "github.com/bluesky-social/indigo/atproto/auth"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"mls-server/internal/auth"
	"mls-server/internal/authtest"
	"mls-server/internal/clock"
	"mls-server/internal/clock/clocktest"
	"mls-server/internal/egress"
	"mls-server/internal/shared"
	"mls-server/lexrt"
)

const (
	serviceDID = "did:web:mls.example.com"
	serviceID  = "atproto_mls"
)

var (
	standard   = &lexrt.Method{NSID: "blue.catbird.mls.getConvos", Kind: lexrt.Query}
	privileged = &lexrt.Method{NSID: "blue.catbird.mls.removeMember", Kind: lexrt.Procedure, Privileged: true}
)

func newHasher(tb testing.TB) *shared.Hasher {
	tb.Helper()
	h, err := shared.NewHasher([]byte("0123456789abcdef"))
	if err != nil {
		tb.Fatal(err)
	}
	return h
}

type env struct {
	clock    *clocktest.Manual
	dir      *authtest.Directory
	resolver *auth.Resolver
	replays  *auth.MemoryReplays
	auth     *auth.ServiceAuth
}

func newEnv(t *testing.T, change ...func(*auth.Config)) *env {
	t.Helper()
	clk := clocktest.New()
	dir := authtest.NewDirectory(t, clk)
	client, err := egress.New(egress.Config{Allow: dir.HostPorts()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdle)
	e := &env{
		clock:    clk,
		dir:      dir,
		resolver: auth.NewResolver(auth.ResolverConfig{Client: client, PLCURL: dir.URL() + "/", Clock: clk}),
		replays:  auth.NewMemoryReplays(1000, clk),
	}
	cfg := auth.Config{
		ServiceDID: serviceDID, ServiceID: serviceID, EnforceLXM: true, EnforceJTI: true, JTITTL: 5 * time.Minute,
		Resolver: e.resolver, Replays: e.replays, Hasher: newHasher(t), Clock: clk,
	}
	for _, c := range change {
		c(&cfg)
	}
	if e.auth, err = auth.New(cfg); err != nil {
		t.Fatal(err)
	}
	return e
}

// admit authenticates a request and uses its token up.
func (e *env) admit(ctx context.Context, m *lexrt.Method, header string) (lexrt.Caller, error) {
	c, err := e.auth.Authenticate(ctx, m, header, "192.0.2.1")
	if err == nil {
		err = e.auth.Spend(ctx, c)
	}
	if err != nil {
		return lexrt.Caller{}, err
	}
	return c.Caller, nil
}

// call authenticates and returns the error's name, "" for success.
func (e *env) call(t *testing.T, m *lexrt.Method, header string) string {
	t.Helper()
	caller, err := e.admit(t.Context(), m, header)
	if err == nil {
		if caller.DID == "" {
			t.Error("success without a caller")
		}
		return ""
	}
	var lerr *lexrt.Error
	if !errors.As(err, &lerr) {
		t.Fatalf("not a lexrt error: %v", err)
	}
	if lerr.Status != http.StatusUnauthorized && lerr.Name != auth.NameNotEnoughResources {
		t.Errorf("%s has status %d", lerr.Name, lerr.Status)
	}
	if caller.DID != "" {
		t.Error("a caller beside an error")
	}
	for part := range strings.SplitSeq(header, ".") {
		if len(part) > 8 && strings.Contains(lerr.Error(), part) {
			t.Errorf("the error repeats a part of the token")
		}
	}
	return lerr.Name
}

func (e *env) want(t *testing.T, what, want string, m *lexrt.Method, header string) {
	t.Helper()
	if got := e.call(t, m, header); got != want {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func TestForeignSignerOfBothCurves(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	for _, curve := range []authtest.Curve{authtest.K256, authtest.P256} {
		id := e.dir.NewIdentity(curve)
		nsid := syntax.NSID(standard.NSID)
		for _, aud := range []string{serviceDID, serviceDID + "#" + serviceID} {
			token, err := indigoauth.SignServiceAuth(id.DID, aud, time.Minute, &nsid, id.PrivateKey())
			if err != nil {
				t.Fatal(err)
			}
			caller, err := e.admit(t.Context(), standard, "Bearer "+token)
			if err != nil || caller.DID != id.DID {
				t.Errorf("curve %d, aud %s: %v, %v", curve, aud, caller, err)
			}
			e.want(t, "second use", auth.NameReplayedToken, standard, "Bearer "+token)
		}
	}
}

func TestTokenRules(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id := e.dir.NewIdentity(authtest.K256)
	other := e.dir.NewIdentity(authtest.K256)
	web := e.dir.NewWebIdentity(authtest.P256)
	unix := func(d time.Duration) int64 { return e.clock.Now().Add(d).Unix() }
	type opts = []authtest.TokenOption
	for _, tc := range []struct {
		name string
		aud  string
		lxm  string
		opts opts
		want string
	}{
		{name: "plain"},
		{name: "aud with our service id", aud: serviceDID + "#" + serviceID},
		{name: "high S", opts: opts{authtest.HighS()}},
		{name: "iss with #atproto", opts: opts{authtest.Claim("iss", string(id.DID)+"#atproto")}},
		{name: "no typ", opts: opts{authtest.Header("typ", nil)}},
		{name: "no iat", opts: opts{authtest.Claim("iat", nil)}},
		{name: "exp with a fraction", opts: opts{authtest.Claim("exp", float64(unix(time.Minute))+0.25)}},
		{name: "exp within the leeway", opts: opts{id.ExpiresIn(-29 * time.Second)}},
		{name: "exp an hour ahead", opts: opts{id.ExpiresIn(time.Hour)}},
		{name: "iat within the leeway", opts: opts{authtest.Claim("iat", unix(29*time.Second))}},
		{name: "a kid that names another key", opts: opts{authtest.Header("kid", string(other.DID)+"#atproto")}},
		{name: "unknown claims", opts: opts{authtest.Claim("scope", []string{"x"}), authtest.Claim("nonce", 7)}},

		{name: "access token", opts: opts{authtest.Header("typ", "at+jwt")}, want: auth.NameBadJwtType},
		{name: "refresh token", opts: opts{authtest.Header("typ", "refresh+jwt")}, want: auth.NameBadJwtType},
		{name: "dpop proof", opts: opts{authtest.Header("typ", "dpop+jwt")}, want: auth.NameBadJwtType},
		{name: "access token in capitals", opts: opts{authtest.Header("typ", "AT+JWT")}, want: auth.NameBadJwtType},
		{name: "access token as a media type", opts: opts{authtest.Header("typ", "application/at+jwt")}, want: auth.NameBadJwtType},
		{name: "typ is a number", opts: opts{authtest.Header("typ", 1)}, want: auth.NameBadJwt},
		{name: "alg twice", opts: opts{authtest.RawHeader(`{"alg":"none","alg":"` + authtest.Alg(id.PrivateKey()) + `"}`)}, want: auth.NameBadJwt},
		{name: "typ null", opts: opts{authtest.RawHeader(`{"typ":null,"alg":"` + authtest.Alg(id.PrivateKey()) + `"}`)}, want: auth.NameBadJwt},
		{name: "typ spelled with escapes", opts: opts{authtest.RawHeader(`{"typ":"at\u002bjwt","alg":"` + authtest.Alg(id.PrivateKey()) + `"}`)}, want: auth.NameBadJwtType},
		{name: "header null", opts: opts{authtest.RawHeader(`null`)}, want: auth.NameBadJwt},
		{name: "header with something behind", opts: opts{authtest.RawHeader(`{"alg":"` + authtest.Alg(id.PrivateKey()) + `"}{}`)}, want: auth.NameBadJwt},
		{name: "critical headers", opts: opts{authtest.Header("crit", []string{"b64"}), authtest.Header("b64", false)}, want: auth.NameBadJwt},

		{name: "alg none", opts: opts{authtest.Header("alg", "none")}, want: auth.NameBadJwt},
		{name: "alg HS256", opts: opts{authtest.Header("alg", "HS256")}, want: auth.NameBadJwt},
		{name: "alg RS256", opts: opts{authtest.Header("alg", "RS256")}, want: auth.NameBadJwt},
		{name: "alg EdDSA", opts: opts{authtest.Header("alg", "EdDSA")}, want: auth.NameBadJwt},
		{name: "alg missing", opts: opts{authtest.Header("alg", nil)}, want: auth.NameBadJwt},
		{name: "alg unknown", opts: opts{authtest.Header("alg", "ES256k")}, want: auth.NameBadJwt},
		{name: "alg is a number", opts: opts{authtest.Header("alg", 256)}, want: auth.NameBadJwt},
		{name: "alg of the other curve", opts: opts{authtest.Header("alg", "ES256")}, want: auth.NameBadJwtSignature},

		{name: "expired", opts: opts{id.ExpiresIn(-31 * time.Second)}, want: auth.NameJwtExpired},
		{name: "expired on the edge", opts: opts{id.ExpiresIn(-30 * time.Second)}, want: auth.NameJwtExpired},
		{name: "exp zero", opts: opts{authtest.Claim("exp", 0)}, want: auth.NameJwtExpired},
		{name: "no exp", opts: opts{authtest.Claim("exp", nil)}, want: auth.NameBadJwt},
		{name: "exp null", opts: opts{authtest.RawClaims(`{"exp":null,"aud":"` + serviceDID + `"}`)}, want: auth.NameBadJwt},
		{name: "exp a year ahead", opts: opts{id.ExpiresIn(365 * 24 * time.Hour)}, want: auth.NameBadJwt},
		{name: "exp over an hour ahead", opts: opts{id.ExpiresIn(time.Hour + 31*time.Second)}, want: auth.NameBadJwt},
		{name: "exp in milliseconds", opts: opts{authtest.Claim("exp", unix(time.Minute)*1000)}, want: auth.NameBadJwt},
		{name: "exp huge", opts: opts{authtest.Claim("exp", 1e300)}, want: auth.NameBadJwt},
		{name: "exp over int64", opts: opts{authtest.RawClaims(`{"exp":9223372036854775808}`)}, want: auth.NameBadJwt},
		{name: "exp infinite", opts: opts{authtest.RawClaims(`{"exp":1e999}`)}, want: auth.NameBadJwt},
		{name: "exp negative", opts: opts{authtest.Claim("exp", -1)}, want: auth.NameBadJwt},
		{name: "exp a string", opts: opts{authtest.Claim("exp", "soon")}, want: auth.NameBadJwt},
		{name: "iat in the future", opts: opts{authtest.Claim("iat", unix(31*time.Second))}, want: auth.NameBadJwt},
		{name: "nbf in the future", opts: opts{authtest.Claim("nbf", unix(31*time.Second))}, want: auth.NameBadJwt},

		{name: "aud of another service", aud: "did:web:other.example.com", want: auth.NameBadJwtAudience},
		{name: "aud with another service id", aud: serviceDID + "#atproto_pds", want: auth.NameBadJwtAudience},
		{name: "aud with an empty service id", aud: serviceDID + "#", want: auth.NameBadJwtAudience},
		{name: "aud longer by a letter", aud: serviceDID + "m", want: auth.NameBadJwtAudience},
		{name: "aud in capitals", aud: strings.ToUpper(serviceDID), want: auth.NameBadJwtAudience},
		{name: "no aud", opts: opts{authtest.Claim("aud", nil)}, want: auth.NameBadJwtAudience},
		{name: "aud empty", opts: opts{authtest.Claim("aud", "")}, want: auth.NameBadJwtAudience},
		{name: "aud a list", opts: opts{authtest.Claim("aud", []string{serviceDID})}, want: auth.NameBadJwt},

		{name: "lxm of another method", lxm: "blue.catbird.mls.sendMessage", want: auth.NameBadJwtLexiconMethod},
		{name: "lxm in other case", lxm: "blue.catbird.mls.getconvos", want: auth.NameBadJwtLexiconMethod},
		{name: "lxm a prefix", lxm: "blue.catbird.mls.getConvo", want: auth.NameBadJwtLexiconMethod},
		{name: "lxm a wildcard", lxm: "*", want: auth.NameBadJwtLexiconMethod},
		{name: "lxm a path", lxm: "/xrpc/" + standard.NSID, want: auth.NameBadJwtLexiconMethod},
		{name: "no lxm", opts: opts{authtest.Claim("lxm", nil)}, want: auth.NameBadJwtLexiconMethod},
		{name: "lxm a list", opts: opts{authtest.Claim("lxm", []string{standard.NSID})}, want: auth.NameBadJwt},

		{name: "no jti", opts: opts{authtest.Claim("jti", nil)}, want: auth.NameBadJwt},
		{name: "jti empty", opts: opts{authtest.Claim("jti", "")}, want: auth.NameBadJwt},
		{name: "jti too long", opts: opts{authtest.Claim("jti", strings.Repeat("j", 257))}, want: auth.NameBadJwt},
		{name: "jti a number", opts: opts{authtest.Claim("jti", 5)}, want: auth.NameBadJwt},

		{name: "no iss", opts: opts{authtest.Claim("iss", nil)}, want: auth.NameBadJwtIss},
		{name: "iss a handle", opts: opts{authtest.Claim("iss", "alice.example.com")}, want: auth.NameBadJwtIss},
		{name: "iss with another fragment", opts: opts{authtest.Claim("iss", string(id.DID)+"#atproto_labeler")}, want: auth.NameBadJwtIss},
		{name: "iss with an empty fragment", opts: opts{authtest.Claim("iss", string(id.DID)+"#")}, want: auth.NameBadJwtIss},
		{name: "iss with two fragments", opts: opts{authtest.Claim("iss", string(id.DID)+"#atproto#atproto")}, want: auth.NameBadJwtIss},
		{name: "iss with a query", opts: opts{authtest.Claim("iss", string(id.DID)+"?x=y")}, want: auth.NameBadJwtIss},
		{name: "iss a did:key", opts: opts{authtest.Claim("iss", "did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme")}, want: auth.NameUnresolvedDid},
		{name: "iss did:plc in capitals", opts: opts{authtest.Claim("iss", "did:plc:"+strings.ToUpper(string(id.DID)[8:]))}, want: auth.NameUnresolvedDid},
		{name: "iss unknown", opts: opts{authtest.Claim("iss", "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")}, want: auth.NameUnresolvedDid},
		{name: "iss did:web with a path", opts: opts{authtest.Claim("iss", string(web.DID)+":users:alice")}, want: auth.NameUnresolvedDid},
		{name: "iss did:web of a private address", opts: opts{authtest.Claim("iss", "did:web:127.0.0.1")}, want: auth.NameUnresolvedDid},
		{name: "iss another account", opts: opts{authtest.Claim("iss", string(other.DID))}, want: auth.NameBadJwtSignature},
		{name: "iss of did:web, key of did:plc", opts: opts{authtest.Claim("iss", string(web.DID))}, want: auth.NameBadJwtSignature},

		{name: "signed by somebody else", opts: opts{authtest.SignedBy(other.PrivateKey())}, want: auth.NameBadJwtSignature},
		{name: "signed by a key of the other curve", opts: opts{authtest.SignedBy(web.PrivateKey())}, want: auth.NameBadJwtSignature},
		{name: "signature in DER", opts: opts{authtest.Signature(der)}, want: auth.NameBadJwtSignature},
		{name: "signature of zeros", opts: opts{authtest.Signature(func([]byte) []byte { return make([]byte, 64) })}, want: auth.NameBadJwtSignature},
		{name: "signature empty", opts: opts{authtest.Signature(func([]byte) []byte { return nil })}, want: auth.NameBadJwtSignature},
		{name: "signature too short", opts: opts{authtest.Signature(func(s []byte) []byte { return s[:63] })}, want: auth.NameBadJwtSignature},
		{name: "signature with a zero behind", opts: opts{authtest.Signature(func(s []byte) []byte { return append(s, 0) })}, want: auth.NameBadJwtSignature},
		{name: "signature with a recovery byte", opts: opts{authtest.Signature(func(s []byte) []byte { return append([]byte{27}, s...) })}, want: auth.NameBadJwtSignature},
		{name: "signature padded", opts: opts{authtest.EncodeSignature(base64.URLEncoding.EncodeToString)}, want: auth.NameBadJwt},
		{name: "signature with a line break", opts: opts{authtest.EncodeSignature(func(s []byte) string {
			text := base64.RawURLEncoding.EncodeToString(s)
			return text[:40] + "\n" + text[40:]
		})}, want: auth.NameBadJwt},
		{name: "signature in hex", opts: opts{authtest.EncodeSignature(func(s []byte) string { return strings.Repeat("0f", len(s)) })}, want: auth.NameBadJwtSignature},
		{name: "signature with stray bits", opts: opts{authtest.EncodeSignature(strayBits)}, want: auth.NameBadJwt},

		{name: "sub of another account", opts: opts{authtest.Claim("sub", string(other.DID))}},
		{name: "sub of any shape", opts: opts{authtest.Claim("sub", []any{1, map[string]any{"iss": string(other.DID)}})}},
		{name: "sub without iss", opts: opts{authtest.Claim("sub", string(id.DID)), authtest.Claim("iss", nil)}, want: auth.NameBadJwtIss},
		{name: "names in other case", opts: opts{authtest.Claim("AUD", "did:web:x"), authtest.Claim("Iss", string(other.DID)), authtest.Claim("LXM", "x")}},
		{name: "iss in other case only", opts: opts{authtest.Claim("iss", nil), authtest.Claim("ISS", string(id.DID))}, want: auth.NameBadJwtIss},
		{name: "iss twice", opts: opts{authtest.RawClaims(`{"iss":"` + string(other.DID) + `","iss":"` + string(id.DID) + `"}`)}, want: auth.NameBadJwt},
		{name: "claims null", opts: opts{authtest.RawClaims(`null`)}, want: auth.NameBadJwt},
		{name: "claims a list", opts: opts{authtest.RawClaims(`[]`)}, want: auth.NameBadJwt},
		{name: "claims with bytes that are not UTF-8", opts: opts{authtest.RawClaims("{\"jti\":\"\xff\"}")}, want: auth.NameBadJwt},
		{name: "claims too long", opts: opts{authtest.Claim("pad", strings.Repeat("x", 4096))}, want: auth.NameBadJwt},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if tc.aud == "" {
				tc.aud = serviceDID
			}
			if tc.lxm == "" {
				tc.lxm = standard.NSID
			}
			caller, err := e.admit(t.Context(), standard, id.Bearer(tc.aud, tc.lxm, tc.opts...))
			var lerr *lexrt.Error
			if !errors.As(err, &lerr) {
				lerr = &lexrt.Error{}
			}
			if lerr.Name != tc.want {
				t.Errorf("%q, want %q", lerr.Name, tc.want)
			}
			if tc.want == "" && caller.DID != id.DID {
				t.Errorf("the caller is %s, not the issuer", caller.DID)
			}
		})
	}
}

// der encodes r‖s as an ASN.1 ECDSA-Sig-Value.
func der(sig []byte) []byte {
	integer := func(b []byte) []byte {
		for len(b) > 1 && b[0] == 0 {
			b = b[1:]
		}
		if b[0] >= 0x80 {
			b = append([]byte{0}, b...)
		}
		return append([]byte{2, byte(len(b))}, b...)
	}
	body := append(integer(sig[:32]), integer(sig[32:])...)
	return append([]byte{0x30, byte(len(body))}, body...)
}

// strayBits sets bits behind the last byte, which lax decoders ignore.
func strayBits(sig []byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	s := base64.RawURLEncoding.EncodeToString(sig)
	last := strings.IndexByte(alphabet, s[len(s)-1])
	return s[:len(s)-1] + string(alphabet[last|1])
}

func TestHeaderAndGarbage(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id := e.dir.NewIdentity(authtest.P256)
	token := func() string { return id.Token(serviceDID, standard.NSID) }
	b64 := base64.RawURLEncoding.EncodeToString
	long := strings.Repeat("a", 1<<20)
	for header, want := range map[string]string{
		"":                          auth.NameAuthMissing,
		" ":                         auth.NameAuthMissing,
		"Bearer":                    auth.NameAuthMissing,
		"Bearer ":                   auth.NameAuthMissing,
		"Basic dXNlcjpwYXNz":        auth.NameAuthMissing,
		"DPoP " + token():           auth.NameAuthMissing,
		token():                     auth.NameAuthMissing,
		"Bearer,x y":                auth.NameAuthMissing,
		"bearer " + token():         "",
		"Bearer   " + token() + " ": "",
		"Bearer x":                  auth.NameBadJwt,
		"Bearer a.b":                auth.NameBadJwt,
		"Bearer a.b.c":              auth.NameBadJwt,
		"Bearer ..":                 auth.NameBadJwt,
		"Bearer a.b.c.d":            auth.NameBadJwt,
		"Bearer ...":                auth.NameBadJwt,
		"Bearer !!!.###.$$$":        auth.NameBadJwt,
		"Bearer Z2FyYmFnZQ.Z2FyYmFnZQ.Z2FyYmFnZQ":                               auth.NameBadJwt,
		"Bearer " + b64([]byte("{}")) + "." + b64([]byte("{}")) + ".":           auth.NameBadJwt,
		"Bearer " + b64([]byte("null")) + "." + b64([]byte("null")) + ".AAAA":   auth.NameBadJwt,
		"Bearer " + b64([]byte("[]")) + "." + b64([]byte("{}")) + ".AAAA":       auth.NameBadJwt,
		"Bearer " + b64([]byte(`{"alg":{}}`)) + "." + b64([]byte("{}")) + ".AA": auth.NameBadJwt,
		"Bearer " + token() + " trailing":                                       auth.NameBadJwt,
		"Bearer " + token() + "\n":                                              "",
		"Bearer " + long:                                                        auth.NameBadJwt,
		"Bearer " + long + "." + long + "." + long:                              auth.NameBadJwt,
		"Bearer " + strings.Repeat(".", 5000):                                   auth.NameBadJwt,
		"Bearer \xff\xfe.\x00.\x01":                                             auth.NameBadJwt,
	} {
		e.want(t, shorten(header), want, standard, header)
	}
}

func shorten(s string) string {
	if len(s) > 60 {
		return s[:60] + "…"
	}
	return s
}

// enforce_standard obeys the configuration, enforce_privileged does not.
func TestEnforcement(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ lxm, jti bool }{{true, true}, {true, false}, {false, true}, {false, false}} {
		e := newEnv(t, func(c *auth.Config) { c.EnforceLXM, c.EnforceJTI = tc.lxm, tc.jti })
		id := e.dir.NewIdentity(authtest.K256)
		when := func(on bool, name string) string {
			if on {
				return name
			}
			return ""
		}
		noJTI, noLXM := authtest.Claim("jti", nil), authtest.Claim("lxm", nil)

		e.want(t, "standard, wrong lxm", when(tc.lxm, auth.NameBadJwtLexiconMethod), standard, id.Bearer(serviceDID, "a.b.c"))
		e.want(t, "standard, no lxm", when(tc.lxm, auth.NameBadJwtLexiconMethod), standard, id.Bearer(serviceDID, "x", noLXM))
		e.want(t, "standard, no jti", when(tc.jti, auth.NameBadJwt), standard, id.Bearer(serviceDID, standard.NSID, noJTI))
		token := id.Bearer(serviceDID, standard.NSID)
		e.want(t, "standard, first use", "", standard, token)
		e.want(t, "standard, second use", when(tc.jti, auth.NameReplayedToken), standard, token)

		e.want(t, "privileged, wrong lxm", auth.NameBadJwtLexiconMethod, privileged, id.Bearer(serviceDID, standard.NSID))
		e.want(t, "privileged, no lxm", auth.NameBadJwtLexiconMethod, privileged, id.Bearer(serviceDID, "x", noLXM))
		e.want(t, "privileged, no jti", auth.NameBadJwt, privileged, id.Bearer(serviceDID, privileged.NSID, noJTI))
		token = id.Bearer(serviceDID, privileged.NSID)
		e.want(t, "privileged, first use", "", privileged, token)
		e.want(t, "privileged, second use", auth.NameReplayedToken, privileged, token)
	}
}

// A token is remembered to its end and the leeway, or JTI_TTL, whichever is later.
// newServer starts an HTTP server and returns its host:port.
func newServer(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func redirectTo(url string) http.Handler { return http.RedirectHandler(url, http.StatusFound) }

func TestCanceledCaller(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id := e.dir.NewIdentity(authtest.K256)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.admit(ctx, standard, id.Bearer(serviceDID, standard.NSID)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestNewRefusesUnsafeConfigurations(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	good := auth.Config{ServiceDID: serviceDID, Resolver: e.resolver, Replays: e.replays, Hasher: newHasher(t), Clock: clock.System}
	for name, change := range map[string]func(*auth.Config){
		"no DID":      func(c *auth.Config) { c.ServiceDID = "" },
		"no resolver": func(c *auth.Config) { c.Resolver = nil },
		"no store":    func(c *auth.Config) { c.Replays = nil },
		"no hasher":   func(c *auth.Config) { c.Hasher = nil },
		"no clock":    func(c *auth.Config) { c.Clock = nil },
	} {
		cfg := good
		change(&cfg)
		if _, err := auth.New(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := auth.New(good); err != nil {
		t.Error(err)
	}
}
