package mls_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
)

func code(err error) string { return mls.CodeOf(err).String() }

// TestCaps: a list one longer than its cap is refused, one as long is not.
func TestCaps(t *testing.T) {
	t.Parallel()
	welcome := func(n int) error {
		// Each entry: a reference of 2 bytes, and two empty strings.
		secrets := make([]byte, 0, 5*n)
		for i := range n {
			secrets = append(secrets, 2, byte(i>>8), byte(i), 0, 0)
		}
		_, err := mls.ParseWelcome(append(append([]byte{0, 1}, vector(secrets)...), 0))
		return err
	}
	proposals := func(n int) error {
		list := bytes.Repeat([]byte{2, 0}, n) // references of no bytes
		return mls.PartForTest("commit", append(vector(list), 0))
	}
	tree := func(n int) error {
		k := mlstest.NewClient(alice, "", 1).KeyPackage(testTime)
		parsed, err := mls.ParseKeyPackage(k.Bytes)
		require.NoError(t, err)
		nodes := append(make([]byte, n-1), 1, 1)
		_, err = mls.ParseRatchetTree(vector(append(nodes, parsed.Leaf.Raw...)))
		return err
	}
	path := func(nodes, secrets int) error {
		g := mlstest.NewGroup(1)
		m, err := mls.ParseMessage(g.Commit(mlstest.Commit{From: mlstest.NewClient(alice, "", 1)}))
		require.NoError(t, err)
		node := append([]byte{0}, vector(make([]byte, 2*secrets))...)
		b := append([]byte{0, 1}, m.Public.Commit.Path.Leaf.Raw...)
		return mls.PartForTest("commit", append(b, vector(bytes.Repeat(node, nodes))...))
	}
	require.NoError(t, welcome(4096))
	assert.Equal(t, "TooLarge", code(welcome(4097)))
	require.NoError(t, proposals(4096))
	assert.Equal(t, "TooLarge", code(proposals(4097)))
	require.NoError(t, tree(16383))
	assert.Equal(t, "TooLarge", code(tree(16385)))
	assert.Equal(t, "BadTree", code(tree(2)), "a leaf at an odd position")
	require.NoError(t, path(32, 1))
	assert.Equal(t, "TooLarge", code(path(33, 1)))
	require.NoError(t, path(1, 8192))
	assert.Equal(t, "TooLarge", code(path(1, 8193)))

	adds := mlstest.Commit{From: mlstest.NewClient(alice, "", 1)}
	for range 513 {
		adds.Proposals = append(adds.Proposals, mlstest.Add(mlstest.NewClient(bob, "", 1).KeyPackage(testTime)))
	}
	g := mlstest.NewGroup(1)
	_, err := mls.ReadCommit(g.Commit(adds), g.State())
	assert.Equal(t, "TooLarge", code(err))
}

func TestMalformedParts(t *testing.T) {
	t.Parallel()
	private := mlstest.NewGroup(1).Application(10)
	change := func(at int, b ...byte) []byte {
		c := bytes.Clone(private)
		copy(c[at:], b)
		return c
	}
	const epochAt = 4 + 1 + 16
	message := func(b []byte) string {
		_, err := mls.ParseMessage(b)
		return code(err)
	}
	assert.Equal(t, "EpochTooLarge", message(change(epochAt, 0x80)))
	assert.Equal(t, "UnsupportedContent", message(change(epochAt+8, 4)))
	assert.Equal(t, "UnsupportedContent", message(change(epochAt+8, 0)))
	assert.Equal(t, "UnsupportedVersion", message(change(0, 0, 2)))
	assert.Equal(t, "UnsupportedWireFormat", message(change(2, 0, 6)))
	assert.Equal(t, "LengthNotMinimal", message(change(4, 0x40, 0x10)))
	assert.Equal(t, "LengthNotMinimal", message(change(4, 0x80, 0, 0x3f, 0xff)))
	assert.Equal(t, "LengthPrefix", message(change(4, 0xff)))
	assert.Equal(t, "Truncated", message(change(4, 0xbf, 0xff, 0xff, 0xff)), "a gigabyte that is not there")
	assert.Equal(t, "TooLarge", message(append([]byte{0, 1, 0, 2}, vector(make([]byte, 256))...)))

	for kind, cases := range map[string]map[string][]byte{
		"commit":     {"BadOptional": {0, 2}, "UnsupportedContent": {2, 3, 0, 0}, "Truncated": {0}},
		"proposal":   {"UnsupportedProposal": {0, 8}, "Truncated": {0, 3, 0}},
		"psk":        {"UnsupportedContent": {3}, "Truncated": {2, 1, 0}},
		"extensions": {"DuplicateExtension": {6, 0, 9, 0, 0, 9, 0}, "Truncated": {1, 0}},
		"leaf":       {"UnsupportedCredential": {0, 0, 0, 9}, "BadLeafSource": {0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 4}, "Truncated": {0, 0, 0, 1, 0, 1, 9}},
	} {
		for want, b := range cases {
			assert.Equal(t, want, code(mls.PartForTest(kind, b)), "%s %x", kind, b)
		}
	}
	// A resumption PSK: usage, group, epoch, nonce.
	require.NoError(t, mls.PartForTest("psk", []byte{2, 1, 1, 'g', 0, 0, 0, 0, 0, 0, 0, 1, 1, 'n'}))
	// Seventeen certificates.
	x509 := append([]byte{0, 0, 0, 2}, vector(make([]byte, 17))...)
	assert.Equal(t, "TooLarge", code(mls.PartForTest("leaf", x509)))

	for want, b := range map[string][]byte{
		"BadTree": {0}, "UnsupportedContent": {2, 1, 3}, "BadOptional": {1, 2}, "Truncated": {1, 1},
	} {
		_, err := mls.ParseRatchetTree(b)
		assert.Equal(t, want, code(err), "%x", b)
	}
	_, err := mls.ParseRatchetTree([]byte{1, 0})
	assert.Equal(t, "BadTree", code(err), "the last node is blank")
	_, err = mls.ParseRatchetTree([]byte{5, 1, 2, 0, 0, 0})
	assert.Equal(t, "BadTree", code(err), "a parent at an even position")
	_, err = mls.ParseGroupContext([]byte{0, 2})
	assert.Equal(t, "UnsupportedVersion", code(err))
}

