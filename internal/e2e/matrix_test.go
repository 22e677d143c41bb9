package e2e_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"mls-server/internal/clock"
	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/gen/mlsapi/mlsapifake"
	"mls-server/internal/mls"
	"mls-server/lexrt"
	"mls-server/lexrt/lexfake"
)

// exceptions are the answers that differ from expected's rule.
var exceptions = map[*lexrt.Method]map[role]string{
	// It knows no roles: what a caller may do is shown by the key, and the scene's conversation
	// takes none, since the leaves of those who are gone are still to be removed.
	mlsapi.MethodSendSealed: {
		anonymous: "404 ConvoNotFound", stranger: "404 ConvoNotFound", former: "404 ConvoNotFound", kicked: "404 ConvoNotFound",
		invited: "404 ConvoNotFound", member: "404 ConvoNotFound", reported: "404 ConvoNotFound", admin: "404 ConvoNotFound",
	},
	// The creator made the group, so no Welcome waits for it.
	mlsapi.MethodGetWelcome: {admin: "404 WelcomeNotFound"},
	// Repeating a leave succeeds; a removal is no leave.
	mlsapi.MethodLeaveConvo: {former: "200"},
	// The contract: removed users learn no more than strangers.
	mlsapi.MethodRequestRejoin: {former: "404 ConvoNotFound", kicked: "404 ConvoNotFound", invited: "404 ConvoNotFound"},
	// The lexicon declares no error for a conversation that is not the caller's.
	mlsapi.MethodStreamConvoEvents: {
		stranger: "400 InvalidRequest", former: "400 InvalidRequest", kicked: "400 InvalidRequest", invited: "400 InvalidRequest",
	},

	mlsapi.MethodGetReports:     {former: "403 NotAdmin", kicked: "403 NotAdmin", invited: "403 NotAdmin", member: "403 NotAdmin"},
	mlsapi.MethodGetAdminStats:  {former: "403 NotAuthorized", kicked: "403 NotAuthorized", invited: "403 NotAuthorized", member: "403 NotAuthorized"},
	mlsapi.MethodGetBlockStatus: {member: "403 NotAdmin"},
	mlsapi.MethodPromoteAdmin:   {member: "403 NotAdmin"},
	mlsapi.MethodDemoteAdmin:    {member: "403 NotAdmin"},
	mlsapi.MethodRemoveMember:   {member: "403 NotAdmin"},
	mlsapi.MethodResetConvo:     {member: "403 NotAdmin"},
	// Nobody but an admin, and not the one it is about, learns that a report exists.
	mlsapi.MethodResolveReport: {
		stranger: "404 ReportNotFound", former: "404 ReportNotFound", kicked: "404 ReportNotFound", invited: "404 ReportNotFound",
		member: "404 ReportNotFound", reported: "404 ReportNotFound",
	},
}

// forInvited is what a user may do with an invitation, besides listing it.
var forInvited = []*lexrt.Method{
	mlsapi.MethodGetWelcome, mlsapi.MethodConfirmWelcome, mlsapi.MethodGetEpoch, mlsapi.MethodAcceptConvo, mlsapi.MethodLeaveConvo, mlsapi.MethodReportMember,
}

// expected is the answer to a role's valid request.
func expected(m *lexrt.Method, r role) string {
	if want, ok := exceptions[m][r]; ok {
		return want
	}
	switch r {
	case anonymous:
		return "401 AuthMissing"
	case stranger:
		return "404 ConvoNotFound"
	case former, kicked:
		return "403 NotMember"
	case invited:
		if !slices.Contains(forInvited, m) {
			return "403 NotMember"
		}
		return "200"
	default:
		return "200"
	}
}

// matrixMethods are the methods with a standing to check.
func matrixMethods(t *testing.T) []*lexrt.Method {
	t.Helper()
	return append(convoMethods(t), mlsapi.MethodResolveReport)
}

