package inspect_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
)

// folder writes objects in order and returns where.
func folder(t *testing.T, objects ...[]byte) string {
	t.Helper()
	dir := t.TempDir()
	for i, b := range objects {
		require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%03d.mls", i)), b, 0o600))
	}
	return dir
}

// TestGroup replays a group's life as JSON and as a table, and stops at the first fault.
func TestGroup(t *testing.T) {
	t.Parallel()
	client := func(name string) *mlstest.Client {
		return mlstest.NewClient(mls.DID("did:web:"+name+".example"), "", mls.SuiteX25519AES128)
	}
	bob := client("bob")
	pkg := bob.KeyPackage(fixed{}.Now())
	alone := mlstest.NewVerifiedGroup(client("alice"))
	add, pair := alone.Commit(0, nil, mlstest.Draft{Add: []mlstest.Addition{{Client: bob, Package: pkg}}})
	leave := pair.ProposeRemove(1, 1)
	gone, after := pair.Commit(0, nil, mlstest.Draft{Refs: []mlstest.Sent{leave}})
	asText := []byte(base64.StdEncoding.EncodeToString(alone.GroupInfo(0)))
	honest := [][]byte{asText, add, alone.At(1).Welcome(pkg.Ref), pair.GroupInfo(0), pair.Application(100), leave.Message, gone, after.GroupInfo(0)}

	got := run(t, nil, false, "--group", folder(t, honest...))
	require.Zero(t, got.code, got.stderr)
	lines := strings.Split(strings.TrimSpace(got.stdout), "\n")
	require.Len(t, lines, len(honest))
	var last struct {
		Did     string `json:"did"`
		Epoch   int    `json:"epoch"`
		Members int    `json:"members"`
	}
	require.NoError(t, json.Unmarshal([]byte(lines[6]), &last))
	assert.Equal(t, "leaf 0 commits: 0 added, 1 removed", last.Did)
	assert.Equal(t, 2, last.Epoch)
	assert.Equal(t, 1, last.Members)

	got = run(t, nil, true, "--group", folder(t, honest...))
	require.Zero(t, got.code, got.stderr)
	assert.Contains(t, got.stdout, "proposes remove")
	assert.Contains(t, got.stdout, "welcomes 1")

	faults := map[string]struct {
		objects [][]byte
		want    string
	}{
		"no group":           {[][]byte{add}, "the first object must be a GroupInfo"},
		"another's Welcome":  {[][]byte{asText, add, alone.Welcome(client("eve").KeyPackage(fixed{}.Now()).Ref)}, "WelcomeRefMismatch"},
		"GroupInfo too late": {[][]byte{asText, add, alone.GroupInfo(0)}, "WrongEpoch"},
		"commit twice":       {[][]byte{asText, add, add}, "epoch mismatch"},
		"garbage":            {[][]byte{asText, []byte("no object at all")}, "BadEncoding"},
		"encrypted commit":   {[][]byte{asText, alone.PrivateCommit()}, "PublicMessageRequired"},
	}
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := run(t, nil, true, "--group", folder(t, f.objects...))
			assert.Equal(t, 1, got.code)
			assert.Contains(t, got.stderr, f.want)
			assert.Contains(t, got.stdout, "FAULT")
		})
	}
	got = run(t, nil, true, "--group", t.TempDir())
	assert.Equal(t, 2, got.code)
	got = run(t, nil, true, "--group", filepath.Join(t.TempDir(), "none"))
	assert.Equal(t, 2, got.code)
}
