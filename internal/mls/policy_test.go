package mls_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
)

var testTime = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

const (
	alice = mls.DID("did:plc:aliceaaaaaaaaaaaaaaaaaaa")
	bob   = mls.DID("did:web:bob.example")
)

func TestKeyPackagePolicy(t *testing.T) {
	t.Parallel()
	life := func(before, after time.Duration) mlstest.Change {
		return mlstest.Lifetime(testTime.Add(before), testTime.Add(after))
	}
	spec := func(f func(*mlstest.KeyPackageSpec)) mlstest.Change { return f }
	const day = 24 * time.Hour
	cases := map[string]struct {
		change mlstest.Change
		want   mls.Code
	}{
		"plain":                   {life(-time.Hour, day), 0},
		"bare":                    {mlstest.Bare, 0},
		"last resort":             {mlstest.LastResort, 0},
		"DID without device":      {mlstest.Identity(string(alice)), 0},
		"longest lifetime":        {life(0, 120*day), 0},
		"lifetime too long":       {life(0, 120*day+time.Second), mls.CodeLifetimeTooLong},
		"endless":                 {spec(func(s *mlstest.KeyPackageSpec) { s.NotBefore, s.NotAfter = 0, 1<<64-1 }), mls.CodeLifetimeTooLong},
		"starts within the skew":  {life(time.Hour, day), 0},
		"starts later":            {life(time.Hour+time.Second, day), mls.CodeNotYetValid},
		"far future":              {spec(func(s *mlstest.KeyPackageSpec) { s.NotBefore, s.NotAfter = 1<<63, 1<<63+1 }), mls.CodeNotYetValid},
		"ended within the skew":   {life(-day, -time.Hour), 0},
		"expired":                 {life(-day, -time.Hour-time.Second), mls.CodeExpired},
		"lifetime reversed":       {life(time.Minute, -time.Minute), mls.CodeBadLifetime},
		"leaf signature":          {mlstest.BadLeafSignature, mls.CodeLeafSignature},
		"package signature":       {mlstest.BadSignature, mls.CodeKeyPackageSignature},
		"another DID":             {mlstest.Identity(string(bob)), mls.CodeIdentityMismatch},
		"DID as a mere prefix":    {mlstest.Identity(string(alice) + "x"), mls.CodeIdentityMismatch},
		"empty device":            {mlstest.Identity(string(alice) + "#"), mls.CodeIdentityMismatch},
		"not a DID":               {mlstest.Identity("alice"), mls.CodeIdentityMismatch},
		"no identity":             {mlstest.Identity(""), mls.CodeIdentityMismatch},
		"version 2":               {spec(func(s *mlstest.KeyPackageSpec) { s.Version = 2 }), mls.CodeUnsupportedVersion},
		"version not listed":      {spec(func(s *mlstest.KeyPackageSpec) { s.Versions = nil }), mls.CodeCapabilityMissing},
		"suite not listed":        {spec(func(s *mlstest.KeyPackageSpec) { s.Suites = nil }), mls.CodeCapabilityMissing},
		"credential not listed":   {spec(func(s *mlstest.KeyPackageSpec) { s.Credentials = []uint16{2} }), mls.CodeCapabilityMissing},
		"other suite":             {spec(func(s *mlstest.KeyPackageSpec) { s.Suite = 3; s.Suites = []uint16{3} }), mls.CodeWrongSuite},
		"private suite":           {spec(func(s *mlstest.KeyPackageSpec) { s.Suite = 0xf007 }), mls.CodeUnsupportedSuite},
		"x509":                    {spec(func(s *mlstest.KeyPackageSpec) { s.CredentialType = 2; s.Identity = nil }), mls.CodeUnsupportedCredential},
		"unknown credential":      {spec(func(s *mlstest.KeyPackageSpec) { s.CredentialType = 0x0a0a }), mls.CodeUnsupportedCredential},
		"init key reused inside":  {spec(func(s *mlstest.KeyPackageSpec) { s.InitKey = s.EncryptionKey }), mls.CodeInitKeyEqualsEncryptionKey},
		"init key size":           {spec(func(s *mlstest.KeyPackageSpec) { s.InitKey = s.InitKey[1:] }), mls.CodeBadKeySize},
		"encryption key size":     {spec(func(s *mlstest.KeyPackageSpec) { s.EncryptionKey = nil }), mls.CodeBadKeySize},
		"signature key size":      {spec(func(s *mlstest.KeyPackageSpec) { s.SignatureKey = s.SignatureKey[1:] }), mls.CodeBadKeySize},
		"leaf source":             {spec(func(s *mlstest.KeyPackageSpec) { s.Source = mls.LeafUpdate }), mls.CodeBadLeafSource},
		"leaf extension unlisted": {spec(func(s *mlstest.KeyPackageSpec) { s.LeafExtensions = []mlstest.Extension{{Type: 0xf001}} }), mls.CodeCapabilityMissing},
		"default leaf extension":  {spec(func(s *mlstest.KeyPackageSpec) { s.LeafExtensions = []mlstest.Extension{{Type: 1}} }), 0},
		"grease":                  {spec(func(s *mlstest.KeyPackageSpec) { s.Extensions = []mlstest.Extension{{Type: 0x0a0a}, {Type: 0x1a1a}} }), 0},
		"extension twice":         {spec(func(s *mlstest.KeyPackageSpec) { s.Extensions = []mlstest.Extension{{Type: 0x0a0a}, {Type: 0x0a0a}} }), mls.CodeDuplicateExtension},
		"identity of 513 bytes":   {mlstest.Identity("did:web:" + string(make([]byte, 505))), mls.CodeTooLarge},
		"65 capabilities":         {spec(func(s *mlstest.KeyPackageSpec) { s.Proposals = make([]uint16, 65) }), mls.CodeTooLarge},
		"33 extensions":           {spec(manyExtensions(33)), mls.CodeTooLarge},
		"32 extensions":           {spec(manyExtensions(32)), 0},
		"leaf extension is listed": {spec(func(s *mlstest.KeyPackageSpec) {
			s.ExtensionTypes = append(s.ExtensionTypes, 0xf001)
			s.LeafExtensions = []mlstest.Extension{{Type: 0xf001}}
		}), 0},
		"extension is listed": {spec(func(s *mlstest.KeyPackageSpec) {
			s.ExtensionTypes = append(s.ExtensionTypes, 0xf001)
			s.Extensions = []mlstest.Extension{{Type: 0xf001}}
		}), 0},
		"extension unlisted": {spec(func(s *mlstest.KeyPackageSpec) { s.Extensions = []mlstest.Extension{{Type: 0xf001}} }), mls.CodeCapabilityMissing},
		"not quite grease":   {spec(func(s *mlstest.KeyPackageSpec) { s.Extensions = []mlstest.Extension{{Type: 0xfafa}} }), mls.CodeCapabilityMissing},
		"last_resort in the leaf": {spec(func(s *mlstest.KeyPackageSpec) {
			s.LeafExtensions = []mlstest.Extension{{Type: mls.ExtensionLastResort}}
		}), mls.CodeMisplacedExtension},
		"last_resort with data": {spec(func(s *mlstest.KeyPackageSpec) {
			s.Extensions = []mlstest.Extension{{Type: mls.ExtensionLastResort, Data: []byte{1}}}
		}), mls.CodeMisplacedExtension},
		"reserved type in the leaf": {spec(func(s *mlstest.KeyPackageSpec) { s.LeafExtensions = []mlstest.Extension{{}} }), mls.CodeMisplacedExtension},
		"ratchet_tree in the leaf": {spec(func(s *mlstest.KeyPackageSpec) {
			s.LeafExtensions = []mlstest.Extension{{Type: mls.ExtensionRatchetTree}}
		}), mls.CodeMisplacedExtension},
		"external_pub in the leaf": {spec(func(s *mlstest.KeyPackageSpec) {
			s.LeafExtensions = []mlstest.Extension{{Type: mls.ExtensionExternalPub}}
		}), mls.CodeMisplacedExtension},
		"application_id in a package": {spec(func(s *mlstest.KeyPackageSpec) {
			s.Extensions = []mlstest.Extension{{Type: mls.ExtensionApplicationID}}
		}), mls.CodeMisplacedExtension},
		"init key of small order":     {spec(func(s *mlstest.KeyPackageSpec) { s.InitKey = make([]byte, 32) }), mls.CodeSmallOrderKey},
		"encryption key of order one": {spec(func(s *mlstest.KeyPackageSpec) { s.EncryptionKey = append([]byte{1}, make([]byte, 31)...) }), mls.CodeSmallOrderKey},
	}
	client := mlstest.NewClient(alice, "phone", 1)
	policy := mls.DefaultKeyPackagePolicy()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			made := client.KeyPackage(testTime, c.change)
			got, err := policy.ReadText(made.Text(), 3, mls.KeyPackageOwner{DID: alice, Suite: 1}, testTime)
			if c.want != 0 {
				assert.Equal(t, c.want.String(), mls.CodeOf(err).String())
				require.ErrorIs(t, err, mls.ErrInvalidKeyPackage)
				assert.EqualError(t, err, "invalid key package at index 3: "+c.want.String())
				return
			}
			require.NoError(t, err)
			assert.Equal(t, made.Ref, got.Ref)
		})
	}
}