// Who may do what: each method in each role (I15).
func TestAuthorisationMatrix(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	for _, m := range matrixMethods(t) {
		t.Run(short(m), func(t *testing.T) {
			t.Parallel()
			c := newScene(t, s)
			for _, r := range roles {
				a := c.do(t, m, r, c.request(t, m, r))
				if _, precise := valid[m]; !precise && (r == member || r == reported || r == admin) {
					// Made from the schema: it may be refused, but not for who the caller is.
					if a.Status >= http.StatusInternalServerError || a.Status == http.StatusUnauthorized || a.Error == "NotMember" {
						t.Errorf("%s: %s", r, text(a))
					}
					continue
				}
				if got := text(a); got != expected(m, r) {
					t.Errorf("%s: got %s %q, want %s", r, got, a.Message, expected(m, r))
				}
				if a.Status == http.StatusOK && (m == mlsapi.MethodAddMembers || m == mlsapi.MethodProcessExternalCommit) {
					c.chat.Next()
				}
				if r == anonymous || r == stranger {
					continue
				}
				// Whoever is refused has changed nothing, and whoever is not has been heard.
				if got := c.users[admin].Epoch(t, c.chat); m != mlsapi.MethodLeaveConvo && got != int64(c.chat.Group.Epoch) {
					t.Errorf("%s: the epoch is %d, want %d", r, got, c.chat.Group.Epoch)
				}
				if m == mlsapi.MethodLeaveConvo && r == reported {
					break // the admin's leave is like the others, and it is who asks for the epoch
				}
			}
		})
	}
}

// A reported admin sees all reports but those about itself, other admins see all.
func TestReportedAdminSeesNoReportOfItself(t *testing.T) {
	t.Parallel()
	c := newScene(t, e2e.Start(t))
	_, a := c.users[member].Report(t, c.chat, c.spare[member].User, "spam")
	a.OK(t)
	if got := c.users[admin].Reports(t, c.chat).Reports; len(got) != 2 {
		t.Errorf("an admin sees %d reports, want 2", len(got))
	}
	got := c.users[reported].Reports(t, c.chat).Reports
	if len(got) != 1 || got[0].ReportedDID != c.spare[member].DID {
		t.Errorf("the reported admin sees %d reports, want the one about another", len(got))
	}
}

// elsewhere are names of conversations that a stranger could try: malformed
// ones, and ones that fit but are nobody's.
func elsewhere() []string {
	return []string{
		string(mls.NewConvoID(clock.Bucket(time.Now()), "00")), "3zzzzzzzzzzzz", strings.Repeat("ab", 16), "ab", "x", "ABC", "..", "'; --", strings.Repeat("a", 127),
	}
}

// canonical is all of an answer but what names the request or the time.
func canonical(a e2e.Answer) string {
	var b strings.Builder
	b.WriteString(strconv.Itoa(a.Status))
	h := a.Header.Clone()
	for _, name := range []string{"Date", "Ratelimit-Remaining", "Ratelimit-Reset", "X-Request-Id"} {
		h.Del(name)
	}
	_ = h.Write(&b)
	b.Write(a.Body)
	return b.String()
}

// rename makes a request name another conversation.
func rename(r e2e.Request, from, to string) e2e.Request {
	if r.Query.Get("convoId") != "" {
		r.Query = maps.Clone(r.Query)
		r.Query.Set("convoId", to)
		return r
	}
	quoted, err := json.Marshal(to)
	if err != nil {
		panic(err) // a string
	}
	r.Body = bytes.ReplaceAll(r.Body, []byte(`"`+from+`"`), quoted)
	return r
}

// A stranger cannot tell a conversation that it was never in from one that does
// not exist: status, body and headers are equal byte for byte (docs/adr/0002-visibility.md).
func TestUnknownAndForeignAlike(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	c := newScene(t, s)
	for _, m := range convoMethods(t) {
		t.Run(short(m), func(t *testing.T) {
			t.Parallel()
			req := c.request(t, m, stranger)
			want := canonical(c.do(t, m, stranger, req))
			for _, id := range append(elsewhere(), string(c.chat.Group.GroupID()), strings.ToUpper(string(c.chat.Group.GroupID()))) {
				if got := canonical(c.do(t, m, stranger, rename(req, c.chat.ID, id))); got != want {
					t.Errorf("for %q:\n%s\nfor a conversation of others:\n%s", id, got, want)
				}
			}
		})
	}
	t.Run("reports", func(t *testing.T) {
		t.Parallel()
		for _, r := range []role{stranger, former, kicked, member, reported} {
			theirs := c.do(t, mlsapi.MethodResolveReport, r, c.request(t, mlsapi.MethodResolveReport, r))
			for _, id := range []string{"3f3c1c86-6b53-4b4c-9a5c-0d1e2f3a4b5c", "x"} {
				made := c.do(t, mlsapi.MethodResolveReport, r, post(&mlsapi.ResolveReportInput{ReportID: id, Action: "dismissed"}))
				if canonical(theirs) != canonical(made) {
					t.Errorf("%s: a report is answered with\n%s\nand none with\n%s", r, canonical(theirs), canonical(made))
				}
			}
		}
	})
}

