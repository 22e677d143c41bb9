//go:build pds

package pds_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestExamples is the beginning of docs/clients.md: in an empty folder, with what it says to
// install, the programs of clients/examples let two people chat through each PDS.
func TestExamples(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs("../../..")
	require.NoError(t, err)
	on(t, func(t *testing.T, n *network) {
		s := serve(t, n, didWeb)
		for _, program := range []string{"chat.mjs", "chat-api.mjs"} {
			alice, bob := signUp(t, n, s), signUp(t, n, s)
			dir := t.TempDir()
			for _, name := range []string{"mls.mjs", program} {
				text, err := os.ReadFile(filepath.Join(root, "clients/examples", name))
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(filepath.Join(dir, name), text, 0o600))
			}
			modules := filepath.Join(dir, "node_modules")
			require.NoError(t, os.Mkdir(modules, 0o700))
			for name, from := range map[string]string{
				"@atproto": "e2e/pds/old/node_modules/@atproto", "ts-mls": "e2e/node_modules/ts-mls", "mls-server-client": "clients/ts",
			} {
				require.NoError(t, os.Symlink(filepath.Join(root, from), filepath.Join(modules, name)))
			}
			cmd := exec.CommandContext(t.Context(), "node", program)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "PDS="+n.PDS, "SERVER="+s.URL, "DID="+s.DID, "PASSWORD="+password,
				"ALICE="+alice.Handle, "BOB="+bob.Handle, "LEXICONS="+filepath.Join(root, "lexicons/blue"))
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s: %s", program, out)
			assert.Equal(t, "bob is invited in a conversation of "+string(alice.DID)+"\nbob reads: hello bob\nalice reads: hello alice\n", string(out), program)
		}
	})
}
