package e2e_test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
)

// mayStay are the columns in which an erased account may be named, and why. Leaves and states of
// groups go once the members have removed the leaves, all else by itself.
var mayStay = map[string]string{
	"removal_debts.user_did":    "members have to remove the leaf; or have just done so, and the commit may be taken back",
	"group_states.leaf_users":   "the public state of a group that has the leaf",
	"group_states.group_info":   "the same: the credential of the leaf",
	"commit_additions.user_did": "what a commit of the last day has changed, in case it is taken back",
	"event_stream.user_did":     "the events of the removal, until streams have told them",
	"messages.ciphertext":       "handshakes that others have got hold credentials",
	"welcomes.welcome":          "bytes for others",
	"idempotency_keys.response": "answers to others, for a day or two",
	"account_states.user_did":   "somebody else refuses the account",
}

// column is a column that can hold text.
type column struct{ table, name, kind string }

func (c column) String() string { return c.table + "." + c.name }

// holding are the columns that hold a text, found by the database's own catalogue.
func holding(t *testing.T, s *e2e.Server, text string) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	for _, c := range columnsOf(t, s) {
		where := fmt.Sprintf("position($1 IN %q::text) > 0", c.name)
		if c.kind == "bytea" {
			where = fmt.Sprintf("position(convert_to($1, 'UTF8') IN %q) > 0", c.name)
		}
		if rows := rowsOf(t, s, fmt.Sprintf("SELECT 1 FROM %q WHERE %s LIMIT 1", c.table, where), text); len(rows) > 0 {
			found[c.String()] = true
		}
	}
	return found
}

func columnsOf(t *testing.T, s *e2e.Server) (all []column) {
	t.Helper()
	for _, row := range rowsOf(t, s, `SELECT c.table_name, c.column_name, c.data_type FROM information_schema.columns c
		JOIN information_schema.tables t USING (table_schema, table_name)
		WHERE c.table_schema = 'public' AND t.table_type = 'BASE TABLE' AND c.data_type IN ('text', 'character varying', 'ARRAY', 'jsonb', 'json', 'bytea') ORDER BY 1, 2`) {
		all = append(all, column{row[0], row[1], row[2]})
	}
	return all
}

// namesAccounts are the columns that are for accounts by their names.
var namesAccounts = regexp.MustCompile(`(did|dids|_by|leaf_users|depositors|before)$`)

// Whoever lives a full life here and has it erased is named nowhere any more but where it is said
// why. The columns are found in the database, so that a new one cannot be forgotten.
func TestErasure(t *testing.T) {
	t.Parallel()
	s, source := watched(t)
	tr := everything(t, s, source)
	var people []mls.DID
	for _, p := range tr.people {
		if strings.HasPrefix(p, "did:") {
			people = append(people, mls.DID(p))
		}
	}
	liveOn(t, s, string(people[0]))
	s.Stop() // which writes what it has in memory
	before := map[string]bool{}
	for _, did := range people {
		maps.Copy(before, holding(t, s, string(did)))
	}
	for _, c := range columnsOf(t, s) {
		if namesAccounts.MatchString(c.name) && !neverFilled[c.String()] {
			assert.Contains(t, before, c.String(), "this test has to fill it, so that it shows that it is erased")
		}
	}
	left := map[string]bool{}
	for _, did := range people {
		said := s.Operate(t, "erase-user", "--wait", "0s", "--reason", "asked for it", string(did))
		// The second run finds the removal's own events told.
		change(t, s, "UPDATE event_stream SET bucket_ts = bucket_ts - interval '2 minutes'")
		again := s.Operate(t, "erase-user", "--wait", "0s", string(did))
		for _, c := range slices.Sorted(maps.Keys(holding(t, s, string(did)))) {
			left[c] = true
			assert.Contains(t, mayStay, c, "it names an erased account\n%s%s", said, again)
			table, _, _ := strings.Cut(c, ".")
			assert.Contains(t, again, "  "+table, "what is left is said")
		}
	}
	assert.NotContains(t, left, "event_stream.user_did")
	assert.NotContains(t, left, "account_states.user_did")
	assert.Equal(t, [][]string{{"10"}}, rowsOf(t, s, "SELECT count(*) FROM operator_actions WHERE action = 'erase' AND user_did IS NULL"))
	assert.Empty(t, rowsOf(t, s, "SELECT 1 FROM members WHERE left_at IS NULL"))
	assert.Empty(t, rowsOf(t, s, "SELECT 1 FROM messages"), "nobody is left to read them")
	assert.Empty(t, rowsOf(t, s, "SELECT 1 FROM conversations"))
	require.NotEmpty(t, left)
}

