package mls_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/mls"
)

// fixture is an object made by ts-mls, with what its decoder saw in it.
type fixture struct {
	Name         string
	B64          string `json:"b64"`
	Author       string
	RFCStrictOK  *bool  `json:"rfc_strict_ok"`
	ExpectServer string `json:"expect_server"`
	Op           string
	Epoch        mls.Epoch
	Expect       expectation
}

type expectation struct {
	WireFormat     mls.WireFormat `json:"wire_format"`
	WireFormatName string         `json:"wire_format_name"`
	Size           int
	GroupID        string          `json:"group_id"`
	Epoch          mls.Epoch       `json:"epoch,string"`
	ContentType    mls.ContentType `json:"content_type"`
	AAD            string          `json:"authenticated_data"`
	SenderType     mls.SenderType  `json:"sender_type"`
	SenderIndex    uint32          `json:"sender_index"`
	CipherSuite    mls.CipherSuite `json:"cipher_suite"`
	NewMembers     []string        `json:"new_members"`
	Signer         uint32
	ExternalPub    string `json:"external_pub"`
	SignatureOK    *bool  `json:"signature_ok"`
	Tree           *struct {
		Leaves []struct {
			LeafIndex uint32 `json:"leaf_index"`
			Identity  string
			Blank     bool
			Source    mls.LeafSource
		}
	}
	Context *struct {
		GroupID  string    `json:"group_id"`
		Epoch    mls.Epoch `json:"epoch,string"`
		TreeHash string    `json:"tree_hash"`
	} `json:"group_context"`
	Commit *struct {
		Proposals []struct {
			By      string
			Type    mls.ProposalType
			Ref     string
			Removed uint32
		}
		HasPath bool `json:"has_path"`
	}
	Proposal *struct {
		Type    mls.ProposalType
		Removed uint32
	}
	KeyPackage *struct {
		Suite      mls.CipherSuite `json:"cipher_suite"`
		InitKey    string          `json:"init_key"`
		Ref        string          `json:"key_package_ref"`
		LastResort bool            `json:"last_resort"`
		Signature  string
		Extensions []mls.ExtensionType `json:"extension_types"`
		Leaf       struct {
			SignatureKey string `json:"signature_key"`
			Credential   struct {
				Identity string `json:"identity_utf8"`
			}
			Lifetime struct {
				NotBefore uint64 `json:"not_before,string"`
				NotAfter  uint64 `json:"not_after,string"`
			}
			Extensions []mls.ExtensionType `json:"extension_types"`
		} `json:"leaf_node"`
	} `json:"key_package"`
}

func (f *fixture) bytes(tb testing.TB) []byte {
	tb.Helper()
	b, err := base64.StdEncoding.DecodeString(f.B64)
	require.NoError(tb, err)
	return b
}

type fixtureFile struct {
	ValidAt            int64     `json:"valid_at"`
	KeyPackages        []fixture `json:"key_packages"`
	InvalidKeyPackages []fixture `json:"invalid_key_packages"`
	Malformed          []fixture
	Messages           []fixture
	Flow               struct {
		Suite   mls.CipherSuite `json:"cipher_suite"`
		GroupID string          `json:"group_id"`
		Events  []fixture
	}
}

func fixtures(tb testing.TB) *fixtureFile {
	tb.Helper()
	raw, err := os.ReadFile("testdata/mls-fixtures.json")
	require.NoError(tb, err)
	var f fixtureFile
	require.NoError(tb, json.Unmarshal(raw, &f)) //nolint:musttag // names that differ in case only need no tag
	require.NotEmpty(tb, f.KeyPackages)
	return &f
}

func (f *fixtureFile) at() time.Time { return time.Unix(f.ValidAt, 0) }

func allSuites() mls.KeyPackagePolicy {
	p := mls.DefaultKeyPackagePolicy()
	p.Suites = append(p.Suites, mls.SuiteP384AES256)
	return p
}

