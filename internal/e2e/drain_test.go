package e2e_test

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
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
				u.Invite(t, victim.User) // she does not answer
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

// TestClaimsFindASuiteForAll: a claim without a suite takes one that all users have, however many
// devices of some of them have another.
func TestClaimsFindASuiteForAll(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	users := s.Users(3)
	alice, bob, carol := users[0], users[1], users[2]
	for range 3 {
		suited(t, bob, mls.SuiteX25519AES128, 2)
	}
	tablet, phone := suited(t, bob, mls.SuiteP256AES128, 2), suited(t, carol, mls.SuiteP256AES128, 2)
	var keys []string
	for _, k := range alice.Claim(t, bob.DID, carol.DID) {
		assert.Equal(t, mls.SuiteP256AES128.String(), string(k.CipherSuite))
		keys = append(keys, e2e.KeyOf(t, &k))
	}
	assert.ElementsMatch(t, []string{string(tablet.Client.SignatureKey), string(phone.Client.SignatureKey)}, keys)
	assert.Len(t, alice.Claim(t, bob.DID), 3, "without carol most of his devices decide")
}

// TestStrangersPayForWhatGoesOut: what strangers have together for one user is not spent by asking
// for what there is none of, and when it is spent, the suite of the last resort decides.
func TestStrangersPayForWhatGoesOut(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t, e2e.Env{"RATE_LIMIT_STRANGER_CLAIMS": "1/9"})
	victim := s.Users(1)[0].Register(t, 10)
	chacha := *victim.Client
	chacha.Suite = mls.SuiteX25519ChaCha
	last := batchOf(chacha.KeyPackage(time.Now(), mlstest.LastResort))
	last.KeyPackages[0].CipherSuite = mlsapi.PublishKeyPackagesKeyPackageItemCipherSuite(mls.SuiteX25519ChaCha.String())
	victim.Post(t, mlsapi.MethodPublishKeyPackages, last, nil).OK(t)
	ask := func(suite mls.CipherSuite) (suites []string) {
		t.Helper()
		args := []string{"dids", string(victim.DID)}
		if suite != 0 {
			args = append(args, "cipherSuite", suite.String())
		}
		var out mlsapi.GetKeyPackagesOutput
		s.Users(1)[0].Get(t, mlsapi.MethodGetKeyPackages, &out, args...).OK(t)
		for _, k := range out.KeyPackages {
			suites = append(suites, string(k.CipherSuite))
		}
		return suites
	}
	for range 5 {
		assert.Empty(t, ask(mls.SuiteP256AES128))
		assert.Len(t, ask(mls.SuiteX25519ChaCha), 1, "the last resort stays")
	}
	for range 3 {
		assert.Equal(t, []string{mls.SuiteX25519AES128.String()}, ask(0))
	}
	assert.Equal(t, []string{mls.SuiteX25519ChaCha.String()}, ask(0))
	assert.Empty(t, ask(mls.SuiteX25519AES128))
	assert.Equal(t, int64(8), available(t, victim.User))
}

// TestManyDevicesAreNotScarceAtOnce: a claim of more than the bucket of strangers holds takes all
// of it, once.
func TestManyDevicesAreNotScarceAtOnce(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t, e2e.Env{"RATE_LIMIT_STRANGER_CLAIMS": "1/6"})
	users := s.Users(3)
	for range 4 {
		users[0].Register(t, 3)
	}
	assert.Len(t, users[1].Claim(t, users[0].DID), 4)
	assert.Empty(t, users[2].Claim(t, users[0].DID), "there is no last resort")
}

// TestReturnedCreatorsAreStrangers: who has made a conversation, has left it, and is put back on
// its roster by others has not joined it.
func TestReturnedCreatorsAreStrangers(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t, e2e.Env{"RATE_LIMIT_STRANGER_CLAIMS": "1/3"})
	users := s.Users(2)
	alice, bob := users[0].Register(t, 5), users[1].Register(t, 5)
	last := alice.Client.KeyPackage(time.Now(), mlstest.LastResort)
	alice.Post(t, mlsapi.MethodPublishKeyPackages, batchOf(last), nil).OK(t)
	chat := alice.Create(t, bob.User)
	given := func() string { return *bob.Claim(t, alice.DID)[0].KeyPackageHash }
	require.NotEqual(t, hexRef(last), given(), "she is in a conversation with him that she has made")
	alice.Leave(t, chat, nil).OK(t)
	bob.Post(t, mlsapi.MethodAddMembers, bob.Addition(t, chat, alice.User), nil).OK(t)
	assert.Equal(t, hexRef(last), given(), "strangers have had theirs when he has added her")
	require.True(t, alice.Confirm(t, chat, true))
	assert.NotEqual(t, hexRef(last), given())
}
