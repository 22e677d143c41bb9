package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"mls-server/internal/mls"
)

// wantGapless checks of every conversation that its seqs are 1 to last_seq, and
// that the log tells of its messages once and in their order (I3, I5).
func wantGapless(t *testing.T, s *Store) {
	t.Helper()
	if n := one[int64](t, s, `SELECT count(*) FROM conversations c WHERE c.last_seq <>
		(SELECT count(*) FROM messages m WHERE m.convo_id = c.id AND m.seq BETWEEN 1 AND c.last_seq)`); n != 0 {
		t.Errorf("%d conversations have gaps", n)
	}
	next := map[mls.ConvoID]mls.Seq{}
	for _, e := range readAll(t, s, LogCursor{}) {
		if e.Kind != EventMessage {
			continue
		}
		next[e.ConvoID]++
		if e.Seq != next[e.ConvoID] {
			t.Fatalf("the log has seq %d where %d belongs", e.Seq, next[e.ConvoID])
		}
	}
	total := mls.Seq(0)
	for _, n := range next {
		total += n
	}
	if rows := one[int64](t, s, "SELECT count(*) FROM messages"); rows != int64(total) {
		t.Errorf("%d messages, %d events", rows, total)
	}
}

// Each message of a batch gets the answer that it would have got by itself, and
// the good ones their places in order.
func TestBatchOutcomes(t *testing.T) {
	t.Parallel()
	s := open(t, 4)
	first, second := newConvo(t, s, alice, bob), newConvo(t, s, alice, carol)
	group := one[string](t, s, "SELECT group_id FROM conversations WHERE id = '"+string(first)+"'")
	inTx(t, s, func(tx *Tx) error {
		_, err := tx.RemoveUser(t.Context(), first, bob, LeaveSelf, noon)
		return err
	})
	old := message(first, alice, "stored before")
	_, err := s.SendMessage(t.Context(), old)
	must(t, err)
	change := func(p SendParams, change func(*SendParams)) SendParams {
		change(&p)
		return p
	}
	size := int64(5)
	twin := message(first, alice, "twin")
	cases := []struct {
		name string
		send SendParams
		err  error
		want SendResult
	}{
		{"good", change(message(first, alice, "a"), func(p *SendParams) { p.DeclaredSize = &size }), nil, SendResult{ConvoID: first, Seq: 2, Epoch: 1}},
		{"unknown conversation", message(mls.NewConvoID(noon, "00"), alice, "b"), mls.ErrConvoNotFound, SendResult{}},
		{"stranger", message(first, carol, "c"), mls.ErrConvoNotFound, SendResult{}},
		{"left", message(first, bob, "d"), mls.ErrNotMember, SendResult{}},
		{"another conversation", message(second, carol, "e"), nil, SendResult{ConvoID: second, Seq: 1, Epoch: 1}},
		{"epoch behind", change(message(first, alice, "f"), func(p *SendParams) { p.Epoch = 0 }), mls.ErrEpochMismatch, SendResult{}},
		{"epoch ahead", change(message(first, alice, "g"), func(p *SendParams) { p.Epoch, p.Grace = 2, 3 }), mls.ErrEpochMismatch, SendResult{}},
		{"within the grace", change(message(first, alice, "h"), func(p *SendParams) { p.Epoch, p.Grace = 0, 1 }), nil, SendResult{ConvoID: first, Seq: 3, Epoch: 0}},
		{"another group", change(message(first, alice, "i"), func(p *SendParams) { p.GroupID = "00" }), mls.ErrInvalidAsset, SendResult{}},
		{"by group id", change(message(first, alice, "j"), func(p *SendParams) { p.Key = mls.ConvoKey{GroupID: mls.GroupID(group)} }), nil, SendResult{ConvoID: first, Seq: 4, Epoch: 1}},
		{"repeat", old, nil, SendResult{ConvoID: first, Seq: 1, Epoch: 1, Repeated: true}},
		{"conflict", change(old, func(p *SendParams) { p.Ciphertext = []byte("other") }), mls.ErrMessageIDConflict, SendResult{}},
		{"twin", twin, nil, SendResult{ConvoID: first, Seq: 5, Epoch: 1}},
		{"twin again", twin, nil, SendResult{ConvoID: first, Seq: 5, Epoch: 1, Repeated: true}},
		{"twin of another text", change(twin, func(p *SendParams) { p.Ciphertext = []byte("other") }), mls.ErrMessageIDConflict, SendResult{}},
		{"the last", message(first, alice, "k"), nil, SendResult{ConvoID: first, Seq: 6, Epoch: 1}},
	}
	var sends []SendParams
	for _, c := range cases {
		sends = append(sends, c.send)
	}
	for i, got := range s.SendMessages(t.Context(), sends) {
		c := cases[i]
		if !errors.Is(got.Err, c.err) || c.err == nil && got.Err != nil {
			t.Errorf("%s: error %v, want %v", c.name, got.Err, c.err)
		}
		if c.err == nil {
			c.want.ReceivedAt = noon.Truncate(2 * time.Second)
		}
		if got.Result != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got.Result, c.want)
		}
	}
	wantGapless(t, s)
	if n := one[int64](t, s, "SELECT declared_size FROM messages WHERE seq = 2"); n != size {
		t.Errorf("declared size %d", n)
	}
	if n := one[int64](t, s, "SELECT count(*) FROM messages WHERE declared_size IS NULL AND padded_size = octet_length(ciphertext) AND sender_did IS NULL"); n != 6 {
		t.Errorf("%d plain rows, want 6", n)
	}
	// I7: nothing that was written for an application message names its sender.
	for _, table := range []string{"messages", "event_stream"} {
		if n := one[int64](t, s, "SELECT count(*) FROM "+table+" x WHERE x.kind = 1 AND x::text LIKE '%did:plc:%'"); n != 0 {
			t.Errorf("%d rows of %s name a person", n, table)
		}
	}
}

