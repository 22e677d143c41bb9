package streambench

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mls-server/internal/clock"
	"mls-server/internal/mls"
	"mls-server/internal/redistest"
	"mls-server/internal/store"
	"mls-server/internal/stream"
)

var full = flag.Bool("full", false, "run TestEachEventOnce at full size: 20,000 messages")

// hunt is one run of the checker.
type hunt struct {
	*world
	tb     testing.TB
	convos []mls.ConvoID
	redis  *redistest.Server

	mu        sync.Mutex
	processes []*process
	kills     atomic.Int64
	drops     atomic.Int64
}

// seen is one stream's record over all its connections.
type seen struct {
	user int
	// socket says that it is followed over a WebSocket, else as Server-Sent Events.
	socket bool
	cursor string
	mu     sync.Mutex
	events []string
}

// Every stream sees each event it may see exactly once and in order, and a
// removed user nothing after its removal (I10): 20 conversations, 200 streams
// over both doors of three servers, clients that disconnect, servers that are killed, Redis
// that goes away, transactions that finish out of order.
func TestEachEventOnce(t *testing.T) {
	t.Parallel()
	messages := 800
	if *full {
		messages = 20_000
	}
	server := redistest.Start(t)
	bus := stream.NewRedisBus(server.Client(t))
	h := &hunt{world: newWorld(t, 50, bus.Hint), tb: t, redis: server}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go bus.Run(ctx)
	h.seed(ctx)
	h.processes = make([]*process, 3)
	for i := range h.processes {
		h.processes[i] = h.start(t, "REDIS_URL="+server.URL())
	}
	begin, err := h.store.LogEnd(ctx)
	if err != nil {
		t.Fatal(err)
	}
	streams := make([]*seen, 200)
	var readers sync.WaitGroup
	var connected sync.WaitGroup
	connected.Add(len(streams))
	for i := range streams {
		streams[i] = &seen{user: i % len(h.users), socket: i/len(h.users)%2 == 1}
		readers.Go(func() { h.read(ctx, streams[i], connected.Done) })
	}
	connected.Wait()
	start := time.Now()
	members := h.trouble(ctx, messages)
	t.Logf("%d messages in %v", messages, time.Since(start).Round(time.Millisecond))

	want := h.expected(ctx, begin, members)
	deadline := time.Now().Add(60 * time.Second)
	for _, s := range streams {
		for s.count() < len(want[s.user]) && time.Now().Before(deadline) {
			time.Sleep(10 * time.Millisecond)
		}
	}
	time.Sleep(500 * time.Millisecond) // for what comes too much
	cancel()
	readers.Wait()
	total := 0
	for i, s := range streams {
		total += len(s.events)
		if !slices.Equal(s.events, want[s.user]) {
			at := 0
			for at < min(len(s.events), len(want[s.user])) && s.events[at] == want[s.user][at] {
				at++
			}
			t.Errorf("stream %d: %d events, want %d; they part at %d: got %v, want %v", i, len(s.events), len(want[s.user]), at,
				s.events[at:min(at+3, len(s.events))], want[s.user][at:min(at+3, len(want[s.user]))])
		}
	}
	t.Logf("%d events on %d streams, %d connections dropped, %d servers killed", total, len(streams), h.drops.Load(), h.kills.Load())
}

// seed makes the conversations: each user is in eight of them.
func (h *hunt) seed(ctx context.Context) {
	for c := range 20 {
		id := mls.NewConvoID(time.Now(), newGroup())
		var members []store.NewMember
		for u, user := range h.users {
			if (c+u*7)%20 < 8 {
				members = append(members, store.NewMember{User: user.DID, MLSDID: string(user.DID)})
			}
		}
		err := h.store.InTx(ctx, func(tx *store.Tx) error {
			n := store.NewConvo{ID: id, GroupID: groupOf(id), Creator: members[0].User, CipherSuite: 1, At: bucketed()}
			if err := tx.CreateConvo(ctx, n); err != nil {
				return err
			}
			return tx.UpsertMembers(ctx, id, members, store.Place{At: bucketed()})
		})
		if err != nil {
			h.tb.Fatal(err)
		}
		h.convos = append(h.convos, id)
	}
	slices.Sort(h.convos) // the order of locks
}

// groupOf is the group of a conversation that seed made.
func groupOf(id mls.ConvoID) mls.GroupID { return mls.GroupIDFromBytes([]byte(id)) }

func bucketed() time.Time { return clock.Bucket(time.Now()) }

