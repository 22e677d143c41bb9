package batch_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"mls-server/internal/batch"
	"mls-server/internal/mls"
	"mls-server/internal/pgtest"
	"mls-server/internal/store"
)

// I4: claims that share statements hand out each package once, each caller gets
// one package for each device of the owners it named and none of another's, and
// who comes too late gets the last resort.
func TestClaimsAreApart(t *testing.T) {
	t.Parallel()
	for name, claimer := range map[string]func(*store.Store) batch.ClaimStore{
		"together":   func(s *store.Store) batch.ClaimStore { return batch.NewClaims(s, batch.Config{}) },
		"each alone": func(s *store.Store) batch.ClaimStore { return s },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := store.New(t.Context(), store.Config{URL: pgtest.New(t), LockTimeout: time.Minute, StatementTimeout: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.Close)
			const owners, devices, each = 8, 2, 12
			for n := range owners {
				for d := range devices {
					stock(t, s, store.Device{User: owner(n), ID: mls.DeviceID(fmt.Sprintf("00000000-0000-4000-8000-%012d", n*devices+d))}, each)
				}
			}
			claims := claimer(s)
			var mu sync.Mutex
			given, last := map[int64]int{}, 0
			race(owners*each, func(i int) {
				// Two owners a claim, in turn, so that claims overlap: each is named 24 times.
				named := []mls.DID{owner(i % owners), owner((i + 1) % owners)}
				got, err := claims.ClaimKeyPackages(t.Context(), store.ClaimParams{Owners: named, Now: noon})
				if err != nil || len(got) != len(named)*devices {
					t.Errorf("%d packages of %d users with %d devices each, %v", len(got), len(named), devices, err)
				}
				mu.Lock()
				defer mu.Unlock()
				of := map[store.Device]bool{}
				for _, k := range got {
					if !slices.Contains(named, k.Owner.User) || of[k.Owner] {
						t.Errorf("packages of %v", got)
					}
					of[k.Owner] = true
					if k.LastResort {
						last++
					} else {
						given[k.RowID]++
					}
				}
			})
			if len(given) != owners*devices*each || last != owners*devices*each {
				t.Errorf("%d packages went out, and %d times a last resort", len(given), last)
			}
			for _, n := range given {
				if n != 1 {
					t.Errorf("a package went out %d times", n)
				}
			}
		})
	}
}

func owner(n int) mls.DID { return mls.DID(fmt.Sprintf("did:plc:owner%d", n)) }

