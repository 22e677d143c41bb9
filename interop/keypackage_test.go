//go:build interop

// Package interop holds the server's verdicts on key packages against those of two libraries.
package interop_test

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
)

// libraries asks OpenMLS and mls-rs for their verdict on a key package, as one who adds its owner.
type libraries struct {
	in  io.Writer
	out *bufio.Scanner
}

// verdict has why a library refuses a package, nil where it takes it.
type verdict struct {
	OpenMLS *string `json:"openmls"`
	MLSrs   *string `json:"mls-rs"`
}

func start(t *testing.T) *libraries {
	t.Helper()
	program := os.Getenv("MLS_INTEROP_BIN")
	if program == "" {
		program = filepath.Join("target", "debug", "mls-interop")
	}
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Stderr = io.Discard // a library that panics says so at length
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start(), "make interop builds the program")
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	return &libraries{in, bufio.NewScanner(out)}
}

func (l *libraries) judge(t *testing.T, keyPackage []byte) (v verdict) {
	t.Helper()
	_, err := fmt.Fprintf(l.in, `{"op":"check_key_package","key_package":"%s"}`+"\n", hex.EncodeToString(keyPackage))
	require.NoError(t, err)
	require.True(t, l.out.Scan())
	var answer struct {
		verdict
		Error *string `json:"error"`
	}
	require.NoError(t, json.Unmarshal(l.out.Bytes(), &answer))
	if answer.Error != nil { // a panic is a refusal of both
		return verdict{answer.Error, answer.Error}
	}
	return answer.verdict
}

// stricter are the packages that the server takes and a library refuses, each with the reason.
var stricter = map[string]string{
	"openmls: grease":                       "OpenMLS takes no GREASE among a package's extensions (RFC 9420 13.5 asks to ignore it)",
	"mls-rs: application_id in the leaf":    "mls-rs wants application_id listed, though RFC 9420 7.2 has default types left out",
	"mls-rs: default types in capabilities": "mls-rs refuses default types among the capabilities, which RFC 9420 7.2 only discourages",
	"openmls: expired within the skew":      "the server allows an hour of skew; claims hand out nothing that expires within that",
	"mls-rs: expired within the skew":       "the same",
}

// TestWhatIsTakenCanBeAdded: whatever key package the server takes, OpenMLS and mls-rs can add,
// or the difference is listed with its reason.
func TestWhatIsTakenCanBeAdded(t *testing.T) {
	t.Parallel()
	l := start(t)
	policy := mls.DefaultKeyPackagePolicy()
	taken, refused := 0, 0
	seen := map[string]bool{}
	for round := range 8 {
		for _, suite := range []mls.CipherSuite{mls.SuiteX25519AES128, mls.SuiteP256AES128, mls.SuiteX25519ChaCha} {
			for name, change := range changes(suite) {
				client := mlstest.NewClient("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "phone", suite)
				k := client.KeyPackage(time.Now(), change)
				_, err := policy.Read(k.Bytes, mls.KeyPackageOwner{DID: client.DID}, time.Now())
				if err != nil {
					refused++
					require.NotEqual(t, "as it should be", name, "suite %d: %v", suite, err)
					continue
				}
				taken++
				v := l.judge(t, k.Bytes)
				for library, why := range map[string]*string{"openmls": v.OpenMLS, "mls-rs": v.MLSrs} {
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
