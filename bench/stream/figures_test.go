package streambench

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mls-server/internal/authtest"
	"mls-server/internal/mls"
	"mls-server/internal/store"
)

var (
	figures   = flag.Bool("figures", false, "run TestFigures at full size and print what it measures")
	websocket = flag.Bool("websocket", false, "let TestFigures follow over WebSockets")
)

// plan is how large a run of TestFigures is.
type plan struct {
	// streams are the sizes at which latency is measured, ascending.
	streams []int
	// rate is messages a second, for the given time at each size.
	rate int
	time time.Duration
	// room is the members of each conversation.
	room int
	// behind is how many events a client catches up on.
	behind int
}

// Delivery latency, throughput, memory and database work of one server.
func TestFigures(t *testing.T) {
	t.Parallel()
	p := plan{streams: []int{20, 100}, rate: 20, time: time.Second, room: 10, behind: 1000}
	if *figures {
		p = plan{streams: []int{100, 1000, 5000}, rate: 50, time: 10 * time.Second, room: 20, behind: 10_000}
	}
	b := newBench(t, p)
	b.printf("%s, %d CPUs shared by clients, server and PostgreSQL; one server process, HTTP on loopback, %d-byte messages", runtime.Version(), runtime.NumCPU(), messageSize)
	for _, n := range p.streams {
		b.grow(n)
		b.latency(n)
	}
	b.saturate()
	b.catchUp()
}

const messageSize = 1024

// bench is one run.
type bench struct {
	*world
	tb     testing.TB
	plan   plan
	server *process
	rooms  []room
	idle   usage
	open   []*events
	wg     sync.WaitGroup
	// arrivals counts events on all streams; sent holds when each message was answered.
	arrivals atomic.Int64
	sent     sync.Map // of message id to *message
	mu       sync.Mutex
	delays   []time.Duration
}

type room struct {
	id      mls.ConvoID
	members []*authtest.Identity
}

// message is one that was sent; its delays are counted from the answer.
type message struct {
	answered chan struct{}
	at       time.Time
}

func newBench(t *testing.T, p plan) *bench {
	t.Helper()
	b := &bench{world: newWorld(t, p.streams[len(p.streams)-1], nil), tb: t, plan: p}
	for i := 0; i < len(b.users); i += p.room {
		r := room{id: mls.NewConvoID(time.Now(), newGroup()), members: b.users[i:min(i+p.room, len(b.users))]}
		b.convo(r)
		b.rooms = append(b.rooms, r)
	}
	b.server = b.start(t, "STREAMS_PER_USER=100", "DATABASE_MAX_CONNS=20")
	t.Cleanup(func() {
		for _, e := range b.open {
			_ = e.conn.Close()
		}
		b.wg.Wait()
	})
	return b
}

// follow opens a stream by the door that is measured.
func (b *bench) follow(user *authtest.Identity, cursor string) (*events, error) {
	if *websocket {
		return b.server.subscribe(user, cursor)
	}
	return b.server.follow(user, cursor)
}

func (b *bench) printf(format string, args ...any) {
	b.tb.Helper()
	if *figures {
		fmt.Fprintf(os.Stdout, format+"\n", args...)
		return
	}
	b.tb.Logf(format, args...)
}

// convo makes a conversation of all users of a room.
func (b *bench) convo(r room) {
	b.tb.Helper()
	ctx := b.tb.Context()
	members := make([]store.NewMember, len(r.members))
	for i, u := range r.members {
		members[i] = store.NewMember{User: u.DID, MLSDID: string(u.DID)}
	}
	err := b.store.InTx(ctx, func(tx *store.Tx) error {
		n := store.NewConvo{ID: r.id, GroupID: mls.GroupIDFromBytes([]byte(r.id)), Creator: members[0].User, CipherSuite: 1, At: bucketed()}
		if err := tx.CreateConvo(ctx, n); err != nil {
			return err
		}
		return tx.UpsertMembers(ctx, r.id, members, store.Place{At: bucketed()})
	})
	if err != nil {
		b.tb.Fatal(err)
	}
}