func manyExtensions(n int) func(*mlstest.KeyPackageSpec) {
	return func(s *mlstest.KeyPackageSpec) {
		for i := range n {
			s.Extensions = append(s.Extensions, mlstest.Extension{Type: mls.ExtensionType(0x1000 + i)})
			s.ExtensionTypes = append(s.ExtensionTypes, uint16(0x1000+i))
		}
	}
}

func TestKeyPackageOwner(t *testing.T) {
	t.Parallel()
	policy := mls.DefaultKeyPackagePolicy()
	for suite := mls.SuiteX25519AES128; suite <= mls.SuiteX25519ChaCha; suite++ {
		client := mlstest.NewClient(bob, "", suite)
		made := client.KeyPackage(testTime)
		_, err := policy.Read(made.Bytes, mls.KeyPackageOwner{DID: bob, SignatureKey: client.SignatureKey, Suite: suite}, testTime)
		require.NoError(t, err)
		_, err = policy.Read(made.Bytes, mls.KeyPackageOwner{}, testTime)
		require.NoError(t, err)
		_, err = policy.Read(made.Bytes, mls.KeyPackageOwner{SignatureKey: mlstest.Random(32)}, testTime)
		require.ErrorIs(t, err, mls.CodeSignatureKeyMismatch)
	}
	none := mls.KeyPackagePolicy{}
	_, err := none.Read(mlstest.NewClient(bob, "", 1).KeyPackage(testTime).Bytes, mls.KeyPackageOwner{}, testTime)
	require.ErrorIs(t, err, mls.CodeUnsupportedSuite)
	_, err = policy.ReadText("*", -1, mls.KeyPackageOwner{}, testTime)
	require.EqualError(t, err, "invalid key package: BadEncoding")
}

