package batch_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mls-server/internal/batch"
	"mls-server/internal/mls"
	"mls-server/internal/pgtest"
	"mls-server/internal/store"
)

const (
	alice = mls.DID("did:plc:alice")
	bob   = mls.DID("did:plc:bob")
	carol = mls.DID("did:plc:carol")
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// world is a database and the senders that must not differ.
type world struct {
	store  *store.Store
	number func(t *testing.T, sql string) int64 // reads one past the store
	sender sender
}

// sender stores messages, one by one or together.
type sender interface {
	SendMessage(ctx context.Context, p store.SendParams) (store.SendResult, error)
}

// eachWay runs a test for sends that are written together and by themselves.
func eachWay(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	for name, open := range map[string]func(*store.Store) sender{
		"batched": func(s *store.Store) sender { return batch.NewSends(s, batch.Config{}) },
		"small batches": func(s *store.Store) sender {
			return batch.NewSends(s, batch.Config{Workers: 1, MaxMessages: 3, MaxBytes: 2000})
		},
		"each alone": func(s *store.Store) sender { return s },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := pgtest.New(t)
			s, err := store.New(t.Context(), store.Config{URL: url, MaxConns: poolSize, LockTimeout: time.Minute, StatementTimeout: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.Close)
			pool := pgtest.Open(t, url)
			number := func(t *testing.T, sql string) (n int64) {
				t.Helper()
				if err := pool.QueryRow(t.Context(), sql).Scan(&n); err != nil {
					t.Fatal(err)
				}
				return n
			}
			test(t, &world{store: s, number: number, sender: open(s)})
		})
	}
}

// convo makes a conversation at epoch 1.
func (w *world) convo(t *testing.T, users ...mls.DID) mls.ConvoID {
	t.Helper()
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails
	group := mls.GroupIDFromBytes(random[:])
	id := mls.NewConvoID(noon, group)
	err := w.store.InTx(t.Context(), func(tx *store.Tx) error {
		err := tx.CreateConvo(t.Context(), store.NewConvo{
			ID: id, GroupID: group, Creator: users[0], CipherSuite: 1, Epoch: 1, At: noon,
		})
		if err != nil {
			return err
		}
		var members []store.NewMember
		for _, u := range users {
			members = append(members, store.NewMember{User: u, MLSDID: string(u)})
		}
		if err := tx.UpsertMembers(t.Context(), id, members, store.Place{Epoch: 1, At: noon}); err != nil {
			return err
		}
		return tx.Promote(t.Context(), id, users[0], users[0], noon)
	})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func message(convo mls.ConvoID, sender mls.DID, text string) store.SendParams {
	return store.SendParams{
		Key: mls.ConvoKey{ConvoID: convo}, Sender: sender, ID: mls.NewMessageID(noon), Epoch: 1, Ciphertext: fmt.Appendf(nil, "%-512s", text), At: noon,
	}
}

// race runs n functions at once.
func race(n int, fn func(i int)) {
	var done sync.WaitGroup
	for i := range n {
		done.Go(func() { fn(i) })
	}
	done.Wait()
}

// I3: concurrent senders leave no gap, each gets a seq of its own, and the seqs
// that one sender sees grow.
func TestSendersAreGapless(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, w *world) {
		t.Helper()
		const senders, each, convos = 32, 20, 3
		var ids []mls.ConvoID
		for range convos {
			ids = append(ids, w.convo(t, alice, bob))
		}
		race(senders, func(i int) {
			last := mls.Seq(0)
			for range each {
				got, err := w.sender.SendMessage(t.Context(), message(ids[i%convos], bob, "hello"))
				if err != nil || got.Seq <= last || got.ConvoID != ids[i%convos] {
					t.Errorf("%+v after seq %d, %v", got, last, err)
					return
				}
				last = got.Seq
			}
		})
		if n := w.number(t, `SELECT count(*) FROM (SELECT seq, row_number() OVER (PARTITION BY convo_id ORDER BY seq) AS n FROM messages) x WHERE seq = n`); n != senders*each {
			t.Errorf("%d messages in place, want %d", n, senders*each)
		}
		if n := w.number(t, `SELECT count(*) FROM (SELECT seq, row_number() OVER (PARTITION BY convo_id ORDER BY generation, log_xid, position) AS n
			FROM event_stream WHERE kind = 1) x WHERE seq = n`); n != senders*each {
			t.Errorf("%d events in the order of seq, want %d", n, senders*each)
		}
		if n := w.number(t, "SELECT count(*) FROM conversations WHERE last_seq <> (SELECT count(*) FROM messages WHERE convo_id = id)"); n != 0 {
			t.Errorf("last_seq of %d conversations is off", n)
		}
		if n := w.number(t, "SELECT count(*) FROM messages x WHERE x::text LIKE '%did:%'") + w.number(t, "SELECT count(*) FROM event_stream x WHERE kind = 1 AND x::text LIKE '%did:%'"); n != 0 {
			t.Errorf("%d rows name a person (I7)", n)
		}
	})
}

