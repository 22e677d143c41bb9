package mls_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
)

func TestUnwrapPadding(t *testing.T) {
	t.Parallel()
	g := mlstest.NewGroup(1)
	message := g.Application(100)
	// A message of 65538 bytes behind a length prefix of 00 01 00 02, which reads as a header.
	long := g.Application(65538 - 100)
	for len(long) != 65538 {
		long = g.Application(65538 - 100 + 65538 - len(long))
	}
	dirty := mlstest.PadDirect(message, 0)
	dirty[len(dirty)-1] = 1
	dirtyPrefixed := mlstest.PadPrefixed(message, 0)
	dirtyPrefixed[len(dirtyPrefixed)-1] = 1
	cases := map[string]struct {
		in      []byte
		padding mls.Padding
		message []byte
	}{
		"direct":               {mlstest.PadDirect(message, 0), mls.PaddingDirect, message},
		"direct, no padding":   {message, mls.PaddingDirect, message},
		"prefixed":             {mlstest.PadPrefixed(message, 0), mls.PaddingPrefixed, message},
		"prefixed, exact":      {mlstest.PadPrefixed(message, len(message)+4), mls.PaddingPrefixed, message},
		"length like a header": {mlstest.PadPrefixed(long, 81920), mls.PaddingPrefixed, long},
		"zeros":                {make([]byte, 512), mls.PaddingOpaque, nil},
		"empty":                {nil, mls.PaddingOpaque, nil},
		"three bytes":          {[]byte{0, 1, 0}, mls.PaddingOpaque, nil},
		"random":               {mlstest.Random(512), mls.PaddingOpaque, nil},
		"padding not zero":     {dirty, mls.PaddingOpaque, nil},
		"prefixed, not zero":   {dirtyPrefixed, mls.PaddingOpaque, nil},
		"length beyond":        {append([]byte{0xff, 0xff, 0xff, 0xff}, message...), mls.PaddingOpaque, nil},
		"prefix cuts":          {append([]byte{0, 0, 0, 20}, message...), mls.PaddingOpaque, nil},
		"welcome":              {mlstest.PadDirect(g.Welcome("aa"), 0), mls.PaddingDirect, nil},
	}
	for name, c := range cases {
		m, padding := mls.UnwrapPadding(c.in)
		assert.Equal(t, c.padding.String(), padding.String(), name)
		if c.message != nil {
			assert.Equal(t, c.message, m.Raw, name)
		}
	}
}

func TestReadSend(t *testing.T) {
	t.Parallel()
	g := mlstest.NewGroup(1).At(5)
	me := mlstest.NewClient(alice, "a", 1)
	pad := func(b []byte) []byte { return mlstest.PadDirect(b, 0) }
	cases := map[string]struct {
		in              []byte
		declared, grace mls.Epoch
		content         mls.ContentType
		want            error
	}{
		"application":            {pad(g.Application(10)), 5, 0, mls.ContentApplication, nil},
		"opaque":                 {mlstest.Random(512), 5, 0, mls.ContentApplication, nil},
		"opaque, late":           {mlstest.Random(512), 4, 0, 0, mls.ErrEpochMismatch},
		"opaque, graced":         {mlstest.Random(512), 4, 1, mls.ContentApplication, nil},
		"late":                   {pad(g.At(4).Application(10)), 4, 0, 0, mls.ErrEpochMismatch},
		"graced":                 {pad(g.At(4).Application(10)), 4, 1, mls.ContentApplication, nil},
		"beyond grace":           {pad(g.At(3).Application(10)), 3, 1, 0, mls.ErrEpochMismatch},
		"grace is at most three": {pad(g.At(1).Application(10)), 1, 9, 0, mls.ErrEpochMismatch},
		"ahead":                  {pad(g.At(6).Application(10)), 6, 3, 0, mls.ErrEpochMismatch},
		"declares another":       {pad(g.At(4).Application(10)), 5, 3, 0, mls.ErrEpochMismatch},
		"declares another late":  {pad(g.Application(10)), 4, 3, 0, mls.ErrEpochMismatch},
		"another group":          {pad(mlstest.NewGroup(1).At(5).Application(10)), 5, 0, 0, mls.ErrInvalidAsset},
		"welcome":                {pad(g.Welcome("aa")), 5, 0, 0, mls.ErrInvalidAsset},
		"plaintext":              {pad(g.PublicApplication(me, "hi")), 5, 0, 0, mls.ErrInvalidAsset},
		"commit":                 {pad(g.PrivateCommit()), 5, 0, mls.ContentCommit, nil},
		"commit has no grace":    {pad(g.At(4).PrivateCommit()), 4, 3, 0, mls.ErrEpochMismatch},
		"proposal":               {pad(g.PrivateProposal()), 5, 0, mls.ContentProposal, nil},
		"proposal has no grace":  {pad(g.At(4).PrivateProposal()), 4, 3, 0, mls.ErrEpochMismatch},
		"public commit":          {pad(g.Commit(mlstest.Commit{From: me})), 5, 0, mls.ContentCommit, nil},
		"commit without a path":  {pad(g.Commit(mlstest.Commit{From: me, NoPath: true})), 5, 0, 0, mls.CodeMissingUpdatePath},
	}
	for name, c := range cases {
		s, err := mls.ReadSendForTest(c.in, c.declared, c.grace, g.State())
		if c.want != nil {
			require.ErrorIs(t, err, c.want, name)
			continue
		}
		require.NoError(t, err, name)
		assert.Equal(t, c.content, s.Content, name)
		assert.Equal(t, c.content != mls.ContentApplication, s.Handshake != nil, name)
	}
	var mismatch *mls.Error
	_, err := mls.ReadSendForTest(pad(g.Application(10)), 4, 3, g.State())
	require.ErrorAs(t, err, &mismatch)
	assert.Equal(t, mls.EpochMismatch(4, 5), error(mismatch))
}

func TestSendDoesNotCopy(t *testing.T) {
	t.Parallel()
	in := mlstest.PadDirect(mlstest.NewGroup(1).Application(100), 0)
	m, _ := mls.UnwrapPadding(in)
	assert.Same(t, &in[0], &m.Raw[0])
	assert.Equal(t, len(m.Private.Ciphertext), cap(m.Private.Ciphertext))
	assert.Equal(t, len(m.Raw), cap(m.Raw))
	assert.Equal(t, len(m.Private.GroupID), cap(m.Private.GroupID))
}
