package mls_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"hash"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/mls"
)

// hexBytes is a byte string that the vectors write in hex.
type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	*h = b
	return err
}

// vectors loads one of the RFC's vector files. They are several megabytes and
// stay outside of the repository; where they are missing, the test says so and false is returned.
func vectors(t *testing.T, name string, into any) bool {
	t.Helper()
	path := filepath.Join("..", "..", "..", "shared", "testdata", "mls", name)
	raw, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		t.Logf("LEFT OUT: the RFC 9420 vectors of %s, which are not beside this clone (looked for ../shared/testdata/mls)", name)
		return false
	}
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, into))
	return true
}

func vector(b []byte) []byte {
	switch n := len(b); {
	case n < 1<<6:
		return append([]byte{byte(n)}, b...)
	case n < 1<<14:
		return append(binary.BigEndian.AppendUint16(nil, 0x4000|uint16(n)), b...)
	default:
		return append(binary.BigEndian.AppendUint32(nil, 0x80000000|uint32(n)), b...)
	}
}

func newHash(s mls.CipherSuite) hash.Hash {
	switch s {
	case mls.SuiteX25519AES128, mls.SuiteP256AES128, mls.SuiteX25519ChaCha:
		return sha256.New()
	case mls.SuiteP384AES256:
		return sha512.New384()
	default:
		return sha512.New()
	}
}

func TestVectorsDeserialization(t *testing.T) {
	t.Parallel()
	var cases []struct {
		Header hexBytes `json:"vlbytes_header"`
		Length int
	}
	if !vectors(t, "deserialization.json", &cases) {
		return
	}
	require.NotEmpty(t, cases)
	for _, c := range cases {
		if c.Length > 1<<20 {
			// The length is right, the gigabyte behind it is not there.
			_, err := mls.LengthForTest(c.Header, 0)
			require.ErrorIs(t, err, mls.CodeTruncated)
			continue
		}
		n, err := mls.LengthForTest(c.Header, c.Length)
		require.NoError(t, err, "%x", c.Header)
		assert.Equal(t, c.Length, n)
		if c.Length > 0 {
			_, err = mls.LengthForTest(c.Header, c.Length-1)
			require.ErrorIs(t, err, mls.CodeTruncated)
		}
	}
}

func TestVectorsCryptoBasics(t *testing.T) {
	t.Parallel()
	var cases []struct {
		Suite   mls.CipherSuite `json:"cipher_suite"`
		RefHash struct {
			Label      string
			Out, Value hexBytes
		} `json:"ref_hash"`
		Sign struct {
			Label                   string
			Pub, Content, Signature hexBytes
		} `json:"sign_with_label"`
	}
	if !vectors(t, "crypto-basics.json", &cases) {
		return
	}
	require.Len(t, cases, 7)
	for _, c := range cases {
		assert.Equal(t, []byte(c.RefHash.Out), mls.RefHashForTest(c.Suite, c.RefHash.Label, c.RefHash.Value), c.Suite)
		s := c.Sign
		assert.True(t, mls.VerifyWithLabelForTest(c.Suite, s.Pub, s.Signature, s.Label, s.Content), c.Suite)
		assert.False(t, mls.VerifyWithLabelForTest(c.Suite, s.Pub, s.Signature, s.Label+"x", s.Content), c.Suite)
		assert.False(t, mls.VerifyWithLabelForTest(c.Suite, s.Pub, s.Signature, s.Label, append(s.Content, 0)), c.Suite)
		assert.False(t, mls.VerifyWithLabelForTest(c.Suite, s.Pub[1:], s.Signature, s.Label, s.Content), c.Suite)
		assert.False(t, mls.VerifyWithLabelForTest(c.Suite, s.Pub, s.Signature[1:], s.Label, s.Content), c.Suite)
		assert.False(t, mls.VerifyWithLabelForTest(c.Suite, s.Pub, nil, s.Label, s.Content), c.Suite)
	}
}

