package mls_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
)

// follower follows a made group by its messages and compares after each.
type follower struct {
	*testing.T
	made    *mlstest.VerifiedGroup
	group   *mls.Group
	pending map[mls.ProposalRef]*mls.PublicMessage
	users   int
}

func follow(t *testing.T) *follower {
	t.Helper()
	f := &follower{T: t}
	f.made = mlstest.NewVerifiedGroup(f.newcomer())
	g, err := mls.OpenGroup(groupInfo(t, f.made.GroupInfo(0)))
	require.NoError(t, err)
	f.group = g
	return f
}

func groupInfo(t *testing.T, b []byte) *mls.GroupInfo {
	t.Helper()
	m, err := mls.ParseMessage(b)
	require.NoError(t, err)
	require.NotNil(t, m.GroupInfo)
	return m.GroupInfo
}

func (f *follower) newcomer() *mlstest.Client {
	f.users++
	c := mlstest.NewClient(mls.DID(fmt.Sprintf("did:web:user%d.example", f.users)), "", mls.SuiteX25519AES128)
	c.Proposals = []uint16{uint16(mls.ProposalSelfRemove), uint16(mls.ProposalSelfRemovePrivate)}
	return c
}

func (f *follower) addition() mlstest.Addition {
	c := f.newcomer()
	return mlstest.Addition{Client: c, Package: c.KeyPackage(time.Now())}
}

// judge applies a commit without taking it over.
func (f *follower) judge(commit []byte) (*mls.Transition, error) {
	f.Helper()
	m, err := mls.ParseMessage(commit)
	require.NoError(f, err)
	return f.group.Apply(m, f.pending)
}

// commit makes a commit, applies it and compares with the maker's GroupInfo.
func (f *follower) commit(leaf uint32, c *mlstest.Client, d mlstest.Draft) *mls.Transition {
	f.Helper()
	commit, next := f.made.Commit(leaf, c, d)
	tr, err := f.judge(commit)
	require.NoError(f, err)
	info := groupInfo(f.T, next.GroupInfo(tr.Committer))
	require.NoError(f, tr.Next.Agrees(info))
	opened, err := mls.OpenGroup(info)
	require.NoError(f, err)
	require.Equal(f, opened.Context().Raw, tr.Next.Context().Raw)
	resumed, err := mls.ResumeGroup(info)
	require.NoError(f, err)
	f.made, f.group, f.pending = next, resumed, nil
	return tr
}

func (f *follower) propose(s mlstest.Sent) mlstest.Sent {
	f.Helper()
	m, err := mls.ParseMessage(s.Message)
	require.NoError(f, err)
	require.NoError(f, f.group.CheckProposal(m))
	if f.pending == nil {
		f.pending = map[mls.ProposalRef]*mls.PublicMessage{}
	}
	f.pending[s.Ref] = m.Public
	return s
}

// fails checks that a commit is refused by a code and changes nothing.
func (f *follower) fails(want mls.Code, leaf uint32, c *mlstest.Client, d mlstest.Draft) {
	f.Helper()
	before := slices.Clone(f.group.Context().Raw)
	commit, _ := f.made.Commit(leaf, c, d)
	_, err := f.judge(commit)
	require.ErrorIs(f, err, want)
	require.Equal(f, before, f.group.Context().Raw)
}

func (f *follower) grow(n int) {
	f.Helper()
	var d mlstest.Draft
	for len(f.made.Members)+len(d.Add) < n {
		d.Add = append(d.Add, f.addition())
	}
	f.commit(0, nil, d)
}

// TestGroupHistories holds the public state against a tree that was written by the
// definitions, over random lives of groups.
func TestGroupHistories(t *testing.T) {
	t.Parallel()
	seeds := uint64(20)
	if testing.Short() {
		seeds = 4
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 1))
			f := follow(t)
			f.grow(2 + r.IntN(30))
			for range 40 {
				f.step(r)
			}
		})
	}
}

func (f *follower) step(r *rand.Rand) {
	f.Helper()
	leaves := make([]uint32, 0, len(f.made.Members))
	for i, l := range f.group.Leaves() {
		require.Equal(f, f.made.Members[i].Identity(), string(l.Credential.Identity))
		leaves = append(leaves, i)
	}
	require.Len(f, leaves, len(f.made.Members))
	r.Shuffle(len(leaves), func(i, j int) { leaves[i], leaves[j] = leaves[j], leaves[i] })
	committer := leaves[0]
	if len(leaves) < 3 || r.IntN(4) == 0 {
		f.commit(committer, nil, mlstest.Draft{Add: []mlstest.Addition{f.addition(), f.addition()}, NoPath: r.IntN(3) == 0})
		return
	}
	other := leaves[1]
	switch r.IntN(7) {
	case 0:
		f.commit(committer, nil, mlstest.Draft{})
	case 1:
		f.commit(committer, nil, mlstest.Draft{Remove: leaves[1:2], Add: []mlstest.Addition{f.addition()}})
	case 2:
		f.commit(committer, nil, mlstest.Draft{Remove: leaves[1:3]})
	case 3:
		f.commit(committer, nil, mlstest.Draft{Refs: []mlstest.Sent{f.propose(f.made.ProposeRemove(other, other))}})
	case 4:
		s := f.propose(f.made.ProposeSelfRemove(other, mls.ProposalSelfRemove))
		f.commit(0, f.newcomer(), mlstest.Draft{External: true, Refs: []mlstest.Sent{s}})
	case 5:
		f.commit(committer, nil, mlstest.Draft{Refs: []mlstest.Sent{f.propose(f.made.ProposeUpdate(other))}})
	case 6:
		tr := f.commit(0, f.made.Members[other], mlstest.Draft{External: true, Remove: leaves[1:2]})
		assert.True(f, tr.External)
		assert.Equal(f, other, tr.Removed[0].Index)
	}
}

