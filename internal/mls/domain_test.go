package mls_test

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/oklog/ulid/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/mls"
)

// TestI8IDsTellNoFineTime: ids made by the server carry no time finer than two seconds (I8).
func TestI8IDsTellNoFineTime(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 12, 0, 3, 987654321, time.UTC)
	floor := time.Date(2026, 5, 1, 12, 0, 2, 0, time.UTC)
	messages, convos, fine := map[mls.MessageID]bool{}, map[mls.ConvoID]bool{}, map[int64]bool{}
	for range 1000 {
		m := mls.NewMessageID(now)
		id, err := ulid.ParseStrict(string(m))
		require.NoError(t, err)
		assert.Equal(t, floor.UnixMilli(), int64(id.Time()))
		_, err = mls.ParseMessageID(string(m))
		require.NoError(t, err)
		messages[m] = true

		group := mls.GroupIDFromBytes([]byte(m))
		c := mls.NewConvoID(now, group)
		assert.Equal(t, group.Shard(), c.Shard())
		tid, err := syntax.ParseTID(string(c))
		require.NoError(t, err)
		assert.Equal(t, floor, tid.Time().UTC().Truncate(2*time.Second))
		convos[c], fine[tid.Time().UnixMicro()] = true, true
	}
	assert.Len(t, messages, 1000)
	assert.Len(t, convos, 1000)
	assert.Greater(t, len(fine), 900, "the finer part is random, not the time")
}

// A conversation's id and its first group id name the same shard, for ever: the hash must not
// change.
func TestShards(t *testing.T) {
	t.Parallel()
	// The first ten bits of sha256("") = e3b0…, sha256(0x00) = 6e34…, sha256("abc") = ba78….
	for group, want := range map[mls.GroupID]uint{"": 0xe3b0 >> 6, "00": 0x6e34 >> 6, "616263": 0xba78 >> 6} {
		assert.Equal(t, want, group.Shard(), group)
		assert.Equal(t, want, mls.NewConvoID(time.Now(), group).Shard(), group)
	}
	assert.Zero(t, mls.ConvoID("no TID").Shard())
	seen := map[uint]bool{}
	for i := range 20000 {
		seen[mls.GroupIDFromBytes(binary.BigEndian.AppendUint32(nil, uint32(i))).Shard()] = true
	}
	assert.Len(t, seen, 1024, "the shards are used alike")
}

func TestParseMessageID(t *testing.T) {
	t.Parallel()
	for in, ok := range map[string]bool{
		"01ARZ3NDEKTSV4RRFFQ69G5FAV":           true,
		"01arz3ndektsv4rrffq69g5fav":           true,
		"7ZZZZZZZZZZZZZZZZZZZZZZZZZ":           true,
		"0b7f4a1e-7F3a-4c66-9d9e-0a8f6c1d2e3F": true,
		"FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF": true,
		"0b7f4a1e7f3a-4c66-9d9e-0a8f6c1d2e3f-": false,
		"0b7f4a1e-7f3a-4c66-9d9e-0a8f6c1d2e3g": false,
		"0b7f4a1e-7f3a-4c66-9d9e-0a8f6c1d2e3":  false,
		"{b7f4a1e-7f3a-4c66-9d9e-0a8f6c1d2e3}": false,
		"8ZZZZZZZZZZZZZZZZZZZZZZZZZ":           false,
		"01ARZ3NDEKTSV4RRFFQ69G5FA":            false,
		"01ARZ3NDEKTSV4RRFFQ69G5FAVV":          false,
		"01ARZ3NDEKTSV4RRFFQ69G5FAI":           false,
		"01ARZ3NDEKTSV4RRFFQ69G5FAL":           false,
		"01ARZ3NDEKTSV4RRFFQ69G5FAO":           false,
		"01ARZ3NDEKTSV4RRFFQ69G5FAU":           false,
		"":                                     false,
	} {
		id, err := mls.ParseMessageID(in)
		if !ok {
			require.ErrorIs(t, err, mls.ErrInvalidMessageID, in)
			continue
		}
		require.NoError(t, err, in)
		assert.Equal(t, in, string(id))
	}
}

