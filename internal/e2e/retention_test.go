package e2e_test

import (
	"crypto/sha256"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mlstest"
	"mls-server/internal/store"
)

// useToken keeps a token's hash for a quarter of an hour, as servers do that share no Redis.
func useToken(t *testing.T, s *e2e.Server) {
	t.Helper()
	db, err := store.New(t.Context(), store.Config{URL: s.DatabaseURL, MaxConns: 2})
	require.NoError(t, err)
	defer db.Close()
	first, err := db.Replays().Use(t.Context(), sha256.Sum256([]byte("a token")), time.Now().Add(15*time.Minute))
	require.NoError(t, err)
	require.True(t, first)
}

// after runs the retention jobs as they would run some days from now.
func after(t *testing.T, s *e2e.Server, days float64) {
	t.Helper()
	db, err := store.New(t.Context(), store.Config{URL: s.DatabaseURL, MaxConns: 2})
	require.NoError(t, err)
	defer db.Close()
	_, err = db.Retain(t.Context(), time.Now().Add(time.Duration(days*24*float64(time.Hour))), store.DefaultRetention())
	require.NoError(t, err)
}

// counts is how many rows each table has.
func counts(t *testing.T, s *e2e.Server) map[string]int {
	t.Helper()
	out := map[string]int{}
	for _, table := range rowsOf(t, s, "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE 'goose%'") {
		n, err := strconv.Atoi(rowsOf(t, s, "SELECT count(*) FROM "+table[0])[0][0])
		require.NoError(t, err)
		out[table[0]] = n
	}
	return out
}

// Each kind of row goes at its time, and nothing else goes with it.
func TestRetention(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	alice, bob, carol, chat := trio(t, s)
	for range 5 {
		alice.Send(t, chat)
	}
	alice.SendBytes(t, chat, chat.Group.PrivateProposal()).OK(t)
	alice.SendBytes(t, chat, chat.Group.PrivateCommit()).OK(t)
	chat.Next()
	last := bob.Send(t, chat)
	carol.Rejoin(t, chat)
	id, a := bob.Report(t, chat, carol.User, "spam")
	a.OK(t)
	alice.Resolve(t, id, "dismissed").OK(t)
	stream := bob.Follow(t, "")
	alice.Promote(t, chat, bob.User).OK(t)
	cursor := stream.Await(t, "admin-changed").Cursor
	bob.Send(t, chat)
	useToken(t, s)
	start := counts(t, s)

	// gone are the tables that a run has changed, with the rows that are left.
	gone := func(days float64) map[string]int {
		after(t, s, days)
		changed, now := map[string]int{}, counts(t, s)
		for table, n := range now {
			if n != start[table] {
				changed[table] = n
			}
		}
		start = now
		return changed
	}
	assert.Empty(t, gone(0), "nothing is past its time yet")
	assert.Equal(t, map[string]int{"used_jtis": 0}, gone(0.02))
	assert.Empty(t, gone(0.9))
	assert.Equal(t, map[string]int{"idempotency_keys": 0, "invitations": 0}, gone(2.01), "its times are days, so that it may be kept for a day more")
	blocks := gone(7.1)
	delete(blocks, "block_checks")
	assert.Empty(t, blocks)
	assert.Empty(t, gone(29.9))

	// The commit stays: nobody has said to have read past it.
	month := gone(30.1)
	assert.Equal(t, 1, month["messages"], "the commit is left")
	assert.Contains(t, month, "event_stream")
	assert.Contains(t, month, "welcomes")
	assert.Contains(t, month, "welcome_routes")
	for _, table := range []string{"commits", "members", "conversations", "cursors", "reports", "admin_actions", "used_init_keys", "user_devices", "pending_welcomes"} {
		assert.NotContains(t, month, table)
	}
	assert.Equal(t, 0, month["event_stream"])
	assert.Equal(t, [][]string{{"expired"}}, rowsOf(t, s, "SELECT status FROM pending_welcomes"), "nobody has answered the request")
	page := bob.Messages(t, chat)
	require.Len(t, page.Messages, 1)
	assert.Equal(t, mlsapi.DefsMessageViewMessageType("commit"), *page.Messages[0].MessageType)
	_, a = bob.Welcome(t, chat, bob.ID)
	a.Want(t, http.StatusNotFound, "WelcomeNotFound")
	bob.Get(t, mlsapi.MethodGetMessages, nil, "convoId", chat.ID, "sinceMessage", last.MessageID).Want(t, http.StatusBadRequest, "InvalidCursor")
	// A stream that resumes from before is told that events are missing.
	bob.Follow(t, "cursor="+cursor).Await(t, "compacted")
	// The sequence goes on where it was.
	assert.Equal(t, int64(10), alice.Send(t, chat).Seq, "seqs are not used again")
	assert.NotEmpty(t, alice.Reports(t, chat).Reports)
	var commits mlsapi.GetCommitsOutput
	carol.Get(t, mlsapi.MethodGetCommits, &commits, "convoId", chat.ID, "fromEpoch", "0").OK(t)
	assert.Len(t, commits.Commits, 1)
}

