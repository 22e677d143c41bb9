// Package authtest is test support for everything that needs an authenticated
// caller: it makes atproto identities with real keys of either curve, serves
// their DID documents over HTTP as a PLC directory and a did:web host do, and
// mints real service tokens, well-formed ones and odd ones.
//
// Nothing but tests may import it. It listens on loopback only.
package authtest

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/mr-tron/base58"

	"mls-server/internal/clock"
	"mls-server/lexrt"
)

// Curve is the elliptic curve of an identity's signing key.
type Curve uint8

// The two curves of atproto.
const (
	K256 Curve = iota // secp256k1, ES256K
	P256              // NIST P-256, ES256
)

// KeyFormat is how a DID document writes the signing key down.
type KeyFormat uint8

// The formats that public PLC servers have emitted over the years.
const (
	Multikey           KeyFormat = iota // type Multikey
	LegacyUncompressed                  // EcdsaSecp256…VerificationKey2019, 65 bytes in base58btc
	LegacyCompressed                    // EcdsaSecp256…VerificationKey2019, 33 bytes in base58btc
	JWK                                 // JsonWebKey2020
)

// Directory is a PLC stand-in. It also answers /.well-known/did.json for the
// identity that NewWebIdentity made.
type Directory struct {
	server *httptest.Server
	clock  clock.Clock

	mu         sync.Mutex
	identities map[lexrt.DID]*Identity
	fetches    map[lexrt.DID]int
	web        *Identity
	down       bool

	made atomic.Uint32
}

// NewDirectory starts a directory that lives as long as the test. Tokens of its
// identities are minted at the time of c, nil means the machine's clock.
func NewDirectory(tb testing.TB, c clock.Clock) *Directory {
	tb.Helper()
	if c == nil {
		c = clock.System
	}
	d := &Directory{clock: c, identities: map[lexrt.DID]*Identity{}, fetches: map[lexrt.DID]int{}}
	d.server = httptest.NewServer(http.HandlerFunc(d.serve))
	tb.Cleanup(d.server.Close)
	return d
}

// URL is the value for PLC_URL.
func (d *Directory) URL() string { return d.server.URL }

// HostPorts are the entries that EGRESS_ALLOW needs for this directory.
func (d *Directory) HostPorts() []string {
	hp := strings.TrimPrefix(d.server.URL, "http://")
	_, port, _ := strings.Cut(hp, ":")
	return []string{hp, "localhost:" + port}
}

// Fetches is how often the document of did was asked for.
func (d *Directory) Fetches(did lexrt.DID) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.fetches[did]
}

// Asked is how often any document was asked for.
func (d *Directory) Asked() (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, times := range d.fetches {
		n += times
	}
	return n
}

// SetDown makes every request fail with 503, or work again.
func (d *Directory) SetDown(down bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.down = down
}

// NewIdentity makes a did:plc identity and publishes its document. The DIDs of a
// directory sort in the order in which they were made, so that what is sorted by
// them is the same in each run.
func (d *Directory) NewIdentity(curve Curve) *Identity {
	var raw [15]byte
	_, _ = rand.Read(raw[:])
	binary.BigEndian.PutUint32(raw[:], d.made.Add(1)<<12)
	did := lexrt.DID("did:plc:" + sortedBase32.EncodeToString(raw[:]))
	return d.publish(did, curve)
}

// sortedBase32 has the digits of did:plc in an order in which text sorts as the bytes do.
var sortedBase32 = base32.NewEncoding("234567abcdefghijklmnopqrstuvwxyz")

// NewWebIdentity makes a did:web identity whose host is this directory. There is
// one of them at a time; a second call replaces the first.
func (d *Directory) NewWebIdentity(curve Curve) *Identity {
	_, port, _ := strings.Cut(strings.TrimPrefix(d.server.URL, "http://"), ":")
	i := d.publish(lexrt.DID("did:web:localhost%3A"+port), curve)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.web = i
	return i
}

func (d *Directory) publish(did lexrt.DID, curve Curve) *Identity {
	i := &Identity{DID: did, clock: d.clock, key: newKey(curve), pds: "https://pds.example.com"}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.identities[did] = i
	return i
}

// Remove makes the directory forget the identity: its document becomes a 404.
func (d *Directory) Remove(i *Identity) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.identities, i.DID)
	if d.web == i {
		d.web = nil
	}
}

