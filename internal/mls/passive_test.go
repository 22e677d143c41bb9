package mls

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/hpke"
	"encoding/binary"
	"fmt"
	"slices"

	circl "github.com/cloudflare/circl/hpke"
	"golang.org/x/crypto/chacha20poly1305"
)

// A member that only listens, with keys: what the RFC's passive-client vectors ask for. It
// holds the public group against the secrets, which only fit when every hash is right.

// keyed is a suite's key schedule.
type keyed struct {
	CipherSuite
}

func (k keyed) hpke() (hpke.KEM, hpke.KDF, hpke.AEAD) {
	switch k.CipherSuite {
	case SuiteX25519AES128:
		return hpke.DHKEM(ecdh.X25519()), hpke.HKDFSHA256(), hpke.AES128GCM()
	case SuiteP256AES128:
		return hpke.DHKEM(ecdh.P256()), hpke.HKDFSHA256(), hpke.AES128GCM()
	case SuiteX25519ChaCha:
		return hpke.DHKEM(ecdh.X25519()), hpke.HKDFSHA256(), hpke.ChaCha20Poly1305()
	case SuiteP521AES256:
		return hpke.DHKEM(ecdh.P521()), hpke.HKDFSHA512(), hpke.AES256GCM()
	case SuiteP384AES256:
		return hpke.DHKEM(ecdh.P384()), hpke.HKDFSHA384(), hpke.AES256GCM()
	default:
		panic("X448 is circl's")
	}
}

// privateKey is the size of an HPKE private key.
func (s suiteSpec) privateKey() int {
	if s.curve == nil {
		return s.kemKey
	}
	return (s.curve.Params().BitSize + 7) / 8
}

func (k keyed) x448() bool {
	return k.CipherSuite == SuiteX448AES256 || k.CipherSuite == SuiteX448ChaCha
}

// derive is DeriveKeyPair of RFC 9180 7.1.3.
func (k keyed) derive(ikm []byte) []byte {
	if !k.x448() {
		kem, _, _ := k.hpke()
		priv := must(kem.DeriveKeyPair(ikm))
		return must(priv.Bytes())
	}
	id := append([]byte("HPKE-v1KEM"), 0, 0x21)
	prk := must(hkdf.Extract(k.newHash, slices.Concat(id, []byte("dkp_prk"), ikm), nil))
	return must(hkdf.Expand(k.newHash, prk, string(slices.Concat([]byte{0, 56}, id, []byte("sk"))), 56))
}

// open is DecryptWithLabel (RFC 9420 5.1.3).
func (k keyed) open(priv []byte, label string, context []byte, c HPKECiphertext) ([]byte, error) {
	info := signContent(label, context) // EncryptContext has the same form
	if k.x448() {
		aead := circl.AEAD_AES256GCM
		if k.CipherSuite == SuiteX448ChaCha {
			aead = circl.AEAD_ChaCha20Poly1305
		}
		scheme := circl.KEM_X448_HKDF_SHA512.Scheme()
		key, err := scheme.UnmarshalBinaryPrivateKey(priv)
		if err != nil {
			return nil, err
		}
		receiver, err := circl.NewSuite(circl.KEM_X448_HKDF_SHA512, circl.KDF_HKDF_SHA512, aead).NewReceiver(key, info)
		if err != nil {
			return nil, err
		}
		opener, err := receiver.Setup(c.KEMOutput)
		if err != nil {
			return nil, err
		}
		return opener.Open(c.Ciphertext, nil)
	}
	kem, kdf, aead := k.hpke()
	if size := k.spec().privateKey(); len(priv) < size { // the vectors leave leading zeros away
		priv = append(make([]byte, size-len(priv)), priv...)
	}
	key, err := kem.NewPrivateKey(priv)
	if err != nil {
		return nil, err
	}
	r, err := hpke.NewRecipient(c.KEMOutput, key, kdf, aead, info)
	if err != nil {
		return nil, err
	}
	return r.Open(nil, c.Ciphertext)
}

func (k keyed) extract(salt, ikm []byte) []byte { return must(hkdf.Extract(k.newHash, ikm, salt)) }

func (k keyed) expand(secret []byte, label string, context []byte, n int) []byte {
	info := binary.BigEndian.AppendUint16(nil, uint16(n))
	info = append(info, signContent(label, context)...)
	return must(hkdf.Expand(k.newHash, secret, string(info), n))
}