func TestBatchCostsOneStatement(t *testing.T) {
	t.Parallel()
	s := open(t, 2)
	var sends []SendParams
	for range 50 {
		convo := newConvo(t, s, alice, bob)
		sends = append(sends, message(convo, alice, "one"), message(convo, bob, "two"))
	}
	ctx, counter := WithCounter(t.Context())
	for _, o := range s.SendMessages(ctx, sends) {
		must(t, o.Err)
	}
	if n := counter.Statements(); n != 1 {
		t.Errorf("%d statements, want 1", n)
	}
	wantGapless(t, s)
}

// Batches of many senders that cross in many conversations neither deadlock nor
// leave gaps, beside single sends and commits; twins that two batches carry at
// the same time are stored once.
func TestBatchesCross(t *testing.T) {
	t.Parallel()
	const conversations, rounds, writers = 12, 15, 8
	s := open(t, 16)
	convos := make([]mls.ConvoID, conversations)
	for i := range convos {
		convos[i] = newConvo(t, s, alice, bob)
	}
	shared := make([][]SendParams, rounds)
	for r := range shared {
		for _, c := range convos {
			p := message(c, alice, fmt.Sprint("shared ", r))
			p.Grace = 5
			shared[r] = append(shared[r], p)
		}
	}
	for _, err := range race(writers, func(w int) error {
		for r := range rounds {
			sends := slices.Clone(shared[r])
			for _, c := range convos {
				p := message(c, bob, fmt.Sprint(w, r))
				p.Grace = 5
				sends = append(sends, p)
			}
			if w%2 == 1 {
				slices.Reverse(sends)
			}
			for _, o := range s.SendMessages(t.Context(), sends) {
				if o.Err != nil {
					return o.Err
				}
			}
			if w == 0 && r%5 == 4 {
				err := s.InTx(t.Context(), func(tx *Tx) error {
					locked, err := tx.LockConvo(t.Context(), key(convos[r%conversations]))
					if err != nil {
						return err
					}
					_, err = tx.AcceptCommit(t.Context(), commit(convos[r%conversations], locked.Epoch))
					return err
				})
				if err != nil {
					return err
				}
			}
		}
		return nil
	}) {
		must(t, err)
	}
	wantGapless(t, s)
	want := int64(conversations*rounds*(writers+1) + rounds/5)
	if n := one[int64](t, s, "SELECT count(*) FROM messages"); n != want {
		t.Errorf("%d messages, want %d", n, want)
	}
}

// A batch that waited for the removal of a sender is judged anew; the others in
// it are stored.
func TestBatchDuringRemoval(t *testing.T) {
	t.Parallel()
	s := open(t, 4)
	convo, other := newConvo(t, s, alice, bob), newConvo(t, s, alice)
	waiting := make(chan []SendOutcome, 1)
	inTx(t, s, func(tx *Tx) error {
		if _, err := tx.LockConvo(t.Context(), key(convo)); err != nil {
			return err
		}
		go func() {
			waiting <- s.SendMessages(t.Context(), []SendParams{
				message(convo, bob, "one last word"), message(convo, alice, "bye"), message(other, alice, "elsewhere"),
			})
		}()
		for one[int64](t, s, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'") == 0 {
			time.Sleep(5 * time.Millisecond)
		}
		_, err := tx.RemoveUser(t.Context(), convo, bob, LeaveRemoved, noon)
		return err
	})
	outcomes := <-waiting
	wantErr(t, outcomes[0].Err, mls.ErrNotMember)
	must(t, errors.Join(outcomes[1].Err, outcomes[2].Err))
	wantGapless(t, s)
}

// A value that the database refuses, and a conversation that stays locked, fail
// the messages they belong to and no other.
func TestBatchFaults(t *testing.T) {
	t.Parallel()
	s := open(t, 6)
	held, free := newConvo(t, s, alice), newConvo(t, s, alice)
	impatient, err := New(t.Context(), Config{URL: s.pool.Config().ConnString(), LockTimeout: 50 * time.Millisecond})
	must(t, err)
	t.Cleanup(impatient.Close)
	bad := message(free, alice, "bad")
	bad.ID = "\x00"
	outcomes := impatient.SendMessages(t.Context(), []SendParams{message(free, alice, "a"), bad, message(free, alice, "b")})
	must(t, errors.Join(outcomes[0].Err, outcomes[2].Err))
	if outcomes[1].Err == nil {
		t.Error("the database took a zero byte")
	}
	inTx(t, s, func(tx *Tx) error {
		if _, err := tx.LockConvo(t.Context(), key(held)); err != nil {
			return err
		}
		outcomes := impatient.SendMessages(t.Context(), []SendParams{message(held, alice, "a"), message(free, alice, "b"), message(held, alice, "c")})
		wantErr(t, outcomes[0].Err, mls.ErrBusy)
		wantErr(t, outcomes[2].Err, mls.ErrBusy)
		return outcomes[1].Err
	})
	wantGapless(t, s)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for _, o := range s.SendMessages(gone, []SendParams{message(held, alice, "a"), message(free, alice, "b")}) {
		wantErr(t, o.Err, context.Canceled)
	}
}