// stock registers a device with n packages and a last resort.
func stock(t *testing.T, s *store.Store, of store.Device, n int) {
	t.Helper()
	packages := make([]store.NewKeyPackage, n+1)
	for i := range packages {
		packages[i] = store.NewKeyPackage{
			Ref: mls.KeyPackageRef(rand.Text()), InitKey: []byte(rand.Text()), CipherSuite: 1, Bytes: []byte(rand.Text()),
			ExpiresAt: noon.Add(time.Hour), LastResort: i == n,
		}
	}
	err := s.InTx(t.Context(), func(tx *store.Tx) error {
		key := []byte(rand.Text())
		_, err := tx.RegisterDevice(t.Context(), store.Registration{
			Device:     store.UserDevice{Device: of, Name: "device", SignatureKey: key, MLSDID: string(of.User)},
			MaxDevices: 10, Packages: packages, MaxPackages: n, At: noon,
		})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A claim costs one round trip.
func TestClaimTakesOneRoundTrip(t *testing.T) {
	t.Parallel()
	s, err := store.New(t.Context(), store.Config{URL: pgtest.New(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if err := s.Ping(t.Context()); err != nil { // a connection asks for the log's state once
		t.Fatal(err)
	}
	ctx, counter := store.WithCounter(t.Context())
	if _, err := batch.NewClaims(s, batch.Config{}).ClaimKeyPackages(ctx, store.ClaimParams{Owners: []mls.DID{alice, bob}, Now: noon}); err != nil {
		t.Fatal(err)
	}
	if n := counter.Statements(); n != 1 {
		t.Errorf("%d statements, want 1", n)
	}
}

// statement is a claim that waits for the test's answer.
type statement struct {
	store.ClaimParams
	answer chan error
}

// shelf is a store that hands out what it is asked for.
type shelf chan statement

func (s shelf) ClaimKeyPackages(_ context.Context, p store.ClaimParams) ([]store.KeyPackage, error) {
	asked := statement{p, make(chan error)}
	s <- asked
	if err := <-asked.answer; err != nil {
		return nil, err
	}
	packages := make([]store.KeyPackage, len(p.Owners))
	for i, d := range p.Owners {
		packages[i].Owner.User = d
	}
	return packages, nil
}

// What may share a statement does, at the time of the latest; a choice of
// devices, another suite, an owner that is named already and a crowd go with
// another one; an error is that of all who share it.
func TestClaimsForm(t *testing.T) {
	t.Parallel()
	s := make(shelf)
	claims := batch.NewClaims(s, batch.Config{Patience: time.Minute})
	var callers sync.WaitGroup
	failed := errors.New("failed")
	claim := func(p store.ClaimParams, want error) {
		before := claims.Queued()
		callers.Go(func() {
			got, err := claims.ClaimKeyPackages(t.Context(), p)
			if !errors.Is(err, want) {
				t.Errorf("error %v, want %v", err, want)
			}
			if want != nil {
				return
			}
			var of []mls.DID
			for _, k := range got {
				of = append(of, k.Owner.User)
			}
			if !slices.Equal(of, p.Owners) {
				t.Errorf("packages of %v for a claim of %v", of, p.Owners)
			}
		})
		if p.Low == 0 { // it does not find a worker
			queued(t, claims, before+1)
		}
	}
	type underWay struct {
		statement
		err error // the answer that it will get
	}
	var busy []underWay
	for n := range 2 { // as many as there are workers
		claim(store.ClaimParams{Owners: []mls.DID{owner(n)}, Low: 1}, nil)
		busy = append(busy, underWay{<-s, nil})
	}
	crowd := make([]mls.DID, 126)
	for n := range crowd {
		crowd[n] = owner(100 + n)
	}
	claim(store.ClaimParams{Owners: []mls.DID{alice, bob}, CipherSuite: 1, Now: noon}, failed)
	// bob is in the first
	claim(store.ClaimParams{Owners: []mls.DID{bob}, CipherSuite: 1, Now: noon}, nil)
	// another suite
	claim(store.ClaimParams{Owners: []mls.DID{carol}, CipherSuite: 2, Now: noon}, nil)
	// a choice
	claim(store.ClaimParams{Owners: []mls.DID{carol}, CipherSuite: 1, Devices: []mls.DeviceID{"d"}, Now: noon}, nil)
	// with the first
	claim(store.ClaimParams{Owners: []mls.DID{carol}, CipherSuite: 1, Now: noon.Add(time.Second)}, failed)
	// 129 with the first
	claim(store.ClaimParams{Owners: crowd, CipherSuite: 1, Now: noon}, nil)
	// with the first
	claim(store.ClaimParams{Owners: []mls.DID{owner(1)}, CipherSuite: 1, Now: noon.Add(-time.Second)}, failed)
	for i, want := range []struct {
		owners  []mls.DID
		devices int
		now     time.Time
		err     error
	}{
		{[]mls.DID{alice, bob, carol, owner(1)}, 0, noon.Add(time.Second), failed},
		{append([]mls.DID{bob}, crowd...), 0, noon, nil},
		{[]mls.DID{carol}, 0, noon, nil},
		{[]mls.DID{carol}, 1, noon, nil},
	} {
		busy[i].answer <- busy[i].err // frees a worker for the next statement
		got := <-s
		if !slices.Equal(got.Owners, want.owners) || len(got.Devices) != want.devices || !got.Now.Equal(want.now) {
			t.Errorf("a statement for %v, %d devices, at %v; want %+v", got.Owners, len(got.Devices), got.Now, want)
		}
		busy = append(busy, underWay{got, want.err})
	}
	for _, last := range busy[4:] {
		last.answer <- last.err
	}
	callers.Wait()
}