// Twins at the same moment leave one row, and one bad message fails no other.
func TestSendersTellApart(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, w *world) {
		t.Helper()
		convo := w.convo(t, alice, bob)
		for range 5 {
			twin := message(convo, alice, "twin")
			conflict, wrongEpoch, wrongGroup := twin, message(convo, alice, "late"), message(convo, alice, "lost")
			wrongEpoch.Epoch, wrongGroup.GroupID = 0, "00"
			if _, err := w.sender.SendMessage(t.Context(), twin); err != nil {
				t.Fatal(err)
			}
			conflict.Ciphertext = []byte("another")
			fresh := message(convo, bob, "twin of itself")
			cases := []struct {
				send store.SendParams
				err  error
			}{
				{twin, nil},
				{conflict, mls.ErrMessageIDConflict},
				{wrongEpoch, mls.ErrEpochMismatch},
				{wrongGroup, mls.ErrInvalidAsset},
				{message(convo, carol, "stranger"), mls.ErrConvoNotFound},
				{message(mls.NewConvoID(noon, "00"), alice, "nowhere"), mls.ErrConvoNotFound},
				{fresh, nil},
				{fresh, nil},
				{fresh, nil},
				{message(convo, bob, "good"), nil},
			}
			seqs := make([]mls.Seq, len(cases))
			race(len(cases), func(i int) {
				got, err := w.sender.SendMessage(t.Context(), cases[i].send)
				if !errors.Is(err, cases[i].err) || cases[i].err == nil && err != nil {
					t.Errorf("case %d: error %v, want %v", i, err, cases[i].err)
				}
				seqs[i] = got.Seq
			})
			if seqs[6] != seqs[7] || seqs[7] != seqs[8] || seqs[6] == seqs[9] {
				t.Errorf("seqs of three twins and another: %v", seqs[6:])
			}
		}
		if rows, last := w.number(t, "SELECT count(*) FROM messages"), w.number(t, "SELECT last_seq FROM conversations"); rows != 15 || last != 15 {
			t.Errorf("%d rows, last_seq %d, want 15", rows, last)
		}
	})
}

// A send costs one round trip.
func TestSendersTakeOneRoundTrip(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, w *world) {
		t.Helper()
		convo := w.convo(t, alice)
		ctx, counter := store.WithCounter(t.Context())
		if _, err := w.sender.SendMessage(ctx, message(convo, alice, "hello")); err != nil {
			t.Fatal(err)
		}
		if n := counter.Statements(); n != 1 {
			t.Errorf("%d statements, want 1", n)
		}
	})
}

// poolSize is how many connections the store has.
const poolSize = 16

// A database that is away fails what was not stored, and nothing after its return.
func TestSendersOutliveBrokenConnections(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, w *world) {
		t.Helper()
		convo := w.convo(t, alice)
		var stored sync.Map
		stop, progress := make(chan struct{}), make(chan struct{})
		var senders sync.WaitGroup
		for range 8 {
			senders.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					p := message(convo, alice, "hello")
					if got, err := w.sender.SendMessage(t.Context(), p); err == nil {
						stored.Store(p.ID, got.Seq)
						select {
						case progress <- struct{}{}:
						case <-stop:
						}
					}
				}
			})
		}
		for range 5 {
			for range 20 {
				<-progress
			}
			w.number(t, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
		}
		close(stop)
		senders.Wait()
		// Each call that meets a broken connection takes it out of the pool.
		err := errors.New("never sent")
		for range poolSize + 1 {
			if _, err = w.sender.SendMessage(t.Context(), message(convo, alice, "after")); err == nil {
				break
			}
		}
		if err != nil {
			t.Errorf("after its return: %v", err)
		}
		stored.Range(func(id, seq any) bool {
			if n := w.number(t, fmt.Sprintf("SELECT count(*) FROM messages WHERE msg_id = '%s' AND seq = %d", id, seq)); n != 1 {
				t.Errorf("an acknowledged message is gone (I6)")
			}
			return !t.Failed()
		})
		if n := w.number(t, "SELECT count(*) FROM conversations WHERE last_seq <> (SELECT count(*) FROM messages)"); n != 0 {
			t.Error("last_seq is off")
		}
	})
}

// fake is a store whose statements wait for the test.
type fake struct {
	entered chan int // the size of each batch, once its statement runs
	release chan struct{}
}

func (f *fake) SendMessage(ctx context.Context, p store.SendParams) (store.SendResult, error) {
	o := f.SendMessages(ctx, []store.SendParams{p})[0]
	return o.Result, o.Err
}

func (f *fake) SendMessages(ctx context.Context, messages []store.SendParams) []store.SendOutcome {
	f.entered <- len(messages)
	<-f.release
	out := make([]store.SendOutcome, len(messages))
	for i, m := range messages {
		out[i] = store.SendOutcome{Result: store.SendResult{Seq: mls.Seq(m.Epoch)}, Err: ctx.Err()}
	}
	return out
}

