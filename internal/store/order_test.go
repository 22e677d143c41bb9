package store

import (
	"context"
	"testing"
	"time"

	"mls-server/internal/mls"
	"mls-server/internal/pgtest"
)

// within is the store as the transaction sees it: its statements run in the transaction.
func (tx *Tx) within(s *Store) *Store {
	inside := *s
	inside.q, inside.large, inside.committed = tx.q, tx.q, func() {}
	return &inside
}

// awaitWaiters returns when n sessions wait for a lock.
func awaitWaiters(t *testing.T, s *Store, n int64) {
	t.Helper()
	const sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
	for one[int64](t, s, sql) < n {
		time.Sleep(time.Millisecond)
	}
}

// I3: whatever writes events, the log has a conversation's in the order in which they were written,
// also when the transaction that took the conversation's lock last got its id first.
func TestLogOrderIsLockOrder(t *testing.T) {
	t.Parallel()
	for name, write := range map[string]func(tx *Tx, s *Store, convo mls.ConvoID) error{
		"send": func(tx *Tx, s *Store, convo mls.ConvoID) error {
			_, err := tx.within(s).SendMessage(t.Context(), message(convo, alice, "late"))
			return err
		},
		"send a batch": func(tx *Tx, s *Store, convo mls.ConvoID) error {
			for _, o := range tx.within(s).SendMessages(t.Context(), []SendParams{message(convo, alice, "late"), message(convo, bob, "later")}) {
				if o.Err != nil {
					return o.Err
				}
			}
			return nil
		},
		"commit": func(tx *Tx, _ *Store, convo mls.ConvoID) error {
			_, err := tx.AcceptCommit(t.Context(), commit(convo, 1))
			return err
		},
		"propose": func(tx *Tx, _ *Store, convo mls.ConvoID) error {
			_, err := tx.AcceptProposal(t.Context(), commit(convo, 1))
			return err
		},
		"events": func(tx *Tx, _ *Store, convo mls.ConvoID) error {
			return tx.AppendEvents(t.Context(), convo, noon, NewEvent{Kind: EventAdminChanged, Audience: ToMembers, User: alice})
		},
		"join": func(tx *Tx, _ *Store, convo mls.ConvoID) error {
			return tx.UpsertMembers(t.Context(), convo, []NewMember{{User: carol, MLSDID: string(carol)}}, Place{Epoch: 1, At: noon})
		},
		"remove": func(tx *Tx, _ *Store, convo mls.ConvoID) error {
			_, err := tx.RemoveUser(t.Context(), convo, bob, LeaveRemoved, noon)
			return err
		},
		"register a device": func(tx *Tx, _ *Store, _ mls.ConvoID) error {
			convos, err := tx.LockConvosOf(t.Context(), bob)
			if err != nil {
				return err
			}
			_, err = tx.RegisterDevice(t.Context(), Registration{
				Convos:     convos,
				Device:     UserDevice{Device: Device{User: bob, ID: "00000000-0000-4000-8000-000000000001"}, Name: "phone", SignatureKey: []byte("key"), MLSDID: string(bob)},
				MaxDevices: 10, MaxPackages: 10, At: noon,
			})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, 4)
			convo := newConvo(t, s, alice, bob)
			inTx(t, s, func(tx *Tx) error {
				if _, err := tx.tx.Exec(t.Context(), "SELECT pg_current_xact_id()"); err != nil {
					return err
				}
				// Another transaction, with a later id, writes and is done before this one takes
				// the lock.
				if _, err := s.SendMessage(t.Context(), message(convo, alice, "early")); err != nil {
					return err
				}
				return write(tx, s, convo)
			})
			if n := one[int64](t, s, "SELECT count(*) FROM event_stream WHERE position > (SELECT position FROM event_stream WHERE seq = 1 AND kind = 1)"); n == 0 {
				t.Error("it wrote no event, so this shows nothing")
			}
			if n := one[int64](t, s, `SELECT count(*) FROM event_stream a JOIN event_stream b USING (convo_id)
				WHERE a.position < b.position AND (a.generation, a.log_xid) > (b.generation, b.log_xid)`); n != 0 {
				t.Errorf("%d pairs of events are read in another order than they were written", n)
			}
			wantGapless(t, s)
		})
	}
}