func TestVectorsMessages(t *testing.T) {
	t.Parallel()
	var cases []map[string]hexBytes
	if !vectors(t, "messages.json", &cases) {
		return
	}
	require.Len(t, cases, 300)
	wrapped := map[string]mls.WireFormat{
		"mls_welcome": mls.FormatWelcome, "mls_group_info": mls.FormatGroupInfo, "mls_key_package": mls.FormatKeyPackage,
		"public_message_application": mls.FormatPublicMessage, "public_message_proposal": mls.FormatPublicMessage,
		"public_message_commit": mls.FormatPublicMessage, "private_message": mls.FormatPrivateMessage,
	}
	proposals := map[string]uint16{
		"add_proposal": 1, "update_proposal": 2, "remove_proposal": 3, "pre_shared_key_proposal": 4,
		"re_init_proposal": 5, "external_init_proposal": 6, "group_context_extensions_proposal": 7,
	}
	for i, c := range cases {
		for name, format := range wrapped {
			m, err := mls.ParseMessage(c[name])
			require.NoError(t, err, "%d %s", i, name)
			assert.Equal(t, format, m.Format)
			assert.Equal(t, []byte(c[name]), m.Raw)
			_, err = mls.ParseMessage(append(c[name], 0))
			require.ErrorIs(t, err, mls.CodeTrailingBytes)
			for cut := 0; cut < len(c[name]) && i < 5; cut++ {
				_, err = mls.ParseMessage(c[name][:cut])
				require.ErrorIs(t, err, mls.CodeTruncated, "%d %s cut at %d", i, name, cut)
			}
		}
		for name, typ := range proposals {
			require.NoError(t, mls.PartForTest("proposal", append(binary.BigEndian.AppendUint16(nil, typ), c[name]...)), "%d %s", i, name)
		}
		require.NoError(t, mls.PartForTest("commit", c["commit"]))
		_, err := mls.ParseRatchetTree(c["ratchet_tree"])
		require.NoError(t, err)
	}
}

func TestVectorsWelcome(t *testing.T) {
	t.Parallel()
	var cases []struct {
		Suite      mls.CipherSuite `json:"cipher_suite"`
		KeyPackage hexBytes        `json:"key_package"`
		Welcome    hexBytes        `json:"welcome"`
	}
	if !vectors(t, "welcome.json", &cases) {
		return
	}
	require.Len(t, cases, 7)
	for _, c := range cases {
		k, err := mls.ParseKeyPackage(c.KeyPackage)
		require.NoError(t, err)
		require.NoError(t, k.Verify())
		w, err := mls.ReadWelcome(c.Welcome)
		require.NoError(t, err)
		assert.Equal(t, c.Suite, w.Suite)
		assert.Contains(t, w.Refs, k.Ref())
		if c.Suite != mls.SuiteP521AES256 {
			bare, err := mls.ParseKeyPackage(c.KeyPackage[4:])
			require.NoError(t, err)
			assert.Equal(t, k.Ref(), bare.Ref())
		}
		bare, err := mls.ParseWelcome(c.Welcome[4:])
		require.NoError(t, err)
		assert.Equal(t, c.Suite, bare.Suite)
	}
}

func TestVectorsTreeValidation(t *testing.T) {
	t.Parallel()
	var cases []struct {
		Suite      mls.CipherSuite `json:"cipher_suite"`
		Tree       hexBytes        `json:"tree"`
		GroupID    hexBytes        `json:"group_id"`
		TreeHashes []hexBytes      `json:"tree_hashes"`
	}
	if !vectors(t, "tree-validation.json", &cases) {
		return
	}
	require.NotEmpty(t, cases)
	for i, c := range cases {
		tree, err := mls.ParseRatchetTree(c.Tree)
		require.NoError(t, err, "%d", i)
		root := c.TreeHashes[len(c.TreeHashes)/2]
		assert.Equal(t, []byte(root), tree.Hash(c.Suite), "%d", i)
		ctx := &mls.GroupContext{Suite: c.Suite, GroupID: c.GroupID, TreeHash: root}
		require.NoError(t, tree.Verify(ctx), "%d", i)
		ctx.TreeHash = c.TreeHashes[0]
		if len(c.TreeHashes) > 1 {
			require.ErrorIs(t, tree.Verify(ctx), mls.CodeTreeHash)
		}
	}
}