func TestFixtureKeyPackages(t *testing.T) {
	t.Parallel()
	file := fixtures(t)
	for _, f := range file.KeyPackages {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			raw, want := f.bytes(t), f.Expect.KeyPackage
			k, err := mls.ParseKeyPackage(raw)
			require.NoError(t, err)
			assert.Equal(t, want.Suite, k.Suite)
			assert.Equal(t, want.InitKey, hex.EncodeToString(k.InitKey))
			assert.Equal(t, want.Signature, hex.EncodeToString(k.Signature))
			assert.Equal(t, want.Leaf.SignatureKey, hex.EncodeToString(k.Leaf.SignatureKey))
			assert.Equal(t, want.Leaf.Credential.Identity, string(k.Leaf.Credential.Identity))
			assert.Equal(t, want.Leaf.Lifetime.NotBefore, k.Leaf.NotBefore)
			assert.Equal(t, want.Leaf.Lifetime.NotAfter, k.Leaf.NotAfter)
			assert.Equal(t, want.LastResort, k.LastResort())
			assert.Equal(t, want.Ref, hex.EncodeToString([]byte(k.Ref())))
			assert.Equal(t, want.Extensions, types(k.Extensions))
			assert.Equal(t, want.Leaf.Extensions, types(k.Leaf.Extensions))

			policy := allSuites()
			did, device, ok := mls.SplitIdentity(k.Leaf.Credential.Identity)
			require.True(t, ok)
			owner := mls.KeyPackageOwner{DID: did, Suite: want.Suite, SignatureKey: k.Leaf.SignatureKey}
			if !*f.RFCStrictOK {
				_, err = policy.Read(raw, owner, file.at())
				require.ErrorIs(t, err, mls.CodeCompressedPoint)
				policy.AllowCompressedKeys = true
			}
			got, err := policy.Read(raw, owner, file.at())
			require.NoError(t, err)
			assert.Equal(t, raw, got.Bytes)
			assert.Equal(t, did, got.DID)
			assert.Equal(t, device, got.Device)
			assert.Equal(t, int64(want.Leaf.Lifetime.NotAfter), got.NotAfter.Unix())
		})
	}
}

func types(list mls.Extensions) []mls.ExtensionType {
	out := []mls.ExtensionType{}
	for _, e := range list {
		out = append(out, e.Type)
	}
	return out
}

func TestFixtureInvalidKeyPackages(t *testing.T) {
	t.Parallel()
	file := fixtures(t)
	want := map[string]mls.Code{
		"kp-signature-flipped":               mls.CodeKeyPackageSignature,
		"init-key-equals-encryption-key":     mls.CodeInitKeyEqualsEncryptionKey,
		"not-yet-valid":                      mls.CodeNotYetValid,
		"lifetime-reversed":                  mls.CodeBadLifetime,
		"suite-not-in-capabilities":          mls.CodeCapabilityMissing,
		"leaf-extension-not-in-capabilities": mls.CodeCapabilityMissing,
		"other-did":                          mls.CodeIdentityMismatch,
		"leaf-source-update":                 mls.CodeBadLeafSource,
		"unknown-suite":                      mls.CodeUnsupportedSuite,
	}
	require.Len(t, file.InvalidKeyPackages, len(want))
	policy := allSuites()
	for _, f := range file.InvalidKeyPackages {
		_, err := policy.Read(f.bytes(t), mls.KeyPackageOwner{DID: "did:plc:invalidaaaaaaaaaaaaaaaaa"}, file.at())
		require.ErrorIs(t, err, want[f.Name], f.Name)
		var wire *mls.WireError
		require.ErrorAs(t, err, &wire, f.Name)
	}
}

