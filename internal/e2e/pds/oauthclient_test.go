//go:build pds

package pds_test

import (
	"bufio"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/e2e/seen"
)

// TestOAuthClient: the program of clients/examples signs in by the OAuth client of @atproto, whose
// session clients/ts takes: it registers a device through the PDS, by requests with DPoP, and opens
// a stream of its own with a token that the PDS makes.
func TestOAuthClient(t *testing.T) {
	t.Parallel()
	n := networkOf(t, "new")
	s := serve(t, n, didWeb)
	root, err := filepath.Abs("../../..")
	require.NoError(t, err)
	for name, scope := range map[string]string{
		"all of one service": "atproto rpc:*?aud=" + url.QueryEscape(s.DID+serviceID),
		"everything":         "atproto transition:generic",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			alice := signUp(t, n, s)
			cmd := exec.CommandContext(t.Context(), nodeOf(filepath.Join(root, "e2e/pds/new")), "oauth.mjs")
			cmd.Dir, cmd.Stderr = t.TempDir(), os.Stderr
			cmd.Env = append(os.Environ(), "PDS="+n.PDS, "PLC="+n.PLC, "SERVER="+s.URL, "DID="+s.DID, "HANDLE="+alice.Handle, "SCOPE="+scope)
			install(t, root, cmd.Dir, []string{"oauth.mjs", "mls.mjs"}, map[string]string{
				"mls-server-client": "clients/ts", "ts-mls": "e2e/node_modules/ts-mls", "@atproto": "e2e/pds/oauth/node_modules/@atproto",
			})
			out, err := cmd.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			lines := bufio.NewScanner(out)
			require.True(t, lines.Scan())
			page, err := url.Parse(strings.TrimPrefix(lines.Text(), "open "))
			require.NoError(t, err, lines.Text())
			back := alice.consent(t, page.Query().Get("client_id"), page.Query().Get("request_uri"), scope)
			link := back.Get("redirect_uri") + "?" + back.Encode()
			assert.Equal(t, http.StatusOK, send(t, http.MethodGet, link, nil, nil).Status)
			var said []string
			for lines.Scan() {
				said = append(said, lines.Text())
			}
			assert.Equal(t, []string{string(alice.DID) + " has a device: true", "the stream is open"}, said)
			require.NoError(t, cmd.Wait())
			seen.Works(t, "pds", map[string][]string{
				seen.Version(t, "e2e/pds/oauth", "@atproto/oauth-client-node"): {n.calls(t), seen.Streams},
			})
		})
	}
}

// install puts programs of clients/examples and the packages that they import into a folder.
func install(tb testing.TB, root, dir string, programs []string, packages map[string]string) {
	tb.Helper()
	for _, name := range programs {
		text, err := os.ReadFile(filepath.Join(root, "clients/examples", name))
		require.NoError(tb, err)
		require.NoError(tb, os.WriteFile(filepath.Join(dir, name), text, 0o600))
	}
	require.NoError(tb, os.Mkdir(filepath.Join(dir, "node_modules"), 0o700))
	for name, from := range packages {
		require.NoError(tb, os.Symlink(filepath.Join(root, from), filepath.Join(dir, "node_modules", name)))
	}
}