// neverFilled are columns that the scenario leaves empty, and need no erasure.
var neverFilled = map[string]bool{
	"messages.sender_did": true, // by a CHECK
}

// liveOn does what the scenario has not, for one of the people; what takes days to come about is
// written into the database.
func liveOn(t *testing.T, s *e2e.Server, did string) {
	t.Helper()
	s.Operate(t, "suspend-user", did)
	s.Operate(t, "restore-user", did)
	for _, statement := range []string{
		"INSERT INTO block_conflicts SELECT id, $1, 'did:web:other.test', 'k', created_at FROM conversations",
		"INSERT INTO block_conflicts SELECT id, 'did:web:other.test', $1, 'k', created_at FROM conversations",
		"INSERT INTO ended_conflicts SELECT id, $1, 'k', created_at FROM conversations",
		"INSERT INTO commit_reports SELECT id, generation, $1, '', 1, created_at FROM conversations",
		"INSERT INTO lost_events SELECT id, $1, 1, 1, 1 FROM conversations",
		"UPDATE commits SET blamed_did = $1",
		"UPDATE members SET invited_by = $1 WHERE left_at IS NOT NULL",
		"UPDATE commit_additions SET before = before || jsonb_build_object('promoted_by_did', $1::text, 'invited_by', $1::text) WHERE user_did <> $1",
		"UPDATE removal_debts SET confirmed_by = ARRAY['did:web:other.test', $1], disputed_by = ARRAY[$1], spent_by = ARRAY[$1]",
	} {
		change(t, s, statement, did)
	}
}

// What an erased account had to do with others does not come back with a commit that is taken back.
func TestErasedInvitersStayAway(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	u, chat := gathering(t, s, 6)
	inviter, adder := u[1], u[2]
	carol := s.Users(1)[0].Register(t, 4)
	inviter.Add(t, chat, carol.User)
	carol.Leave(t, chat, nil).OK(t)
	before := *chat
	adder.Add(t, chat, carol.User)
	s.Operate(t, "erase-user", "--wait", "0s", string(inviter.DID))
	reopened := false
	for _, r := range []*e2e.Device{u[0], u[3], u[4], u[5]} {
		reopened = reopened || reports(t, r, &before, before.Group.Epoch, "")
	}
	require.True(t, reopened)
	for c := range holding(t, s, string(inviter.DID)) {
		table, _, _ := strings.Cut(c, ".")
		assert.NotContains(t, []string{"members", "commit_additions", "invitations"}, table, c)
	}
}

// A leaf that comes back with a commit that is taken back is owed, and its device is told to nobody
// when its user had never accepted.
func TestErasedInvitationsAreWithheld(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	u, chat := gathering(t, s, 5)
	carol := s.Users(1)[0].Register(t, 4)
	u[0].Post(t, mlsapi.MethodAddMembers, u[0].Addition(t, chat, carol.User), nil).OK(t)
	chat.Next()
	before := *chat
	u[0].Remove(t, chat, carol.User, chat.Group.PrivateCommit()).OK(t)
	s.Operate(t, "erase-user", "--wait", "0s", string(carol.DID))
	reopened := false
	for _, r := range u[1:4] {
		reopened = reopened || reports(t, r, &before, before.Group.Epoch, "")
	}
	require.True(t, reopened)
	pending := u[1].Pending(t, chat)
	require.Len(t, pending, 1)
	assert.Equal(t, []any{"removal", true}, []any{string(pending[0].Kind), pending[0].DeviceID == nil})
}
