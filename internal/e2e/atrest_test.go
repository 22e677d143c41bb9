package e2e_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

// columnsAllowed are the tables whose rows may name a person beside a seq, and why.
var columnsAllowed = map[string]string{
	"conversations":    "who made it, and how long its sequence is",
	"cursors":          "how far a user has read, written by the reader alone",
	"commits":          "the committer, which the contract keeps for commits only",
	"members":          "where a user joined and left: places of commits, not of messages",
	"commit_additions": "whom a commit brought onto the roster: the place of the commit",
	"commit_reports":   "from which commit on a device cannot follow",
	"convo_resets":     "who began a group anew, and the place of the notice",
	"pending_welcomes": "who was added by which commit",
	"invitations":      "who was added by a stranger, and the place of the commit",
	"removal_debts":    "whose leaf was removed by which commit",
	"event_stream":     "the place of a change of the roster; the rows of messages name nobody, which is checked",
}

// tablesQuery lists the tables of all schemas, and materialized views, with their columns.
const tablesQuery = `SELECT c.oid::regclass::text, string_agg(a.attname, ' ') FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
	WHERE c.relkind IN ('r', 'm', 'f') AND c.relnamespace::regnamespace::text !~ '^(pg_|information_schema$)' GROUP BY 1 ORDER BY 1`

// No row of any table links a person to an application message, and nothing
// about messages is timed finer than two seconds (I7, I8).
func TestNoLinksAtRest(t *testing.T) {
	t.Parallel()
	s, source := watched(t)
	tr := everything(t, s, source)
	tr.say() // locks last what it locks; the scenario ends with a send that fails
	noLinks(t, s, tr)
}

// noLinks searches the whole database.
func noLinks(t *testing.T, s *e2e.Server, tr *traffic) {
	t.Helper()
	tables := rowsOf(t, s, tablesQuery)
	require.Greater(t, len(tables), 15)
	person := regexp.MustCompile(`\b\w*(did|device_id|device_name)\b`)
	seq := regexp.MustCompile(`\b(\w+_)?(seq|msg_id|message_id|message_ids)\b`)
	sends := map[string]bool{} // the transactions of application messages
	for _, row := range rowsOf(t, s, "SELECT xmin::text FROM messages WHERE kind = 1") {
		sends[row[0]] = true
	}
	require.Greater(t, len(sends), 10)
	for _, table := range tables {
		name, columns := table[0], table[1]
		if person.MatchString(columns) && seq.MatchString(columns) && name != "messages" {
			assert.Contains(t, columnsAllowed, name, "has columns for a person and for a message")
		}
		for _, row := range rowsOf(t, s, "SELECT to_jsonb(t)::text, t::text, xmin::text, xmax::text FROM "+name+" t") {
			// bytea columns come as hex; answers to keys are kept in one.
			text := row[0] + unhex(row[1])
			message, named := containsAny(text, tr.messages), containsAny(text, tr.people)
			if message && named {
				t.Errorf("a row of %s holds a message and a person", name)
			}
			if message && name != "messages" && name != "event_stream" {
				t.Errorf("a row of %s holds the id of a message", name)
			}
			// Every row tells which transaction wrote it, and which one locked it last.
			// A conversation's row is written by every send and names who made it.
			if named && (sends[row[2]] || sends[row[3]]) && name != "conversations" {
				t.Errorf("a row of %s names a person and was written or locked by the transaction of a message", name)
			}
		}
	}
	assert.Empty(t, rowsOf(t, s, "SELECT 1 FROM messages WHERE sender_did IS NOT NULL"))
	assert.Empty(t, rowsOf(t, s, "SELECT 1 FROM event_stream WHERE kind = 1 AND (user_did IS NOT NULL OR device_id IS NOT NULL OR audience_did IS NOT NULL OR request_id IS NOT NULL)"))
	assert.Empty(t, rowsOf(t, s, "SELECT 1 FROM commits c JOIN messages m USING (convo_id, seq) WHERE m.kind <> 3"))
	// The keys of sends are not kept, not even hashed with their callers.
	for _, d := range tr.sends {
		hash := d.key()
		assert.Empty(t, rowsOf(t, s, "SELECT 1 FROM idempotency_keys WHERE key_hash = $1", hash[:]))
	}
	coarseTimes(t, s)
	// Ids that the server made for messages: a ULID's time is in milliseconds.
	own := 0
	for _, row := range rowsOf(t, s, "SELECT msg_id FROM messages WHERE kind <> 1") {
		id, err := ulid.Parse(row[0])
		require.NoError(t, err)
		assert.Zero(t, id.Time()%2000)
		own++
	}
	assert.Positive(t, own)
}

// key is what idempotency_keys would hold of a send.
func (d send) key() [sha256.Size]byte {
	return store.RequestKey(d.user.DID, mlsapi.MethodSendMessage.NSID, *d.in.IdempotencyKey)
}

func containsAny(text string, values []string) bool {
	return slices.ContainsFunc(values, func(v string) bool { return strings.Contains(text, v) })
}

var hexadecimal = regexp.MustCompile(`\\x[0-9a-f]+`)

// unhex decodes the binary columns in a row's text.
func unhex(row string) string {
	var out bytes.Buffer
	for _, found := range hexadecimal.FindAllString(row, -1) {
		b, err := hex.DecodeString(found[2:])
		if err == nil {
			out.Write(b)
		}
	}
	return out.String()
}

// What clients see of messages is timed in steps of two seconds, without a fraction (I8).
func TestTimesOnGrid(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	alice, bob, chat := pair(t, s)
	var seen []lexrt.Datetime
	for range 20 {
		seen = append(seen, alice.Send(t, chat).ReceivedAt)
		time.Sleep(30 * time.Millisecond)
	}
	alice.SendBytes(t, chat, chat.Group.PrivateCommit()).OK(t)
	page := bob.Messages(t, chat)
	for i := range page.Messages {
		seen = append(seen, page.Messages[i].CreatedAt)
	}
	var commits mlsapi.GetCommitsOutput
	bob.Get(t, mlsapi.MethodGetCommits, &commits, "convoId", chat.ID, "fromEpoch", "0").OK(t)
	for i := range commits.Commits {
		seen = append(seen, commits.Commits[i].CreatedAt)
	}
	seen = append(seen, *bob.Convo(t, chat).LastMessageAt)
	require.Greater(t, len(seen), 40)
	for _, at := range seen {
		assert.Regexp(t, `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d[02468]Z$`, string(at))
	}
}
