package mls_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
)

func TestReadCommitRules(t *testing.T) {
	t.Parallel()
	g := mlstest.NewGroup(1).At(7)
	me, other := mlstest.NewClient(alice, "a", 1), mlstest.NewClient(bob, "b", 1)
	add := func(changes ...mlstest.Change) mlstest.Proposal {
		return mlstest.Add(other.KeyPackage(testTime, changes...))
	}
	props := func(p ...mlstest.Proposal) mlstest.Commit {
		return mlstest.Commit{From: me, Leaf: 2, Proposals: p}
	}
	noPath := func(c mlstest.Commit) mlstest.Commit {
		c.NoPath = true
		return c
	}
	external := func(c mlstest.Commit) mlstest.Commit {
		c.External = true
		return c
	}
	init := mlstest.ExternalInit()
	cases := map[string]struct {
		commit mlstest.Commit
		want   mls.Code
	}{
		"update only":                 {props(), 0},
		"empty without path":          {noPath(props()), mls.CodeMissingUpdatePath},
		"add":                         {props(add()), 0},
		"add without path":            {noPath(props(add())), 0},
		"psk without path":            {noPath(props(mlstest.PSK("a", "n"))), 0},
		"reinit without path":         {noPath(props(mlstest.ReInit())), 0},
		"remove":                      {props(mlstest.Remove(1), mlstest.Remove(3)), 0},
		"remove without path":         {noPath(props(add(), mlstest.Remove(1))), mls.CodeMissingUpdatePath},
		"extensions without path":     {noPath(props(mlstest.GroupContextExtensions())), mls.CodeMissingUpdatePath},
		"reference without path":      {noPath(mlstest.Commit{From: me, Leaf: 2, Refs: []mls.ProposalRef{"00"}}), 0},
		"removes itself":              {props(mlstest.Remove(2)), mls.CodeSelfRemoval},
		"removes twice":               {props(mlstest.Remove(1), mlstest.Remove(1)), mls.CodeDuplicateRemoval},
		"own update":                  {props(mlstest.Update()), mls.CodeForbiddenProposal},
		"one client twice":            {props(add(), add()), mls.CodeDuplicateKey},
		"adds itself":                 {props(mlstest.Add(me.KeyPackage(testTime))), mls.CodeDuplicateKey},
		"add with a bad signature":    {props(add(mlstest.BadSignature)), mls.CodeKeyPackageSignature},
		"add with a bad leaf":         {props(add(mlstest.BadLeafSignature)), mls.CodeLeafSignature},
		"add of another source":       {props(add(func(s *mlstest.KeyPackageSpec) { s.Source = mls.LeafCommit })), mls.CodeBadLeafSource},
		"add of another suite":        {props(mlstest.Add(mlstest.NewClient(bob, "", 2).KeyPackage(testTime))), mls.CodeWrongSuite},
		"two psks":                    {props(mlstest.PSK("a", "n"), mlstest.PSK("b", "n")), 0},
		"one psk twice":               {props(mlstest.PSK("a", "n"), mlstest.PSK("a", "n")), mls.CodeForbiddenProposal},
		"extensions twice":            {props(mlstest.GroupContextExtensions(), mlstest.GroupContextExtensions()), mls.CodeForbiddenProposal},
		"reinit with another":         {props(mlstest.ReInit(), mlstest.Remove(1)), mls.CodeForbiddenProposal},
		"external init by a member":   {props(init), mls.CodeForbiddenProposal},
		"path leaf badly signed":      {mlstest.Commit{From: me, Leaf: 2, BadPathLeaf: true}, mls.CodeLeafSignature},
		"custom proposal":             {props(mlstest.Custom(0xf123, []byte("?")), mlstest.Remove(2)), 0},
		"external":                    {external(props(init)), 0},
		"external, replaces old leaf": {external(props(init, mlstest.Remove(4))), 0},
		"external with psk":           {external(props(init, mlstest.PSK("a", "n"))), 0},
		"external without init":       {external(props()), mls.CodeBadExternalCommit},
		"external with two inits":     {external(props(init, mlstest.ExternalInit())), mls.CodeBadExternalCommit},
		"external with two removes":   {external(props(init, mlstest.Remove(4), mlstest.Remove(5))), mls.CodeBadExternalCommit},
		"external with an add":        {external(props(init, add())), mls.CodeBadExternalCommit},
		"external by reference":       {external(mlstest.Commit{From: me, Proposals: []mlstest.Proposal{init}, Refs: []mls.ProposalRef{"00"}}), mls.CodeBadExternalCommit},
		"external without path":       {external(noPath(props(init))), mls.CodeMissingUpdatePath},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			raw := g.Commit(c.commit)
			h, err := mls.ReadCommit(raw, g.State())
			if c.want != 0 {
				assert.Equal(t, c.want.String(), mls.CodeOf(err).String())
				require.ErrorIs(t, err, mls.ErrInvalidCommit)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, raw, h.Message.Raw)
			assert.Equal(t, c.commit.External, h.External())
		})
	}
}

