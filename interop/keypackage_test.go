//go:build interop

// Package interop holds the server's verdicts on key packages against those of three libraries.
package interop_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"mls-server/internal/clock"
	"mls-server/internal/inspect"
	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
)

// libraries asks OpenMLS, mls-rs and ts-mls for their verdicts on a key package, as those who add
// its owner.
type libraries struct {
	rust, js *program
}

// program answers lines of JSON.
type program struct {
	in  io.Writer
	out *bufio.Scanner
}

func start(t *testing.T) *libraries {
	t.Helper()
	rust := os.Getenv("MLS_INTEROP_BIN")
	if rust == "" {
		rust = filepath.Join("target", "debug", "mls-interop")
	}
	return &libraries{begin(t, rust), begin(t, "node", filepath.Join("lib", "judge.mjs"))}
}

func begin(t *testing.T, name string, args ...string) *program {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stderr = io.Discard // a library that panics says so at length
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start(), "make interop builds the program")
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	return &program{in, bufio.NewScanner(out)}
}

func (p *program) ask(t *testing.T, question string) (answer map[string]*string) {
	t.Helper()
	_, err := fmt.Fprintln(p.in, question)
	require.NoError(t, err)
	require.True(t, p.out.Scan())
	require.NoError(t, json.Unmarshal(p.out.Bytes(), &answer))
	return answer
}

// judge has why a library refuses a package, nil where it takes it.
func (l *libraries) judge(t *testing.T, keyPackage []byte) map[string]*string {
	t.Helper()
	text := hex.EncodeToString(keyPackage)
	verdicts := l.rust.ask(t, fmt.Sprintf(`{"op":"check_key_package","key_package":"%s"}`, text))
	if fault := verdicts["error"]; fault != nil { // a panic is a refusal of both
		verdicts = map[string]*string{"openmls": fault, "mls-rs": fault}
	}
	ts := l.js.ask(t, fmt.Sprintf(`{"key_package":"%s"}`, text))
	require.Nil(t, ts["error"])
	verdicts["ts-mls"] = ts["ts-mls"]
	return verdicts
}

// make is a package of ts-mls.
func (l *libraries) make(t *testing.T, suite mls.CipherSuite) []byte {
	t.Helper()
	made := l.js.ask(t, fmt.Sprintf(`{"suite":"%s"}`, suite))
	require.NotNil(t, made["key_package"], "%v", made["error"])
	b, err := hex.DecodeString(*made["key_package"])
	require.NoError(t, err)
	return b
}

// stricter are the packages that the server takes and a library refuses, each with the reason.
var stricter = map[string]string{
	"openmls: grease":                       "OpenMLS takes no GREASE among a package's extensions (RFC 9420 13.5 asks to ignore it)",
	"mls-rs: application_id in the leaf":    "mls-rs wants application_id listed, though RFC 9420 7.2 has default types left out",
	"mls-rs: default types in capabilities": "mls-rs refuses default types among the capabilities, which RFC 9420 7.2 only discourages",
	"openmls: expired within the skew":      "the server allows an hour of skew; claims hand out nothing that expires within that",
	"mls-rs: expired within the skew":       "the same",
	"ts-mls: expired within the skew":       "the same",
}

// narrower are the suites that a library does not have, each with what it would take.
var narrower = map[string]map[mls.CipherSuite]string{
	"openmls": {
		mls.SuiteX448AES256: "its RustCrypto provider has no X448", mls.SuiteX448ChaCha: "its RustCrypto provider has no X448",
		mls.SuiteP521AES256: "its RustCrypto provider has no P-521",
	},
	"mls-rs": {
		mls.SuiteX448AES256: "its RustCrypto provider has no X448", mls.SuiteX448ChaCha: "its RustCrypto provider has no X448",
		mls.SuiteP521AES256: "its RustCrypto provider has no P-521",
	},
}