func TestParseGroupIDAndConvoKey(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]mls.GroupID{
		"00FFab": "00ffab", strings.Repeat("a0", 64): mls.GroupID(strings.Repeat("a0", 64)),
		"": "", "0": "", "0g": "", "abc": "", strings.Repeat("a0", 65): "", "00 1": "",
	} {
		got, err := mls.ParseGroupID(in)
		assert.Equal(t, want, got, in)
		if want == "" {
			require.ErrorIs(t, err, mls.ErrInvalidGroupID, in)
		}
	}
	key, err := mls.ParseConvoKey("3jzfcijpj2z2a")
	require.NoError(t, err)
	assert.Equal(t, mls.ConvoKey{ConvoID: "3jzfcijpj2z2a"}, key)
	key, err = mls.ParseConvoKey("ABCD")
	require.NoError(t, err)
	assert.Equal(t, mls.ConvoKey{GroupID: "abcd"}, key)
	for _, bad := range []string{"", "3jzfcijpj2z2", "zz", "abcdabcdabcda"} {
		if _, err := syntax.ParseTID(bad); err == nil {
			continue
		}
		_, err := mls.ParseConvoKey(bad)
		require.ErrorIs(t, err, mls.ErrInvalidConvoID, bad)
	}
	assert.True(t, mls.GroupID("00ff").Is([]byte{0, 255}))
	assert.False(t, mls.GroupID("00ff").Is([]byte{0, 254}))
	assert.False(t, mls.GroupID("00ff").Is([]byte{0}))
	assert.Equal(t, mls.GroupID("00ff"), mls.GroupIDFromBytes([]byte{0, 255}))
}

func TestDecodeText(t *testing.T) {
	t.Parallel()
	for n := range 70 {
		raw := make([]byte, n)
		for i := range raw {
			raw[i] = byte(0xf8 + i*7)
		}
		for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
			got, err := mls.DecodeText(enc.EncodeToString(raw))
			require.NoError(t, err)
			assert.Equal(t, raw, got)
		}
		assert.Equal(t, base64.StdEncoding.EncodeToString(raw), mls.EncodeText(raw))
	}
	for _, bad := range []string{"A", "A=", "A===", "====", "=", "AA=", "AAA==", "AB", "AAB", "AA\n==", "AA A", "+-AA", "_/AA", "Ää==", "AA==AA==", "AAAA="} {
		_, err := mls.DecodeText(bad)
		require.ErrorIs(t, err, mls.ErrInvalidBase64, bad)
	}
}

func TestCheckSizes(t *testing.T) {
	t.Parallel()
	good := map[int64]bool{512: true, 1024: true, 2048: true, 4096: true, 8192: true}
	for n := int64(16384); n <= mls.MaxPaddedSize; n += 8192 {
		good[n] = true
	}
	count := 0
	for n := int64(-1); n <= mls.MaxPaddedSize+1; n++ {
		if mls.PaddedSizeOK(n) != good[n] {
			t.Fatalf("PaddedSizeOK(%d) = %t", n, !good[n])
		}
		if good[n] {
			count++
		}
	}
	assert.Equal(t, 4+1280, count)

	size := func(n int64) *int64 { return &n }
	require.NoError(t, mls.CheckSizes(512, 512, nil))
	require.NoError(t, mls.CheckSizes(10<<20, 10<<20, size(10<<20)))
	require.NoError(t, mls.CheckSizes(512, 512, size(0)))
	require.ErrorIs(t, mls.CheckSizes(512, 1024, nil), mls.ErrInvalidAsset)
	require.ErrorIs(t, mls.CheckSizes(600, 600, nil), mls.ErrInvalidAsset)
	require.ErrorIs(t, mls.CheckSizes(512, 512, size(513)), mls.ErrInvalidAsset)
	require.ErrorIs(t, mls.CheckSizes(512, 512, size(-1)), mls.ErrInvalidAsset)
	require.ErrorIs(t, mls.CheckSizes(10<<20+8192, 10<<20+8192, nil), mls.ErrMessageTooLarge)
	require.ErrorIs(t, mls.CheckSizes(512, 10<<20+1, nil), mls.ErrMessageTooLarge)
}