func (k keyed) size() int { return k.newHash().Size() }

func (k keyed) deriveSecret(secret []byte, label string) []byte {
	return k.expand(secret, label, nil, k.size())
}

// pskSecret is RFC 9420 8.4.
func (k keyed) pskSecret(ids [][]byte, find func(id []byte) []byte) []byte {
	secret := make([]byte, k.size())
	for i, id := range ids {
		label := binary.BigEndian.AppendUint16(slices.Clone(id), uint16(i))
		label = binary.BigEndian.AppendUint16(label, uint16(len(ids)))
		input := k.expand(k.extract(nil, find(id)), "derived psk", label, k.size())
		secret = k.extract(input, secret)
	}
	return secret
}

func (k keyed) aead(key []byte) cipher.AEAD {
	if k.CipherSuite == SuiteX25519ChaCha || k.CipherSuite == SuiteX448ChaCha {
		return must(chacha20poly1305.New(key))
	}
	return must(cipher.NewGCM(must(aes.NewCipher(key))))
}

func (k keyed) keySize() int {
	if k.CipherSuite == SuiteX25519AES128 || k.CipherSuite == SuiteP256AES128 {
		return 16
	}
	return 32
}

// epochSecrets are what an epoch gives to its members.
type epochSecrets struct{ init, authenticator, confirm, resumption, external []byte }

func (k keyed) epoch(joiner, psk, context []byte) epochSecrets {
	s := k.expand(k.extract(joiner, psk), "epoch", context, k.size())
	return epochSecrets{
		init: k.deriveSecret(s, "init"), authenticator: k.deriveSecret(s, "authentication"),
		confirm: k.deriveSecret(s, "confirm"), resumption: k.deriveSecret(s, "resumption"), external: k.deriveSecret(s, "external"),
	}
}

func (k keyed) confirms(s epochSecrets, g *Group) error {
	mac := hmac.New(k.newHash, s.confirm)
	mac.Write(g.context.ConfirmedTranscriptHash)
	if !bytes.Equal(mac.Sum(nil), g.tag) {
		return fmt.Errorf("the confirmation tag of epoch %d does not fit", g.context.Epoch)
	}
	return nil
}

// passive is the listening member.
type passive struct {
	keyed
	group   *Group
	own     uint32
	secrets epochSecrets
	keys    map[int][]byte // private keys by node
	psks    map[string][]byte
	resumed map[Epoch][]byte
}

// privateKeys belong to a key package.
type privateKeys struct{ init, leaf []byte }

// join opens a Welcome with the private keys of the package it is for.
// The tree is nil when the Welcome holds it.
func join(k *KeyPackage, keys privateKeys, w *Welcome, tree *RatchetTree, psks map[string][]byte) (*passive, error) {
	p := &passive{keyed: keyed{k.Suite}, psks: psks, keys: map[int][]byte{}, resumed: map[Epoch][]byte{}}
	ref := refHash(k.Suite, "MLS 1.0 KeyPackage Reference", k.Raw)
	at := slices.IndexFunc(w.Secrets, func(s EncryptedGroupSecrets) bool { return bytes.Equal(s.NewMember, ref) })
	if at < 0 {
		return nil, fmt.Errorf("the Welcome is for others")
	}
	s := w.Secrets[at]
	plain, err := p.open(keys.init, "Welcome", w.EncryptedGroupInfo, HPKECiphertext{s.KEMOutput, s.Ciphertext})
	if err != nil {
		return nil, err
	}
	var f failure
	r := newReader(plain, &f)
	joiner := r.opaque(0)
	var pathSecret []byte
	if r.optional() {
		pathSecret = r.opaque(0)
	}
	var ids [][]byte
	for v := r.vector(); v.more(); {
		id, _ := readPSK(&v)
		ids = append(ids, id)
	}
	psk := p.pskSecret(ids, p.findPSK)
	welcome := p.deriveSecret(p.extract(joiner, psk), "welcome")
	sealed := p.aead(p.expand(welcome, "key", nil, p.keySize()))
	raw, err := sealed.Open(nil, p.expand(welcome, "nonce", nil, sealed.NonceSize()), w.EncryptedGroupInfo, nil)
	if err != nil {
		return nil, err
	}
	var gf failure
	gr := newReader(raw, &gf)
	info := readGroupInfo(&gr)
	if err := gr.err(); err != nil {
		return nil, err
	}
	if tree != nil {
		info.Tree = tree
	}
	if p.group, err = OpenGroup(&info); err != nil {
		return nil, err
	}
	for i, l := range p.group.Leaves() {
		if bytes.Equal(l.Raw, k.Leaf.Raw) {
			p.own = i
		}
	}
	p.keys[int(2*p.own)] = keys.leaf
	if pathSecret != nil {
		p.learn(common(p.group.tree, p.own, info.Signer), pathSecret)
	}
	p.secrets = p.epoch(joiner, psk, p.group.context.Raw)
	return p, p.confirms(p.secrets, p.group)
}

