package e2e_test

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
	"mls-server/lexrt"
)

func batchOf(packages ...*mlstest.KeyPackage) *mlsapi.PublishKeyPackagesInput {
	in := &mlsapi.PublishKeyPackagesInput{}
	for _, k := range packages {
		in.KeyPackages = append(in.KeyPackages, mlsapi.PublishKeyPackagesKeyPackageItem{
			KeyPackage: k.Text(), CipherSuite: mlsapi.PublishKeyPackagesKeyPackageItemCipherSuite(mls.SuiteX25519AES128.String()),
		})
	}
	return in
}

func hexRef(k *mlstest.KeyPackage) string { return hex.EncodeToString([]byte(k.Ref)) }

// Each package of a batch is judged by itself, and the batch may be sent again.
func TestPublishKeyPackages(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t, e2e.Env{"MAX_KEY_PACKAGES": "5"})
	users := s.Users(2)
	alice, bob := users[0].Register(t, 1), users[1].Register(t, 1)
	now := time.Now()
	good := func(changes ...mlstest.Change) *mlstest.KeyPackage { return alice.Client.KeyPackage(now, changes...) }
	in := batchOf(good(), good(mlstest.BadSignature), bob.Client.KeyPackage(now), good(), good(mlstest.LastResort), good(), good(), good(), good())
	in.KeyPackages[3].CipherSuite = "MLS_255_NONE"
	in.KeyPackages[5].DeviceID = &bob.ID
	in.KeyPackages[6].CredentialDID = new(string(bob.DID))
	in.KeyPackages[7].Expires = new(lexrt.Datetime(now.Add(92 * 24 * time.Hour).UTC().Format(time.RFC3339)))
	in.KeyPackages[8].DeviceID, in.KeyPackages[8].CredentialDID = &alice.ID, new(string(alice.DID))
	// Its clock is ahead.
	in.KeyPackages[8].Expires = new(lexrt.Datetime(now.Add(90*24*time.Hour + time.Minute).UTC().Format(time.RFC3339)))
	var out, again mlsapi.PublishKeyPackagesOutput
	alice.Post(t, mlsapi.MethodPublishKeyPackages, in, &out).OK(t)
	assert.Equal(t, int64(3), out.Succeeded)
	assert.Equal(t, int64(6), out.Failed)
	want := map[int64]string{
		1: "InvalidKeyPackage: invalid key package: KeyPackageSignature", 2: "InvalidKeyPackage: invalid key package: IdentityMismatch",
		3: "InvalidCipherSuite: invalid cipher suite", 5: "InvalidKeyPackage: invalid key package: IdentityMismatch",
		6: "InvalidKeyPackage: invalid key package: IdentityMismatch", 7: "ExpirationTooFar: the expiry is too far ahead",
	}
	got := map[int64]string{}
	for _, e := range out.Errors {
		got[e.Index] = e.Error
	}
	assert.Equal(t, want, got)
	assert.Equal(t, int64(4), available(t, alice.User), "one of before, two, and the last resort")

	// The answer was lost, and somebody has claimed all of it.
	for range 4 {
		bob.Claim(t, alice.DID)
	}
	alice.Post(t, mlsapi.MethodPublishKeyPackages, in, &again).OK(t)
	assert.Equal(t, out, again)
	alice.Post(t, mlsapi.MethodPublishKeyPackages, batchOf(good(), good(), good(), good(), good(), good(), good()), &out).OK(t)
	assert.Equal(t, int64(5), out.Succeeded)
	assert.Equal(t, "TooManyKeyPackages", strings.Split(out.Errors[0].Error, ":")[0])
	twice := good()
	bob.Post(t, mlsapi.MethodPublishKeyPackages, batchOf(bob.Client.KeyPackage(now), twice), &out).OK(t)
	assert.Equal(t, int64(1), out.Succeeded)
	many := make([]*mlstest.KeyPackage, 101)
	for i := range many {
		many[i] = twice
	}
	alice.Post(t, mlsapi.MethodPublishKeyPackages, batchOf(many...), nil).Want(t, bad, "BatchTooLarge")
	alice.Post(t, mlsapi.MethodPublishKeyPackages, batchOf(), nil).Want(t, bad, "InvalidRequest")
}