// TestEverySuite: a key package of each suite of RFC 9420, as ts-mls makes it, is taken by the
// server, and by each library that has the suite. X-Wing (0x004d) is in none of these releases:
// ts-mls 1.6.4 has another suite under that number, OpenMLS wants its libcrux provider.
func TestEverySuite(t *testing.T) {
	t.Parallel()
	l := start(t)
	policy := mls.DefaultKeyPackagePolicy()
	for _, suite := range mls.CipherSuites() {
		if suite == mls.SuiteXWingChaCha {
			continue
		}
		b := l.make(t, suite)
		if _, err := policy.Read(b, mls.KeyPackageOwner{DID: "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", Suite: suite}, time.Now()); err != nil {
			compressed := policy
			compressed.AllowCompressedKeys = true
			_, again := compressed.Read(b, mls.KeyPackageOwner{Suite: suite}, time.Now())
			if mls.CodeOf(err) != mls.CodeCompressedPoint || again != nil {
				t.Errorf("%s: %v, with compressed keys %v", suite, err, again)
			}
			t.Logf("%s: only with ACCEPT_COMPRESSED_KEYS", suite)
		}
		for library, why := range l.judge(t, b) {
			if reason := narrower[library][suite]; (why != nil) != (reason != "") {
				t.Errorf("%s, %s: %v; listed: %q", suite, library, deref(why), reason)
			}
		}
	}
}

func deref(s *string) string {
	if s == nil {
		return "taken"
	}
	return *s
}

