package e2e_test

import (
	"bytes"
	"encoding/hex"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/authtest"
	"mls-server/internal/blocks/blockstest"
	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/pgtest"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

// traffic is what the canary scenario has done that the searches must know of.
type traffic struct {
	people   []string // DIDs, device ids and device names
	messages []string // ids of application messages
	sends    []send
}

type send struct {
	user *e2e.User
	in   *mlsapi.SendMessageInput
}

const forwardedFor = "203.0.113.77"

// watched is a server for the scenario, and where its users keep their blocks.
func watched(t *testing.T) (*e2e.Server, *blockstest.Server) {
	t.Helper()
	dir, source := authtest.NewDirectory(t, nil), blockstest.New(t, nil)
	return e2e.StartOn(t, pgtest.New(t), dir, e2e.Env{
		"TRUSTED_PROXY_CIDRS": "127.0.0.0/8", "APPVIEW_URL": source.URL(),
		"EGRESS_ALLOW": strings.Join(append(dir.HostPorts(), source.HostPort()), ","),
	}), source
}

// everything calls every method, with success and in vain, with both curves.
func everything(t *testing.T, s *e2e.Server, source *blockstest.Server) traffic {
	t.Helper()
	var tr traffic
	users := s.Users(5)
	for _, u := range users {
		u.SetPDS(source.URL())
		source.AddAccount(u.DID)
	}
	alice, bob, carol, dave, eve := users[0], users[1], users[2], users[3], users[4]
	devices := map[*e2e.User]*e2e.Device{}
	for i, u := range users {
		d := &e2e.Device{User: u, Client: newClient(u)}
		name := "Zelda's telephone no. " + string(rune('A'+i))
		var out mlsapi.RegisterDeviceOutput
		u.Post(t, mlsapi.MethodRegisterDevice, &mlsapi.RegisterDeviceInput{
			DeviceName: name, SignaturePublicKey: d.Client.SignatureKey, KeyPackages: d.KeyPackages(6),
		}, &out).OK(t)
		d.ID = out.DeviceID
		devices[u] = d
		tr.people = append(tr.people, string(u.DID), d.ID, name)
	}
	chat := alice.Create(t, bob, carol)
	stream := bob.Follow(t, "")
	say := func(u *e2e.User) *mlsapi.SendMessageInput {
		in := chat.Message()
		in.IdempotencyKey = new("send-" + in.MsgID[10:])
		u.Post(t, mlsapi.MethodSendMessage, in, nil).OK(t)
		tr.messages = append(tr.messages, in.MsgID)
		tr.sends = append(tr.sends, send{u, in})
		return in
	}
	for range 5 {
		for _, u := range users[:3] {
			say(u)
		}
	}
	first := say(bob)
	bob.Post(t, mlsapi.MethodUpdateCursor, &mlsapi.UpdateCursorInput{ConvoID: chat.ID, Cursor: first.MsgID}, nil).OK(t)
	bob.Messages(t, chat, "sinceMessage", tr.messages[2], "limit", "5")
	bob.Epoch(t, chat)
	bob.Get(t, mlsapi.MethodGetCommits, nil, "convoId", string(chat.Group.GroupID()), "fromEpoch", "0").OK(t)
	bob.Get(t, mlsapi.MethodGetKeyPackageStats, nil).OK(t)
	bob.Post(t, mlsapi.MethodPublishKeyPackage, &mlsapi.PublishKeyPackageInput{
		KeyPackage: devices[bob].KeyPackages(1)[0].KeyPackage, IdempotencyKey: new("publish-canary-1"),
		CipherSuite: mlsapi.PublishKeyPackageInputCipherSuite(mls.SuiteX25519AES128.String()),
	}, nil).OK(t)
	_, a := bob.Welcome(t, chat, devices[bob].ID)
	a.OK(t)
	devices[bob].Confirm(t, chat, false)
	devices[bob].LoseState()
	request := devices[bob].Rejoin(t, chat)
	answer(t, alice, chat, devices[bob], request.RequestID)
	devices[bob].Confirm(t, chat, true)
	alice.Add(t, chat, dave)
	say(dave)
	alice.Promote(t, chat, bob).OK(t)
	id, a := carol.Report(t, chat, dave, "spam")
	a.OK(t)
	alice.Post(t, mlsapi.MethodReportMember, &mlsapi.ReportMemberInput{
		ConvoID: chat.ID, ReportedDID: carol.DID, Category: "other", EncryptedContent: []byte("the very words of a report"), MessageIDs: tr.messages[:3],
	}, nil).OK(t)
	bob.Reports(t, chat)
	bob.Post(t, mlsapi.MethodResolveReport, &mlsapi.ResolveReportInput{ReportID: id, Action: "removed_member", Notes: new("notes of an admin, verbatim")}, nil).OK(t)
	bob.Stats(t, chat)
	source.Block(carol.DID, alice.DID)
	alice.Get(t, mlsapi.MethodCheckBlocks, nil, "dids", string(alice.DID), "dids", string(carol.DID)).OK(t)
	alice.Get(t, mlsapi.MethodGetBlockStatus, nil, "convoId", chat.ID).OK(t)
	carol.Post(t, mlsapi.MethodHandleBlockChange, &mlsapi.HandleBlockChangeInput{BlockerDID: carol.DID, BlockedDID: alice.DID, Action: "created"}, nil).OK(t)
	alice.Remove(t, chat, dave, chat.Group.PrivateCommit()).OK(t)
	chat.Next()
	bob.Demote(t, chat, bob).OK(t)
	carol.Leave(t, chat, chat.Group.PrivateProposal()).OK(t)
	say(alice)
	stream.Await(t, "removal-pending")

	// In vain: strangers, wrong arguments, wrong tokens, and failures within.
	for _, m := range mlsapi.Methods() {
		query := map[string][]string{"convoId": {chat.ID}, "fromEpoch": {"90"}, "sinceMessage": {tr.messages[0]}, "did": {string(alice.DID)}, "cursor": {"canary-of-a-cursor"}, "dids": {"did:plc:"}}
		eve.Call(t, m, e2e.Request{Query: query, Body: (&mlsapi.LeaveConvoInput{ConvoID: chat.ID, TargetDID: &alice.DID}).AppendJSON(nil)}, nil)
		eve.Call(t, m, e2e.Request{Query: query, Body: []byte(`{"convoId": "` + chat.ID + `", "secret text of a client": `)}, nil)
	}
	header := http.Header{"X-Forwarded-For": {forwardedFor}}
	unknown := s.NewUser(authtest.P256)
	s.Directory.Remove(unknown.Identity)
	get := mlsapi.MethodGetConvos
	replayed := bob.Token(s.DID, get.NSID)
	for _, token := range []string{
		replayed, replayed, bob.Token(s.DID, "blue.catbird.mls.getEpoch"), bob.Token("did:web:elsewhere.example", get.NSID),
		bob.Token(s.DID, get.NSID, bob.ExpiresIn(-time.Hour)), bob.Token(s.DID, get.NSID, authtest.Claim("iss", string(alice.DID))),
		unknown.Token(s.DID, get.NSID), "three.garbage-parts-of-a.token", bob.Token(s.DID, get.NSID, authtest.Claim("sub", "did:plc:somebodyelse")),
	} {
		bob.Call(t, get, e2e.Request{Authorization: "Bearer " + token, Header: header}, nil)
	}
	source.SetDown(true)
	alice.Get(t, mlsapi.MethodCheckBlocks, nil, "dids", string(bob.DID), "dids", string(eve.DID))
	source.SetDown(false)
	// A conversation row that breaks a constraint, and a database that hangs up.
	db := pgtest.Open(t, s.DatabaseURL)
	for range 3 {
		_, err := db.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
		require.NoError(t, err)
		for range 4 {
			alice.Post(t, mlsapi.MethodSendMessage, chat.Message(), nil)
			alice.Get(t, mlsapi.MethodGetMessages, nil, "convoId", chat.ID)
		}
	}
	_, err := db.Exec(t.Context(), "ALTER TABLE messages ADD CONSTRAINT refuse CHECK (epoch < 0) NOT VALID")
	require.NoError(t, err)
	assert.Equal(t, http.StatusInternalServerError, alice.Post(t, mlsapi.MethodSendMessage, chat.Message(), nil).Status)
	_, err = db.Exec(t.Context(), "ALTER TABLE messages DROP CONSTRAINT refuse")
	require.NoError(t, err)
	return tr
}

// Nothing that identifies anybody is in logs or metrics, at debug level (I9).
func TestCanaries(t *testing.T) {
	t.Parallel()
	s, source := watched(t)
	c := s.Record()
	everything(t, s, source)
	for _, m := range mlsapi.Methods() {
		called := c.Called(m.NSID)
		failed := 0
		for status, n := range called {
			if status >= 400 {
				failed += n
			}
		}
		assert.Positive(t, called[http.StatusOK], "%s never succeeded", m.NSID)
		assert.Positive(t, failed, "%s never failed", m.NSID)
	}
	c.Add("127.0.0.1", forwardedFor, "Zelda", s.DID)
	logs, metrics := s.Logs.String(), page(t, s.Admin+"/metrics")
	assert.Greater(t, strings.Count(logs, "\n"), 50, "a log that says nothing shows nothing")
	assert.Contains(t, logs, `"level":"ERROR"`)
	assert.Greater(t, c.Count(), 300)
	assert.Empty(t, c.Find(logs), "in the logs")
	assert.Empty(t, c.Find(metrics), "in the metrics")
}

func page(t *testing.T, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	return string(body)
}

// The search finds what it looks for, in each form.
func TestCanaryFinds(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	c := s.Record()
	alice := s.Users(1)[0]
	d := alice.Register(t, 1)
	chat := alice.Create(t)
	in := chat.Message()
	alice.Post(t, mlsapi.MethodSendMessage, in, nil).OK(t)
	assert.Empty(t, c.Find(s.Logs.String()))
	for name, leak := range map[string]string{
		"did": string(alice.DID), "conversation": chat.ID, "group, upper case": strings.ToUpper(string(chat.Group.GroupID())), "device": d.ID,
		"message": in.MsgID, "ciphertext, raw": string(in.Ciphertext[:40]), "ciphertext, hex": hex.EncodeToString(in.Ciphertext[:30]),
		"idempotency key": *in.IdempotencyKey,
	} {
		assert.NotEmpty(t, c.Find("level=info msg=x key="+leak+" end"), name)
	}
}

// columnsAllowed are the tables whose rows may name a person beside a seq, and why.
var columnsAllowed = map[string]string{
	"conversations": "who made it, and how long its sequence is",
	"cursors":       "how far a user has read, written by the reader alone",
	"commits":       "the committer, which the contract keeps for commits only",
	"members":       "where a user joined and left: places of commits, not of messages",
	"event_stream":  "the place of a change of the roster; the rows of messages name nobody, which is checked",
}

// No row of any table links a person to an application message, and nothing
// about messages is timed finer than two seconds (I7, I8).
func TestNoLinksAtRest(t *testing.T) {
	t.Parallel()
	s, source := watched(t)
	tr := everything(t, s, source)
	tables := rowsOf(t, s, "SELECT table_name, string_agg(column_name, ' ') FROM information_schema.columns WHERE table_schema = 'public' GROUP BY 1 ORDER BY 1")
	require.Greater(t, len(tables), 15)
	person := regexp.MustCompile(`\b\w*(did|device_id|device_name)\b`)
	seq := regexp.MustCompile(`\b(\w+_)?(seq|msg_id|message_id|message_ids)\b`)
	for _, table := range tables {
		name, columns := table[0], table[1]
		if strings.HasPrefix(name, "goose_") {
			continue
		}
		if person.MatchString(columns) && seq.MatchString(columns) && name != "messages" {
			assert.Contains(t, columnsAllowed, name, "has columns for a person and for a message")
		}
		for _, row := range rowsOf(t, s, "SELECT to_jsonb(t)::text, t::text FROM "+name+" t") {
			message := containsAny(row[0], tr.messages)
			// bytea columns come as hex; answers to keys are kept in one.
			raw := unhex(row[1])
			message = message || containsAny(raw, tr.messages)
			if message && (containsAny(row[0], tr.people) || containsAny(raw, tr.people)) {
				t.Errorf("a row of %s holds a message and a person", name)
			}
			if message && name != "messages" && name != "event_stream" {
				t.Errorf("a row of %s holds the id of a message", name)
			}
		}
	}
	assert.Empty(t, rowsOf(t, s, "SELECT 1 FROM messages WHERE sender_did IS NOT NULL"))
	assert.Empty(t, rowsOf(t, s, "SELECT 1 FROM event_stream WHERE kind = 1 AND (user_did IS NOT NULL OR device_id IS NOT NULL OR audience_did IS NOT NULL OR request_id IS NOT NULL)"))
	assert.Empty(t, rowsOf(t, s, "SELECT 1 FROM commits c JOIN messages m USING (convo_id, seq) WHERE m.kind <> 3"))
	// The keys of sends are not kept, not even hashed with their callers.
	for _, d := range tr.sends {
		hash := store.RequestKey(d.user.DID, mlsapi.MethodSendMessage.NSID, *d.in.IdempotencyKey)
		assert.Empty(t, rowsOf(t, s, "SELECT 1 FROM idempotency_keys WHERE key_hash = $1", hash[:]))
	}
	for table, columns := range map[string][]string{
		"messages": {"received_bucket_ts"}, "event_stream": {"bucket_ts"}, "commits": {"created_at"},
		"conversations": {"created_at", "last_activity_at", "last_message_bucket_ts"}, "members": {"joined_at", "left_at"},
		"welcomes": {"created_at"}, "removal_debts": {"created_at", "settled_at"},
	} {
		for _, column := range columns {
			assert.Empty(t, rowsOf(t, s, "SELECT 1 FROM "+table+" WHERE "+column+" <> date_bin('2 seconds', "+column+", '2000-01-01 00:00:00+00')"), table+"."+column)
		}
	}
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