func TestFixtureMalformed(t *testing.T) {
	t.Parallel()
	want := map[string]mls.Code{
		"empty":               mls.CodeTruncated,
		"truncated-half":      mls.CodeTruncated,
		"trailing-byte":       mls.CodeTrailingBytes,
		"wire-format-0":       mls.CodeUnsupportedWireFormat,
		"wire-format-welcome": mls.CodeTrailingBytes,
		"length-prefix-11":    mls.CodeLengthPrefix,
	}
	file := fixtures(t)
	require.Len(t, file.Malformed, len(want))
	for _, f := range file.Malformed {
		_, err := mls.ParseMessage(f.bytes(t))
		assert.Equal(t, want[f.Name].String(), mls.CodeOf(err).String(), f.Name)
		_, err = mls.ParseKeyPackage(f.bytes(t))
		require.Error(t, err, f.Name)
	}
}

func TestFixtureMessages(t *testing.T) {
	t.Parallel()
	file := fixtures(t)
	for _, list := range [][]fixture{file.Messages, file.Flow.Events} {
		for _, f := range list {
			if f.B64 == "" {
				continue
			}
			m, err := mls.ParseMessage(f.bytes(t))
			require.NoError(t, err, f.Name)
			checkFixture(t, m, &f.Expect)
		}
	}
}

func checkFixture(t *testing.T, m *mls.Message, want *expectation) {
	t.Helper()
	assert.Equal(t, want.WireFormat, m.Format)
	assert.Equal(t, want.WireFormatName, m.Format.String())
	assert.Len(t, m.Raw, want.Size)
	if f := m.Framing(); f != nil {
		assert.Equal(t, want.GroupID, hex.EncodeToString(f.GroupID))
		assert.True(t, mls.GroupID(want.GroupID).Is(f.GroupID))
		assert.Equal(t, want.Epoch, f.Epoch)
		assert.Equal(t, want.ContentType, f.ContentType)
		assert.Equal(t, want.AAD, hex.EncodeToString(f.AuthenticatedData))
	}
	switch {
	case m.Public != nil:
		assert.Equal(t, want.SenderType, m.Public.SenderType)
		assert.Equal(t, want.SenderIndex, m.Public.Sender)
		assert.Equal(t, want.Commit != nil, m.Public.Commit != nil)
		if want.Commit != nil {
			assert.Equal(t, want.Commit.HasPath, m.Public.Commit.Path != nil)
			require.Len(t, m.Public.Commit.Proposals, len(want.Commit.Proposals))
			for i, p := range m.Public.Commit.Proposals {
				w := want.Commit.Proposals[i]
				assert.Equal(t, w.Ref, hex.EncodeToString(p.Ref))
				if p.Proposal != nil {
					assert.Equal(t, w.Type, p.Proposal.Type)
					assert.Equal(t, w.Removed, p.Proposal.Removed)
				}
			}
		}
		if want.Proposal != nil {
			assert.Equal(t, want.Proposal.Type, m.Public.Proposal.Type)
			assert.Equal(t, want.Proposal.Removed, m.Public.Proposal.Removed)
		}
	case m.Welcome != nil:
		view, err := mls.ReadWelcome(m.Raw)
		require.NoError(t, err)
		assert.Equal(t, want.CipherSuite, view.Suite)
		refs := []string{}
		for _, ref := range view.Refs {
			refs = append(refs, hex.EncodeToString([]byte(ref)))
		}
		assert.Equal(t, want.NewMembers, refs)
	case m.GroupInfo != nil:
		checkGroupInfo(t, m.GroupInfo, want)
	}
}

func checkGroupInfo(t *testing.T, g *mls.GroupInfo, want *expectation) {
	t.Helper()
	assert.Equal(t, want.Context.GroupID, hex.EncodeToString(g.Context.GroupID))
	assert.Equal(t, want.Context.Epoch, g.Context.Epoch)
	assert.Equal(t, want.Context.TreeHash, hex.EncodeToString(g.Context.TreeHash))
	assert.Equal(t, want.Signer, g.Signer)
	assert.Equal(t, want.ExternalPub, hex.EncodeToString(g.ExternalPub))
	if want.Tree == nil {
		require.ErrorIs(t, g.Verify(nil), mls.CodeMissingTree)
		return
	}
	require.NotNil(t, g.Tree)
	require.NoError(t, g.Verify(nil))
	for _, l := range want.Tree.Leaves {
		got := g.Tree.Leaf(l.LeafIndex)
		assert.Equal(t, l.Blank, got == nil)
		if got != nil {
			assert.Equal(t, l.Identity, string(got.Credential.Identity))
			assert.Equal(t, l.Source, got.Source)
		}
	}
}

