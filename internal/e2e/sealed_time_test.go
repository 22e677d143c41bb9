package e2e_test

import (
	"cmp"
	"flag"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/e2e"
)

// sealedTimed is by hand 10,000, on a machine that does nothing else:
// go test ./internal/e2e -run TestSealedRefusalsTakeAsLong -v -sealed.timed 10000
var sealedTimed = flag.Int("sealed.timed", 100, "how often each refusal of a sealed send is timed; from 10,000 on the times are judged")

// A stranger learns nothing by a clock (I16): whether a conversation is unknown, has no key, or has
// one that is not known, which another has just used, no refusal is slower than another one. The
// times of one kind are held against those of the same kind, too: so much is chance.
func TestSealedRefusalsTakeAsLong(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t, e2e.Env{"RATE_LIMIT_SEALED": "1000000", "RATE_LIMIT_SEALED_BYTES": "1000000"})
	users, chat := gathering(t, s, 2)
	require.True(t, users[0].GiveKey(t, chat, chat.SendKey()))
	s.SendSealed(t, chat)
	unknown := *chat
	unknown.ID = "00112233445566778899aabbccddeeff"
	kinds := []struct {
		name  string
		chat  *e2e.Chat
		times []time.Duration
	}{{"unknown", &unknown, nil}, {"no key", users[0].Create(t, users[1].User), nil}, {"wrong proof", chat, nil}, {"unknown again", &unknown, nil}}
	const warm = 50
	for i := range warm + *sealedTimed {
		for _, k := range rand.Perm(len(kinds)) {
			in := kinds[k].chat.Sealed()
			in.Proof[0] ^= 1
			began := time.Now()
			a := trySealed(t, s, in)
			if took := time.Since(began); i >= warm {
				kinds[k].times = append(kinds[k].times, took)
			}
			a.Want(t, missing, "ConvoNotFound")
		}
	}
	for _, k := range kinds {
		x := slices.Sorted(slices.Values(k.times))
		t.Logf("%-14s p25 %v, p50 %v, p75 %v, p95 %v", k.name, x[len(x)/4], x[len(x)/2], x[len(x)*3/4], x[len(x)*19/20])
	}
	for i, one := range kinds {
		for _, other := range kinds[:i] {
			share, deviations := slower(one.times, other.times)
			t.Logf("%s is slower than %s in %.4f of the pairs, %.1f standard deviations from a half", one.name, other.name, share, deviations)
			if *sealedTimed >= 10_000 {
				assert.Less(t, math.Abs(deviations), 4.0)
			}
		}
	}
	trySealed(t, s, chat.Sealed()).Want(t, http.StatusOK, "")
}

// slower is in what share of all pairs the first is the slower one, and how many standard
// deviations that is from a half if both are alike (the test of Mann and Whitney).
func slower(first, second []time.Duration) (share, deviations float64) {
	type sample struct {
		took    time.Duration
		isFirst bool
	}
	all := make([]sample, 0, len(first)+len(second))
	for _, d := range first {
		all = append(all, sample{d, true})
	}
	for _, d := range second {
		all = append(all, sample{d, false})
	}
	slices.SortFunc(all, func(a, b sample) int { return cmp.Compare(a.took, b.took) })
	ranks := 0.0
	for i, x := range all {
		if x.isFirst {
			ranks += float64(i + 1)
		}
	}
	n, m := float64(len(first)), float64(len(second))
	wins := ranks - n*(n+1)/2
	return wins / (n * m), (wins - n*m/2) / math.Sqrt(n*m*(n+m+1)/12)
}