func (d *Directory) serve(w http.ResponseWriter, r *http.Request) {
	did := lexrt.DID(strings.TrimPrefix(r.URL.Path, "/"))
	d.mu.Lock()
	i := d.identities[did]
	if r.URL.Path == "/.well-known/did.json" {
		i = d.web
		if i != nil {
			did = i.DID
		}
	}
	d.fetches[did]++
	down := d.down
	d.mu.Unlock()

	w.Header().Set("Content-Type", "application/did+ld+json")
	switch {
	case down:
		w.WriteHeader(http.StatusServiceUnavailable)
	case i == nil:
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"message":"DID not registered"}`)
	default:
		_, _ = w.Write(i.document())
	}
}

// Identity is an account with a signing key.
type Identity struct {
	// DID is the account's identifier.
	DID lexrt.DID

	clock clock.Clock

	mu       sync.Mutex
	key      atcrypto.PrivateKeyExportable
	format   KeyFormat
	relative bool
	pds      string
	edit     func(doc map[string]any)
}

// PrivateKey is the current signing key, for signers of other libraries.
func (i *Identity) PrivateKey() atcrypto.PrivateKeyExportable {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.key
}

// Rotate replaces the signing key; the document follows at once.
func (i *Identity) Rotate(curve Curve) {
	k := newKey(curve)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.key = k
}

// SetKeyFormat chooses how the document writes the key, and whether ids in it
// are relative ("#atproto") or absolute.
func (i *Identity) SetKeyFormat(f KeyFormat, relativeIDs bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.format, i.relative = f, relativeIDs
}

// SetPDS sets the endpoint of the account's PDS; "" removes the service.
func (i *Identity) SetPDS(url string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.pds = url
}

// EditDocument lets edit change each document before it is served; nil stops that.
func (i *Identity) EditDocument(edit func(doc map[string]any)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.edit = edit
}

func (i *Identity) document() []byte {
	i.mu.Lock()
	defer i.mu.Unlock()
	prefix := string(i.DID)
	if i.relative {
		prefix = ""
	}
	method := VerificationMethod(i.key, i.format)
	method["id"], method["controller"] = prefix+"#atproto", string(i.DID)
	doc := map[string]any{
		"@context":           []any{"https://www.w3.org/ns/did/v1", "https://w3id.org/security/multikey/v1"},
		"id":                 string(i.DID),
		"alsoKnownAs":        []any{},
		"verificationMethod": []any{method},
		"service":            []any{},
	}
	if i.pds != "" {
		doc["service"] = []any{map[string]any{"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": i.pds}}
	}
	if i.edit != nil {
		i.edit(doc)
	}
	return mustJSON(doc)
}

// VerificationMethod writes the public half of key in the given format, without
// id and controller.
func VerificationMethod(key atcrypto.PrivateKey, format KeyFormat) map[string]any {
	pub, err := key.PublicKey()
	if err != nil {
		panic(fmt.Sprintf("authtest: public key: %v", err))
	}
	legacy := "EcdsaSecp256k1VerificationKey2019"
	if curveOf(key) == P256 {
		legacy = "EcdsaSecp256r1VerificationKey2019"
	}
	switch format {
	case LegacyUncompressed:
		return map[string]any{"type": legacy, "publicKeyMultibase": "z" + base58.Encode(pub.UncompressedBytes())}
	case LegacyCompressed:
		return map[string]any{"type": legacy, "publicKeyMultibase": "z" + base58.Encode(pub.Bytes())}
	case JWK:
		jwk, err := pub.JWK()
		if err != nil {
			panic(fmt.Sprintf("authtest: jwk: %v", err))
		}
		return map[string]any{"type": "JsonWebKey2020", "publicKeyJwk": jwk}
	case Multikey:
	}
	return map[string]any{"type": "Multikey", "publicKeyMultibase": pub.Multibase()}
}

func curveOf(key atcrypto.PrivateKey) Curve {
	if _, ok := key.(*atcrypto.PrivateKeyP256); ok {
		return P256
	}
	return K256
}

func newKey(curve Curve) atcrypto.PrivateKeyExportable {
	var key atcrypto.PrivateKeyExportable
	var err error
	if curve == P256 {
		key, err = atcrypto.GeneratePrivateKeyP256()
	} else {
		key, err = atcrypto.GeneratePrivateKeyK256()
	}
	if err != nil {
		panic(fmt.Sprintf("authtest: new key: %v", err))
	}
	return key
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("authtest: json: %v", err))
	}
	return b
}