// grow opens streams, one for each user, until there are n, and reports what
// one costs while nothing happens.
func (b *bench) grow(n int) {
	b.tb.Helper()
	had := len(b.open)
	if had == 0 {
		b.settle()
		b.idle = b.server.usage(b.tb)
	}
	start := time.Now()
	opened := make([]*events, n-had)
	var wg sync.WaitGroup
	slots := make(chan struct{}, 32)
	for i := range opened {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			var err error
			if opened[i], err = b.follow(b.users[had+i], ""); err != nil {
				b.tb.Errorf("stream %d: %v", had+i, err)
			}
		})
	}
	wg.Wait()
	if b.tb.Failed() {
		b.tb.FailNow()
	}
	took := time.Since(start)
	b.open = append(b.open, opened...)
	for _, e := range opened {
		b.wg.Go(func() { b.read(e) })
	}
	b.settle()
	now := b.server.usage(b.tb)
	heap := b.server.metric(b.tb, "go_memstats_heap_inuse_bytes") + b.server.metric(b.tb, "go_memstats_stack_inuse_bytes")
	b.printf("%5d streams  opened %d in %v; resident set %.1f KiB a stream over the idle server's %d MiB; heap and stacks in use %d MiB in all",
		n, len(opened), took.Round(time.Millisecond), float64(now.rss-b.idle.rss)/float64(n)/1024, b.idle.rss>>20, int64(heap)>>20)
}

// settle lets the server become quiet.
func (b *bench) settle() {
	wait := 200 * time.Millisecond
	if *figures {
		wait = 3 * time.Second
	}
	time.Sleep(wait)
}

func (b *bench) read(e *events) {
	var data []byte
	for {
		var err error
		if data, err = e.next(data); err != nil {
			return
		}
		arrived := time.Now()
		b.arrivals.Add(1)
		_, rest, ok := bytes.Cut(data, []byte(`"id":"`))
		if !ok || len(rest) < 26 {
			continue
		}
		m, ok := b.sent.Load(string(rest[:26]))
		if !ok {
			continue
		}
		sent, _ := m.(*message)
		<-sent.answered
		b.mu.Lock()
		b.delays = append(b.delays, arrived.Sub(sent.at))
		b.mu.Unlock()
	}
}

// latency sends at a fixed rate into rooms whose members all listen. The
// clock of a message starts when sendMessage has answered.
func (b *bench) latency(n int) {
	b.tb.Helper()
	ctx := b.tb.Context()
	rooms := b.rooms[:n/b.plan.room]
	count := int(b.plan.time.Seconds() * float64(b.plan.rate))
	b.delays = b.delays[:0]
	read, fetched := b.queries("ReadLog"), b.queries("ReadStreamMessages")
	start := time.Now()
	var wg sync.WaitGroup
	for i := range count {
		due := start.Add(time.Duration(i) * time.Second / time.Duration(b.plan.rate))
		time.Sleep(time.Until(due))
		wg.Go(func() {
			r := rooms[rand.IntN(len(rooms))]
			id := mls.NewMessageID(time.Now())
			m := &message{answered: make(chan struct{})}
			b.sent.Store(string(id), m)
			var err error
			m.at, err = b.server.send(ctx, r.members[rand.IntN(len(r.members))].Bearer(serviceDID, sendNSID), r.id, id, messageSize)
			close(m.answered)
			if err != nil {
				b.tb.Errorf("send: %v", err)
			}
		})
	}
	wg.Wait()
	took := time.Since(start)
	want := count * b.plan.room
	for deadline := time.Now().Add(30 * time.Second); b.delivered() < want && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	polls := float64(took/(250*time.Millisecond)) + 1
	read, fetched = b.queries("ReadLog")-read, b.queries("ReadStreamMessages")-fetched
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.delays) != want {
		b.tb.Errorf("%d deliveries, want %d", len(b.delays), want)
	}
	slices.Sort(b.delays)
	b.printf("%5d streams  %d messages/s to rooms of %d: latency p50 %v, p99 %v, max %v (%d deliveries); database reads per message: %.2f of the log (%.2f of it polls at most), %.2f of messages",
		n, b.plan.rate, b.plan.room, b.quantile(0.5), b.quantile(0.99), b.quantile(1), len(b.delays), read/float64(count), polls/float64(count), fetched/float64(count))
}

func (b *bench) delivered() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.delays)
}

func (b *bench) quantile(q float64) time.Duration {
	if len(b.delays) == 0 {
		return 0
	}
	return b.delays[int(q*float64(len(b.delays)-1))].Round(10 * time.Microsecond)
}