// TestGroupFaults: what a commit can be refused for once the tree is known.
func TestGroupFaults(t *testing.T) {
	t.Parallel()
	start := func(t *testing.T) *follower {
		t.Helper()
		f := follow(t)
		f.grow(5)
		f.commit(3, nil, mlstest.Draft{})
		return f
	}
	cases := map[string]struct {
		code mls.Code
		do   func(f *follower)
	}{
		"signature": {mls.CodeContentSignature, func(f *follower) {
			f.fails(mls.CodeContentSignature, 1, nil, mlstest.Draft{BadSignature: true})
		}},
		"parent hash":      {mls.CodeBadParentHash, func(f *follower) { f.fails(mls.CodeBadParentHash, 1, nil, mlstest.Draft{BadParentHash: true}) }},
		"secrets":          {mls.CodeBadUpdatePath, func(f *follower) { f.fails(mls.CodeBadUpdatePath, 1, nil, mlstest.Draft{BadSecrets: true}) }},
		"remove of nobody": {mls.CodeUnknownLeaf, func(f *follower) { f.fails(mls.CodeUnknownLeaf, 1, nil, mlstest.Draft{Remove: []uint32{6}}) }},
		"far leaf":         {mls.CodeUnknownLeaf, func(f *follower) { f.fails(mls.CodeUnknownLeaf, 1, nil, mlstest.Draft{Remove: []uint32{1 << 30}}) }},
		"own leaf":         {mls.CodeSelfRemoval, func(f *follower) { f.fails(mls.CodeSelfRemoval, 1, nil, mlstest.Draft{Remove: []uint32{1}}) }},
		"unknown reference": {mls.CodeUnknownProposalRef, func(f *follower) {
			s := f.made.ProposeRemove(2, 2)
			f.fails(mls.CodeUnknownProposalRef, 1, nil, mlstest.Draft{Refs: []mlstest.Sent{s}})
		}},
		"no path over a removal": {mls.CodeMissingUpdatePath, func(f *follower) {
			s := f.propose(f.made.ProposeRemove(2, 2))
			f.fails(mls.CodeMissingUpdatePath, 1, nil, mlstest.Draft{Refs: []mlstest.Sent{s}, NoPath: true})
		}},
		"a key that is there": {mls.CodeDuplicateKey, func(f *follower) {
			twin := f.made.Members[2]
			f.fails(mls.CodeDuplicateKey, 1, nil, mlstest.Draft{Add: []mlstest.Addition{{Client: twin, Package: twin.KeyPackage(time.Now())}}})
		}},
		"joiner whose key is there": {mls.CodeDuplicateKey, func(f *follower) {
			f.fails(mls.CodeDuplicateKey, 0, f.made.Members[2], mlstest.Draft{External: true})
		}},
		"unsupported extension": {mls.CodeCapabilityMissing, func(f *follower) {
			f.fails(mls.CodeCapabilityMissing, 1, nil, mlstest.Draft{Extensions: []mlstest.Extension{{Type: 0xf0f0}}})
		}},
		"required capability": {mls.CodeCapabilityMissing, func(f *follower) {
			f.fails(mls.CodeCapabilityMissing, 1, nil, mlstest.Draft{Extensions: []mlstest.Extension{{Type: mls.ExtensionRequiredCapabilities, Data: []byte{2, 0xf0, 0xf0, 0, 0}}}})
		}},
		"self removal by the committer": {mls.CodeSelfRemoval, func(f *follower) {
			s := f.propose(f.made.ProposeSelfRemove(1, mls.ProposalSelfRemovePrivate))
			f.fails(mls.CodeSelfRemoval, 1, nil, mlstest.Draft{Refs: []mlstest.Sent{s}})
		}},
		"removed twice": {mls.CodeDuplicateRemoval, func(f *follower) {
			s := f.propose(f.made.ProposeSelfRemove(2, mls.ProposalSelfRemove))
			f.fails(mls.CodeDuplicateRemoval, 1, nil, mlstest.Draft{Refs: []mlstest.Sent{s}, Remove: []uint32{2}})
		}},
		"external commit that removes two": {mls.CodeBadExternalCommit, func(f *follower) {
			f.fails(mls.CodeBadExternalCommit, 0, f.newcomer(), mlstest.Draft{External: true, Remove: []uint32{1, 2}})
		}},
		"external commit with another's proposal": {mls.CodeBadExternalCommit, func(f *follower) {
			s := f.propose(f.made.ProposeRemove(1, 2))
			f.fails(mls.CodeBadExternalCommit, 0, f.newcomer(), mlstest.Draft{External: true, Refs: []mlstest.Sent{s}})
		}},
		"another group": {mls.CodeWrongGroup, func(f *follower) {
			other := mlstest.NewVerifiedGroup(f.newcomer())
			commit, _ := other.Commit(0, nil, mlstest.Draft{})
			_, err := f.judge(commit)
			require.ErrorIs(f, err, mls.CodeWrongGroup)
		}},
		"private": {mls.CodePublicMessageRequired, func(f *follower) {
			_, err := f.judge(f.made.PrivateCommit())
			require.ErrorIs(f, err, mls.CodePublicMessageRequired)
		}},
		"unknown proposal type": {mls.CodeUnknownProposal, func(f *follower) {
			commit := f.made.Group.Commit(mlstest.Commit{From: f.made.Members[1], Leaf: 1, Proposals: []mlstest.Proposal{mlstest.Custom(0xf00d, []byte("x"))}})
			_, err := f.judge(commit)
			require.ErrorIs(f, err, mls.CodeUnknownProposal)
		}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.do(start(t))
		})
	}
}

