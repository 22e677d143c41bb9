package auth_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"mls-server/internal/auth"
	"mls-server/internal/authtest"
	"mls-server/internal/clock"
	"mls-server/internal/egress"
	"mls-server/lexrt"
)

func TestKeyFormats(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	for _, curve := range []authtest.Curve{authtest.K256, authtest.P256} {
		for _, format := range []authtest.KeyFormat{authtest.Multikey, authtest.LegacyUncompressed, authtest.LegacyCompressed, authtest.JWK} {
			for _, relative := range []bool{false, true} {
				id := e.dir.NewIdentity(curve)
				id.SetKeyFormat(format, relative)
				what := fmt.Sprintf("curve %d, format %d, relative %v", curve, format, relative)
				e.want(t, what, "", standard, id.Bearer(serviceDID, standard.NSID))
			}
		}
	}
}

// The key that counts is the first one named #atproto of the DID itself.
func TestDecoyKeys(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	decoy := e.dir.NewIdentity(authtest.K256)
	decoyMethod := func(id string) map[string]any {
		m := authtest.VerificationMethod(decoy.PrivateKey(), authtest.Multikey)
		m["id"] = id
		return m
	}
	methods := func(doc map[string]any) []any {
		list, _ := doc["verificationMethod"].([]any)
		return list
	}
	putFirst := func(m any) func(map[string]any) {
		return func(doc map[string]any) { doc["verificationMethod"] = append([]any{m}, methods(doc)...) }
	}
	putLast := func(m any) func(map[string]any) {
		return func(doc map[string]any) { doc["verificationMethod"] = append(methods(doc), m) }
	}
	const forged, unresolved = auth.NameBadJwtSignature, auth.NameUnresolvedDid
	for name, tc := range map[string]struct {
		edit        func(map[string]any)
		own, decoys string
	}{
		"a label key first":            {putFirst(decoyMethod("#atproto_label")), "", forged},
		"a key without a fragment":     {putFirst(decoyMethod("atproto")), "", forged},
		"a key with an empty fragment": {putFirst(decoyMethod("#")), "", forged},
		"a key of another DID":         {putFirst(decoyMethod(string(decoy.DID) + "#atproto")), "", forged},
		"a key with a longer fragment": {putFirst(decoyMethod("#atproto#atproto")), "", forged},
		"a key in capitals":            {putFirst(decoyMethod("#ATPROTO")), "", forged},
		"no object":                    {putFirst("#atproto"), "", forged},
		"a number as id":               {putFirst(map[string]any{"id": 5, "type": "Multikey"}), "", forged},
		"a key that others control":    {putFirst(with(decoyMethod("#atproto"), "controller", string(decoy.DID))), "", forged},
		"a second #atproto":            {putLast(decoyMethod("#atproto")), "", forged},
		"a first #atproto":             {putFirst(decoyMethod("#atproto")), forged, ""},
		"a broken first #atproto":      {putFirst(with(decoyMethod("#atproto"), "publicKeyMultibase", "zzzz")), unresolved, unresolved},
		"an unknown type first":        {putFirst(with(decoyMethod("#atproto"), "type", "Ed25519VerificationKey2020")), unresolved, unresolved},
		"no methods":                   {func(doc map[string]any) { delete(doc, "verificationMethod") }, unresolved, unresolved},
		"methods null":                 {func(doc map[string]any) { doc["verificationMethod"] = nil }, unresolved, unresolved},
		"methods of the wrong shape":   {func(doc map[string]any) { doc["verificationMethod"] = "x" }, unresolved, unresolved},
		"the document of another DID":  {func(doc map[string]any) { doc["id"] = string(decoy.DID) }, unresolved, unresolved},
		"a document without id":        {func(doc map[string]any) { delete(doc, "id") }, unresolved, unresolved},
		"services of every other shape": {func(doc map[string]any) {
			doc["service"] = []any{"x", 5, nil, map[string]any{"id": "#x", "type": []any{"A", "B"}, "serviceEndpoint": map[string]any{"uri": "x"}}}
		}, "", forged},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id := e.dir.NewIdentity(authtest.P256)
			id.EditDocument(tc.edit)
			e.want(t, "own key", tc.own, standard, id.Bearer(serviceDID, standard.NSID))
			e.want(t, "decoy key", tc.decoys, standard, id.Bearer(serviceDID, standard.NSID, authtest.SignedBy(decoy.PrivateKey())))
		})
	}
}

func with(m map[string]any, name string, value any) map[string]any {
	m[name] = value
	return m
}