func TestVectorsMessageProtection(t *testing.T) {
	t.Parallel()
	var cases []struct {
		Suite         mls.CipherSuite `json:"cipher_suite"`
		GroupID       hexBytes        `json:"group_id"`
		Epoch         mls.Epoch       `json:"epoch"`
		TreeHash      hexBytes        `json:"tree_hash"`
		Transcript    hexBytes        `json:"confirmed_transcript_hash"`
		SignaturePub  hexBytes        `json:"signature_pub"`
		Proposal      hexBytes        `json:"proposal"`
		ProposalPub   hexBytes        `json:"proposal_pub"`
		ProposalPriv  hexBytes        `json:"proposal_priv"`
		Commit        hexBytes        `json:"commit"`
		CommitPub     hexBytes        `json:"commit_pub"`
		CommitPriv    hexBytes        `json:"commit_priv"`
		Application   hexBytes        `json:"application"`
		ApplicationPr hexBytes        `json:"application_priv"`
	}
	if !vectors(t, "message-protection.json", &cases) {
		return
	}
	require.Len(t, cases, 7)
	for _, c := range cases {
		ctx := binary.BigEndian.AppendUint16([]byte{0, 1}, uint16(c.Suite))
		ctx = append(ctx, vector(c.GroupID)...)
		ctx = binary.BigEndian.AppendUint64(ctx, uint64(c.Epoch))
		ctx = append(ctx, vector(c.TreeHash)...)
		ctx = append(ctx, vector(c.Transcript)...)
		ctx = append(ctx, 0)
		parsed, err := mls.ParseGroupContext(ctx)
		require.NoError(t, err)
		assert.Equal(t, c.Epoch, parsed.Epoch)
		for _, raw := range []hexBytes{c.ProposalPub, c.CommitPub} {
			m, err := mls.ParseMessage(raw)
			require.NoError(t, err)
			assert.True(t, m.Public.VerifySignature(c.Suite, ctx, c.SignaturePub), c.Suite)
			assert.False(t, m.Public.VerifySignature(c.Suite, nil, c.SignaturePub), c.Suite)
			require.ErrorIs(t, m.Public.Verify(parsed, nil), mls.CodeMissingTree)
		}
		m, err := mls.ParseMessage(c.ProposalPub)
		require.NoError(t, err)
		assert.Equal(t, []byte(c.Proposal), m.Public.Proposal.Raw)
		for raw, want := range map[string]mls.ContentType{
			string(c.ProposalPriv): mls.ContentProposal, string(c.CommitPriv): mls.ContentCommit, string(c.ApplicationPr): mls.ContentApplication,
		} {
			m, err := mls.ParseMessage([]byte(raw))
			require.NoError(t, err)
			require.NotNil(t, m.Private)
			assert.Equal(t, want, m.Private.ContentType)
			assert.Equal(t, c.Epoch, m.Framing().Epoch)
			assert.Equal(t, []byte(c.GroupID), m.Framing().GroupID)
		}
	}
}