// TestGroupStale: a commit of an epoch that has passed.
func TestGroupStale(t *testing.T) {
	t.Parallel()
	f := follow(t)
	stale, _ := f.made.Commit(0, nil, mlstest.Draft{})
	f.grow(3)
	_, err := f.judge(stale)
	require.ErrorIs(t, err, mls.ErrEpochMismatch)
}

// TestGroupInfoDisagrees: GroupInfos that do not describe what the commit leads to.
func TestGroupInfoDisagrees(t *testing.T) {
	t.Parallel()
	f := follow(t)
	f.grow(4)
	before := f.made
	honest, after := f.made.Commit(1, nil, mlstest.Draft{})
	other, otherAfter := f.made.Commit(2, nil, mlstest.Draft{})
	tr, err := f.judge(honest)
	require.NoError(t, err)
	trOther, err := f.judge(other)
	require.NoError(t, err)
	check := func(name string, g *mls.Group, info []byte, want mls.Code) {
		t.Helper()
		err := g.Agrees(groupInfo(t, info))
		require.ErrorIs(t, err, want, name)
	}
	require.NoError(t, tr.Next.Agrees(groupInfo(t, after.GroupInfo(1))))
	check("of the epoch before", tr.Next, before.GroupInfo(1), mls.CodeWrongEpoch)
	check("of another commit", tr.Next, otherAfter.GroupInfo(2), mls.CodeTreeHashMismatch)
	check("of another commit", trOther.Next, after.GroupInfo(1), mls.CodeTreeHashMismatch)
	check("of another group", tr.Next, mlstest.NewVerifiedGroup(f.newcomer()).GroupInfo(0), mls.CodeWrongGroup)
	forged := after.GroupInfo(1)
	forged[len(forged)-1] ^= 1
	check("forged", tr.Next, forged, mls.CodeGroupInfoSignature)
	_, err = mls.OpenGroup(groupInfo(t, forged))
	require.ErrorIs(t, err, mls.CodeGroupInfoSignature)
}

func BenchmarkGroupApply(b *testing.B) {
	for _, n := range []int{10, 100, 500} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			founder := mlstest.NewClient("did:web:founder.example", "", mls.SuiteX25519AES128)
			made := mlstest.NewVerifiedGroup(founder)
			var d mlstest.Draft
			for i := range n - 1 {
				c := mlstest.NewClient(mls.DID(fmt.Sprintf("did:web:user%d.example", i)), "", mls.SuiteX25519AES128)
				d.Add = append(d.Add, mlstest.Addition{Client: c, Package: c.KeyPackage(time.Now())})
			}
			_, made = made.Commit(0, nil, d)
			for i := range uint32(n / 8) { // a tree that has seen some life
				_, made = made.Commit(8*i, nil, mlstest.Draft{})
			}
			before := made.GroupInfo(0)
			commit, next := made.Commit(1, nil, mlstest.Draft{})
			after := next.GroupInfo(1)
			b.ReportMetric(float64(len(after)), "GroupInfo-B")
			b.ReportMetric(float64(len(commit)), "commit-B")
			for b.Loop() { // what the server does: read the stored state, judge the commit, compare
				m, _ := mls.ParseMessage(before)
				g, err := mls.ResumeGroup(m.GroupInfo)
				if err != nil {
					b.Fatal(err)
				}
				c, _ := mls.ParseMessage(commit)
				tr, err := g.Apply(c, nil)
				if err != nil {
					b.Fatal(err)
				}
				i, _ := mls.ParseMessage(after)
				if err := tr.Next.Agrees(i.GroupInfo); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