func TestEpochRules(t *testing.T) {
	t.Parallel()
	require.NoError(t, mls.CheckEpoch(0, 0, 0))
	require.ErrorIs(t, mls.CheckEpoch(0, 1, 0), mls.ErrEpochMismatch)
	require.ErrorIs(t, mls.CheckEpoch(1, 0, 3), mls.ErrEpochMismatch)
	require.NoError(t, mls.CheckEpoch(0, 3, 3))
	require.ErrorIs(t, mls.CheckEpoch(0, 4, 9), mls.ErrEpochMismatch)
	require.ErrorIs(t, mls.CheckEpoch(0, 1, -1), mls.ErrEpochMismatch)
	require.ErrorIs(t, mls.CheckEpoch(-1, 1, 3), mls.ErrEpochMismatch)
	assert.Contains(t, mls.CheckEpoch(4, 7, 0).Error(), "epoch 7")

	to := func(e mls.Epoch) *mls.Epoch { return &e }
	end, err := mls.CheckEpochRange(2, nil, 5)
	require.NoError(t, err)
	assert.Equal(t, mls.Epoch(5), end)
	end, err = mls.CheckEpochRange(5, to(5), 5)
	require.NoError(t, err)
	assert.Equal(t, mls.Epoch(5), end)
	for _, c := range []struct {
		from mls.Epoch
		to   *mls.Epoch
	}{{6, nil}, {3, to(2)}, {0, to(6)}, {-1, nil}} {
		_, err = mls.CheckEpochRange(c.from, c.to, 5)
		require.ErrorIs(t, err, mls.ErrInvalidEpochRange)
	}
	for _, c := range []struct {
		given      *mls.Epoch
		hasWelcome bool
		want       mls.Epoch
	}{{nil, false, 0}, {nil, true, 1}, {to(9), true, 9}, {to(0), true, 0}, {to(1 << 52), true, 1 << 52}} {
		base, err := mls.BaseEpoch(c.given, c.hasWelcome)
		require.NoError(t, err)
		assert.Equal(t, c.want, base)
	}
	for _, above := range []mls.Epoch{1<<52 + 1, 1 << 53, math.MaxInt64} {
		_, err := mls.BaseEpoch(to(above), false)
		require.ErrorIs(t, err, mls.ErrInvalidInput)
	}
}

func TestCipherSuiteNames(t *testing.T) {
	t.Parallel()
	assert.Len(t, mls.CipherSuites(), 8)
	for _, s := range mls.CipherSuites() {
		got, err := mls.ParseCipherSuite(s.String())
		require.NoError(t, err)
		assert.Equal(t, s, got)
	}
	for _, bad := range []string{"", "MLS", "0xa0a", "MLS_256_XWING_CHACHA20POLY1305_SHA256"} {
		_, err := mls.ParseCipherSuite(bad)
		require.ErrorIs(t, err, mls.ErrInvalidCipherSuite)
	}
	assert.Equal(t, "0xa0a", mls.CipherSuite(0x0a0a).String())
	assert.False(t, mls.CipherSuite(0).Known())
}

func TestCodesAreStable(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	for _, c := range mls.Codes() {
		assert.Regexp(t, `^[A-Z][A-Za-z]+$`, c.String())
		assert.False(t, names[c.String()], c)
		names[c.String()] = true
		require.ErrorIs(t, &mls.WireError{Code: c}, c)
		assert.Equal(t, c, mls.CodeOf(mls.InvalidKeyPackage(c)))
	}
	assert.Equal(t, mls.Code(0), mls.CodeOf(errors.New("another")))
	assert.Equal(t, "Code(0)", mls.Code(0).String())
	// The names that are promised to clients.
	for n := range strings.FieldsSeq(`Truncated TrailingBytes LengthNotMinimal LengthPrefix BadOptional UnsupportedVersion
		UnsupportedWireFormat WireFormatMismatch UnsupportedSuite UnsupportedCredential UnsupportedProposal DuplicateExtension
		BadLeafSource BadKeySize BadPoint CompressedPoint InitKeyReused InitKeyEqualsEncryptionKey LifetimeTooLong NotYetValid
		Expired CapabilityMissing IdentityMismatch LeafSignature KeyPackageSignature GroupInfoSignature TreeHash WrongGroup
		WrongEpoch WrongSuite MissingExternalPub MissingTree RosterMismatch MissingUpdatePath UnknownProposalRef
		WelcomeRefMismatch ForbiddenProposal`) {
		assert.True(t, names[n], n)
	}
}