// trouble writes, and breaks what it can meanwhile. It returns who was a
// member of what before.
func (h *hunt) trouble(ctx context.Context, messages int) map[mls.ConvoID]map[mls.DID]bool {
	before := map[mls.ConvoID]map[mls.DID]bool{}
	for _, c := range h.convos {
		before[c] = map[mls.DID]bool{}
		devices, err := h.store.ListMembers(ctx, c)
		if err != nil {
			h.tb.Fatal(err)
		}
		for _, d := range devices {
			before[c][d.User] = true
		}
	}
	var left atomic.Int64
	left.Store(int64(messages))
	var writers, others sync.WaitGroup
	stop := make(chan struct{})
	repeat := func(pause time.Duration, do func()) {
		others.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(pause/2 + rand.N(pause)):
					do()
				}
			}
		})
	}
	for range 12 {
		writers.Go(func() {
			for left.Add(-1) >= 0 {
				h.write(ctx)
			}
		})
	}
	for range 4 {
		repeat(10*time.Millisecond, func() { h.delayed(ctx) })
	}
	repeat(20*time.Millisecond, func() { h.move(ctx) })
	repeat(time.Second, h.killOne)
	repeat(3*time.Second, func() { //nolint:contextcheck // the server outlives this step
		h.redis.Kill()
		time.Sleep(500 * time.Millisecond)
		h.redis.Restart(h.tb)
	})
	writers.Wait()
	close(stop)
	others.Wait()
	return before
}

// write sends a message as some member of some conversation, slowly enough for the trouble to
// happen.
func (h *hunt) write(ctx context.Context) {
	time.Sleep(rand.N(40 * time.Millisecond))
	for {
		convo, user := h.convos[rand.IntN(len(h.convos))], h.users[rand.IntN(len(h.users))]
		_, err := h.store.SendMessage(ctx, store.SendParams{
			Key: mls.ConvoKey{ConvoID: convo}, Sender: user.DID, ID: mls.NewMessageID(time.Now()),
			Ciphertext: make([]byte, []int{512, 512, 1024, 8192}[rand.IntN(4)]), At: bucketed(),
		})
		if err == nil {
			return
		}
		if !errors.Is(err, mls.ErrConvoNotFound) && !errors.Is(err, mls.ErrNotMember) && !errors.Is(err, mls.ErrBusy) {
			h.tb.Errorf("send: %v", err)
			return
		}
	}
}

// delayed holds a transaction open that has its id and has written, so that
// later ones commit before it, then writes to another conversation.
func (h *hunt) delayed(ctx context.Context) {
	pair := []mls.ConvoID{h.convos[rand.IntN(len(h.convos))], h.convos[rand.IntN(len(h.convos))]}
	slices.Sort(pair)
	rolledBack := errors.New("rolled back on purpose")
	err := h.store.InTx(ctx, func(tx *store.Tx) error {
		for _, convo := range slices.Compact(pair) {
			if _, err := tx.LockConvo(ctx, mls.ConvoKey{ConvoID: convo}); err != nil {
				return err
			}
			epoch := mls.Epoch(rand.IntN(1 << 20))
			if err := tx.AppendEvents(ctx, convo, bucketed(), store.NewEvent{Kind: store.EventEpochAdvanced, Audience: store.ToMembers, Epoch: &epoch}); err != nil {
				return err
			}
			time.Sleep(rand.N(30 * time.Millisecond))
		}
		if rand.IntN(4) == 0 {
			return rolledBack
		}
		return nil
	})
	if err != nil && !errors.Is(err, rolledBack) && !errors.Is(err, mls.ErrBusy) {
		h.tb.Errorf("delayed transaction: %v", err)
	}
}

// move lets a user leave a conversation, or join it, with one device or one more.
func (h *hunt) move(ctx context.Context) {
	convo, user := h.convos[rand.IntN(len(h.convos))], h.users[rand.IntN(len(h.users))]
	err := h.store.InTx(ctx, func(tx *store.Tx) error {
		if _, err := tx.LockConvo(ctx, mls.ConvoKey{ConvoID: convo}); err != nil {
			return err
		}
		if rand.IntN(3) == 0 {
			_, err := tx.RemoveUser(ctx, convo, user.DID, store.LeaveRemoved, bucketed())
			return err
		}
		device := mls.DeviceID("")
		if n := rand.IntN(3); n > 0 {
			device = mls.DeviceID(fmt.Sprintf("%08d-1111-4111-8111-111111111111", n))
		}
		return tx.UpsertMembers(ctx, convo, []store.NewMember{{User: user.DID, Device: device, MLSDID: string(user.DID)}}, store.Place{At: bucketed()})
	})
	if err != nil && !errors.Is(err, mls.ErrBusy) {
		h.tb.Errorf("move: %v", err)
	}
}