func TestVectorsTranscriptHashes(t *testing.T) {
	t.Parallel()
	var cases []struct {
		Suite         mls.CipherSuite `json:"cipher_suite"`
		Authenticated hexBytes        `json:"authenticated_content"`
		InterimBefore hexBytes        `json:"interim_transcript_hash_before"`
		Confirmed     hexBytes        `json:"confirmed_transcript_hash_after"`
		InterimAfter  hexBytes        `json:"interim_transcript_hash_after"`
	}
	if !vectors(t, "transcript-hashes.json", &cases) {
		return
	}
	require.Len(t, cases, 7)
	for _, c := range cases {
		// If content, signature and tag are cut out of the message rightly, the hashes come out
		// right.
		content, signature, tag, err := mls.AuthenticatedContentForTest(c.Authenticated)
		require.NoError(t, err)
		h := newHash(c.Suite)
		h.Write(c.InterimBefore)
		h.Write(content)
		h.Write(vector(signature))
		confirmed := h.Sum(nil)
		assert.Equal(t, []byte(c.Confirmed), confirmed)
		h = newHash(c.Suite)
		h.Write(confirmed)
		h.Write(vector(tag))
		assert.Equal(t, []byte(c.InterimAfter), h.Sum(nil))
	}
}

// TestVectorsPassiveClient follows groups of other implementations from outside:
// every commit must be read, and none may break a rule that this server enforces.
func TestVectorsPassiveClient(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"passive-client-welcome.json", "passive-client-handling-commit.json"} {
		var cases []struct {
			Suite       mls.CipherSuite `json:"cipher_suite"`
			KeyPackage  hexBytes        `json:"key_package"`
			Welcome     hexBytes        `json:"welcome"`
			RatchetTree *hexBytes       `json:"ratchet_tree"`
			Epochs      []struct {
				Proposals []hexBytes `json:"proposals"`
				Commit    hexBytes   `json:"commit"`
			} `json:"epochs"`
		}
		if !vectors(t, name, &cases) {
			continue
		}
		require.NotEmpty(t, cases)
		commits, visible := 0, 0
		for i, c := range cases {
			k, err := mls.ParseKeyPackage(c.KeyPackage)
			require.NoError(t, err)
			require.NoError(t, k.Verify())
			w, err := mls.ReadWelcome(c.Welcome)
			require.NoError(t, err)
			assert.Contains(t, w.Refs, k.Ref())
			if c.RatchetTree != nil {
				_, err := mls.ParseRatchetTree(*c.RatchetTree)
				require.NoError(t, err)
			}
			for _, e := range c.Epochs {
				pending := map[mls.ProposalRef]*mls.PublicMessage{}
				public := 0
				for _, raw := range e.Proposals {
					m, err := mls.ParseMessage(raw)
					require.NoError(t, err)
					state := mls.GroupState{GroupID: mls.GroupIDFromBytes(m.Framing().GroupID), Epoch: m.Framing().Epoch, Suite: c.Suite}
					_, err = mls.ReadProposal(raw, state)
					require.NoError(t, err, "%s %d", name, i)
					if m.Public != nil {
						public++
						pending[m.Public.ProposalRef(c.Suite)] = m.Public
					}
				}
				m, err := mls.ParseMessage(e.Commit)
				require.NoError(t, err)
				state := mls.GroupState{
					GroupID: mls.GroupIDFromBytes(m.Framing().GroupID), Epoch: m.Framing().Epoch, Suite: c.Suite,
					Pending: pending, Complete: public == len(e.Proposals),
				}
				h, err := mls.ReadCommit(e.Commit, state)
				require.NoError(t, err, "%s %d", name, i)
				commits++
				if h.Visible {
					visible++
				}
			}
		}
		t.Logf("%s: %d commits, %d of them visible", name, commits, visible)
	}
}

// TestVectorFilesAreComplete fails when a vector file is beside the clone that no test reads.
func TestVectorFilesAreComplete(t *testing.T) {
	t.Parallel()
	names, err := filepath.Glob(filepath.Join("..", "..", "..", "shared", "testdata", "mls", "*.json"))
	require.NoError(t, err)
	if names == nil {
		t.Log("LEFT OUT: all RFC 9420 vectors; the project's own fixtures are tested")
		return
	}
	source, err := os.ReadFile("vector_test.go")
	require.NoError(t, err)
	for _, n := range names {
		assert.True(t, bytes.Contains(source, []byte(`"`+filepath.Base(n)+`"`)), n)
	}
}
