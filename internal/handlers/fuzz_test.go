package handlers

import (
	"bytes"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"

	"mls-server/internal/gen/mlsapi/mlsapifake"
	"mls-server/internal/store"
	"mls-server/lexrt/lexfake"
)

// maxSeed keeps the seeds of the fuzzers small, in bytes.
const maxSeed = 1 << 12

// FuzzBody decodes the bytes behind a type's name and a line feed as that type.
func FuzzBody(f *testing.F) {
	add := func(name string, body []byte) {
		if len(body) <= maxSeed {
			f.Add(append([]byte(name+"\n"), body...))
		}
	}
	for name := range mlsapifake.Types {
		r := rand.New(rand.NewPCG(1, 2))
		for _, size := range []lexfake.Size{lexfake.Minimal, lexfake.Maximal, lexfake.Random} {
			add(name, mlsapifake.Schemas.Value(name, r, size))
		}
		for m := range mlsapifake.Schemas.Mutations(name, r) {
			add(name, m.JSON)
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		name, body, _ := bytes.Cut(in, []byte("\n"))
		newValue := mlsapifake.Types[string(name)]
		if newValue == nil {
			return
		}
		before := bytes.Clone(body)
		if err := lexfake.Stable(body, newValue); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !bytes.Equal(before, body) {
			t.Fatalf("%s: the input was changed", name)
		}
	})
}

// FuzzQuery decodes the text behind a type's name and a question mark as that type's parameters.
func FuzzQuery(f *testing.F) {
	for name := range mlsapifake.Params {
		for _, query := range []string{
			"", "convoId=c1", "convoId=c1&limit=50&cursor=m.AAAA", "convoId=c1&convoId=c2", "limit=0", "limit=1e3", "limit=+1",
			"dids=did:web:example.com&dids=did:plc:z72i7hdynmk6r22z27h6tvur&cipherSuite=MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519",
			"convoId=c1&fromEpoch=0&toEpoch=9007199254740991&sinceMessage=%00&resolved=true",
		} {
			f.Add(name + "?" + query)
		}
	}
	f.Fuzz(func(t *testing.T, in string) {
		u, err := url.Parse("/" + in)
		if err != nil || len(u.Path) < 2 {
			return
		}
		newValue := mlsapifake.Params[u.Path[1:]]
		if newValue == nil {
			return
		}
		if err := lexfake.StableQuery(u.Query(), newValue); err != nil {
			t.Fatalf("%s: %v", u.Path, err)
		}
	})
}

// FuzzPageCursor reads any text as every kind of cursor. What is read is written
// as the same text, and nothing is negative or later than the database can hold.
func FuzzPageCursor(f *testing.F) {
	for _, s := range []string{
		"", "m.", "c.", "r.", "m.AAAAAAAAAAAB", "m.YzEAAAAAAAAAAQ", "c.AAAAAGWSAIBjMQ", "r.AAAAAGWSAIBjMQ", "c.AAAQAAAAAABjMQ", "r.AAAQAAAAAABjMQ", "m.YzH__________w",
		"01HGW2N7EHJVJ4CJ999RRS2E97", "c.AAAAAGWSAIBjMQ==", "m.YzEAAAAAAAAAAR", "r.AAAAgAAAAAAA",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := parsePosition(s); err == nil {
			again := string(p.message)
			if p.message == "" {
				again = messageCursor(p.convo, p.seq)
			}
			if again != s || p.seq < 0 {
				t.Errorf("%q is read as %+v, which is written %q", s, p, again)
			}
		}
		for _, prefix := range []string{convoCursorPrefix, reportCursorPrefix} {
			at, id, err := parseListCursor(prefix, s)
			if err != nil {
				continue
			}
			if strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' }) {
				t.Errorf("%q has the id %q", s, id)
			}
			if again := listCursor(prefix, at, id); again != s || at.Unix() < 0 || at.Year() > 294276 {
				t.Errorf("%q is read as %v and %q, which is written %q", s, at, id, again)
			}
		}
		if p, err := parseConvoCursor(s); err == nil && p == (store.ConvoCursor{}) {
			t.Errorf("%q is read as nothing", s)
		}
	})
}
