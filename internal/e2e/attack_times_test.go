package e2e_test

import (
	"cmp"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
)

// trace is a stored time, and the transaction that wrote it.
type trace struct {
	xid  uint64
	time time.Time
	grid time.Duration // what the times of its column are floored to
}

// An attacker who has a copy of the database sorts all rows by the transaction that wrote them, and
// takes the times of the rows that were written just before and just after a message: the rows of
// other users and other conversations too. That brackets no message to less than the two seconds
// that its own row tells (I8).
func TestNeighboursBracketNoMessage(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	alice, bob, chat := pair(t, s)
	sent := map[string][2]time.Time{} // when a message was under way
	done := make(chan struct{})
	var crowd sync.WaitGroup
	for range 3 {
		crowd.Go(func() {
			for range 4 {
				users := s.Users(2)
				someTraffic(t, users[0], users[1])
			}
		})
	}
	go func() { defer close(done); crowd.Wait() }()
	for busy := true; busy; {
		in := chat.Message()
		before := time.Now()
		alice.Post(t, mlsapi.MethodSendMessage, in, nil).OK(t)
		sent[in.MsgID] = [2]time.Time{before, time.Now()}
		select {
		case <-done:
			busy = false
		default:
		}
	}
	alice.SendBytes(t, chat, chat.Group.PrivateCommit()).OK(t)
	bob.Messages(t, chat)

	traces := tracesOf(t, s)
	require.Greater(t, len(traces), 200, "the crowd was not busy")
	require.Greater(t, len(sent), 20)
	hits := 0
	for _, row := range rowsOf(t, s, "SELECT msg_id, xmin::text FROM messages WHERE kind = 1") {
		xid, err := strconv.ParseUint(row[1], 10, 64)
		require.NoError(t, err)
		var after, until time.Time
		for _, n := range traces {
			switch {
			case n.xid < xid && n.time.After(after):
				after = n.time
			case n.xid > xid && (until.IsZero() || n.time.Add(n.grid).Before(until)):
				until = n.time.Add(n.grid)
			}
		}
		when, known := sent[row[0]]
		if known && until.Sub(after) < 2*time.Second && !when[1].Before(after) && !when[0].After(until) {
			hits++
		}
	}
	t.Logf("%d of %d messages are timed by their neighbours", hits, len(sent))
	// A message that comes at the very turn of two seconds may have neighbours on both sides of it.
	assert.LessOrEqual(t, hits, len(sent)/4, "messages that their neighbours time to less than two seconds, of %d", len(sent))
}

// someTraffic is what other users do: claims, devices, conversations with commits, block questions.
func someTraffic(t *testing.T, a, b *e2e.User) {
	t.Helper()
	a.Register(t, 2)
	b.Register(t, 2)
	c := a.Create(t, b)
	b.Claim(t, a.DID)
	a.Promote(t, c, b).OK(t)
	b.Leave(t, c, nil).OK(t)
}

// tracesOf reads all times of all tables but those of messages themselves.
func tracesOf(t *testing.T, s *e2e.Server) []trace {
	t.Helper()
	var all []trace
	for _, c := range rowsOf(t, s, timesQuery) {
		if c[0] == "messages" || c[0] == "event_stream" || c[0] == "goose_db_version" {
			continue
		}
		var column []trace
		for _, row := range rowsOf(t, s, "SELECT xmin::text, extract(epoch FROM "+c[1]+")::text FROM "+c[0]+" WHERE "+c[1]+" < now() + interval '1 minute'") {
			xid, err := strconv.ParseUint(row[0], 10, 64)
			require.NoError(t, err)
			seconds, err := strconv.ParseFloat(row[1], 64)
			require.NoError(t, err)
			column = append(column, trace{xid: xid, time: time.UnixMicro(int64(seconds * 1e6)).UTC()})
		}
		grid := gridOf(column)
		for _, n := range column {
			n.grid = grid
			all = append(all, n)
		}
	}
	slices.SortFunc(all, func(a, b trace) int { return cmp.Compare(a.xid, b.xid) })
	return all
}

// gridOf is the coarsest step that all times of a column are multiples of.
func gridOf(column []trace) time.Duration {
	for _, grid := range []time.Duration{24 * time.Hour, time.Hour, time.Minute, 2 * time.Second, time.Second, time.Millisecond} {
		if !slices.ContainsFunc(column, func(n trace) bool { return !n.time.Equal(n.time.Truncate(grid)) }) {
			return grid
		}
	}
	return time.Microsecond
}
