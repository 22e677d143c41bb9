package auth

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"mls-server/lexrt"
)

// FuzzToken feeds the whole path in front of the signature: nothing may panic,
// and what is refused has one of the documented names.
func FuzzToken(f *testing.F) {
	f.Add("Bearer eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NksifQ.eyJpYXQiOjE3MDAwMDAwMDAsImlzcyI6ImRpZDpwbGM6YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhIiwiYXVkIjoiZGlkOndlYjp4LmV4YW1wbGUiLCJleHAiOjE3MDAwMDAwNjAsImx4bSI6ImEuYi5jIiwianRpIjoiMDAifQ.AAAA")
	f.Add("Bearer a.b.c")
	f.Add("Bearer Z2FyYmFnZQ.Z2FyYmFnZQ.Z2FyYmFnZQ")
	f.Add("bearer e30.e30.")
	f.Add("")
	a := &ServiceAuth{audience: "did:web:x.example", audienceWithID: "did:web:x.example#s"}
	m := &lexrt.Method{NSID: "a.b.c", Privileged: true}
	names := ErrorNames()
	now := time.Unix(1700000000, 0)
	f.Fuzz(func(t *testing.T, header string) {
		check := func(lerr *lexrt.Error) {
			if !slices.Contains(names, lerr.Name) {
				t.Errorf("error name %q", lerr.Name)
			}
		}
		raw, lerr := parseHeader(header)
		if lerr != nil {
			check(lerr)
			return
		}
		tok, lerr := parseToken(raw)
		if lerr != nil {
			check(lerr)
			return
		}
		if tok.alg != algES256 && tok.alg != algES256K {
			t.Errorf("alg %q", tok.alg)
		}
		if !strings.HasPrefix(raw, string(tok.signed)+".") {
			t.Error("what is verified is not what was sent")
		}
		if expires, lerr := checkTimes(&tok.claims, now); lerr != nil {
			check(lerr)
		} else if expires.After(now.Add(MaxLifetime+Leeway)) || expires.Before(now.Add(-Leeway)) {
			t.Errorf("exp %v passed", expires)
		}
		if _, lerr := a.checkBinding(m, &tok.claims); lerr != nil {
			check(lerr)
		} else if tok.claims.Method != m.NSID || tok.claims.ID == "" {
			t.Error("an unbound token passed")
		}
		if did, ok := parseIssuer(tok.claims.Issuer); ok && strings.ContainsAny(string(did), "#/? ") {
			t.Errorf("issuer %q", did)
		}
	})
}

// FuzzDocument reads DID documents of strangers.
func FuzzDocument(f *testing.F) {
	const did = lexrt.DID("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")
	f.Add([]byte(`{"id":"did:plc:aaaaaaaaaaaaaaaaaaaaaaaa","verificationMethod":[{"id":"#atproto","type":"Multikey","publicKeyMultibase":"zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme"}],"service":[{"id":"#atproto_pds","type":"AtprotoPersonalDataServer","serviceEndpoint":"https://x.example"}]}`))
	f.Add([]byte(`{"id":"did:plc:aaaaaaaaaaaaaaaaaaaaaaaa","verificationMethod":[{"id":"#atproto","type":"JsonWebKey2020","publicKeyJwk":{"kty":"EC","crv":"P-256","x":"AQ","y":"AQ"}}]}`))
	f.Add([]byte(`{"id":"did:plc:aaaaaaaaaaaaaaaaaaaaaaaa","verificationMethod":[{"id":"#atproto","type":"EcdsaSecp256k1VerificationKey2019","publicKeyMultibase":"z11"}]}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, body []byte) {
		id, err := parseDocument(did, body)
		if err != nil {
			if !errors.Is(err, ErrBadDocument) {
				t.Errorf("error %v", err)
			}
			return
		}
		if id.DID != did {
			t.Errorf("document of %q", id.DID)
		}
		if id.Key != nil {
			id.Key.Verify([]byte("x"), make([]byte, signatureSize))
		}
	})
}
