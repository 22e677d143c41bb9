package store

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"mls-server/internal/mls"
	"mls-server/internal/pgtest"
)

const (
	alice = mls.DID("did:plc:alice")
	bob   = mls.DID("did:plc:bob")
	carol = mls.DID("did:plc:carol")
	dave  = mls.DID("did:plc:dave")
)

// noon is a time that is not a multiple of 2 seconds.
var noon = time.Date(2026, 3, 1, 12, 0, 1, 234567891, time.UTC)

// open connects to a fresh database.
func open(tb testing.TB, conns int32) *Store {
	tb.Helper()
	return connect(tb, pgtest.New(tb), conns)
}

func connect(tb testing.TB, url string, conns int32) *Store {
	tb.Helper()
	s, err := New(tb.Context(), Config{URL: url, MaxConns: conns, LockTimeout: time.Minute, StatementTimeout: time.Minute})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	return s
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func wantErr(tb testing.TB, got, want error) {
	tb.Helper()
	if !errors.Is(got, want) {
		tb.Errorf("error %v, want %v", got, want)
	}
}

// inTx runs fn in a transaction that must commit.
func inTx(tb testing.TB, s *Store, fn func(tx *Tx) error) {
	tb.Helper()
	must(tb, s.InTx(tb.Context(), fn))
}

// newConvo makes a conversation at epoch 1 whose first user is its creator
// and admin.
func newConvo(tb testing.TB, s *Store, users ...mls.DID) mls.ConvoID {
	tb.Helper()
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails
	group := mls.GroupIDFromBytes(random[:])
	id := mls.NewConvoID(noon, group)
	inTx(tb, s, func(tx *Tx) error {
		err := tx.CreateConvo(tb.Context(), NewConvo{
			ID: id, GroupID: group, Creator: users[0], CipherSuite: 1, Epoch: 1, At: noon,
		})
		if err != nil {
			return err
		}
		members := make([]NewMember, len(users))
		for i, u := range users {
			members[i] = NewMember{User: u, MLSDID: string(u)}
		}
		if err := tx.UpsertMembers(tb.Context(), id, members, Place{Epoch: 1, At: noon}); err != nil {
			return err
		}
		return tx.Promote(tb.Context(), id, users[0], users[0], noon)
	})
	return id
}

func key(id mls.ConvoID) mls.ConvoKey { return mls.ConvoKey{ConvoID: id} }

// message is a send of a text at epoch 1.
func message(convo mls.ConvoID, sender mls.DID, text string) SendParams {
	return SendParams{
		Key: key(convo), Sender: sender, ID: mls.NewMessageID(noon), Epoch: 1,
		Ciphertext: []byte(text + strings.Repeat("\x00", 512-len(text))), At: noon,
	}
}

// commit is a handshake that alice made in an epoch.
func commit(convo mls.ConvoID, epoch mls.Epoch) Handshake {
	message := "commit " + rand.Text()
	return Handshake{ConvoID: convo, ID: mls.NewMessageID(noon), Epoch: epoch, Bytes: []byte(message + "\x00"), Message: []byte(message), Sender: alice, At: noon}
}

// packageFor is a key package with random contents.
func packageFor(suite mls.CipherSuite) NewKeyPackage {
	secret := rand.Text()
	ref := sha256.Sum256([]byte("ref" + secret))
	return NewKeyPackage{
		Ref: mls.KeyPackageRef(ref[:]), InitKey: []byte("init" + secret), CipherSuite: suite, Bytes: []byte("package" + secret),
		ExpiresAt: noon.Add(24 * time.Hour),
	}
}

func publish(tb testing.TB, s *Store, owner Device, packages ...NewKeyPackage) {
	tb.Helper()
	inTx(tb, s, func(tx *Tx) error { return tx.PublishKeyPackages(tb.Context(), owner, packages, 1000, noon) })
}

// race runs n functions at once and returns their errors.
func race(n int, fn func(i int) error) []error {
	errs := make([]error, n)
	var ready, done sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		ready.Add(1)
		done.Go(func() {
			ready.Done()
			<-start
			errs[i] = fn(i)
		})
	}
	ready.Wait()
	close(start)
	done.Wait()
	return errs
}

// one reads a single value past the store.
func one[T any](tb testing.TB, s *Store, sql string, args ...any) T {
	tb.Helper()
	var v T
	if err := s.pool.QueryRow(context.WithoutCancel(tb.Context()), sql, args...).Scan(&v); err != nil {
		tb.Fatal(err)
	}
	return v
}

// readAll follows the log from a place to its settled end.
func readAll(tb testing.TB, s *Store, after LogCursor) []LogEntry {
	tb.Helper()
	var all []LogEntry
	for {
		page, err := s.ReadLog(tb.Context(), after, 500)
		must(tb, err)
		if len(page.Entries) == 0 && !page.Unsettled {
			return all
		}
		for _, e := range page.Entries {
			if e.Cursor.Compare(after) <= 0 {
				tb.Fatalf("the log went back from %v to %v", after, e.Cursor)
			}
			after = e.Cursor
		}
		all = append(all, page.Entries...)
	}
}
