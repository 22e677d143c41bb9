package store

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"mls-server/internal/mls"
	"mls-server/internal/pgtest"
)

// work is what a server does with a conversation, one statement or transaction each.
func work(s *Store, convo mls.ConvoID, owner Device) map[string]func(ctx context.Context) error {
	return map[string]func(ctx context.Context) error{
		"send": func(ctx context.Context) error {
			_, err := s.SendMessage(ctx, message(convo, alice, "one"))
			return err
		},
		"batch": func(ctx context.Context) error {
			outcomes := s.SendMessages(ctx, []SendParams{message(convo, alice, "one"), message(convo, alice, "two")})
			return errors.Join(outcomes[0].Err, outcomes[1].Err)
		},
		"claim": func(ctx context.Context) error {
			_, err := s.ClaimKeyPackages(ctx, ClaimParams{Owners: []mls.DID{owner.User}, Now: noon, Low: 1})
			return err
		},
		"lock": func(ctx context.Context) error {
			return s.InTx(ctx, func(tx *Tx) error { _, err := tx.LockConvo(ctx, key(convo)); return err })
		},
		"list": func(ctx context.Context) error {
			_, err := s.ListConvos(ctx, alice, AllConvos, ConvoCursor{}, 10)
			return err
		},
		"read": func(ctx context.Context) error {
			_, err := s.ReadMessages(ctx, ReadParams{Key: key(convo), Reader: alice, Limit: 10})
			return err
		},
		"publish": func(ctx context.Context) error {
			return s.InTx(ctx, func(tx *Tx) error {
				return tx.PublishKeyPackages(ctx, owner, []NewKeyPackage{packageFor(1)}, 1_000_000, noon)
			})
		},
	}
}

// underLoad does all of the work over and over while something happens to the database, and
// afterwards once for each connection. It returns how often the database was busy; any other
// error fails the test.
func underLoad(t *testing.T, s *Store, work map[string]func(ctx context.Context) error, happen func()) (busy int) {
	t.Helper()
	var mu sync.Mutex
	judge := func(name string, err error) {
		mu.Lock()
		defer mu.Unlock()
		switch domain := mls.AsError(err); {
		case err == nil:
		case domain != nil && domain.Kind == mls.ErrBusy && domain.RetryAfter > 0:
			busy++
		default:
			t.Errorf("%s: %v", name, err)
		}
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	began := make(chan struct{}, len(work))
	for name, do := range work {
		wg.Go(func() {
			for n := 0; ; n++ {
				judge(name, do(t.Context()))
				if n == 2 {
					began <- struct{}{} // its statements are prepared
				}
				select {
				case <-stop:
					if n >= 2 {
						return
					}
				default:
				}
			}
		})
	}
	for range work {
		<-began
	}
	happen()
	close(stop)
	wg.Wait()
	for name, do := range work {
		for range s.pool.Config().MaxConns {
			judge(name, do(t.Context()))
		}
	}
	return busy
}

func faultFixture(t *testing.T, conns int32) (*Store, map[string]func(ctx context.Context) error, func(sql string)) {
	t.Helper()
	url := pgtest.New(t)
	s := connect(t, url, conns)
	owner := Device{User: bob}
	publish(t, s, owner, packageFor(1))
	w := work(s, newConvo(t, s, alice), owner)
	operator := pgtest.Open(t, url)
	return s, w, func(sql string) {
		t.Helper()
		if _, err := operator.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
}

// 0A000: a migration that changes the type of a column makes every prepared statement of every
// connection fail once.
func TestSchemaChangesAreBusy(t *testing.T) {
	t.Parallel()
	s, w, operate := faultFixture(t, 4)
	busy := underLoad(t, s, w, func() {
		operate("ALTER TABLE conversations ALTER COLUMN name TYPE varchar(200)")
		operate("ALTER TABLE conversations ADD COLUMN next int")
		operate("ALTER TABLE key_packages ALTER COLUMN cipher_suite TYPE bigint")
	})
	if busy == 0 {
		t.Error("no statement met the change, so the test shows nothing")
	}
	for name, do := range w {
		if err := do(t.Context()); err != nil {
			t.Errorf("%s, after each connection has seen the change: %v", name, err)
		}
	}
}

// 57P01: an operator ends every connection of the server.
func TestEndedConnectionsAreBusy(t *testing.T) {
	t.Parallel()
	s, w, operate := faultFixture(t, 4)
	underLoad(t, s, w, func() {
		for range 5 {
			operate("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'mls-server'")
		}
	})
	for name, do := range w {
		if err := do(t.Context()); err != nil {
			t.Errorf("%s, after the connections have ended: %v", name, err)
		}
	}
}

// 57014: an operator cancels what is running.
func TestCancelledStatementsAreBusy(t *testing.T) {
	t.Parallel()
	s, w, operate := faultFixture(t, 4)
	underLoad(t, s, w, func() {
		for range 20 {
			operate("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'mls-server'")
		}
	})
}

// 25006: the database becomes read-only, as one that is being failed over. What reads goes on.
func TestReadOnlyDatabasesAreBusy(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	s := connect(t, url, 2)
	owner := Device{User: bob}
	w := work(s, newConvo(t, s, alice), owner)
	s.Close()
	operator := pgtest.Open(t, url)
	if _, err := operator.Exec(t.Context(), "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$"); err != nil {
		t.Fatal(err)
	}
	readOnly := connect(t, url, 2)
	*s = *readOnly
	for name, do := range w {
		switch err := do(t.Context()); name {
		case "list", "read":
			must(t, err)
		default:
			wantErr(t, err, mls.ErrBusy)
		}
	}
}

// The isolation level is the server's, whatever an operator has set for the database: serializable
// transactions would fail each other's single statements.
func TestIsolationIsTheServers(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	operator := pgtest.Open(t, url)
	for _, sql := range []string{
		"DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = serializable', current_database()); END $$",
		"DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_deferrable = on', current_database()); END $$",
	} {
		if _, err := operator.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	s := connect(t, url, 8)
	if level := one[string](t, s, "SHOW transaction_isolation"); level != "read committed" {
		t.Errorf("a single statement runs %s", level)
	}
	convo := newConvo(t, s, alice, bob)
	for _, err := range race(32, func(i int) error {
		_, err := s.SendMessage(t.Context(), message(convo, alice, "hello"))
		return err
	}) {
		must(t, err)
	}
	wantGapless(t, s)
}

// A send into a conversation that stays locked waits for the lock once, in a batch too.
func TestLockedSendsWaitOnce(t *testing.T) {
	t.Parallel()
	s := open(t, 4)
	held, free := newConvo(t, s, alice), newConvo(t, s, alice)
	const wait = 4 * time.Second
	patient, err := New(t.Context(), Config{URL: s.pool.Config().ConnString(), LockTimeout: wait})
	must(t, err)
	t.Cleanup(patient.Close)
	inTx(t, s, func(tx *Tx) error {
		if _, err := tx.LockConvo(t.Context(), key(held)); err != nil {
			return err
		}
		// Who waited twice would be cut off by the context.
		ctx, cancel := context.WithTimeout(t.Context(), wait+wait*3/4)
		defer cancel()
		outcomes := patient.SendMessages(ctx, []SendParams{message(held, alice, "a"), message(free, alice, "b"), message(held, alice, "c")})
		wantErr(t, outcomes[0].Err, mls.ErrBusy)
		wantErr(t, outcomes[2].Err, mls.ErrBusy)
		return outcomes[1].Err
	})
	wantGapless(t, s)
}