func TestMalformedKeys(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	k := e.dir.NewIdentity(authtest.K256).PrivateKey()
	p := e.dir.NewIdentity(authtest.P256).PrivateKey()
	multibase := func(m map[string]any) any { return m["publicKeyMultibase"] }
	k1, r1 := "EcdsaSecp256k1VerificationKey2019", "EcdsaSecp256r1VerificationKey2019"
	for name, method := range map[string]map[string]any{
		"Multikey without a key":         {"type": "Multikey"},
		"Multikey, not base58":           {"type": "Multikey", "publicKeyMultibase": "z0OIl"},
		"Multikey, another multibase":    {"type": "Multikey", "publicKeyMultibase": "m" + strings.Repeat("A", 48)},
		"Multikey, too long":             {"type": "Multikey", "publicKeyMultibase": "z" + strings.Repeat("2", 60000)},
		"Multikey of Ed25519":            {"type": "Multikey", "publicKeyMultibase": "z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"},
		"2019, too long":                 {"type": k1, "publicKeyMultibase": "z" + strings.Repeat("2", 60000)},
		"2019, no key":                   {"type": k1},
		"2019, not base58":               {"type": r1, "publicKeyMultibase": "z0"},
		"2019 k1 with a P-256 multikey":  {"type": k1, "publicKeyMultibase": multibase(authtest.VerificationMethod(p, authtest.Multikey))},
		"2019 k1 with a P-256 point":     {"type": k1, "publicKeyMultibase": multibase(authtest.VerificationMethod(p, authtest.LegacyUncompressed))},
		"2019 r1 with a secp256k1 point": {"type": r1, "publicKeyMultibase": multibase(authtest.VerificationMethod(k, authtest.LegacyUncompressed))},
		"2019 k1 with a P-256 JWK":       {"type": k1, "publicKeyJwk": authtest.VerificationMethod(p, authtest.JWK)["publicKeyJwk"]},
		"JWK missing":                    {"type": "JsonWebKey2020"},
		"JWK of the wrong shape":         {"type": "JsonWebKey2020", "publicKeyJwk": "x"},
		"JWK symmetric":                  {"type": "JsonWebKey2020", "publicKeyJwk": map[string]any{"kty": "oct", "k": "AAAA"}},
		"JWK P-384":                      {"type": "JsonWebKey2020", "publicKeyJwk": map[string]any{"kty": "EC", "crv": "P-384", "x": "AA", "y": "AA"}},
		"JWK off the curve":              {"type": "JsonWebKey2020", "publicKeyJwk": map[string]any{"kty": "EC", "crv": "P-256", "x": "AQ", "y": "AQ"}},
		"JWK k1 off the curve": {"type": "JsonWebKey2020", "publicKeyJwk": map[string]any{
			"kty": "EC", "crv": "secp256k1", "x": strings.Repeat("A", 43), "y": strings.Repeat("A", 43),
		}},
		"JWK at infinity": {"type": "JsonWebKey2020", "publicKeyJwk": map[string]any{"kty": "EC", "crv": "P-256", "x": "", "y": ""}},
		"JWK too long":    {"type": "JsonWebKey2020", "publicKeyJwk": map[string]any{"kty": "EC", "crv": "P-256", "x": strings.Repeat("A", 9999), "y": "AA"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id := e.dir.NewIdentity(authtest.K256)
			method["id"] = "#atproto"
			id.EditDocument(func(doc map[string]any) { doc["verificationMethod"] = []any{method} })
			e.want(t, name, auth.NameUnresolvedDid, standard, id.Bearer(serviceDID, standard.NSID))
		})
	}
}

func TestLegacyTypeWithMulticodecPrefix(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	for curve, typ := range map[authtest.Curve]string{
		authtest.K256: "EcdsaSecp256k1VerificationKey2019", authtest.P256: "EcdsaSecp256r1VerificationKey2019",
	} {
		for _, format := range []authtest.KeyFormat{authtest.Multikey, authtest.JWK} {
			id := e.dir.NewIdentity(curve)
			m := authtest.VerificationMethod(id.PrivateKey(), format)
			m["type"], m["id"] = typ, "#atproto"
			id.EditDocument(func(doc map[string]any) { doc["verificationMethod"] = []any{m} })
			e.want(t, typ, "", standard, id.Bearer(serviceDID, standard.NSID))
		}
	}
}