// Nor does the time of the answer tell more than the answer does: both take the same statements.
func TestUnknownAndForeignTakeAlike(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	c := newScene(t, s)
	id := string(mls.NewConvoID(clock.Bucket(time.Now()), "00"))
	for _, m := range convoMethods(t) {
		foreign := c.request(t, m, stranger)
		unknown := rename(foreign, c.chat.ID, id)
		a := statementsOf(t, s, func() { c.do(t, m, stranger, foreign) })
		b := statementsOf(t, s, func() { c.do(t, m, stranger, unknown) })
		if !maps.Equal(a, b) {
			t.Errorf("%s runs %v for a conversation of others, %v for none", short(m), a, b)
		}
		if len(a) == 0 && len(b) == 0 {
			t.Errorf("%s is answered without the database", short(m))
		}
	}
}

// statementsOf counts the statements of a request by their names, but for those that the server
// runs by itself now and then: what occurs in each of several rounds is the request's.
func statementsOf(t *testing.T, s *e2e.Server, do func()) map[string]int {
	t.Helper()
	const series = "mls_query_duration_seconds_count{query="
	count := func() map[string]int {
		out := map[string]int{}
		for name, n := range scrape(t, s) {
			if query, ok := strings.CutPrefix(name, series); ok {
				out[query] = int(n)
			}
		}
		return out
	}
	var least map[string]int
	for range 6 {
		before := count()
		do()
		took := map[string]int{}
		for query, n := range count() {
			// The readers of the log and of accounts' states ask all the time.
			name, _, _ := strings.Cut(strings.TrimPrefix(query, `"`), `"`)
			if n -= before[query]; n > 0 && !slices.Contains([]string{"ReadLog", "GetStreamLog", "GetAccountChanges"}, name) {
				took[query] = n
			}
		}
		if least == nil {
			least = took
			continue
		}
		for query, n := range least {
			if n = min(n, took[query]); n == 0 {
				delete(least, query)
			} else {
				least[query] = n
			}
		}
	}
	return least
}

// fromSchema makes a minimal request that names the conversation.
func fromSchema(t *testing.T, m *lexrt.Method, convo string) e2e.Request {
	t.Helper()
	if m.Kind != lexrt.Procedure {
		args := []string{"convoId", convo}
		for name, p := range requestProperties(t, m) {
			switch {
			case name == "convoId" || p.Type == "boolean":
			case p.Type == "integer":
				args = append(args, name, strconv.Itoa(max(p.Minimum, 1)))
			case p.Format == "did" || p.Items != nil && p.Items.Format == "did":
				args = append(args, name, "did:web:example.com")
			case p.Format == "datetime":
				args = append(args, name, "2026-01-01T00:00:00Z")
			}
		}
		return get(args...)
	}
	var value map[string]json.RawMessage
	if err := json.Unmarshal(mlsapifake.Schemas.Value(inputName(m), rand.New(rand.NewPCG(1, 2)), lexfake.Minimal), &value); err != nil {
		t.Fatal(err)
	}
	value["convoId"] = json.RawMessage(strconv.Quote(convo))
	body, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return e2e.Request{Body: body}
}

// A method that comes with a conversation and without an entry in the tables
// of these tests is covered by a request made from its schema.
func TestFromSchemaFitsAllMethods(t *testing.T) {
	t.Parallel()
	c := newScene(t, e2e.Start(t))
	for _, m := range convoMethods(t) {
		if !m.Anonymous {
			c.do(t, m, anonymous, fromSchema(t, m, c.chat.ID)).Want(t, http.StatusUnauthorized, "AuthMissing")
		}
		req := fromSchema(t, m, string(mls.NewConvoID(clock.Bucket(time.Now()), "00")))
		if a := c.do(t, m, stranger, req); a.Status >= http.StatusInternalServerError || a.Status == http.StatusOK {
			t.Errorf("%s: %s", short(m), text(a))
		}
	}
}