// What needs no suite is judged for a conversation whose suite the server does not know, too.
func TestReadCommitOfAnUnknownSuite(t *testing.T) {
	t.Parallel()
	g := mlstest.NewGroup(1).At(5)
	unknown := g.State()
	unknown.Suite = 0
	commit := func(changes ...mlstest.Change) []byte {
		joiner := mlstest.NewClient(bob, "b", 1).KeyPackage(testTime, changes...)
		return g.Commit(mlstest.Commit{From: mlstest.NewClient(alice, "a", 1), Leaf: 2, Proposals: []mlstest.Proposal{mlstest.Add(joiner)}})
	}
	_, err := mls.ReadCommit(commit(), unknown)
	require.NoError(t, err)
	_, err = mls.ReadCommit(commit(func(s *mlstest.KeyPackageSpec) { s.Source = mls.LeafUpdate }), unknown)
	require.ErrorIs(t, err, mls.CodeBadLeafSource)
}

func TestReadCommitShows(t *testing.T) {
	t.Parallel()
	g := mlstest.NewGroup(2).At(1)
	me, other, third := mlstest.NewClient(alice, "a", 2), mlstest.NewClient(bob, "b", 2), mlstest.NewClient(bob, "c", 2)
	k, k2 := other.KeyPackage(testTime), third.KeyPackage(testTime)
	h, err := mls.ReadCommit(g.Commit(mlstest.Commit{
		From: me, Leaf: 5, Proposals: []mlstest.Proposal{mlstest.Remove(9), mlstest.Add(k), mlstest.Remove(0), mlstest.Add(k2)},
	}), g.State())
	require.NoError(t, err)
	assert.True(t, h.Visible)
	assert.Equal(t, mls.ContentCommit, h.Content)
	assert.Equal(t, []mls.KeyPackageRef{k.Ref, k2.Ref}, h.Adds)
	assert.Equal(t, []uint32{9, 0}, h.Removed)
	assert.Equal(t, uint32(5), h.Sender)
	assert.Nil(t, h.Joiner)

	welcome := func(g mlstest.Group, refs ...mls.KeyPackageRef) *mls.WelcomeView {
		w, err := mls.ReadWelcome(g.Welcome(refs...))
		require.NoError(t, err)
		return w
	}
	require.NoError(t, h.CheckWelcome(welcome(g, k2.Ref, k.Ref), 2))
	require.ErrorIs(t, h.CheckWelcome(welcome(g, k.Ref), 2), mls.ErrWelcomeMismatch)
	require.ErrorIs(t, h.CheckWelcome(welcome(g, k.Ref, me.KeyPackage(testTime).Ref), 2), mls.ErrWelcomeMismatch)
	require.ErrorIs(t, h.CheckWelcome(welcome(mlstest.NewGroup(1), k.Ref, k2.Ref), 2), mls.CodeWrongSuite)

	private, err := mls.ReadCommit(g.PrivateCommit(), g.State())
	require.NoError(t, err)
	assert.False(t, private.Visible)
	require.NoError(t, private.CheckWelcome(welcome(g, k.Ref), 2))
	assert.Equal(t, mls.Epoch(1), private.Epoch)

	joined, err := mls.ReadCommit(g.Commit(mlstest.Commit{From: third, External: true, Proposals: []mlstest.Proposal{mlstest.ExternalInit()}}), g.State())
	require.NoError(t, err)
	assert.Equal(t, third.Identity(), string(joined.Joiner.Credential.Identity))
}

func TestReadCommitFraming(t *testing.T) {
	t.Parallel()
	g := mlstest.NewGroup(1).At(3)
	var mismatch *mls.Error
	_, err := mls.ReadCommit(g.At(2).PrivateCommit(), g.State())
	require.ErrorAs(t, err, &mismatch)
	assert.Equal(t, mls.EpochMismatch(2, 3), error(mismatch))
	_, err = mls.ReadCommit(g.At(4).PrivateCommit(), g.State())
	require.ErrorIs(t, err, mls.ErrEpochMismatch)
	_, err = mls.ReadCommit(mlstest.NewGroup(1).At(3).PrivateCommit(), g.State())
	require.ErrorIs(t, err, mls.CodeWrongGroup)
	_, err = mls.ReadCommit(g.Application(10), g.State())
	require.ErrorIs(t, err, mls.CodeWrongContentType)
	_, err = mls.ReadCommit(g.PrivateProposal(), g.State())
	require.ErrorIs(t, err, mls.CodeWrongContentType)
	_, err = mls.ReadCommit(g.Welcome("00"), g.State())
	require.ErrorIs(t, err, mls.CodeWireFormatMismatch)
	_, err = mls.ReadCommit([]byte("commit"), g.State())
	require.ErrorIs(t, err, mls.ErrInvalidCommit)
	_, err = mls.ReadCommit(append(g.PrivateCommit(), 0), g.State())
	require.ErrorIs(t, err, mls.CodeTrailingBytes)
}

