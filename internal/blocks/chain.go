package blocks

import (
	"context"
	"errors"

	"mls-server/internal/store"
)

// Chain asks sources one after the other: each is asked for what those before
// it could not say.
type Chain []Source

var _ Source = Chain(nil)

// Lookup implements Source.
func (c Chain) Lookup(ctx context.Context, pairs []store.BlockPair) (store.BlocksFound, error) {
	var all store.BlocksFound
	var failures []error
	for _, s := range c {
		found, err := s.Lookup(ctx, pairs)
		if all.At.IsZero() || found.At.Before(all.At) {
			all.At = found.At
		}
		all.Checked = append(all.Checked, found.Checked...)
		all.Blocks = append(all.Blocks, found.Blocks...)
		if err == nil {
			return all, nil
		}
		failures = append(failures, err)
		pairs = missing(pairs, found.Checked)
		if len(pairs) == 0 {
			return all, nil
		}
	}
	if len(c) == 0 {
		return all, errSource
	}
	return all, errors.Join(failures...)
}

// missing returns the pairs that checked does not cover.
func missing(pairs, checked []store.BlockPair) []store.BlockPair {
	done := make(map[store.BlockPair]struct{}, len(checked))
	for _, p := range checked {
		done[p] = struct{}{}
	}
	var out []store.BlockPair
	for _, p := range pairs {
		if _, ok := done[p]; ok {
			continue
		}
		if _, ok := done[store.BlockPair{Blocker: p.Blocker}]; ok {
			continue
		}
		out = append(out, p)
	}
	return out
}
