package blocks

import (
	"context"
	"errors"

	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// Verify checks a claim at the author's own server and keeps what it learned. It
// returns mls.ErrBlockNotVerified when the records say otherwise and
// mls.ErrBlockSourceUnavailable when they cannot be read.
func (s *Service) Verify(ctx context.Context, c Claim) error {
	if c.Blocker == c.Blocked {
		return mls.ErrBlockNotVerified
	}
	limited, cancel := context.WithTimeout(ctx, openWait)
	defer cancel()
	found := store.BlocksFound{At: s.Clock.Now(), Checked: []store.BlockPair{{Blocker: c.Blocker, Blocked: c.Blocked}}}
	var err error
	if c.Exists {
		var b store.Block
		if b, err = s.find(limited, c); err == nil {
			found.Blocks = []store.Block{b}
		}
	} else {
		err = s.gone(limited, c)
	}
	switch {
	case err == nil:
		// What the AppView said about the pair, and a long list that stayed in memory, are out of
		// date.
		s.memory.update(subject{user: c.Blocker}, func(known *entry) { *known = entry{} })
		return s.Cache.SaveBlocks(ctx, found)
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, errNoRecord):
		return mls.ErrBlockNotVerified
	case errors.Is(err, errSource):
		return mls.ErrBlockSourceUnavailable
	}
	return err
}

// find reads the record of a claimed block, by its name or out of the list.
func (s *Service) find(ctx context.Context, c Claim) (store.Block, error) {
	if c.URI != "" {
		if !named(c) {
			return store.Block{}, errNoRecord
		}
		b, err := s.PDS.record(ctx, c.Blocker, recordKey(c.URI))
		if err == nil && b.Blocked != c.Blocked {
			err = errNoRecord
		}
		return b, err
	}
	return s.scan(ctx, c)
}

// gone returns nil when no record of the block is left.
func (s *Service) gone(ctx context.Context, c Claim) error {
	if c.URI != "" && !named(c) {
		return errNoRecord
	}
	// A block can have been made twice: the record that we know is looked at too.
	known, err := s.known(ctx, c)
	if err != nil {
		return err
	}
	keys := map[string]struct{}{}
	if c.URI != "" {
		keys[recordKey(c.URI)] = struct{}{}
	}
	if known != "" {
		keys[known] = struct{}{}
	}
	for key := range keys {
		if _, err := s.PDS.record(ctx, c.Blocker, key); err == nil {
			return errNoRecord // it is still there, or the claim names another block
		} else if err := ignoreNoRecord(err); err != nil {
			return err
		}
	}
	if known != "" {
		return nil
	}
	// Nothing ties the named record to the blocked user, so the whole list is read.
	if _, err := s.scan(ctx, c); err == nil {
		return errNoRecord
	} else if err := ignoreNoRecord(err); err != nil {
		return err
	}
	return nil
}

func ignoreNoRecord(err error) error {
	if errors.Is(err, errNoRecord) {
		return nil
	}
	return err
}

// known returns the key of the record that the cache knows, or "".
func (s *Service) known(ctx context.Context, c Claim) (string, error) {
	kept, _, err := s.Cache.ListBlocks(ctx, []mls.DID{c.Blocker}, []mls.DID{c.Blocked})
	if err != nil {
		return "", err
	}
	for _, b := range kept {
		if b.Blocker == c.Blocker && b.Blocked == c.Blocked && b.URI.Collection() == collection {
			return recordKey(b.URI), nil
		}
	}
	return "", nil
}

// scan looks for the block in the author's list, newest first.
func (s *Service) scan(ctx context.Context, c Claim) (store.Block, error) {
	hit, err := store.Block{}, errNoRecord
	if werr := s.PDS.walk(ctx, c.Blocker, func(b store.Block) bool {
		if b.Blocked == c.Blocked {
			hit, err = b, nil
		}
		return err != nil
	}); werr != nil {
		return store.Block{}, werr
	}
	return hit, err
}

// named reports whether the claim's URI can be a block record of the blocker's.
func named(c Claim) bool {
	return c.URI.Authority().String() == string(c.Blocker) && c.URI.Collection() == collection && c.URI.RecordKey() != ""
}