// A batch that waited for a commit is judged anew: what it holds of the epoch that has ended is
// refused, or stays within the grace (I2).
func TestBatchDuringCommit(t *testing.T) {
	t.Parallel()
	s := open(t, 4)
	convo, other := newConvo(t, s, alice, bob), newConvo(t, s, alice)
	graceful := message(convo, bob, "within the grace")
	graceful.Grace = 1
	waiting := make(chan []SendOutcome, 1)
	inTx(t, s, func(tx *Tx) error {
		if _, err := tx.LockConvo(t.Context(), key(convo)); err != nil {
			return err
		}
		go func() {
			waiting <- s.SendMessages(t.Context(), []SendParams{message(convo, bob, "too late"), graceful, message(other, alice, "elsewhere")})
		}()
		awaitWaiters(t, s, 1)
		_, err := tx.AcceptCommit(t.Context(), commit(convo, 1))
		return err
	})
	outcomes := <-waiting
	wantErr(t, outcomes[0].Err, mls.ErrEpochMismatch)
	must(t, outcomes[1].Err)
	must(t, outcomes[2].Err)
	wantGapless(t, s)
}

// Claims that run at once do not wait for each other: each gets a package of its own (I4).
func TestClaimsDoNotWait(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	s := connect(t, url, 2)
	// One that waits for another's row fails.
	impatient, err := New(t.Context(), Config{URL: url, LockTimeout: time.Millisecond})
	must(t, err)
	t.Cleanup(impatient.Close)
	publish(t, s, Device{User: bob}, packageFor(1), packageFor(1))
	claim := func(s *Store) int64 {
		t.Helper()
		got, err := s.ClaimKeyPackages(t.Context(), ClaimParams{Owners: []mls.DID{bob}, Now: noon})
		must(t, err)
		if len(got) != 1 {
			t.Fatalf("%d packages, want one", len(got))
		}
		return got[0].RowID
	}
	inTx(t, s, func(tx *Tx) error {
		if first, second := claim(tx.within(s)), claim(impatient); first == second {
			t.Error("both got the same package")
		}
		return nil
	})
}

// I4: a package that a Welcome has used up without a claim is handed out to nobody.
func TestConsumedPackagesAreNotClaimed(t *testing.T) {
	t.Parallel()
	s := open(t, 2)
	used, left := packageFor(1), packageFor(1)
	used.ExpiresAt = left.ExpiresAt.Add(-time.Hour) // it would go out first
	publish(t, s, Device{User: bob}, used, left)
	inTx(t, s, func(tx *Tx) error {
		found, err := tx.ResolveKeyPackages(t.Context(), [][]byte{[]byte(used.Ref)})
		if err != nil {
			return err
		}
		return tx.ConsumeKeyPackages(t.Context(), found, noon)
	})
	for _, want := range []int{1, 0} {
		got, err := s.ClaimKeyPackages(t.Context(), ClaimParams{Owners: []mls.DID{bob}, Now: noon})
		must(t, err)
		if len(got) != want || want == 1 && got[0].Ref != left.Ref {
			t.Errorf("%d packages, want %d", len(got), want)
		}
	}
}

// The package that an expired request has brought goes with it: it was for this request alone.
func TestPackagesOfExpiredRequestsGo(t *testing.T) {
	t.Parallel()
	s := open(t, 2)
	convo := newConvo(t, s, alice, bob)
	brought := packageFor(1)
	brought.ExpiresAt = noon.Add(365 * 24 * time.Hour)
	var request Request
	inTx(t, s, func(tx *Tx) (err error) {
		if request, _, err = tx.OpenRequest(t.Context(), convo, NewRequest{Device: Device{User: bob}, Kind: RequestRejoin, At: noon}); err != nil {
			return err
		}
		return tx.ReserveKeyPackage(t.Context(), Device{User: bob}, brought, request.ID, noon)
	})
	packages := func(at time.Time) int64 {
		t.Helper()
		_, err := s.Retain(context.WithoutCancel(t.Context()), at, DefaultRetention())
		must(t, err)
		return one[int64](t, s, "SELECT count(*) FROM key_packages")
	}
	if n := packages(noon.Add(29 * 24 * time.Hour)); n != 1 {
		t.Errorf("%d packages while the request is open, want its own", n)
	}
	if n := packages(noon.Add(31 * 24 * time.Hour)); n != 0 {
		t.Errorf("%d packages after the request has expired, want none", n)
	}
}
