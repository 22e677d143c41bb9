//go:build pds

package pds_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/e2e/seen"
)

// TestExamples does what the beginning of docs/clients.md says, word by word, in an empty folder:
// what it installs lets two people chat through each PDS, with either program of clients/examples.
func TestExamples(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs("../../..")
	require.NoError(t, err)
	page, err := os.ReadFile(filepath.Join(root, "docs/clients.md"))
	require.NoError(t, err)
	_, section, _ := strings.Cut(string(page), "\n## Two people in thirty minutes\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var blocks []string
	for _, block := range regexp.MustCompile("(?s)```\n(.*?)```").FindAllStringSubmatch(section, -1) {
		blocks = append(blocks, block[1])
	}
	require.Len(t, blocks, 4, "start the servers, chat with clients/ts, what it prints, chat with @atproto/api")
	on(t, func(t *testing.T, n *network) {
		s := serve(t, n, didWeb)
		alice, bob := signUp(t, n, s), signUp(t, n, s)
		cmd := exec.CommandContext(t.Context(), "bash", "-euc", blocks[1]+blocks[3])
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir(), "PDS="+n.PDS, "SERVER="+s.URL, "DID="+s.DID, "PASSWORD="+password,
			"ALICE="+alice.Handle, "BOB="+bob.Handle)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		printed := strings.ReplaceAll(blocks[2], "did:plc:…", string(alice.DID))
		// By then they share a conversation.
		again := strings.Replace(printed, "is invited in", "is active in", 1)
		again = strings.TrimSuffix(again, "bob reads: guess who\n") // what only clients/ts does
		assert.True(t, strings.HasSuffix(string(out), again), "%s", out)
		assert.Contains(t, strings.TrimSuffix(string(out), again), printed)
		api := "@atproto/api " + regexp.MustCompile(`@atproto/api@(\S+)`).FindStringSubmatch(blocks[1])[1]
		seen.Works(t, "pds", map[string][]string{
			seen.Ours: {n.calls(t), seen.Streams, seen.Sealed},
			api:       {n.calls(t)},
		})
	})
}
