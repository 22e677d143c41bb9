package xrpc

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/synctest"
)

// total is what all accounts hold of a budget.
func (b *budget) total() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	var n int64
	for _, held := range b.held {
		n += held
	}
	return n
}

// A large body holds six times its size once it is complete, and nothing when it
// is released; one that finds no room is told to come back.
func TestLargeBodiesHoldWhatIsMadeOfThem(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const size = 200 << 10
		all := newBudget(10 * size)
		for name, want := range map[string]int64{"of a length": size, "without a length": 1 << 20} {
			read := func(account string) (body, error) {
				return readLarge(t.Context(), &claim{b: all, account: account}, bytes.NewReader(make([]byte, size)), want)
			}
			first, err := read("a")
			if err != nil || len(first.data) != size || all.total() != 6*size {
				t.Fatalf("%s: read %d bytes, %v, which hold %d", name, len(first.data), err, all.total())
			}
			if _, err := read("b"); !errors.Is(err, errBusy) {
				t.Errorf("%s: a second body: %v, want %v", name, err, errBusy)
			}
			first.release()
			again, err := read("b")
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			again.release()
			if all.total() != 0 || !all.sem.TryAcquire(all.size) {
				t.Errorf("%s: released bodies still hold memory", name)
			}
			all.sem.Release(all.size)
		}
	})
}

// What is announced holds nothing: a body that stalls holds twice what has
// arrived of it at most.
func TestStalledBodiesHoldWhatArrived(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		all := newBudget(256 << 20)
		for _, arrived := range []int64{1 << 10, 100 << 10, 1200 << 10, 5 << 20} {
			src, client := io.Pipe()
			done := make(chan error, 1)
			go func() {
				_, err := readLarge(t.Context(), &claim{b: all, account: "a"}, src, 14<<20)
				done <- err
			}()
			if _, err := client.Write(make([]byte, arrived)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if held := all.total(); held > max(2*arrived, smallBody) {
				t.Errorf("%d bytes arrived and %d are held", arrived, held)
			}
			_ = client.CloseWithError(errors.New("the client left"))
			if err := <-done; err == nil || all.total() != 0 {
				t.Errorf("a body that ended early: %v, %d bytes are held", err, all.total())
			}
		}
	})
}

// An account has a quarter of the budget, whatever it sends at once; one body
// that is larger is let in alone, and others have the rest.
func TestAccountsHaveAQuarter(t *testing.T) {
	t.Parallel()
	all := newBudget(400)
	hold := func(account string, n int64) (*claim, error) {
		c := &claim{b: all, account: account}
		return c, c.hold(t.Context(), n)
	}
	large, err := hold("a", 150)
	if err != nil {
		t.Fatalf("one body above the share: %v", err)
	}
	if c, err := hold("a", 1); !errors.Is(err, errBusy) || c.n != 0 {
		t.Errorf("another one beside it: %v", err)
	}
	if err := large.hold(t.Context(), 50); err != nil {
		t.Errorf("the same one, grown smaller: %v", err)
	}
	if _, err := hold("a", 50); err != nil {
		t.Errorf("up to the share: %v", err)
	}
	if _, err := hold("a", 1); !errors.Is(err, errBusy) {
		t.Errorf("beyond the share: %v", err)
	}
	if c, err := hold("b", 100); err != nil {
		t.Errorf("another account: %v", err)
	} else {
		c.release()
	}
	if large.release(); all.total() != 50 {
		t.Errorf("%d are held", all.total())
	}
}