func TestKeyRotation(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id := e.dir.NewIdentity(authtest.K256)
	old := id.PrivateKey()
	token := func(opts ...authtest.TokenOption) string { return id.Bearer(serviceDID, standard.NSID, opts...) }

	e.want(t, "before", "", standard, token())
	id.Rotate(authtest.P256)
	e.want(t, "new key, cached document", "", standard, token())
	if n := e.dir.Fetches(id.DID); n != 2 {
		t.Errorf("%d fetches, want 2", n)
	}
	e.want(t, "old key", auth.NameBadJwtSignature, standard, token(authtest.SignedBy(old)))

	// Refetches are limited: forged tokens do not become requests to the directory.
	for range 20 {
		e.want(t, "forged", auth.NameBadJwtSignature, standard, token(authtest.SignedBy(old)))
	}
	if n := e.dir.Fetches(id.DID); n != 2 {
		t.Errorf("%d fetches after forged tokens, want 2", n)
	}
	id.Rotate(authtest.K256)
	e.want(t, "second rotation, too soon", auth.NameBadJwtSignature, standard, token())
	e.clock.Advance(auth.RefetchInterval)
	e.want(t, "second rotation, later", "", standard, token())

	// While the directory is down, a cached key goes on working and the refetch changes nothing.
	e.clock.Advance(auth.RefetchInterval)
	e.dir.SetDown(true)
	e.want(t, "forged while down, when nobody can say so", auth.NameNotEnoughResources, standard, token(authtest.SignedBy(old)))
	e.want(t, "genuine while down", "", standard, token())
}

func TestDocumentCache(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id := e.dir.NewIdentity(authtest.K256)
	token := func() string { return id.Bearer(serviceDID, standard.NSID) }
	fetches := func(what string, want int) {
		t.Helper()
		if n := e.dir.Fetches(id.DID); n != want {
			t.Errorf("%s: %d fetches, want %d", what, n, want)
		}
	}
	for range 5 {
		e.want(t, "fresh", "", standard, token())
	}
	fetches("five calls", 1)
	e.clock.Advance(auth.PositiveTTL - time.Second)
	e.want(t, "nearly stale", "", standard, token())
	fetches("nearly stale", 1)
	e.clock.Advance(time.Second)
	e.want(t, "stale", "", standard, token())
	fetches("stale", 2)

	e.dir.Remove(id)
	e.clock.Advance(auth.PositiveTTL)
	for range 5 {
		e.want(t, "gone", auth.NameUnresolvedDid, standard, token())
	}
	fetches("gone", 3)
	e.clock.Advance(auth.NegativeTTL)
	e.want(t, "gone, later", auth.NameUnresolvedDid, standard, token())
	fetches("gone, later", 4)
}

func TestUnreachableIsRememberedBriefly(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id := e.dir.NewIdentity(authtest.K256)
	e.dir.SetDown(true)
	for range 5 {
		e.want(t, "down", auth.NameNotEnoughResources, standard, id.Bearer(serviceDID, standard.NSID))
	}
	if n := e.dir.Fetches(id.DID); n != 1 {
		t.Errorf("%d fetches, want 1", n)
	}
	e.dir.SetDown(false)
	e.want(t, "too soon", auth.NameNotEnoughResources, standard, id.Bearer(serviceDID, standard.NSID))
	e.clock.Advance(auth.UnreachableTTL)
	e.want(t, "up again", "", standard, id.Bearer(serviceDID, standard.NSID))
}

func TestSingleFlight(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id := e.dir.NewIdentity(authtest.P256)
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			if _, err := e.resolver.Resolve(t.Context(), id.DID); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := e.dir.Fetches(id.DID); n != 1 {
		t.Errorf("%d fetches, want 1", n)
	}
}

func TestDIDWeb(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id := e.dir.NewWebIdentity(authtest.P256)
	e.want(t, "did:web", "", standard, id.Bearer(serviceDID, standard.NSID))

	for _, did := range []lexrt.DID{
		"did:web:localhost", "did:web:LOCALHOST%3A80", "did:web:localhost%3a80", "did:web:localhost:80", "did:web:localhost%3A0",
		"did:web:localhost%3A080", "did:web:localhost%2F..%2Fx", "did:web:a..b", "did:web:.a", "did:web:127.0.0.1", "did:web:2130706433",
		"did:web:0x7f.1", "did:web:%31%32%37.0.0.1", "did:web:user%40host.example", "did:web:host.example%3Fx", "did:web:host.example%23x",
		"did:web:xn--", "did:web:", "did:plc:short", "did:plc:aaaaaaaaaaaaaaaaaaaaaaa1", "did:key:z6Mk", "did:", "",
	} {
		_, err := e.resolver.Resolve(t.Context(), did)
		if !errors.Is(err, auth.ErrUnsupportedDID) && !errors.Is(err, auth.ErrBadDocument) {
			t.Errorf("%s: %v", did, err)
		}
	}
}

