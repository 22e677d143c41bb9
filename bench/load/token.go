package main

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
)

// directory answers as a PLC directory for the identities of a run, and as an
// AppView that knows of no blocks.
type directory struct {
	url       string
	documents map[string][]byte
	// delay is how long the AppView takes, in nanoseconds.
	delay atomic.Int64
}

func newDirectory() (*directory, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	d := &directory{url: "http://" + l.Addr().String(), documents: map[string][]byte{}}
	server := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/xrpc/app.bsky.graph.getRelationships" {
			time.Sleep(time.Duration(d.delay.Load()))
			relationships(w, r)
			return
		}
		document, ok := d.documents[strings.TrimPrefix(r.URL.Path, "/")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/did+ld+json")
		_, _ = w.Write(document)
	})}
	go func() { _ = server.Serve(l) }() // it ends with the process
	return d, nil
}

func relationships(w http.ResponseWriter, r *http.Request) {
	type relationship struct {
		Type string `json:"$type"`
		DID  string `json:"did"`
	}
	answer := struct {
		Actor         string         `json:"actor"`
		Relationships []relationship `json:"relationships"`
	}{Actor: r.URL.Query().Get("actor"), Relationships: []relationship{}}
	for _, did := range r.URL.Query()["others"] {
		answer.Relationships = append(answer.Relationships, relationship{"app.bsky.graph.defs#relationship", did})
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer) // the server sees a broken answer and says so
}

// identity is an account with a signing key: P-256 and K-256 by turns.
type identity struct {
	did    string
	key    atcrypto.PrivateKey
	header string
}

func (d *directory) newIdentity(n int) (*identity, error) {
	var raw [15]byte
	_, _ = rand.Read(raw[:]) // never fails
	i := &identity{did: "did:plc:" + strings.ToLower(base32.StdEncoding.EncodeToString(raw[:]))}
	alg := "ES256"
	var err error
	if n%2 == 0 {
		i.key, err = atcrypto.GeneratePrivateKeyP256()
	} else {
		alg = "ES256K"
		i.key, err = atcrypto.GeneratePrivateKeyK256()
	}
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	i.header = base64.RawURLEncoding.EncodeToString([]byte(`{"typ":"JWT","alg":"` + alg + `"}`))
	public, err := i.key.PublicKey()
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	d.documents[i.did], err = json.Marshal(map[string]any{
		"@context": []string{"https://www.w3.org/ns/did/v1"}, "id": i.did,
		"verificationMethod": []any{map[string]any{"id": i.did + "#atproto", "type": "Multikey", "controller": i.did, "publicKeyMultibase": public.Multibase()}},
		"service":            []any{},
	})
	if err != nil {
		return nil, fmt.Errorf("write a document: %w", err)
	}
	return i, nil
}

// token signs a service token for one request.
func (i *identity) token(method string) (string, error) {
	var jti [16]byte
	_, _ = rand.Read(jti[:]) // never fails
	now := time.Now().Unix()
	claims := fmt.Sprintf(`{"iss":%q,"aud":%q,"lxm":%q,"iat":%d,"exp":%d,"jti":%q}`, i.did, serviceDID, method, now, now+1500, hex.EncodeToString(jti[:]))
	text := i.header + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	signature, err := i.key.HashAndSign([]byte(text))
	if err != nil {
		return "", fmt.Errorf("sign: %w", err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}
