package e2e_test

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mlstest"
)

// TestStrangersCannotDrain: twenty strangers with thirty accounts claim what they can of one user,
// and put her on rosters to be no strangers. Those who are in a conversation with her that she has
// joined add her to three groups meanwhile without a miss, each with a package that nobody else
// has.
func TestStrangersCannotDrain(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t, e2e.Env{"RATE_LIMIT_CLAIM": "30/30", "RATE_LIMIT_CLAIMED_PACKAGES": "600/600", "RATE_LIMIT_STRANGER_CLAIMS": "1/60"})
	users := s.Users(4)
	victim, friends := users[0].Register(t, 60), users[1:]
	last := victim.Client.KeyPackage(time.Now(), mlstest.LastResort)
	victim.Post(t, mlsapi.MethodPublishKeyPackages, batchOf(last), nil).OK(t)
	for _, f := range friends {
		f.Register(t, 1)
		victim.Confirm(t, f.Create(t, victim.User), true)
	}
	before := available(t, victim.User)

	var mu sync.Mutex
	owners := map[string]int{} // how often a package was handed out, but the last resort
	claim := func(u *e2e.User) (answer e2e.Answer, given, fresh int) {
		var out mlsapi.GetKeyPackagesOutput
		answer = u.Get(t, mlsapi.MethodGetKeyPackages, &out, "dids", string(victim.DID))
		mu.Lock()
		defer mu.Unlock()
		for _, k := range out.KeyPackages {
			given++
			if k.KeyPackage != "" && *k.KeyPackageHash != hexRef(last) {
				owners[*k.KeyPackageHash]++
				fresh++
			}
		}
		return answer, given, fresh
	}
	strangers := s.Users(30)
	var crowd sync.WaitGroup
	for i, u := range strangers {
		crowd.Go(func() {
			if i%3 == 0 {
				u.Register(t, 0)
				u.Create(t, victim.User) // she does not know of it
			}
			for range 20 {
				switch a, given, _ := claim(u); {
				case a.Error == "RateLimitExceeded":
					return
				case a.Status != 200 || given != 1:
					t.Errorf("a stranger got %d %s and %d packages", a.Status, a.Error, given)
				}
			}
		})
	}
	for _, f := range friends {
		chat := f.Create(t, victim.User)
		_, a := victim.Welcome(t, chat, victim.ID)
		a.OK(t)
		a, _, fresh := claim(f)
		a.OK(t)
		assert.Equal(t, 1, fresh, "a friend gets a package that nobody else has")
	}
	crowd.Wait()
	for hash, n := range owners {
		assert.Equal(t, 1, n, hash)
	}
	taken := before - available(t, victim.User)
	assert.GreaterOrEqual(t, taken, int64(20+3))
	assert.LessOrEqual(t, taken, int64(20+3+3), "twenty for strangers, what a minute or three bring, one for each friend")
	var stats mlsapi.GetKeyPackageStatsOutput
	victim.Get(t, mlsapi.MethodGetKeyPackageStats, &stats).OK(t)
	require.NotNil(t, stats.LastResortUsed)
	assert.True(t, *stats.LastResortUsed)
}
