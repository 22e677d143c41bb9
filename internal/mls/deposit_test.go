package mls_test

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
)

// A GroupInfo is read wrapped and bare, and says what is wrong with it only when it is asked.
func TestDeposit(t *testing.T) {
	t.Parallel()
	v := mlstest.NewVerifiedGroup(mlstest.NewClient(alice, "", mls.SuiteX25519AES128))
	wrapped := v.GroupInfo(0)
	assert.Nil(t, mls.ParseDeposit(nil))
	for _, raw := range [][]byte{wrapped, mlstest.Unwrap(wrapped)} {
		d := mls.ParseDeposit(new(mls.EncodeText(raw)))
		info, err := d.Info()
		require.NoError(t, err)
		assert.Equal(t, mlstest.Unwrap(wrapped), info.Raw)
		g, err := d.Open(v.GroupID(), v.Suite, 0)
		require.NoError(t, err)
		again, err := d.Open(v.GroupID(), v.Suite, 0)
		require.NoError(t, err)
		assert.Same(t, g, again, "its leaves are verified once")
	}
	flipped := append([]byte{}, wrapped...)
	flipped[len(flipped)-1] ^= 1
	for _, c := range []struct {
		text *string
		id   mls.GroupID
		code mls.Code
	}{
		{nil, v.GroupID(), mls.CodeGroupInfoMissing},
		{new("!"), v.GroupID(), mls.CodeBadEncoding},
		{new(mls.EncodeText(wrapped[:40])), v.GroupID(), mls.CodeTruncated},
		{new(mls.EncodeText(append(slices.Clip(wrapped), 0))), v.GroupID(), mls.CodeTrailingBytes},
		{new(mls.EncodeText(wrapped)), "ab", mls.CodeWrongGroup},
		{new(mls.EncodeText(flipped)), v.GroupID(), mls.CodeGroupInfoSignature},
	} {
		for range 2 {
			_, err := mls.ParseDeposit(c.text).Open(c.id, v.Suite, 0)
			require.ErrorIs(t, err, mls.ErrInvalidGroupInfo)
			assert.Equal(t, c.code, mls.CodeOf(err))
		}
	}
	d := mls.ParseDeposit(new(mls.EncodeText(wrapped)))
	_, err := d.Open(v.GroupID(), v.Suite, 1)
	assert.Equal(t, mls.CodeWrongEpoch, mls.CodeOf(err))
	_, err = d.Open(v.GroupID(), mls.SuiteX25519ChaCha, 0)
	assert.Equal(t, mls.CodeWrongSuite, mls.CodeOf(err))
}

// crowd is a group of n members whose path is not blank.
func crowd(tb testing.TB, n int) *mlstest.VerifiedGroup {
	tb.Helper()
	v := mlstest.NewVerifiedGroup(mlstest.NewClient(alice, "", mls.SuiteX25519AES128))
	var d mlstest.Draft
	for i := 1; i < n; i++ {
		c := mlstest.NewClient(mls.DID("did:plc:member"+strconv.Itoa(i)), "", v.Suite)
		d.Add = append(d.Add, mlstest.Addition{Client: c, Package: c.KeyPackage(time.Now())})
		if len(d.Add) == 100 || i == n-1 {
			_, v = v.Commit(0, nil, d)
			d.Add = nil
		}
	}
	return v
}

// What a commit of a verified conversation costs the server's processor: its group is read out of
// the stored GroupInfo, the commit is applied, and the GroupInfo that comes with it compared. Under
// 1 ms at 10 members, under 10 ms at 500.
func BenchmarkFollow(b *testing.B) {
	for _, n := range []int{10, 500} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			v := crowd(b, n)
			stored := v.GroupInfo(0)
			message, next := v.Commit(1, nil, mlstest.Draft{})
			commit, info := mls.EncodeText(message), mls.EncodeText(next.GroupInfo(1))
			b.ReportAllocs()
			for b.Loop() {
				before, err := mls.ParseGroupInfo(stored)
				if err != nil {
					b.Fatal(err)
				}
				g, err := mls.ResumeGroup(before)
				if err != nil {
					b.Fatal(err)
				}
				if _, _, err = mls.ParseCommit(&commit).Follow(g, nil, mls.ParseDeposit(&info)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