// TestFixtureFlow follows a group as its delivery service would: the GroupInfo of
// each epoch verifies the messages of the next.
func TestFixtureFlow(t *testing.T) {
	t.Parallel()
	file := fixtures(t)
	flow := &file.Flow
	state := mls.GroupState{GroupID: mls.GroupID(flow.GroupID), Suite: flow.Suite, Pending: map[mls.ProposalRef]*mls.PublicMessage{}}
	packages := map[mls.KeyPackageRef]bool{}
	var info *mls.GroupInfo
	verified, removed, joined := 0, []uint32{}, ""
	for i, e := range flow.Events {
		if e.B64 == "" {
			continue
		}
		raw := e.bytes(t)
		m, err := mls.ParseMessage(raw)
		require.NoError(t, err)
		if m.Public != nil && e.ExpectServer == "accepted" {
			require.NoError(t, m.Public.Verify(&info.Context, info.Tree), "event %d", i)
			require.ErrorIs(t, m.Public.Verify(&mls.GroupContext{GroupID: info.Context.GroupID, Epoch: info.Context.Epoch + 1}, nil), mls.CodeWrongEpoch)
			verified++
		}
		switch e.Op {
		case "publishKeyPackage":
			packages[m.KeyPackage.Ref()] = true
		case "groupInfo":
			require.NoError(t, m.GroupInfo.Verify(nil))
			require.Equal(t, state.Epoch, m.GroupInfo.Context.Epoch)
			info = m.GroupInfo
		case "proposal":
			h, err := mls.ReadProposal(raw, state)
			require.NoError(t, err)
			if h.Visible {
				state.Pending[m.Public.ProposalRef(flow.Suite)] = m.Public
			}
		case "commit":
			h, err := mls.ReadCommit(raw, state)
			if e.ExpectServer == "stale_epoch" {
				require.ErrorIs(t, err, mls.ErrEpochMismatch)
				continue
			}
			require.NoError(t, err, "event %d", i)
			assert.Empty(t, h.Unresolved)
			removed = append(removed, h.Removed...)
			if h.External() {
				joined = string(h.Joiner.Credential.Identity)
			}
			state.Epoch++
			clear(state.Pending)
		case "welcome":
			w, err := mls.ReadWelcome(raw)
			require.NoError(t, err)
			for _, ref := range w.Refs {
				assert.True(t, packages[ref], "event %d", i)
			}
		case "application":
			s, err := mls.ReadSendForTest(append(raw, make([]byte, 100)...), e.Epoch, 1, state)
			require.NoError(t, err)
			assert.Equal(t, mls.PaddingDirect, s.Padding)
		}
	}
	assert.Equal(t, 3, verified)
	assert.Equal(t, []uint32{2}, removed)
	assert.Equal(t, mls.Epoch(4), state.Epoch)
	assert.True(t, strings.HasPrefix(joined, "did:plc:dave"))
}

func TestFixtureUnsafeCommit(t *testing.T) {
	t.Parallel()
	seen := false
	for _, f := range fixtures(t).Messages {
		if f.ExpectServer == "missing_update_path" {
			_, err := mls.ReadCommit(f.bytes(t), mls.GroupState{GroupID: mls.GroupID(f.Expect.GroupID), Epoch: 1, Suite: 1})
			require.ErrorIs(t, err, mls.ErrInvalidCommit)
			require.ErrorIs(t, err, mls.CodeMissingUpdatePath)
			seen = true
		}
	}
	assert.True(t, seen)
}
