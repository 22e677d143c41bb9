package e2e_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"mls-server/internal/authtest"
	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/pgtest"
	"mls-server/lexrt"
)

// TestSafeVerbsChangeNothing: the database is the same, row by row, after HEAD, OPTIONS and the
// wrong verb on every method, with parameters and tokens that a GET or POST of it is answered for.
func TestSafeVerbsChangeNothing(t *testing.T) {
	t.Parallel()
	database := pgtest.New(t)
	c := newScene(t, e2e.StartOn(t, database, authtest.NewDirectory(t, nil)))
	caller := c.users[admin]
	caller.Epoch(t, c.chat) // the caller's document is known from here on
	target := c.users[member]
	rows := func() map[string]string { return contents(t, database) }
	query := map[string][]string{
		"checkBlocks":        {"dids", string(caller.DID), "dids", string(target.DID)},
		"describeServer":     {},
		"getAdminStats":      {"convoId", c.chat.ID},
		"getBlockStatus":     {"convoId", c.chat.ID},
		"getCommits":         {"convoId", c.chat.ID, "fromEpoch", "0"},
		"getConvos":          {},
		"getEpoch":           {"convoId", c.chat.ID},
		"getGroupInfo":       {"convoId", c.chat.ID},
		"getKeyPackageStats": {},
		"getKeyPackages":     {"dids", string(target.DID)},
		"getMessages":        {"convoId", c.chat.ID},
		"getReports":         {"convoId", c.chat.ID},
		"getWelcome":         {"convoId", c.chat.ID},
		"listDevices":        {},
		"streamConvoEvents":  {"convoId", c.chat.ID},
		// HEAD is not its verb
		"subscribeConvoEvents": {"convoId", c.chat.ID},
	}
	before := rows()
	for _, m := range mlsapi.Methods() {
		args, known := query[short(m)]
		if known == (m.Kind == lexrt.Procedure) {
			t.Errorf("%s has no parameters here", m.NSID)
		}
		head := http.StatusOK
		switch {
		case m.Kind != lexrt.Query || m.Changes:
			head = http.StatusBadRequest
		case m == mlsapi.MethodGetWelcome, m == mlsapi.MethodGetGroupInfo:
			head = http.StatusNotFound // who made the group has none, and nobody has deposited one
		}
		wrong := "PUT"
		for _, verb := range []string{"HEAD", "OPTIONS", wrong} {
			a := caller.Peek(t, m, e2e.Request{Verb: verb, Query: values(args)})
			if verb == "HEAD" && a.Status != head {
				t.Errorf("HEAD %s: %d, want %d", m.NSID, a.Status, head)
			}
			if verb == wrong && a.Status != http.StatusBadRequest {
				t.Errorf("%s %s: %d", verb, m.NSID, a.Status)
			}
			for table, now := range rows() {
				if now != before[table] {
					t.Errorf("%s %s changed %s:\n%s\nbefore:\n%s", verb, m.NSID, table, now, before[table])
				}
			}
			before = rows()
		}
	}
	// The same parameters are good: what HEAD was refused for has its effect with GET.
	caller.Call(t, mlsapi.MethodGetKeyPackages, e2e.Request{Query: values(query["getKeyPackages"])}, nil).OK(t)
	if rows()["key_packages"] == before["key_packages"] {
		t.Error("GET has claimed nothing, so the test shows nothing")
	}
}

func values(args []string) url.Values {
	v := url.Values{}
	for i := 0; i+1 < len(args); i += 2 {
		v.Add(args[i], args[i+1])
	}
	return v
}

// contents is every row of every table, as text. What a timer writes of who was here, whatever is
// asked meanwhile, is left out.
func contents(t *testing.T, databaseURL string) map[string]string {
	t.Helper()
	database := pgtest.Open(t, databaseURL)
	rows, err := database.Query(t.Context(), "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
	if err != nil {
		t.Fatal(err)
	}
	var tables []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		tables = append(tables, name)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, name := range tables {
		var text string
		if err := database.QueryRow(t.Context(), fmt.Sprintf("SELECT coalesce(string_agg(r, E'\\n' ORDER BY r), '') FROM (SELECT (to_jsonb(t) - 'seen_on')::text AS r FROM %q t) x", name)).Scan(&text); err != nil {
			t.Fatal(err)
		}
		all[name] = strings.TrimSpace(text)
	}
	delete(all, "user_days")
	return all
}