// TestWhatIsTakenCanBeAdded: whatever key package the server takes, OpenMLS, mls-rs and ts-mls can
// add, or the difference is listed with its reason.
func TestWhatIsTakenCanBeAdded(t *testing.T) {
	t.Parallel()
	l := start(t)
	policy := mls.DefaultKeyPackagePolicy()
	taken, refused := 0, 0
	seen := map[string]bool{}
	for round := range 8 {
		for _, suite := range []mls.CipherSuite{mls.SuiteX25519AES128, mls.SuiteP256AES128, mls.SuiteX25519ChaCha} {
			all := changes(suite)
			for _, name := range slices.Sorted(maps.Keys(all)) {
				change := all[name]
				client := mlstest.NewClient("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "phone", suite)
				k := client.KeyPackage(time.Now(), change)
				_, err := policy.Read(k.Bytes, mls.KeyPackageOwner{DID: client.DID}, time.Now())
				if got, want := inspected(k.Bytes, client.DID), mls.CodeOf(err); want == 0 && got != "" || want != 0 && !strings.Contains(got, want.String()) {
					t.Errorf("%s: inspect says %q, publishing %v", name, got, err)
				}
				if err != nil {
					refused++
					require.NotEqual(t, "as it should be", name, "suite %d: %v", suite, err)
					continue
				}
				taken++
				for library, why := range l.judge(t, k.Bytes) {
					key := library + ": " + name
					if why != nil && stricter[key] == "" {
						t.Errorf("round %d, suite %d, %s: taken, but refused with %s", round, suite, key, *why)
					}
					seen[key] = seen[key] || why != nil
				}
			}
		}
	}
	for key, reason := range stricter {
		if !seen[key] {
			t.Errorf("%s is listed (%s) and was not seen", key, reason)
		}
	}
	t.Logf("%d packages: %d taken, %d refused", taken+refused, taken, refused)
	if taken+refused < 300 {
		t.Errorf("%d packages show little", taken+refused)
	}
}

// inspected is what mls-server inspect finds wrong with a key package.
func inspected(keyPackage []byte, did mls.DID) string {
	var out, faults bytes.Buffer
	inspect.Run([]string{"--did", did.String()}, bytes.NewReader(keyPackage), &out, &faults, false, clock.System)
	return faults.String()
}

// changes break one rule at a time, or none.
func changes(suite mls.CipherSuite) map[string]mlstest.Change {
	leaf := func(e ...mlstest.Extension) mlstest.Change {
		return func(s *mlstest.KeyPackageSpec) { s.LeafExtensions = e }
	}
	pkg := func(e ...mlstest.Extension) mlstest.Change {
		return func(s *mlstest.KeyPackageSpec) { s.Extensions = e }
	}
	all := map[string]mlstest.Change{
		"as it should be":            func(*mlstest.KeyPackageSpec) {},
		"last resort":                mlstest.LastResort,
		"leaf signature":             mlstest.BadLeafSignature,
		"signature":                  mlstest.BadSignature,
		"last_resort with data":      pkg(mlstest.Extension{Type: mls.ExtensionLastResort, Data: []byte{1}}),
		"last_resort in the leaf":    leaf(mlstest.Extension{Type: mls.ExtensionLastResort}),
		"last_resort unlisted":       func(s *mlstest.KeyPackageSpec) { mlstest.LastResort(s); s.ExtensionTypes = nil },
		"application_id in the leaf": leaf(mlstest.Extension{Type: mls.ExtensionApplicationID, Data: []byte{0}}),
		"application_id":             pkg(mlstest.Extension{Type: mls.ExtensionApplicationID, Data: []byte{0}}),
		"grease":                     pkg(mlstest.Extension{Type: 0x3a3a}),
		"unknown extension":          pkg(mlstest.Extension{Type: 0xf001}),
		"unknown leaf extension":     leaf(mlstest.Extension{Type: 0xf001}),
		"no version":                 func(s *mlstest.KeyPackageSpec) { s.Versions = nil },
		"no suite":                   func(s *mlstest.KeyPackageSpec) { s.Suites = nil },
		"no credential type":         func(s *mlstest.KeyPackageSpec) { s.Credentials = nil },
		"update leaf":                func(s *mlstest.KeyPackageSpec) { s.Source = mls.LeafUpdate },
		"init key is encryption key": func(s *mlstest.KeyPackageSpec) { s.InitKey = s.EncryptionKey },
		"short init key":             func(s *mlstest.KeyPackageSpec) { s.InitKey = s.InitKey[1:] },
		"lifetime of a year":         mlstest.Lifetime(time.Now(), time.Now().AddDate(1, 0, 0)),
		"expired":                    mlstest.Lifetime(time.Now().AddDate(0, 0, -9), time.Now().AddDate(0, 0, -2)),
		"expired within the skew":    mlstest.Lifetime(time.Now().AddDate(0, 0, -9), time.Now().Add(-10*time.Minute)),
		"not yet valid":              mlstest.Lifetime(time.Now().AddDate(0, 0, 2), time.Now().AddDate(0, 0, 9)),
		"another version":            func(s *mlstest.KeyPackageSpec) { s.Version = 2 },
		"default types in capabilities": func(s *mlstest.KeyPackageSpec) {
			s.ExtensionTypes = append(s.ExtensionTypes, 1, 2, 3)
		},
	}
	for _, t := range []mls.ExtensionType{0, mls.ExtensionRatchetTree, mls.ExtensionRequiredCapabilities, mls.ExtensionExternalPub, mls.ExtensionExternalSenders} {
		all[fmt.Sprintf("type %d in the leaf", t)] = leaf(mlstest.Extension{Type: t, Data: []byte{0}})
		all[fmt.Sprintf("type %d", t)] = pkg(mlstest.Extension{Type: t, Data: []byte{0}})
	}
	if suite != mls.SuiteP256AES128 {
		for i, first := range []byte{0, 1} {
			point := append([]byte{first}, make([]byte, 31)...)
			all[fmt.Sprintf("init key of small order %d", i)] = func(s *mlstest.KeyPackageSpec) { s.InitKey = point }
			all[fmt.Sprintf("encryption key of small order %d", i)] = func(s *mlstest.KeyPackageSpec) { s.EncryptionKey = point }
		}
	}
	return all
}
