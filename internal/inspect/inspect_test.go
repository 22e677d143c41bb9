package inspect_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/inspect"
	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
)

var update = flag.Bool("update", false, "rewrite the goldens")

// fixed is a clock that stands at the time for which the fixtures are valid.
type fixed struct{}

func (fixed) Now() time.Time { return time.Unix(1795392000, 0).UTC() }

type result struct {
	code           int
	stdout, stderr string
}

func run(t *testing.T, stdin []byte, terminal bool, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := inspect.Run(args, bytes.NewReader(stdin), &stdout, &stderr, terminal, fixed{})
	return result{code, stdout.String(), stderr.String()}
}

// TestGoldens: each object in testdata, with its exit code and its report, as JSON and as a table.
func TestGoldens(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		args []string
		code int
		name string // the error's name on stderr
	}{
		"key-package":             {nil, 0, ""},
		"key-package-grease":      {[]string{"--did", "did:plc:greaseaaaaaaaaaaaaaaaaaa"}, 0, ""},
		"compressed-key":          {nil, 1, "CompressedPoint at byte 4"},
		"unknown-suite":           {nil, 1, "UnsupportedSuite at byte 4"},
		"bad-signature":           {nil, 1, "KeyPackageSignature at byte 4"},
		"truncated":               {nil, 1, "Truncated at byte 154"},
		"welcome":                 {nil, 0, ""},
		"group-info":              {[]string{"--did", "did:plc:xaaaaaaaaaaaaaaaaaaaaaaa"}, 0, ""},
		"group-info-without-tree": {nil, 0, ""},
		"application":             {[]string{"--did", "did:plc:xaaaaaaaaaaaaaaaaaaaaaaa"}, 0, ""},
		"commit":                  {nil, 0, ""},
		"commit-without-path":     {nil, 1, "MissingUpdatePath"},
		"external-commit":         {[]string{"--did", "did:plc:nobody"}, 1, "IdentityMismatch"},
		"proposal":                {nil, 0, ""},
	}
	files, err := filepath.Glob("testdata/*.b64")
	require.NoError(t, err)
	require.Len(t, files, len(cases))
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base := filepath.Join("testdata", name)
			got := run(t, nil, false, append(c.args, base+".b64")...)
			assert.Equal(t, c.code, got.code)
			golden(t, base+".json", got.stdout)
			table := run(t, nil, true, append(c.args, base+".b64")...)
			assert.Equal(t, c.code, table.code)
			golden(t, base+".txt", table.stdout)
			want := ""
			if c.name != "" {
				want = "mls-server inspect: " + c.name + "\n"
			}
			assert.Equal(t, want, got.stderr)
			assert.Equal(t, got, run(t, nil, true, append([]string{"--json", base + ".b64"}, c.args...)...))
		})
	}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, string(want), got)
}

func TestInputForms(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/key-package.b64")
	require.NoError(t, err)
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	require.NoError(t, err)
	url := base64.RawURLEncoding.EncodeToString(raw)
	var wrapped strings.Builder
	for i, c := range url {
		if i%64 == 0 {
			wrapped.WriteString("\r\n ")
		}
		wrapped.WriteRune(c)
	}
	for name, in := range map[string][]byte{
		"raw": raw, "standard": text, "url": []byte(url), "wrapped": []byte(wrapped.String()),
	} {
		got := run(t, in, false)
		assert.Equal(t, 0, got.code, name)
		assert.Contains(t, got.stdout, "d4cb86ed716a2be1d3a257e898b82bc2c78673269c7219e32475f3f14233f846", name)
		assert.Equal(t, got, run(t, in, false, "-"))
	}
	bare := run(t, raw[4:], false)
	assert.Equal(t, 0, bare.code)
	assert.Contains(t, bare.stdout, `"wrapped": false`)

	g := mlstest.NewGroup(1)
	for padding, in := range map[string][]byte{
		"direct": mlstest.PadDirect(g.Application(10), 0), "prefixed": mlstest.PadPrefixed(g.Application(10), 0),
	} {
		var report struct {
			Padding string `json:"padding"`
			Format  string `json:"format"`
		}
		got := run(t, in, false)
		require.NoError(t, json.Unmarshal([]byte(got.stdout), &report))
		assert.Equal(t, padding, report.Padding)
		assert.Equal(t, "mls_private_message", report.Format)
	}
	welcome := run(t, mlstest.Unwrap(g.Welcome("aa")), false)
	assert.Equal(t, 0, welcome.code)
	assert.Contains(t, welcome.stdout, `"mls_welcome"`)
}

