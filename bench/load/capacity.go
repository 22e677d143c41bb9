package main

import (
	"fmt"
	"os"
	"path/filepath"

	"mls-server/bench/internal/capacity"
)

// costs are what the page about capacity computes with.
func (r *report) costs() capacity.Figures {
	f := capacity.Figures{
		capacity.Delivery: r.streams.delivery, capacity.Stream: r.streams.memory / 1024,
		capacity.Beside: r.stored.beside(), capacity.Log: r.stored.wal,
	}
	for load, names := range map[string][2]string{
		"send, 64 in flight": {capacity.SendServer, capacity.SendDatabase}, "sealed send, 64 in flight": {capacity.SealedServer, capacity.SealedDatabase},
		"page of 50 × 2 KiB, 16 in flight": {capacity.PageServer, capacity.PageDatabase}, "key package claims, 64 in flight": {capacity.ClaimServer, capacity.ClaimDatabase},
	} {
		f[names[0]], f[names[1]] = r.named(load).each()
	}
	for _, c := range r.commits {
		if c.members == 10 {
			f[capacity.CommitServer] = float64(c.spentCPU.Microseconds())
		}
	}
	return f
}

// writeCapacity writes what was measured into docs/capacity.md, and computes its results anew.
func (r *report) writeCapacity() error {
	path := filepath.Join(r.options.out, "..", "docs", "capacity.md")
	page, err := os.ReadFile(path) //nolint:gosec // of the repository
	if err != nil {
		return fmt.Errorf("read the page about capacity: %w", err)
	}
	page, err = capacity.Update(capacity.Note(page, r.costs()))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := os.WriteFile(path, page, 0o644); err != nil { //nolint:gosec // a page for everybody
		return fmt.Errorf("write the page about capacity: %w", err)
	}
	return nil
}
