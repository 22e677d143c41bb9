package e2e_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
)

// exported is which record an account's rows of a table are in, or why they are in none.
var exported = map[string]string{
	"account_states": "account", "user_days": "account", "did_documents": "account", "user_devices": "device", "deleted_devices": "deletedDevice",
	"key_packages": "keyPackage", "members": "conversation", "conversations": "conversation", "cursors": "conversation", "commits": "commit",
	"convo_resets": "reset", "welcome_routes": "welcome", "pending_welcomes": "request", "removal_debts": "removal", "commit_reports": "commitReport",
	"reports": "report", "admin_actions": "action", "bsky_blocks": "block", "invitations": "invitation", "operator_actions": "operatorAction", "messages": "message",

	"group_states":     "not: public states of groups, which are all members'; deposits say no more than commits",
	"commit_additions": "not: copies of the roster's rows, for a day",
	"event_stream":     "not: what streams have told; it follows from the other records",
	"lost_events":      "not: places in the log",
	"block_checks":     "not: when others' servers were asked",
	"block_conflicts":  "not: what admins were told of others",
	"ended_conflicts":  "not: the same, once it is over",
	"send_keys":        "sendKey",
	"idempotency_keys": "not: answers of before",
	"welcomes":         "not: bytes that nobody else can read; getWelcome gives them",
}

// mayName are the fields in which an export names others: who shares a conversation with the
// account, and whom the account itself has named.
var mayName = map[string][]string{"conversation": {"members"}, "report": {"reported"}, "action": {"target"}, "block": {"blocked"}, "invitation": {"invited", "inviter"}}

// An export has all that is kept of an account, and of others only what the account was shown.
func TestExport(t *testing.T) {
	t.Parallel()
	s, source := watched(t)
	tr := everything(t, s, source)
	var dids []string
	for _, p := range tr.people {
		if strings.HasPrefix(p, "did:") {
			dids = append(dids, p)
		}
	}
	liveOn(t, s, dids[0])
	s.Stop()
	seen := map[string]bool{}
	for _, did := range dids {
		records := exportOf(t, s, did)
		require.Equal(t, "account", records[0]["record"])
		kinds, reports := map[string]bool{}, 0
		for _, r := range records {
			kind, _ := r["record"].(string)
			kinds[kind], seen[kind] = true, true
			if kind == "report" {
				reports++
			}
			namesOnly(t, r, did, tr.people)
		}
		assert.Len(t, rowsOf(t, s, "SELECT 1 FROM reports WHERE reporter_did = $1", did), reports, "what others have reported is not told")
		for column := range holding(t, s, did) {
			table, _, _ := strings.Cut(column, ".")
			record, known := exported[table]
			switch {
			case !known:
				t.Errorf("%s names an account, and is neither exported nor said not to be", table)
			case strings.HasPrefix(record, "not: "), record == "report", record == "message", record == "conversation":
			case !kinds[record]:
				assert.Contains(t, []string{"commits.depositor_did", "commits.blamed_did", "removal_debts.claimed_by", "removal_debts.confirmed_by", "removal_debts.disputed_by", "removal_debts.spent_by", "bsky_blocks.blocked_did"}, column, "rows of it belong into %s records", record)
			}
		}
	}
	for table, record := range exported {
		if !strings.HasPrefix(record, "not: ") {
			assert.True(t, seen[record], "no %s record was seen, for %s", record, table)
		}
	}
	assert.Len(t, rowsOf(t, s, "SELECT 1 FROM operator_actions WHERE action = 'export'"), len(dids))
}

// exportOf reads an export.
func exportOf(t *testing.T, s *e2e.Server, did string) (records []map[string]any) {
	t.Helper()
	for line := range strings.Lines(s.Operate(t, "export-user", did)) {
		var r map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &r), line)
		records = append(records, r)
	}
	return records
}