// A lone send goes at once; what arrives meanwhile goes together, within the
// bounds, without those whose callers have left; the caller of a statement under
// way may leave without failing the others.
func TestBatchesForm(t *testing.T) {
	t.Parallel()
	f := &fake{entered: make(chan int), release: make(chan struct{})}
	b := batch.NewSends(f, batch.Config{Workers: 1, MaxMessages: 4, MaxBytes: 2048, Patience: time.Minute})
	var callers sync.WaitGroup
	send := func(ctx context.Context, n int, size int, want error) {
		callers.Go(func() {
			p := store.SendParams{Epoch: mls.Epoch(n), Ciphertext: make([]byte, size)}
			got, err := b.SendMessage(ctx, p)
			if !errors.Is(err, want) || want == nil && (err != nil || got.Seq != mls.Seq(n)) {
				t.Errorf("send %d: %+v, %v", n, got, err)
			}
		})
	}
	gone, leave := context.WithCancel(t.Context())
	send(gone, 1, 10, context.Canceled)
	if n := <-f.entered; n != 1 {
		t.Fatalf("the first batch has %d messages", n)
	}
	for n := range 6 {
		send(t.Context(), n+2, 10, nil)
	}
	send(gone, 8, 10, context.Canceled)
	queued(t, b, 7)
	leave()
	// Past the queue: it would fill half a batch by itself.
	send(t.Context(), 9, 1500, nil)
	if n := <-f.entered; n != 1 {
		t.Fatalf("a large message came in a batch of %d", n)
	}
	f.release <- struct{}{}
	f.release <- struct{}{}
	if n := <-f.entered; n != 4 {
		t.Fatalf("the second batch has %d messages, want 4", n)
	}
	f.release <- struct{}{}
	if n := <-f.entered; n != 2 {
		t.Fatalf("the third batch has %d messages, want 2: one caller left", n)
	}
	for n := range 3 {
		send(t.Context(), n+10, 900, nil)
	}
	queued(t, b, 3)
	f.release <- struct{}{}
	if n := <-f.entered; n != 2 {
		t.Fatalf("%d messages of 900 bytes in a batch of 2048", n)
	}
	f.release <- struct{}{}
	<-f.entered
	f.release <- struct{}{}
	callers.Wait()
}

// A statement that is held up keeps the messages of its own conversations and no
// others; those keep their order. Only so many are under way at once.
func TestHeldUpBatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{entered: make(chan int), release: make(chan struct{})}
		b := batch.NewSends(f, batch.Config{Workers: 1, Patience: time.Second})
		var callers sync.WaitGroup
		send := func(convo int) {
			callers.Go(func() {
				p := store.SendParams{Key: mls.ConvoKey{ConvoID: mls.ConvoID(fmt.Sprint(convo))}, Epoch: 1, Ciphertext: make([]byte, 10)}
				if _, err := b.SendMessage(t.Context(), p); err != nil {
					t.Errorf("a send into %d: %v", convo, err)
				}
			})
		}
		const limit = 8
		for convo := range limit {
			begin := time.Now()
			send(convo)
			if n := <-f.entered; n != 1 {
				t.Fatalf("a batch of %d messages", n)
			}
			if waited := time.Since(begin); convo > 0 && waited != time.Second {
				t.Errorf("a statement began %v after the one before, want it to be given a second", waited)
			}
		}
		send(0)
		send(0)
		send(limit)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		select {
		case <-f.entered:
			t.Fatal("one statement too many")
		default:
		}
		if n := b.Queued(); n != 3 {
			t.Errorf("%d calls in the queue, want 3", n)
		}
		for range limit {
			f.release <- struct{}{}
		}
		// The two into the first conversation travel together, whichever of them and
		// the third comes first.
		for left := 3; left > 0; f.release <- struct{}{} {
			left -= <-f.entered
		}
		callers.Wait()
		if n := b.Queued(); n != 0 {
			t.Errorf("%d calls in the queue at the end", n)
		}
	})
}

// The messages of a conversation are in one statement at a time (I3): a later one
// waits for the statement under way, although a worker is free and takes others.
func TestOneStatementAConversation(t *testing.T) {
	t.Parallel()
	f := &fake{entered: make(chan int), release: make(chan struct{})}
	b := batch.NewSends(f, batch.Config{Workers: 2, Patience: time.Minute})
	var callers sync.WaitGroup
	defer callers.Wait()
	defer close(f.release)
	send := func(convo mls.ConvoID) {
		callers.Go(func() {
			p := store.SendParams{Key: mls.ConvoKey{ConvoID: convo}, Epoch: 1, Ciphertext: make([]byte, 10)}
			if _, err := b.SendMessage(t.Context(), p); err != nil {
				t.Error(err)
			}
		})
	}
	send("first")
	<-f.entered
	send("first")
	queued(t, b, 1)
	send("second")
	if n := <-f.entered; n != 1 {
		t.Fatalf("%d messages in the second statement, want only that of the other conversation", n)
	}
	f.release <- struct{}{}
	f.release <- struct{}{}
	if n := <-f.entered; n != 1 {
		t.Fatalf("%d messages in the third statement", n)
	}
}

// queued waits until n calls are in a queue.
func queued(t *testing.T, b interface{ Queued() int }, n int) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); b.Queued() != n; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d calls in the queue, want %d", b.Queued(), n)
		}
	}
}
