package store

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"mls-server/internal/mls"
)

// The log is in the order of seq within each conversation, settled events stay
// settled, and a tailer misses nothing, while transactions that got their ids
// early commit late.
func TestLogUnderDelayedTransactions(t *testing.T) {
	t.Parallel()
	const writers, each = 12, 25
	s := open(t, 20)
	convos := []mls.ConvoID{newConvo(t, s, alice), newConvo(t, s, alice), newConvo(t, s, alice)}
	done := make(chan struct{})
	var seen []LogEntry
	var tailer sync.WaitGroup
	tailer.Go(func() {
		var at LogCursor
		for last := false; ; {
			page, err := s.ReadLog(t.Context(), at, 7)
			if err != nil {
				t.Error(err)
				return
			}
			for _, e := range page.Entries {
				if e.Cursor.Compare(at) <= 0 {
					t.Errorf("from %v back to %v", at, e.Cursor)
				}
				at = e.Cursor
				seen = append(seen, e)
			}
			if len(page.Entries) > 0 {
				continue
			}
			if last && !page.Unsettled {
				return
			}
			select {
			case <-done:
				last = true
			case <-time.After(time.Millisecond):
			}
		}
	})
	for _, err := range race(writers, func(i int) error {
		for n := range each {
			convo := convos[(i+n)%len(convos)]
			if i%2 == 0 {
				if _, err := s.SendMessage(t.Context(), message(convo, alice, "hello")); err != nil {
					return err
				}
				continue
			}
			err := s.InTx(t.Context(), func(tx *Tx) error {
				// The id is taken long before the lock.
				if _, err := tx.tx.Exec(t.Context(), "SELECT pg_current_xact_id()"); err != nil {
					return err
				}
				time.Sleep(time.Duration(rand.IntN(8)) * time.Millisecond)
				current, err := tx.LockConvo(t.Context(), key(convo))
				if err != nil {
					return err
				}
				h := commit(convo, current.Epoch)
				if _, err := tx.AcceptProposal(t.Context(), h); err != nil {
					return err
				}
				time.Sleep(time.Duration(rand.IntN(4)) * time.Millisecond)
				return tx.AppendEvents(t.Context(), convo, noon, NewEvent{Kind: EventAdminChanged, Audience: ToMembers, User: alice})
			})
			if err != nil {
				return err
			}
		}
		return nil
	}) {
		must(t, err)
	}
	close(done)
	tailer.Wait()
	next := map[mls.ConvoID]mls.Seq{}
	count := 0
	for _, e := range seen {
		if e.Kind == EventMessage {
			count++
			if next[e.ConvoID]++; e.Seq != next[e.ConvoID] {
				t.Fatalf("seq %d where %d belongs", e.Seq, next[e.ConvoID])
			}
		}
	}
	if count != writers*each {
		t.Errorf("the tailer saw %d messages, want %d", count, writers*each)
	}
	if all := readAll(t, s, LogCursor{}); len(all) != len(seen) {
		t.Errorf("the tailer saw %d events, the log has %d", len(seen), len(all))
	}
}

// I10: a removal's event comes after what the user may still see and before
// all that it may not; pages of a replay follow each other.
func TestReplay(t *testing.T) {
	t.Parallel()
	s := open(t, 4)
	convo := newConvo(t, s, alice, bob)
	_, err := s.SendMessage(t.Context(), message(convo, alice, "hello"))
	must(t, err)
	inTx(t, s, func(tx *Tx) error {
		if _, err := tx.LockConvo(t.Context(), key(convo)); err != nil {
			return err
		}
		if _, err := tx.RemoveUser(t.Context(), convo, bob, LeaveRemoved, noon); err != nil {
			return err
		}
		return tx.AppendEvents(t.Context(), convo, noon,
			NewEvent{Kind: EventRemovalPending, Audience: ToMembers, User: bob},
			NewEvent{Kind: EventReportReceived, Audience: ToAdmins, AudienceDID: carol, Request: "r"},
			NewEvent{Kind: EventWelcome, Audience: ToUser, AudienceDID: carol},
			NewEvent{Kind: EventWelcome, Audience: ToUser, AudienceDID: alice})
	})
	_, err = s.SendMessage(t.Context(), message(convo, alice, "hello"))
	must(t, err)
	_, err = s.SendMessage(t.Context(), message(newConvo(t, s, dave), dave, "elsewhere"))
	must(t, err)
	all := readAll(t, s, LogCursor{})
	end := all[len(all)-1].Cursor
	var kinds []EventKind
	for at := (LogCursor{}); ; {
		page, err := s.Replay(t.Context(), ReplayParams{User: alice, Convos: []mls.ConvoID{convo}, After: at, Until: end, Limit: 2})
		must(t, err)
		if len(page) == 0 {
			break
		}
		for _, e := range page {
			if e.ConvoID != convo {
				t.Errorf("an event of another conversation: %+v", e)
			}
			kinds = append(kinds, e.Kind)
		}
		at = page[len(page)-1].Cursor
	}
	want := []EventKind{EventMemberJoined, EventMemberJoined, EventMessage, EventMemberLeft, EventRemovalPending, EventReportReceived, EventWelcome, EventMessage}
	if !slices.Equal(kinds, want) {
		t.Errorf("kinds %v, want %v", kinds, want)
	}
}

// I5: a change whose event cannot be written is not committed.
func TestEventsAreNotLostSilently(t *testing.T) {
	t.Parallel()
	s := open(t, 2)
	err := s.InTx(t.Context(), func(tx *Tx) error {
		return tx.AppendEvents(t.Context(), mls.NewConvoID(noon, "00"), noon, NewEvent{Kind: EventAdminChanged, Audience: ToMembers, User: alice})
	})
	wantErr(t, err, errIncomplete)
	err = s.InTx(t.Context(), func(tx *Tx) error {
		return tx.UpsertMembers(t.Context(), mls.NewConvoID(noon, "00"), []NewMember{{User: alice, MLSDID: "m"}}, Place{At: noon})
	})
	wantErr(t, err, errIncomplete)
}