// namesOnly checks that a record names nobody else but where it may.
func namesOnly(t *testing.T, record map[string]any, did string, people []string) {
	t.Helper()
	kind, _ := record["record"].(string)
	for field, value := range record {
		if slices.Contains(mayName[kind], field) && (kind != "conversation" || record["member"] == true || record["invited"] == true) {
			continue
		}
		text, err := json.Marshal(value)
		require.NoError(t, err)
		i := slices.Index(people, did)
		for j, p := range people {
			if j/3 != i/3 && strings.Contains(string(text), p) {
				t.Errorf("%s.%s holds another's %s", kind, field, []string{"DID", "device id", "device name"}[j%3])
			}
		}
	}
	if kind == "message" {
		assert.ElementsMatch(t, []string{"record", "convoId", "messageId", "seq", "epoch", "receivedAt", "ciphertext"}, keysBut(record, "void"), "nothing else is known of a message")
	}
}

func keysBut(m map[string]any, not string) (keys []string) {
	for k := range m {
		if k != not {
			keys = append(keys, k)
		}
	}
	return keys
}

// What an account may read is in its export, and nothing that it may not.
func TestExportedMessages(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	alice, bob, chat := pair(t, s)
	carol := s.Users(1)[0].Register(t, 4)
	ids := func(u *e2e.User) (ids []string) {
		t.Helper()
		for _, r := range exportOf(t, s, string(u.DID)) {
			if r["record"] == "message" {
				id, _ := r["messageId"].(string)
				ids = append(ids, id)
			}
		}
		return ids
	}
	for range 60 {
		alice.Send(t, chat)
	}
	assert.Empty(t, ids(carol.User))
	alice.Add(t, chat, carol.User)
	bob.Send(t, chat)
	for _, u := range []*e2e.Device{alice, bob, carol} {
		var want []string
		page := u.Messages(t, chat, "limit", "100")
		for i := range page.Messages {
			want = append(want, page.Messages[i].ID)
		}
		require.NotEmpty(t, want)
		assert.Equal(t, want, ids(u.User))
	}
}

// Who is invited is told what getConvos shows to it: by whom, and with whom it would be, but not
// what the conversation is called.
func TestExportedInvitation(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	users := s.Users(2)
	alice, carol := users[0].Register(t, 4), users[1].Register(t, 4)
	chat, in := alice.Invitation(t, carol.User)
	in.Metadata = &mlsapi.CreateConvoMetadataInput{Name: new("Buy now"), Description: new("cheap")}
	var made mlsapi.CreateConvoOutput
	alice.Post(t, mlsapi.MethodCreateConvo, in, &made).OK(t)
	chat.ID, chat.Group = made.ID, chat.Group.At(1)
	alice.Send(t, chat)
	people := []any{string(min(alice.DID, carol.DID)), string(max(alice.DID, carol.DID))}
	want := func(u *e2e.User, member, invited bool, name, description, members any, messages int) {
		t.Helper()
		seen := 0
		for _, r := range exportOf(t, s, string(u.DID)) {
			switch r["record"] {
			case "conversation":
				assert.Equal(t, []any{member, invited, name, description, members}, []any{r["member"], r["invited"], r["name"], r["description"], r["members"]})
				seen += 100
			case "message":
				seen++
			}
		}
		assert.Equal(t, 100+messages, seen)
	}
	want(alice.User, true, false, "Buy now", "cheap", people, 1)
	want(carol.User, false, true, nil, nil, people, 0)
	carol.Accept(t, chat).OK(t)
	want(carol.User, true, false, "Buy now", "cheap", people, 1)
	carol.Leave(t, chat, nil).OK(t)
	want(carol.User, false, false, nil, nil, nil, 1)

	// Whoever has left is told nothing of the groups that came after.
	next := alice.Reset(t, chat)
	want(carol.User, false, false, nil, nil, nil, 1)
	told := func(u *e2e.User) string { return s.Operate(t, "export-user", string(u.DID)) }
	assert.NotContains(t, told(carol.User), string(next.Group.GroupID()))
	assert.Contains(t, told(alice.User), string(next.Group.GroupID()))
}
