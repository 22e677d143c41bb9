package mls_test

import (
	"encoding/base64"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
)

// What was examined ahead is judged as what was not, whatever suite it was examined for.
func TestExamineChangesNoVerdict(t *testing.T) {
	t.Parallel()
	g := mlstest.NewGroup(1).At(2)
	a, b := mlstest.NewClient(alice, "a", 1), mlstest.NewClient(bob, "b", 1)
	k := b.KeyPackage(testTime)
	broken := b.KeyPackage(testTime, func(s *mlstest.KeyPackageSpec) { s.BreakSignature = true })
	for name, c := range map[string]struct {
		raw  []byte
		want error
	}{
		"an Add":             {g.Commit(mlstest.Commit{From: a, Proposals: []mlstest.Proposal{mlstest.Add(k)}}), nil},
		"a broken signature": {g.Commit(mlstest.Commit{From: a, Proposals: []mlstest.Proposal{mlstest.Add(broken)}}), mls.CodeKeyPackageSignature},
		"a self-removal":     {g.Commit(mlstest.Commit{From: a, Proposals: []mlstest.Proposal{mlstest.Remove(0)}}), mls.CodeSelfRemoval},
		"opaque":             {g.PrivateCommit(), nil},
		"another epoch":      {g.At(1).PrivateCommit(), mls.ErrEpochMismatch},
		"another group":      {mlstest.NewGroup(1).At(2).PrivateCommit(), mls.CodeWrongGroup},
		"a proposal":         {g.PrivateProposal(), mls.CodeWrongContentType},
		"a Welcome":          {g.Welcome("a"), mls.CodeWireFormatMismatch},
		"no message":         {[]byte("commit"), mls.ErrInvalidCommit},
	} {
		for _, suite := range []mls.CipherSuite{0, 1, 2} {
			text := base64.StdEncoding.EncodeToString(c.raw)
			candidate := mls.ParseCommit(&text)
			candidate.Examine(suite)
			got, err := candidate.Judge(g.State())
			plain, plainErr := mls.ReadCommit(c.raw, g.State())
			require.ErrorIs(t, err, c.want, "%s, suite %d", name, suite)
			assert.Equal(t, plainErr, err, "%s, suite %d", name, suite)
			assert.Equal(t, plain, got, "%s, suite %d", name, suite)
		}
	}
}

// Judge verifies nothing that Examine has verified: what happens to the bytes in between goes
// unnoticed. So no signature is verified while a conversation is locked.
func TestJudgeVerifiesNothingAgain(t *testing.T) {
	t.Parallel()
	g := mlstest.NewGroup(1).At(2)
	a, b := mlstest.NewClient(alice, "a", 1), mlstest.NewClient(bob, "b", 1)
	k := b.KeyPackage(testTime)
	text := base64.StdEncoding.EncodeToString(g.Commit(mlstest.Commit{From: a, Proposals: []mlstest.Proposal{mlstest.Add(k)}}))
	commit, fresh := mls.ParseCommit(&text), mls.ParseCommit(&text)
	commit.Examine(1)
	for _, c := range []*mls.Candidate{commit, fresh} {
		i := len(c.Bytes) - 1
		// the package's init key, which its signature covers
		for ; i >= 0 && string(c.Bytes[i-len(k.InitKey):i]) != string(k.InitKey); i-- {
		}
		c.Bytes[i-1] ^= 1
	}
	_, err := commit.Judge(g.State())
	require.NoError(t, err)
	_, err = fresh.Judge(g.State())
	require.ErrorIs(t, err, mls.ErrInvalidCommit)
}

func TestCandidatesOfTexts(t *testing.T) {
	t.Parallel()
	g := mlstest.NewGroup(1).At(2)
	_, err := mls.ParseCommit(nil).Judge(g.State())
	require.ErrorIs(t, err, mls.CodeCommitMissing)
	bad := "not base64!"
	_, err = mls.ParseProposal(&bad).Judge(g.State())
	require.ErrorIs(t, err, mls.CodeBadEncoding)
	text := base64.RawURLEncoding.EncodeToString(g.PrivateProposal())
	proposal := mls.ParseProposal(&text)
	assert.True(t, proposal.MadeFor(2))
	assert.False(t, proposal.MadeFor(1))
	assert.False(t, mls.ParseCommit(&text).MadeFor(2))
	h, err := proposal.Judge(g.State())
	require.NoError(t, err)
	assert.Equal(t, mls.ContentProposal, h.Content)
}

// The short way is for what is opaque, and for application messages of the declared epoch.
func TestIsApplicationOf(t *testing.T) {
	t.Parallel()
	g := mlstest.NewGroup(1).At(2)
	a := mlstest.NewClient(alice, "a", 1)
	for name, c := range map[string]struct {
		ciphertext []byte
		short      bool
		group      mls.GroupID
	}{
		"opaque":             {make([]byte, 512), true, ""},
		"application":        {mlstest.PadDirect(g.Application(10), 512), true, g.GroupID()},
		"of another epoch":   {mlstest.PadDirect(g.At(1).Application(10), 512), false, ""},
		"commit":             {mlstest.PadDirect(g.PrivateCommit(), 1024), false, ""},
		"public application": {mlstest.PadDirect(g.PublicApplication(a, "hi"), 512), false, ""},
		"Welcome":            {mlstest.PadDirect(g.Welcome("a"), 1024), false, ""},
	} {
		m := mls.ParseSend(c.ciphertext)
		short, group := m.IsApplicationOf(2)
		assert.Equal(t, c.short, short, name)
		assert.Equal(t, c.group, group, name)
	}
}
