package mls_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
)

// What a device signs to vouch for another one is fixed byte for byte: clients make it, too.
func TestVouchContent(t *testing.T) {
	t.Parallel()
	want := "mls-server device\x00\x00\x00\x02\xab\xcd\x00\x00\x00\x03key"
	assert.Equal(t, want, string(mls.VouchContent([]byte{0xab, 0xcd}, []byte("key"))))
}

// A vouch is for one key in one group, by one key, in every suite.
func TestVouches(t *testing.T) {
	t.Parallel()
	for _, suite := range []mls.CipherSuite{mls.SuiteX25519AES128, mls.SuiteP256AES128, mls.SuiteX25519ChaCha} {
		phone, laptop := mlstest.NewClient("did:web:alice.example", "", suite), mlstest.NewClient("did:web:alice.example", "", suite)
		group := mlstest.NewVerifiedGroup(phone)
		vouched := func(content []byte, by *mlstest.Client) bool {
			commit, _ := group.Commit(0, laptop, mlstest.Draft{External: true, AuthenticatedData: content})
			h, err := mls.ReadCommit(commit, group.State())
			require.NoError(t, err)
			return h.VouchedFor(suite, &mls.LeafNode{SignatureKey: by.SignatureKey})
		}
		right := phone.Vouch(group.ID, laptop.SignatureKey)
		assert.True(t, vouched(right, phone))
		assert.False(t, vouched(right, laptop), "by another key")
		assert.False(t, vouched(phone.Vouch([]byte("another group"), laptop.SignatureKey), phone))
		assert.False(t, vouched(phone.Vouch(group.ID, phone.SignatureKey), phone), "for another key")
		assert.False(t, vouched(append(right, 0), phone))
		assert.False(t, vouched(nil, phone))
	}
}

// An external commit tells which leaf it replaces; the commit of a member replaces none.
func TestReplaced(t *testing.T) {
	t.Parallel()
	c := mlstest.NewClient("did:web:alice.example", "", mls.SuiteX25519AES128)
	group := mlstest.NewVerifiedGroup(c)
	for _, d := range []mlstest.Draft{{External: true, Remove: []uint32{0}}, {External: true}, {Remove: []uint32{4}}} {
		commit, _ := group.Commit(0, c, d)
		h, err := mls.ReadCommit(commit, group.State())
		require.NoError(t, err)
		leaf, ok := h.Replaced()
		assert.Equal(t, d.External && len(d.Remove) == 1, ok)
		assert.Equal(t, uint32(0), leaf)
	}
}