func TestReadCommitByReference(t *testing.T) {
	t.Parallel()
	g := mlstest.NewGroup(1).At(1)
	a, b := mlstest.NewClient(alice, "a", 1), mlstest.NewClient(bob, "b", 1)
	pending := map[mls.ProposalRef]*mls.PublicMessage{}
	propose := func(raw []byte) mls.ProposalRef {
		_, err := mls.ReadProposal(raw, g.State())
		require.NoError(t, err)
		m, err := mls.ParseMessage(raw)
		require.NoError(t, err)
		ref := m.Public.ProposalRef(1)
		pending[ref] = m.Public
		return ref
	}
	leave := propose(g.Propose(b, 1, mlstest.Remove(1)))
	kick := propose(g.Propose(b, 1, mlstest.Remove(0)))
	update := propose(g.Propose(b, 1, mlstest.Update()))
	state := g.State()
	state.Pending = pending
	read := func(c mlstest.Commit) (*mls.Handshake, error) {
		c.From = a
		return mls.ReadCommit(g.Commit(c), state)
	}

	h, err := read(mlstest.Commit{Refs: []mls.ProposalRef{leave, "aabb"}})
	require.NoError(t, err)
	assert.Equal(t, []uint32{1}, h.Removed)
	assert.Equal(t, []mls.ProposalRef{"aabb"}, h.Unresolved)
	_, err = read(mlstest.Commit{Refs: []mls.ProposalRef{update}})
	require.NoError(t, err)

	for name, c := range map[string]struct {
		commit mlstest.Commit
		want   mls.Code
	}{
		"needs a path":           {mlstest.Commit{Refs: []mls.ProposalRef{leave}, NoPath: true}, mls.CodeMissingUpdatePath},
		"removes the committer":  {mlstest.Commit{Refs: []mls.ProposalRef{kick}}, mls.CodeSelfRemoval},
		"own update":             {mlstest.Commit{Leaf: 1, Refs: []mls.ProposalRef{update}}, mls.CodeForbiddenProposal},
		"updates and removes":    {mlstest.Commit{Refs: []mls.ProposalRef{update, leave}}, mls.CodeDuplicateRemoval},
		"by value and reference": {mlstest.Commit{Proposals: []mlstest.Proposal{mlstest.Remove(1)}, Refs: []mls.ProposalRef{leave}}, mls.CodeDuplicateRemoval},
		"reinit and an unknown":  {mlstest.Commit{Proposals: []mlstest.Proposal{mlstest.ReInit()}, Refs: []mls.ProposalRef{"aa"}}, mls.CodeForbiddenProposal},
	} {
		_, err := read(c.commit)
		assert.Equal(t, c.want.String(), mls.CodeOf(err).String(), name)
	}
	state.Complete = true
	_, err = read(mlstest.Commit{Refs: []mls.ProposalRef{leave, "aabb"}})
	require.ErrorIs(t, err, mls.CodeUnknownProposalRef)
}