func TestVerifyExternalSender(t *testing.T) {
	t.Parallel()
	g := mlstest.NewGroup(1).At(3)
	bot, other := mlstest.NewClient("did:web:bot.example", "", 1), mlstest.NewClient(bob, "", 1)
	sender := append(vector(bot.SignatureKey), 0, 1)
	sender = append(sender, vector([]byte(bot.Identity()))...)
	extension := append(binary.BigEndian.AppendUint16(nil, uint16(mls.ExtensionExternalSenders)), vector(vector(sender))...)
	raw := g.Context(nil)
	raw = append(raw[:len(raw)-1], vector(extension)...)
	ctx, err := mls.ParseGroupContext(raw)
	require.NoError(t, err)
	senders, err := ctx.ExternalSenders()
	require.NoError(t, err)
	require.Len(t, senders, 1)
	assert.Equal(t, bot.Identity(), string(senders[0].Credential.Identity))

	verify := func(from *mlstest.Client, index uint32) error {
		m, err := mls.ParseMessage(g.ProposeAs(mls.SenderExternal, from, index, mlstest.Remove(1)))
		require.NoError(t, err)
		return m.Public.Verify(ctx, nil)
	}
	require.NoError(t, verify(bot, 0))
	require.ErrorIs(t, verify(bot, 1), mls.CodeContentSignature)
	require.ErrorIs(t, verify(other, 0), mls.CodeContentSignature)

	none, err := mls.ParseGroupContext(g.Context(nil))
	require.NoError(t, err)
	senders, err = none.ExternalSenders()
	require.NoError(t, err)
	assert.Empty(t, senders)
	broken := &mls.GroupContext{Extensions: mls.Extensions{{Type: mls.ExtensionExternalSenders, Data: []byte{2, 0}}}}
	_, err = broken.ExternalSenders()
	require.ErrorIs(t, err, mls.CodeTruncated)

	m, err := mls.ParseMessage(g.At(4).ProposeAs(mls.SenderExternal, bot, 0, mlstest.Remove(1)))
	require.NoError(t, err)
	require.ErrorIs(t, m.Public.Verify(ctx, nil), mls.CodeWrongEpoch)
	m, err = mls.ParseMessage(mlstest.NewGroup(1).At(3).ProposeAs(mls.SenderExternal, bot, 0, mlstest.Remove(1)))
	require.NoError(t, err)
	require.ErrorIs(t, m.Public.Verify(ctx, nil), mls.CodeWrongGroup)
	m, err = mls.ParseMessage(g.ProposeAs(mls.SenderNewMemberProposal, other, 0, mlstest.Add(other.KeyPackage(testTime))))
	require.NoError(t, err)
	require.NoError(t, m.Public.Verify(ctx, nil))
}

func TestUint16s(t *testing.T) {
	t.Parallel()
	u := mls.Uint16s{0, 1, 2, 3, 0xff, 0xff}
	assert.Equal(t, 3, u.Len())
	assert.True(t, u.Contains(0x0203))
	assert.False(t, u.Contains(0x0102))
	for v := range u.All() {
		assert.Equal(t, uint16(1), v)
		break
	}
}