// Commits go when no device on the roster can need them, and after 90 days at the latest.
func TestRetentionOfCommits(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	alice, bob, chat := pair(t, s)
	laptop := alice.Register(t, 2)
	alice.AddPackages(t, chat, alice.ClaimDevice(t, laptop), alice.DID)
	var seqs []string
	for range 3 {
		in := chat.Message()
		in.Ciphertext = mlstest.PadDirect(chat.Group.PrivateCommit(), 0)
		in.PaddedSize = int64(len(in.Ciphertext))
		alice.Post(t, mlsapi.MethodSendMessage, in, nil).OK(t)
		seqs = append(seqs, in.MsgID)
		chat.Next()
	}
	left := func() int { return len(rowsOf(t, s, "SELECT 1 FROM commits")) }
	read := func(u *e2e.User, id string) {
		u.Post(t, mlsapi.MethodUpdateCursor, &mlsapi.UpdateCursorInput{ConvoID: chat.ID, Cursor: id}, nil).OK(t)
	}
	read(bob.User, seqs[1])
	after(t, s, 31)
	assert.Equal(t, 4, left(), "alice has read nothing")
	read(alice.User, seqs[2])
	after(t, s, 31)
	// The first commit added the laptop, whose history begins after it, and bob has read past it.
	assert.Equal(t, 3, left(), "one of alice's two devices may not have read the rest")
	after(t, s, 89)
	assert.Equal(t, 3, left())
	after(t, s, 91)
	assert.Equal(t, 0, left())
	assert.Equal(t, int64(chat.Group.Epoch), bob.Epoch(t, chat), "the epoch is not made of the commits that are kept")
	alice.SendBytes(t, chat, chat.Group.PrivateCommit()).OK(t)
}

// TestGapsAreTold: who reads on by seq learns what is no longer kept, once, also where there is
// nothing else to tell. What was before it joined it never had.
func TestGapsAreTold(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	alice, bob, chat := pair(t, s)
	read := func(u *e2e.User, since string) *mlsapi.GetMessagesOutput {
		t.Helper()
		var page mlsapi.GetMessagesOutput
		u.Get(t, mlsapi.MethodGetMessages, &page, "convoId", chat.ID, "sinceSeq", since).OK(t)
		require.NotNil(t, page.GapInfo)
		require.NotNil(t, page.LastSeq)
		return &page
	}
	for range 3 {
		alice.Send(t, chat)
	}
	after(t, s, 31)
	empty := read(bob.User, "0")
	assert.Empty(t, empty.Messages)
	assert.Equal(t, mlsapi.GetMessagesGapInfo{HasGaps: true, MissingSeqs: []int64{1, 2, 3}}, *empty.GapInfo)
	assert.Equal(t, int64(3), *empty.LastSeq, "where to read on")
	assert.Nil(t, empty.Cursor)
	assert.Equal(t, mlsapi.GetMessagesGapInfo{MissingSeqs: []int64{}}, *read(bob.User, "3").GapInfo, "it was told")

	alice.Send(t, chat)
	assert.Equal(t, mlsapi.GetMessagesGapInfo{MissingSeqs: []int64{}, TotalMessages: 1}, *read(bob.User, "3").GapInfo)
	assert.Equal(t, mlsapi.GetMessagesGapInfo{HasGaps: true, MissingSeqs: []int64{2, 3}, TotalMessages: 1}, *read(bob.User, "1").GapInfo)

	carol := s.Users(1)[0].Register(t, 2)
	alice.Add(t, chat, carol.User)
	assert.Equal(t, mlsapi.GetMessagesGapInfo{MissingSeqs: []int64{}}, *read(carol.User, "0").GapInfo)
}