func TestOptions(t *testing.T) {
	t.Parallel()
	const file = "testdata/key-package.b64"
	for _, c := range []struct {
		code   int
		stderr string
		args   []string
	}{
		{0, "", []string{file, "--at", "2026-12-01T00:00:00Z"}},
		{1, "Expired", []string{"--at", "2028-01-01T00:00:00Z", file}},
		{1, "NotYetValid", []string{"-at=2020-01-01T00:00:00+02:00", file}},
		{0, "", []string{"--did", "did:plc:fixtureaaaaaaaaaaaaaaaaa", file}},
		{1, "IdentityMismatch", []string{file, "--did=did:plc:other"}},
		{2, "not an RFC 3339 time", []string{"--at", "yesterday", file}},
		{2, "usage:", []string{"--did", "alice", file}},
		{2, "not defined", []string{"--nothing", file}},
		{2, "more than one file", []string{file, file}},
		{2, "no such file", []string{"testdata/none"}},
	} {
		got := run(t, nil, false, c.args...)
		assert.Equal(t, c.code, got.code, c.args)
		assert.Contains(t, got.stderr, c.stderr, c.args)
		assert.Equal(t, c.code == 2, got.stdout == "", c.args)
	}
	help := run(t, nil, false, "--help")
	assert.Equal(t, 0, help.code)
	assert.Contains(t, help.stdout, "--at TIME")
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	for want, in := range map[string]string{
		"BadEncoding":           "not base64!",
		"Truncated":             "",
		"UnsupportedWireFormat": "AAEACQ==",
		"UnsupportedVersion":    "AgEAAQ==",
	} {
		got := run(t, []byte(in), false)
		assert.Equal(t, 1, got.code, want)
		assert.Contains(t, got.stderr, want)
		assert.Contains(t, got.stdout, `"valid": false`)
		assert.Contains(t, got.stdout, `"name": "`+want+`"`)
	}
	tooLarge := run(t, bytes.Repeat([]byte("A"), 16<<20+1), false)
	assert.Equal(t, 2, tooLarge.code)

	var stdout, stderr bytes.Buffer
	broken := iotest.ErrReader(errors.New("pulled out"))
	assert.Equal(t, 2, inspect.Run(nil, broken, &stdout, &stderr, false, fixed{}))
	assert.Contains(t, stderr.String(), "pulled out")
}

func TestRules(t *testing.T) {
	t.Parallel()
	g := mlstest.NewGroup(1)
	a := mlstest.NewClient("did:plc:a", "x", 1)
	k := a.KeyPackage(fixed{}.Now(), mlstest.Identity("did:plc:a#\x1b[2J"))
	for want, in := range map[string][]byte{
		"WrongContentType":  g.PublicApplication(a, "hi"),
		"ForbiddenProposal": g.Propose(a, 0, mlstest.ExternalInit()),
		"LeafSignature":     g.GroupInfo(a, true, a.KeyPackage(fixed{}.Now(), mlstest.BadLeafSignature)),
		"SelfRemoval":       g.Commit(mlstest.Commit{From: a, Leaf: 1, Proposals: []mlstest.Proposal{mlstest.Remove(1)}}),
		"":                  g.Commit(mlstest.Commit{From: a, Proposals: []mlstest.Proposal{mlstest.Custom(0xf00a, nil)}, Refs: []mls.ProposalRef{"aa"}}),
	} {
		for _, terminal := range []bool{false, true} {
			got := run(t, in, terminal)
			assert.Contains(t, got.stderr, want)
			assert.Equal(t, want != "", got.code == 1, want)
		}
	}
	table := run(t, k.Bytes, true)
	assert.NotContains(t, table.stdout, "\x1b", "an identity must not command the terminal")
}