func TestKeyPackagePoints(t *testing.T) {
	t.Parallel()
	policy := mls.DefaultKeyPackagePolicy()
	client := mlstest.NewClient(alice, "", mls.SuiteP256AES128)
	off := func(key []byte) []byte {
		b := append([]byte{}, key...)
		b[64] ^= 1
		return b
	}
	cases := map[string]struct {
		change     mlstest.Change
		compressed bool
		want       mls.Code
	}{
		"init key off the curve": {func(s *mlstest.KeyPackageSpec) { s.InitKey = off(s.InitKey) }, false, mls.CodeBadPoint},
		"init key compressed":    {func(s *mlstest.KeyPackageSpec) { s.InitKey = compress(s.InitKey) }, true, mls.CodeCompressedPoint},
		"signature key off":      {func(s *mlstest.KeyPackageSpec) { s.SignatureKey = off(s.SignatureKey) }, false, mls.CodeBadPoint},
		"compressed refused":     {func(s *mlstest.KeyPackageSpec) { s.SignatureKey = compress(s.SignatureKey) }, false, mls.CodeCompressedPoint},
		"compressed accepted":    {func(s *mlstest.KeyPackageSpec) { s.SignatureKey = compress(s.SignatureKey) }, true, 0},
		"compressed off the curve": {func(s *mlstest.KeyPackageSpec) {
			s.SignatureKey = append([]byte{2}, make([]byte, 32)...)
			for i := range s.SignatureKey[1:] {
				s.SignatureKey[1+i] = 0xff
			}
		}, true, mls.CodeBadPoint},
	}
	for name, c := range cases {
		p := policy
		p.AllowCompressedKeys = c.compressed
		_, err := p.Read(client.KeyPackage(testTime, c.change).Bytes, mls.KeyPackageOwner{}, testTime)
		assert.Equal(t, c.want.String(), mls.CodeOf(err).String(), name)
	}
}

func compress(key []byte) []byte { return append([]byte{2 + key[64]&1}, key[1:33]...) }

func TestSplitIdentity(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"did:plc:abc":          "did:plc:abc  true",
		"did:plc:abc#d1":       "did:plc:abc d1 true",
		"did:web:a.example#x#": "did:web:a.example x# true",
		"did:plc:abc#":         "  false",
		"#d1":                  "  false",
		"":                     "  false",
		"did:plc:\xff":         "  false",
	} {
		did, device, ok := mls.SplitIdentity([]byte(in))
		assert.Equal(t, want, fmt.Sprintf("%s %s %t", did, device, ok), "%q", in)
	}
}