// A device that compares finds its packages by any of their names, and those that it has lost the
// keys of go.
func TestSyncKeyPackages(t *testing.T) {
	t.Parallel()
	alice := e2e.Start(t).Users(1)[0]
	phone := alice.Register(t, 0)
	other := alice.Register(t, 2)
	wrapped, bare, orphan := phone.Client.KeyPackage(time.Now()), phone.Client.KeyPackage(time.Now(), mlstest.Bare), phone.Client.KeyPackage(time.Now())
	last := phone.Client.KeyPackage(time.Now(), mlstest.LastResort)
	alice.Post(t, mlsapi.MethodPublishKeyPackages, batchOf(wrapped, bare, orphan, last), nil).OK(t)
	sync := func(hashes ...string) (out mlsapi.SyncKeyPackagesOutput) {
		t.Helper()
		if hashes == nil {
			hashes = []string{}
		}
		alice.Post(t, mlsapi.MethodSyncKeyPackages, &mlsapi.SyncKeyPackagesInput{DeviceID: phone.ID, LocalHashes: hashes}, &out).OK(t)
		return out
	}
	ref := hexRef
	sum := func(b []byte) string {
		h := sha256.Sum256(b)
		return hex.EncodeToString(h[:])
	}
	bytesOf := func(k *mlstest.KeyPackage) (raw, whole []byte) {
		parsed, err := mls.ParseKeyPackage(k.Bytes)
		require.NoError(t, err)
		return parsed.Raw, mls.WrapKeyPackage(parsed.Raw)
	}
	out := sync("ff", "not even hex")
	assert.Equal(t, int64(4), out.OrphanedCount)
	assert.Zero(t, out.DeletedCount, "who knows none of them counts in another way")
	assert.ElementsMatch(t, []string{ref(wrapped), ref(bare), ref(orphan), ref(last)}, out.ServerHashes)

	raw, _ := bytesOf(wrapped)
	_, whole := bytesOf(bare)
	out = sync(strings.ToUpper(sum(raw)), sum(whole), ref(last))
	assert.Equal(t, int64(1), out.DeletedCount)
	assert.Equal(t, int64(3), *out.RemainingAvailable)
	assert.Len(t, out.OrphanedHashes, 1)
	raw, _ = bytesOf(orphan)
	_, whole = bytesOf(orphan)
	assert.Contains(t, []string{ref(orphan), sum(raw), sum(whole)}, out.OrphanedHashes[0])

	raw, _ = bytesOf(bare)
	out = sync(sum(raw))
	assert.Contains(t, out.ServerHashes, sum(raw), "it is answered in the form that it asked with")
	assert.Equal(t, int64(2), out.DeletedCount)
	assert.Equal(t, int64(1), sync().DeletedCount, "a device that has nothing left says so")
	assert.Equal(t, int64(2), available(t, alice), "the other device's are untouched")
	alice.Post(t, mlsapi.MethodSyncKeyPackages, &mlsapi.SyncKeyPackagesInput{DeviceID: uuid.NewString(), LocalHashes: []string{}}, nil).Want(t, missing, "DeviceNotFound")
	stranger := alice.Server.Users(1)[0]
	stranger.Post(t, mlsapi.MethodSyncKeyPackages, &mlsapi.SyncKeyPackagesInput{DeviceID: other.ID, LocalHashes: []string{}}, nil).Want(t, missing, "DeviceNotFound")
}

// A user sees how fast its packages go, and that they had run out.
func TestConsumption(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	users := s.Users(2)
	alice, bob := users[0].Register(t, 12), users[1].Register(t, 1)
	stats := func() (out mlsapi.GetKeyPackageStatsOutput) {
		t.Helper()
		alice.Get(t, mlsapi.MethodGetKeyPackageStats, &out).OK(t)
		return out
	}
	alice.Post(t, mlsapi.MethodPublishKeyPackages, batchOf(alice.Client.KeyPackage(time.Now(), mlstest.LastResort)), nil).OK(t)
	now := stats()
	assert.Equal(t, []int64{13, 13, 0, 0, 0, 0}, []int64{now.Available, *now.Total, *now.Consumed, *now.ConsumedLast24h, *now.ConsumedLast7d, *now.AverageDailyConsumption})
	assert.Nil(t, now.PredictedDepletionDays)
	for range 9 {
		bob.Claim(t, alice.DID)
	}
	change(t, s, "UPDATE key_packages SET claimed_at = claimed_at - interval '5 days' WHERE id IN (SELECT id FROM key_packages WHERE claimed_at IS NOT NULL AND owner_did = $1 LIMIT 5)", alice.DID)
	now = stats()
	assert.Equal(t, []int64{4, 13, 9, 4, 9, 2}, []int64{now.Available, *now.Total, *now.Consumed, *now.ConsumedLast24h, *now.ConsumedLast7d, *now.AverageDailyConsumption})
	assert.Equal(t, int64(2), *now.PredictedDepletionDays)
	assert.False(t, *now.LastResortUsed)
	for range 5 {
		bob.Claim(t, alice.DID)
	}
	now = stats()
	assert.True(t, *now.LastResortUsed)
	assert.Equal(t, int64(1), now.Available)
	list := alice.Devices(t)
	assert.True(t, *list[0].LastResort)
	assert.Zero(t, list[0].KeyPackageCount)
}