func (b *bench) queries(name string) float64 {
	return b.server.metric(b.tb, "mls_query_duration_seconds_count", `query="`+name+`"`)
}

// saturate sends as fast as the server takes it into one room of a thousand
// members, or of all there are.
func (b *bench) saturate() {
	b.tb.Helper()
	members := b.users[:min(1000, len(b.users))]
	r := room{id: mls.NewConvoID(time.Now(), newGroup()), members: members}
	b.convo(r)
	// All streams must know of it before the count begins.
	for before := b.arrivals.Load(); b.arrivals.Load() < before+int64(len(members)); {
		time.Sleep(10 * time.Millisecond)
	}
	b.settle()
	ctx, cancel := context.WithTimeout(b.tb.Context(), b.plan.time)
	defer cancel()
	start, arrived := time.Now(), b.arrivals.Load()
	cpu := b.server.usage(b.tb).cpu
	const senders = 4
	var sent atomic.Int64
	var wg sync.WaitGroup
	for i := range senders {
		wg.Go(func() {
			for ctx.Err() == nil {
				// What the streams have not read yet must not pile up without end.
				if sent.Load()*int64(len(members))-(b.arrivals.Load()-arrived) > int64(len(members))*200 {
					time.Sleep(time.Millisecond)
					continue
				}
				bearer := members[i].Bearer(serviceDID, sendNSID)
				if _, err := b.server.send(context.WithoutCancel(ctx), bearer, r.id, mls.NewMessageID(time.Now()), messageSize); err != nil {
					b.tb.Errorf("send: %v", err)
					return
				}
				sent.Add(1)
			}
		})
	}
	<-ctx.Done()
	got, took := b.arrivals.Load()-arrived, time.Since(start)
	wg.Wait()
	cpu = b.server.usage(b.tb).cpu - cpu
	b.printf("saturation     %d deliveries/s to %d streams of one room (%d messages in %v; the server used %.2f of a CPU, %.1f µs a delivery)",
		int(float64(got)/took.Seconds()), len(members), sent.Load(), took.Round(time.Millisecond), cpu.Seconds()/took.Seconds(), float64(cpu.Microseconds())/float64(max(got, 1)))
}

// catchUp connects a client that has missed a week.
func (b *bench) catchUp() {
	b.tb.Helper()
	ctx := b.tb.Context()
	reader, writer := b.directory.NewIdentity(authtest.P256), b.directory.NewIdentity(authtest.P256)
	var rooms []room
	for range 10 {
		r := room{id: mls.NewConvoID(time.Now(), newGroup()), members: []*authtest.Identity{reader, writer}}
		b.convo(r)
		rooms = append(rooms, r)
	}
	e, err := b.follow(reader, "")
	if err != nil {
		b.tb.Fatal(err)
	}
	_ = e.conn.Close()
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := w; i < b.plan.behind; i += 8 {
				_, err := b.store.SendMessage(ctx, store.SendParams{
					Key: mls.ConvoKey{ConvoID: rooms[i%len(rooms)].id}, Sender: writer.DID, ID: mls.NewMessageID(time.Now()),
					Ciphertext: make([]byte, messageSize), At: bucketed(),
				})
				if err != nil {
					b.tb.Errorf("send: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.settle()
	before := b.server.usage(b.tb)
	start := time.Now()
	if e, err = b.follow(reader, e.id); err != nil {
		b.tb.Fatal(err)
	}
	defer func() { _ = e.conn.Close() }()
	var data []byte
	highest := before.rss
	messages := 0
	for messages < b.plan.behind {
		if data, err = e.next(data); err != nil {
			b.tb.Fatal(err)
		}
		if bytes.Contains(data, []byte("messageEvent")) {
			messages++
		}
		if messages%1000 == 0 {
			highest = max(highest, b.server.usage(b.tb).rss)
		}
	}
	took, after := time.Since(start), b.server.usage(b.tb)
	b.printf("catch-up       %d events of %d bytes in %v, %v of server CPU; the resident set grew by %s at most",
		b.plan.behind, messageSize, took.Round(time.Millisecond), after.cpu-before.cpu, strconv.FormatInt((highest-before.rss)>>10, 10)+" KiB")
}