func (h *hunt) killOne() {
	i := rand.IntN(len(h.processes))
	h.mu.Lock()
	victim := h.processes[i]
	h.mu.Unlock()
	victim.kill()
	h.kills.Add(1)
	next := h.start(h.tb, "REDIS_URL="+h.redis.URL())
	h.mu.Lock()
	defer h.mu.Unlock()
	h.processes[i] = next
}

func (s *seen) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.events)
}

// read follows on one server after the other until ctx ends.
func (h *hunt) read(ctx context.Context, s *seen, connected func()) {
	connected = sync.OnceFunc(connected)
	for ctx.Err() == nil {
		h.mu.Lock()
		p := h.processes[rand.IntN(len(h.processes))]
		h.mu.Unlock()
		follow := p.follow
		if s.socket {
			follow = p.subscribe
		}
		e, err := follow(h.users[s.user], s.cursor)
		if err != nil {
			if strings.Contains(err.Error(), "ConvoEvents: 4") && !strings.Contains(err.Error(), "429") {
				h.tb.Errorf("a stream was refused: %v", err)
				return
			}
			time.Sleep(20 * time.Millisecond)
			continue
		}
		s.cursor = e.id
		connected()
		h.readOne(ctx, s, e)
		h.drops.Add(1)
	}
}

func (h *hunt) readOne(ctx context.Context, s *seen, e *events) {
	drop := time.AfterFunc(200*time.Millisecond+rand.N(4*time.Second), func() { _ = e.conn.Close() })
	defer drop.Stop()
	defer context.AfterFunc(ctx, func() { _ = e.conn.Close() })()
	defer func() { _ = e.conn.Close() }()
	var data []byte
	for {
		var err error
		if data, err = e.next(data); err != nil {
			return
		}
		name, err := describe(data)
		if err != nil {
			h.tb.Errorf("event %.100q: %v", data, err)
			return
		}
		if name != "" {
			s.mu.Lock()
			s.events = append(s.events, name)
			s.mu.Unlock()
		}
		s.cursor = e.id
	}
}

// describe names an event as expected does, "" for events about the stream itself.
func describe(data []byte) (string, error) {
	var frame struct {
		Event struct {
			Message *struct {
				ConvoID string `json:"convoId"`
				Seq     int64  `json:"seq"`
			} `json:"message"`
			Kind    string `json:"kind"`
			ConvoID string `json:"convoId"`
			UserDID string `json:"userDid"`
			Epoch   int64  `json:"epoch"`
		} `json:"event"`
	}
	if err := json.Unmarshal(data, &frame); err != nil {
		return "", err
	}
	e := frame.Event
	switch {
	case e.Message != nil:
		return fmt.Sprintf("%s message %d", e.Message.ConvoID, e.Message.Seq), nil
	case e.Kind == "position", e.Kind == "slow-consumer", e.Kind == "server-restart", e.Kind == "rollover", e.Kind == "reauthenticate":
		return "", nil
	}
	return fmt.Sprintf("%s %s %s %d", e.ConvoID, e.Kind, e.UserDID, e.Epoch), nil
}

// expected is what each user may see, by the log and the rosters before.
func (h *hunt) expected(ctx context.Context, after store.LogCursor, members map[mls.ConvoID]map[mls.DID]bool) [][]string {
	want := make([][]string, len(h.users))
	for {
		page, err := h.store.ReadLog(ctx, after, 1000)
		if err != nil {
			h.tb.Fatal(err)
		}
		for _, e := range page.Entries {
			after = e.Cursor
			convo := groupOf(e.ConvoID) // which is what clients are told
			name := fmt.Sprintf("%s message %d", convo, e.Seq)
			switch e.Kind {
			case store.EventMessage:
			case store.EventEpochAdvanced:
				name = fmt.Sprintf("%s epoch-advanced  %d", convo, *e.Epoch)
			default:
				name = fmt.Sprintf("%s membership-changed %s %d", convo, e.User, *e.Epoch)
			}
			if e.Kind == store.EventMemberJoined {
				members[e.ConvoID][e.User] = true
			}
			for i, u := range h.users {
				if members[e.ConvoID][u.DID] {
					want[i] = append(want[i], name)
				}
			}
			if e.Kind == store.EventMemberLeft {
				members[e.ConvoID][e.User] = false
			}
		}
		if len(page.Entries) == 0 && !page.Unsettled {
			return want
		}
	}
}
