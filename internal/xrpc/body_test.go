package xrpc

import (
	"bytes"
	"errors"
	"testing"
)

// A large body holds six times its size of the budget until it is released,
// and one that finds no room is told to come back.
func TestLargeBodiesReserveWhatIsMadeOfThem(t *testing.T) {
	t.Parallel()
	const size = 200 << 10
	s := &Server{bodies: newBodyBudget(10 * size)}
	read := func() (body, error) {
		return s.readLarge(t.Context(), bytes.NewReader(make([]byte, size)), size, size)
	}
	first, err := read()
	if err != nil || len(first.data) != size {
		t.Fatalf("read %d bytes, %v", len(first.data), err)
	}
	const left = 10*size - 6*size
	if s.bodies.sem.TryAcquire(left+1) || !s.bodies.sem.TryAcquire(left) {
		t.Errorf("%d bytes are not what is left", left)
	}
	s.bodies.sem.Release(left)
	if _, err := read(); !errors.Is(err, errBusy) {
		t.Errorf("a second body: %v, want %v", err, errBusy)
	}
	first.release()
	// The same without a length, as compressed bodies are.
	first, err = s.readLarge(t.Context(), bytes.NewReader(make([]byte, size)), 1<<20, 1<<20)
	if err != nil || len(first.data) != size || s.bodies.sem.TryAcquire(left+1) || !s.bodies.sem.TryAcquire(left) {
		t.Errorf("%d bytes without a length, %v, hold another amount", len(first.data), err)
	}
	s.bodies.sem.Release(left)
	first.release()
	again, err := read()
	if err != nil {
		t.Fatal(err)
	}
	again.release()
	if !s.bodies.sem.TryAcquire(10 * size) {
		t.Error("released bodies hold memory still")
	}
}