func TestReadProposalRules(t *testing.T) {
	t.Parallel()
	g := mlstest.NewGroup(1)
	a, b := mlstest.NewClient(alice, "a", 1), mlstest.NewClient(bob, "b", 1)
	join := mlstest.Add(b.KeyPackage(testTime))
	cases := map[string]struct {
		raw  []byte
		want mls.Code
	}{
		"private":                    {g.PrivateProposal(), 0},
		"leave":                      {g.Propose(a, 4, mlstest.Remove(4)), 0},
		"update":                     {g.Propose(a, 4, mlstest.Update()), 0},
		"update of another source":   {g.Propose(a, 4, mlstest.UpdateFrom(mls.LeafCommit)), mls.CodeBadLeafSource},
		"external init":              {g.Propose(a, 4, mlstest.ExternalInit()), mls.CodeForbiddenProposal},
		"custom":                     {g.Propose(a, 4, mlstest.Custom(0xf00a, nil)), 0},
		"external remove":            {g.ProposeAs(mls.SenderExternal, a, 0, mlstest.Remove(1)), 0},
		"external update":            {g.ProposeAs(mls.SenderExternal, a, 0, mlstest.Update()), mls.CodeForbiddenProposal},
		"external init from outside": {g.ProposeAs(mls.SenderExternal, a, 0, mlstest.ExternalInit()), mls.CodeForbiddenProposal},
		"asks to join":               {g.ProposeAs(mls.SenderNewMemberProposal, b, 0, join), 0},
		"asks to join for another":   {g.ProposeAs(mls.SenderNewMemberProposal, a, 0, join), mls.CodeContentSignature},
		"outsider removes":           {g.ProposeAs(mls.SenderNewMemberProposal, b, 0, mlstest.Remove(0)), mls.CodeForbiddenProposal},
		"commit sender proposes":     {g.ProposeAs(mls.SenderNewMemberCommit, b, 0, join), mls.CodeForbiddenProposal},
		"a commit":                   {g.PrivateCommit(), mls.CodeWrongContentType},
	}
	for name, c := range cases {
		h, err := mls.ReadProposal(c.raw, g.State())
		if assert.Equal(t, c.want.String(), mls.CodeOf(err).String(), name) && c.want == 0 {
			assert.Equal(t, mls.ContentProposal, h.Content)
		}
	}
	h, err := mls.ReadProposal(cases["leave"].raw, g.State())
	require.NoError(t, err)
	assert.Equal(t, []uint32{4}, h.Removed)
	assert.Equal(t, uint32(4), h.Sender)
}

func TestReadWelcome(t *testing.T) {
	t.Parallel()
	g := mlstest.NewGroup(1)
	raw := g.Welcome("aa", "bb")
	for _, b := range [][]byte{raw, mlstest.Unwrap(raw)} {
		w, err := mls.ReadWelcome(b)
		require.NoError(t, err)
		assert.Equal(t, []mls.KeyPackageRef{"aa", "bb"}, w.Refs)
		assert.Equal(t, b, w.Bytes)
	}
	for code, b := range map[mls.Code][]byte{
		mls.CodeWelcomeRefMismatch:  g.Welcome(),
		mls.CodeDuplicateWelcomeRef: g.Welcome("aa", "aa"),
		mls.CodeWireFormatMismatch:  g.PrivateCommit(),
		mls.CodeTruncated:           raw[:len(raw)-1],
		mls.CodeTrailingBytes:       append(append([]byte{}, raw...), 0),
		mls.CodeUnsupportedSuite:    mlstest.NewGroup(0x0a0a).Welcome("aa"),
		mls.CodeLengthNotMinimal:    {0, 1, 0x40, 0x01, 0},
	} {
		_, err := mls.ReadWelcome(b)
		require.ErrorIs(t, err, mls.ErrInvalidWelcome)
		assert.Equal(t, code.String(), mls.CodeOf(err).String())
	}
}

func TestGroupInfoVerify(t *testing.T) {
	t.Parallel()
	for suite := mls.SuiteX25519AES128; suite <= mls.SuiteX25519ChaCha; suite++ {
		g := mlstest.NewGroup(suite).At(2)
		a, b := mlstest.NewClient(alice, "", suite), mlstest.NewClient(bob, "", suite)
		leaves := []*mlstest.KeyPackage{a.KeyPackage(testTime), b.KeyPackage(testTime), b.KeyPackage(testTime)}
		parse := func(raw []byte) *mls.GroupInfo {
			m, err := mls.ParseMessage(raw)
			require.NoError(t, err)
			return m.GroupInfo
		}
		info := parse(g.GroupInfo(a, true, leaves...))
		require.NoError(t, info.Verify(nil))
		assert.NotEmpty(t, info.ExternalPub)
		assert.Equal(t, uint32(3), info.Tree.Leaves())

		without := parse(g.GroupInfo(a, false, leaves...))
		require.ErrorIs(t, without.Verify(nil), mls.CodeMissingTree)
		require.NoError(t, without.Verify(info.Tree))
		other, err := mls.ParseRatchetTree(mlstest.Tree(leaves[0], leaves[1]))
		require.NoError(t, err)
		require.ErrorIs(t, without.Verify(other), mls.CodeTreeHash)

		require.ErrorIs(t, parse(g.GroupInfo(b, true, leaves...)).Verify(nil), mls.CodeGroupInfoSignature)
		broken := a.KeyPackage(testTime, mlstest.BadLeafSignature)
		require.ErrorIs(t, parse(g.GroupInfo(a, true, broken)).Verify(nil), mls.CodeLeafSignature)
	}
}