func TestErrorsUnwrapToTheirNames(t *testing.T) {
	t.Parallel()
	require.ErrorIs(t, mls.InvalidCommit(mls.CodeWrongGroup), mls.ErrInvalidCommit)
	require.ErrorIs(t, mls.InvalidCommit(mls.CodeWrongGroup), mls.CodeWrongGroup)
	limit := mls.RateLimited(1500 * time.Millisecond)
	require.ErrorIs(t, limit, mls.ErrRateLimitExceeded)
	require.EqualError(t, limit, "rate limit exceeded; try again in 2 s")
	require.EqualError(t, mls.RateLimited(0), "rate limit exceeded; try again in 1 s")
	require.EqualError(t, mls.EpochMismatch(2, 3), "epoch mismatch: made for epoch 2, the conversation is at epoch 3")
	require.EqualError(t, mls.InvalidKeyPackageAt(0, mls.CodeExpired), "invalid key package at index 0: Expired")
	require.EqualError(t, mls.InvalidKeyPackage(mls.CodeExpired), "invalid key package: Expired")
	require.EqualError(t, mls.InvalidInput("/cursor", "must be one"), "invalid request: /cursor must be one")
	require.EqualError(t, mls.TooManyStreams(5, 30*time.Second), "rate limit exceeded: a user may have 5 streams; close one; try again in 30 s")
	require.EqualError(t, mls.InvalidAsset("p"), "invalid asset: p")
	require.EqualError(t, mls.InvalidCommit(mls.CodeWrongGroup), "invalid commit: WrongGroup")
	require.EqualError(t, mls.InvalidWelcome(mls.CodeTruncated), "invalid Welcome: Truncated")
	require.EqualError(t, &mls.WireError{Code: mls.CodeTruncated, Offset: 3}, "mls: Truncated at byte 3")
}

func TestKindsAreClosed(t *testing.T) {
	t.Parallel()
	texts := map[string]int{}
	for _, k := range mls.Kinds() {
		assert.NotEmpty(t, k.Error(), int(k))
		texts[k.Error()]++
	}
	// A conversation that cannot exist is answered like one that does not; all else can be told
	// apart.
	assert.Equal(t, 2, texts[mls.ErrConvoNotFound.Error()])
	assert.Len(t, texts, len(mls.Kinds())-1)
	assert.Equal(t, "unknown kind of error", mls.Kind(0).Error())
	assert.Equal(t, "unknown kind of error", mls.Kind(255).Error())
}

func TestAsErrorFindsTheOutermost(t *testing.T) {
	t.Parallel()
	driver := errors.New("quotes a value")
	for _, tt := range []struct {
		err   error
		kind  mls.Kind
		text  string
		retry time.Duration
	}{
		{fmt.Errorf("store: %w", mls.ErrNotMember), mls.ErrNotMember, "not a member of the conversation", 0},
		{errors.Join(mls.ErrBusy, driver), mls.ErrBusy, "the server or its database is busy; try again in 1 s", time.Second},
		{errors.Join(driver, mls.Busy("d", 2*time.Second)), mls.ErrBusy, "the server or its database is busy: d; try again in 2 s", 2 * time.Second},
		{fmt.Errorf("x: %w", mls.ErrRequestInProgress), mls.ErrRequestInProgress, "a request with this idempotency key is in progress; try again in 1 s", time.Second},
		{fmt.Errorf("x: %w", mls.InvalidCommit(mls.CodeWrongGroup)), mls.ErrInvalidCommit, "invalid commit: WrongGroup", 0},
	} {
		e := mls.AsError(tt.err)
		require.NotNil(t, e)
		assert.Equal(t, tt.kind, e.Kind)
		assert.Equal(t, tt.text, e.Error())
		assert.Equal(t, tt.retry, e.RetryAfter)
	}
	assert.Nil(t, mls.AsError(driver))
	assert.Nil(t, mls.AsError(mls.CodeExpired), "a code is not a kind")
	assert.Nil(t, mls.AsError(nil))
}

// TestPackageTouchesNothing: the package does no I/O, logs nothing, reads no clock and imports
// nothing of ours but strict base64.
func TestPackageTouchesNothing(t *testing.T) {
	t.Parallel()
	entries, err := os.ReadDir(".")
	require.NoError(t, err)
	forbidden := regexp.MustCompile(`"(os|log|log/slog|net|net/http|context|database/sql|mls-server/.*)"|time\.Now`)
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".go") && !strings.HasSuffix(e.Name(), "_test.go") {
			source, err := os.ReadFile(e.Name())
			require.NoError(t, err)
			text := strings.ReplaceAll(string(source), `"mls-server/lexrt/lexbase64"`, "")
			assert.NotRegexp(t, forbidden, text, e.Name())
		}
	}
}
