package pull_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"mls-server/tools/lexgen/pull"
)

// TestHostileSources: DNS, directories and repositories that lie. Each is refused with a word on
// what is wrong, and nothing is written.
func TestHostileSources(t *testing.T) {
	t.Parallel()
	const nsid = "com.example.defs"
	answer := func(change func(a map[string]any)) func(*world) { return func(w *world) { w.change = change } }
	value := func(from, to string) func(*world) {
		return func(w *world) { w.records[nsid] = strings.Replace(w.records[nsid], from, to, 1) }
	}
	texts := func(texts ...string) func(*world) {
		return func(w *world) { w.texts["_lexicon.example.com."] = texts }
	}
	says := func(document string) func(*world) { return func(w *world) { w.document = document } }
	instead := func(h http.HandlerFunc) func(*world) { return func(w *world) { w.instead = h } }
	for name, c := range map[string]struct {
		lie  func(w *world)
		says string
	}{
		"no name":                 {func(w *world) { clear(w.texts) }, "DNS names no account"},
		"no TXT record":           {texts("v=spf1", "DID="+alice), "begins with did="},
		"two accounts":            {texts("did="+alice, "did=did:web:evil.example"), "2 TXT records"},
		"no DID":                  {texts("did=../../etc"), "names no DID"},
		"a method that is none":   {texts("did=did:key:zQ3sh"), "cannot be resolved"},
		"a did:web with a path":   {texts("did=did:web:example.com:x"), "no did:web of a host"},
		"a did:web that escapes":  {texts("did=did:web:example.com%2Fx"), "no did:web of a host"},
		"a did:web on loopback":   {texts("did=did:web:localhost%3A1"), "not on the public Internet"},
		"a did:web by number":     {texts("did=did:web:127.0.0.1"), "not on the public Internet"},
		"another's document":      {says(document("did:plc:bbbbbbbbbbbbbbbbbbbbbbbb", "https://pds.example")), "is of"},
		"no PDS":                  {says(`{"id": "` + alice + `", "service": []}`), "names no PDS"},
		"an endpoint of no kind":  {says(document(alice, "file:///etc/passwd")), "names no PDS"},
		"an endpoint with a name": {says(document(alice, "https://user@pds.example")), "names no PDS"},
		"a plain endpoint":        {says(document(alice, "http://192.0.2.1")), "not one of https"},
		"a private endpoint":      {says(document(alice, "https://127.0.0.1:1")), "not on the public Internet"},
		"a metadata service":      {says(document(alice, "https://169.254.169.254")), "not on the public Internet"},
		"a mapped address":        {says(document(alice, "https://[::ffff:10.0.0.1]")), "not on the public Internet"},
		"a huge document":         {says(`{"id": "` + strings.Repeat("x", 65<<10) + `"}`), "too long"},
		"a document that is none": {says("<html>"), "the document of"},
		"no record":               {func(w *world) { clear(w.records) }, "answers 400"},
		"no JSON":                 {instead(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }), "something else than a record"},
		"a huge answer": {instead(func(w http.ResponseWriter, _ *http.Request) {
			part := []byte(strings.Repeat(" ", 1<<20))
			for range 64 {
				if _, err := w.Write(part); err != nil {
					return
				}
			}
		}), "too long"},
		"a redirect to loopback": {instead(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://"+r.Host+"/elsewhere", http.StatusFound)
		}), "redirect"},
		"another record":           {answer(func(a map[string]any) { a["uri"] = "at://" + alice + "/com.atproto.lexicon.schema/com.example.x" }), "another record"},
		"no value":                 {answer(func(a map[string]any) { delete(a, "value") }), "without the record's value"},
		"another value":            {answer(func(a map[string]any) { a["cid"] = cidOf(`{"x": 1}`) }), "lies"},
		"no CID":                   {answer(func(a map[string]any) { delete(a, "cid") }), "lies"},
		"a float":                  {value(`"lexicon":1`, `"lexicon":1.5`), "not in the data model"},
		"another lexicon":          {value(`"id":"com.example.defs"`, `"id":"com.example.other"`), "is the lexicon of"},
		"another lexicon beside":   {value(`"id":"com.example.defs"`, `"id":"com.example.other","ID":"com.example.defs"`), "is the lexicon of"},
		"a type beside":            {value(`"$type":"com.atproto.lexicon.schema"`, `"$Type":"com.atproto.lexicon.schema"`), "is of type"},
		"a path for an id":         {value(`"id":"com.example.defs"`, `"id":"../../evil"`), "is the lexicon of"},
		"another type":             {value("com.atproto.lexicon.schema", "com.example.schema"), "is of type"},
		"another language":         {value(`"lexicon":1`, `"lexicon":2`), "version 2"},
		"no definitions":           {value(`"defs":{`, `"no":{`), "defines nothing"},
		"definitions of no kind":   {value(`"defs":{`, `"defs":[],"no":{`), "no lexicon"},
		"a member twice":           {value(`"lexicon":1`, `"lexicon":1,"lexicon":1`), "not in the data model"},
		"names by case":            {func(w *world) { w.publish(nsid, "com.example.Defs"); w.publish("com.example.Defs") }, "upper and lower case"},
		"a reference to elsewhere": {func(w *world) { w.publish(nsid, "net.internal.defs") }, "net.internal.defs: DNS names no account"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.publish(nsid)
			w.publish("com.example.tokens")
			c.lie(w)
			newFolder(t, w).fails(t, c.says, nsid)
		})
	}
}

// What an NSID is decides on paths and names in DNS: nothing else is taken for one.
func TestNamesThatAreNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, name := range []string{"", "defs", "example.defs", "../../x.y.z", "com.example.defs/..", "com.example..defs", "com.example.defs#main", "com.example.de fs", "https://x.y.z"} {
		newFolder(t, w).fails(t, "not an NSID", name)
	}
	if w.asked > 0 {
		t.Errorf("somebody was asked %d times", w.asked)
	}
}

// Without --allow nothing private is reached, whoever names it.
func TestPrivateAddresses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := newFolder(t, w, "example.com:443")
	f.fails(t, "not one of https", "com.example.defs")
	secure := httptest.NewTLSServer(w)
	t.Cleanup(secure.Close)
	f.Source = &pull.Network{DNS: w, Web: pull.NewWeb(nil), PLC: secure.URL}
	f.fails(t, "not on the public Internet", "com.example.defs")
}

// TestTooMany: references have an end.
func TestTooMany(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.publish("com.example.tokens")
	for i := range 1001 {
		w.publish(fmt.Sprintf("com.example.a%d", i), fmt.Sprintf("com.example.a%d", i+1))
	}
	newFolder(t, w).fails(t, "more than 1000", "com.example.a0")

	// What is short in a repository may be long in a file: each of these items takes a line.
	deep := strings.Repeat("[", 100) + strings.Repeat("1,", 500_000) + "1" + strings.Repeat("]", 100)
	w.publish("com.example.deep")
	w.records["com.example.deep"] = strings.Replace(w.records["com.example.deep"], `"lexicon"`, `"x":`+deep+`,"lexicon"`, 1)
	newFolder(t, w).fails(t, "longer than 32 MiB", "com.example.deep")

	long := strings.Repeat("x", 1<<20)
	for i := range 33 {
		nsid := fmt.Sprintf("com.example.b%d", i)
		w.publish(nsid, fmt.Sprintf("com.example.b%d", i+1))
		w.records[nsid] = strings.Replace(w.records[nsid], `"lexicon"`, `"description":"`+long+`","lexicon"`, 1)
	}
	newFolder(t, w).fails(t, "longer than 32 MiB", "com.example.b0")
}
