//go:build pds

package pds_test

import (
	"encoding/json"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"
)

// TestPull: lexgen fetches lexicons that an account of a real PDS has published, DNS says which
// account that is, and @atproto/lex finds folder and lock file as it would have made them.
func TestPull(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, n *network) {
		publisher := newAccount(t, n)
		dns := serveTXT(t, "_lexicon.mls.catbird.blue.", "did="+string(publisher.DID))
		published := map[string]string{} // CIDs by NSID
		files, err := filepath.Glob(filepath.Join("..", "..", "..", "lexicons", "blue", "catbird", "mls", "*.json"))
		require.NoError(t, err)
		for _, file := range files {
			nsid := "blue.catbird.mls." + strings.TrimSuffix(filepath.Base(file), ".json")
			published[nsid] = publisher.publish(t, nsid, file)
		}
		dir := t.TempDir()
		pull := func(args ...string) string {
			t.Helper()
			hosts := make([]string, 0, 4)
			for _, link := range []string{n.PLC, n.PDS} {
				u, err := url.Parse(link)
				require.NoError(t, err)
				hosts = append(hosts, "--allow", u.Host)
			}
			cmd := exec.CommandContext(t.Context(), lexgen(t), append(append([]string{"pull", "--plc", n.PLC, "--dns", dns}, hosts...), args...)...)
			cmd.Dir = dir
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s", out)
			return string(out)
		}
		// A permission set names methods, which are fetched with it.
		pull("blue.catbird.mls.sendMessage", "blue.catbird.mls.authFull")
		var lock struct {
			Lexicons    []string
			Resolutions map[string]struct{ URI, CID string }
		}
		data, err := os.ReadFile(filepath.Join(dir, "lexicons.json"))
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(data, &lock))
		assert.Equal(t, []string{"blue.catbird.mls.authFull", "blue.catbird.mls.sendMessage"}, lock.Lexicons)
		for nsid, r := range lock.Resolutions {
			assert.Equal(t, published[nsid], r.CID, nsid)
			assert.Equal(t, "at://"+string(publisher.DID)+"/com.atproto.lexicon.schema/"+nsid, r.URI)
		}
		assert.Contains(t, lock.Resolutions, "blue.catbird.mls.defs")
		assert.Contains(t, lock.Resolutions, "blue.catbird.mls.createConvo")
		assert.Empty(t, pull(), "the second time there is nothing to do")
		require.NoError(t, os.Remove(filepath.Join(dir, "lexicons/blue/catbird/mls/defs.json")))
		assert.Contains(t, pull(), "blue.catbird.mls.defs")

		// With everything in the folder, @atproto/lex has nothing to fetch; --ci has it fail on a
		// lock file that it would write otherwise.
		lex(t, dir, "install", "--ci", "--manifest", "lexicons.json", "--lexicons", "lexicons")
		lex(t, dir, "build", "--lexicons", "lexicons", "--out", "src")
		made, err := os.ReadDir(filepath.Join(dir, "src"))
		require.NoError(t, err)
		assert.NotEmpty(t, made)
	})
}

// publish writes a lexicon into the account's repository, and returns the record's CID.
func (a *account) publish(tb testing.TB, nsid, file string) string {
	tb.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	var record map[string]any
	if err := json.Unmarshal(data, &record); err != nil {
		tb.Fatal(err)
	}
	record["$type"] = "com.atproto.lexicon.schema"
	var out struct{ CID string }
	a.n.procedure(tb, "com.atproto.repo.putRecord", a.bearer(), map[string]any{
		"repo": a.DID, "collection": "com.atproto.lexicon.schema", "rkey": nsid, "record": record, "validate": false,
	}).ok(tb, &out)
	return out.CID
}

// lexgen is the program, which make e2e-pds builds.
func lexgen(tb testing.TB) string {
	tb.Helper()
	path, err := filepath.Abs(filepath.Join("..", "..", "..", "bin", "lexgen"))
	if err != nil {
		tb.Fatal(err)
	}
	return path
}

// lex runs @atproto/lex, which comes with the newer PDS.
func lex(tb testing.TB, dir string, args ...string) {
	tb.Helper()
	folder, err := filepath.Abs(filepath.Join("..", "..", "..", "e2e", "pds", "new"))
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.CommandContext(tb.Context(), nodeOf(folder), append([]string{filepath.Join(folder, "node_modules", "@atproto", "lex", "bin", "lex")}, args...)...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("lex %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// serveTXT is a DNS server that knows one name.
func serveTXT(tb testing.TB, name, text string) (address string) {
	tb.Helper()
	conn, err := new(net.ListenConfig).ListenPacket(tb.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	go func() {
		buf := make([]byte, 4096)
		for {
			size, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:size]) != nil || len(m.Questions) != 1 {
				continue
			}
			q := m.Questions[0]
			m.Header.Response, m.Additionals = true, nil
			m.Header.RCode = dnsmessage.RCodeNameError
			if q.Name.String() == name && q.Type == dnsmessage.TypeTXT {
				m.Header.RCode = dnsmessage.RCodeSuccess
				m.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1},
					Body:   &dnsmessage.TXTResource{TXT: []string{text}},
				}}
			}
			if packed, err := m.Pack(); err == nil {
				_, _ = conn.WriteTo(packed, from)
			}
		}
	}()
	return conn.LocalAddr().String()
}