func (p *passive) findPSK(id []byte) []byte {
	if id[0] == 1 {
		var f failure
		r := newReader(id[1:], &f)
		return p.psks[string(r.opaque(0))]
	}
	var f failure
	r := newReader(id[2:], &f)
	r.opaque(0)
	return p.resumed[r.epoch()]
}

// common is the lowest node above two leaves.
func common(t *publicTree, a, b uint32) int {
	for _, x := range t.directPath(int(2 * a)) {
		if under(b, x) {
			return x
		}
	}
	return t.root()
}

// learn derives the keys from a node up and returns the commit secret (RFC 9420 7.4).
func (p *passive) learn(x int, secret []byte) []byte {
	t := p.group.tree
	for {
		p.keys[x] = p.derive(p.deriveSecret(secret, "node"))
		secret = p.deriveSecret(secret, "path")
		for {
			if x == t.root() {
				return secret
			}
			if x = parentOf(x); t.nodes[x].Parent != nil && !t.nodes[x].Parent.hasUnmerged(p.own) {
				break
			}
		}
	}
}

// hear processes a commit.
func (p *passive) hear(m *Message, pending map[ProposalRef]*PublicMessage) error {
	p.resumed[p.group.context.Epoch] = p.secrets.resumption
	tr, err := p.group.Apply(m, pending)
	if err != nil {
		return err
	}
	before := p.group
	p.group = tr.Next
	commitSecret := make([]byte, p.size())
	if path := m.Public.Commit.Path; path != nil {
		if commitSecret, err = p.openPath(path, tr, before.context.ConfirmedTranscriptHash); err != nil {
			return err
		}
	}
	var ids [][]byte
	init := p.secrets.init
	for _, c := range tr.Proposals {
		if c.Type == ProposalPSK {
			ids = append(ids, c.PSK)
		}
		if c.Type == ProposalExternalInit {
			return fmt.Errorf("external init is not in these vectors")
		}
	}
	joiner := p.expand(p.extract(init, commitSecret), "joiner", p.group.context.Raw, p.size())
	p.secrets = p.epoch(joiner, p.pskSecret(ids, p.findPSK), p.group.context.Raw)
	return p.confirms(p.secrets, p.group)
}

func (p *passive) openPath(path *UpdatePath, tr *Transition, confirmed []byte) ([]byte, error) {
	t := p.group.tree
	context := p.group.context
	context.ConfirmedTranscriptHash = confirmed
	raw := newGroupContext(context).Raw
	// a blank node's key is of no use, and one above the committer is replaced
	for x := range p.keys {
		if x >= len(t.nodes) || t.blank(x) {
			delete(p.keys, x)
		}
	}
	fresh := map[int]bool{}
	for _, a := range tr.Added {
		fresh[int(2*a.Index)] = true
	}
	for i, x := range t.filteredPath(tr.Committer) {
		if !under(p.own, x) {
			continue
		}
		at := 0
		for _, y := range t.resolution(t.copath(x, tr.Committer)) {
			if fresh[y] {
				continue
			}
			if key, ok := p.keys[y]; ok {
				secret, err := p.open(key, "UpdatePathNode", raw, path.Nodes[i].Secrets[at])
				if err != nil {
					return nil, fmt.Errorf("node %d: %w", y, err)
				}
				return p.learn(x, secret), nil
			}
			at++
		}
		return nil, fmt.Errorf("no key for the secret at node %d", x)
	}
	return nil, fmt.Errorf("no secret for this member")
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