// A did:web host that answers with a redirect has no document, wherever the redirect leads.
func TestDIDWebDoesNotFollowRedirects(t *testing.T) {
	t.Parallel()
	dir := authtest.NewDirectory(t, nil)
	id := dir.NewWebIdentity(authtest.K256)
	moved := newServer(t, http.RedirectHandler(dir.URL()+"/.well-known/did.json", http.StatusMovedPermanently))
	client, err := egress.New(egress.Config{Allow: append(dir.HostPorts(), moved)})
	if err != nil {
		t.Fatal(err)
	}
	r := auth.NewResolver(auth.ResolverConfig{Client: client, PLCURL: dir.URL(), Clock: clock.System})
	if _, err := r.Resolve(t.Context(), lexrt.DID("did:web:"+strings.Replace(moved, ":", "%3A", 1))); !errors.Is(err, auth.ErrBadDocument) {
		t.Errorf("redirect: %v", err)
	}
	if _, err := r.Resolve(t.Context(), id.DID); err != nil {
		t.Error(err)
	}
}

func TestPDSEndpoint(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	for endpoint, want := range map[string]string{
		"https://pds.example.com":             "https://pds.example.com",
		"https://pds.example.com/":            "https://pds.example.com",
		"https://pds.example.com:8443":        "https://pds.example.com:8443",
		"http://localhost:2583":               "http://localhost:2583",
		"https://pds.example.com/path":        "",
		"https://pds.example.com/?q":          "",
		"https://u:p@pds.example.com":         "",
		"ftp://pds.example.com":               "",
		"pds.example.com":                     "",
		"":                                    "",
		"https://" + strings.Repeat("a", 600): "",
	} {
		id := e.dir.NewIdentity(authtest.K256)
		id.SetPDS(endpoint)
		got, err := e.resolver.PDSEndpoint(t.Context(), id.DID)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", shorten(endpoint), got, err)
		}
	}
	// A service of another type is passed over, whatever its id.
	id := e.dir.NewIdentity(authtest.K256)
	id.EditDocument(func(doc map[string]any) {
		doc["service"] = []any{
			map[string]any{"id": "#atproto_pds", "type": "AtprotoLabeler", "serviceEndpoint": "https://other.example.com"},
			map[string]any{"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": "https://pds.example.com"},
		}
	})
	if got, err := e.resolver.PDSEndpoint(t.Context(), id.DID); got != "https://pds.example.com" || err != nil {
		t.Errorf("behind a service of another type: %q, %v", got, err)
	}
	if _, err := e.resolver.PDSEndpoint(t.Context(), "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"); !errors.Is(err, auth.ErrDIDNotFound) {
		t.Errorf("unknown DID: %v", err)
	}
}

// Made-up DIDs fill the memory for failures only: a known account stays known.
func TestCachesAreBoundedAndApart(t *testing.T) {
	t.Parallel()
	dir := authtest.NewDirectory(t, nil)
	client, err := egress.New(egress.Config{Allow: dir.HostPorts()})
	if err != nil {
		t.Fatal(err)
	}
	r := auth.NewResolver(auth.ResolverConfig{Client: client, PLCURL: dir.URL(), CacheSize: 4, Clock: clock.System})
	id := dir.NewIdentity(authtest.K256)
	for i := range 50 {
		did := lexrt.DID("did:plc:" + strings.Repeat("a", 22) + string(rune('a'+i/26)) + string(rune('a'+i%26)))
		if _, err := r.Resolve(t.Context(), did); !errors.Is(err, auth.ErrDIDNotFound) {
			t.Fatal(err)
		}
		if _, err := r.Resolve(t.Context(), id.DID); err != nil {
			t.Fatal(err)
		}
	}
	if n := dir.Fetches(id.DID); n != 1 {
		t.Errorf("the known account was fetched %d times", n)
	}
	for range 5 {
		if _, err := r.Resolve(t.Context(), dir.NewIdentity(authtest.K256).DID); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Resolve(t.Context(), id.DID); err != nil || dir.Fetches(id.DID) != 2 {
		t.Errorf("the cache keeps more than its size: %v, %d", err, dir.Fetches(id.DID))
	}
}
