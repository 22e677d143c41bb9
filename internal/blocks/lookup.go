package blocks

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// parallelism is how many requests one question has under way.
const parallelism = 16

// lookUp asks sources about open pairs and adds what they say to the evidence. A source that fails
// is no error: what is missing stays unknown.
func (s *Service) lookUp(ctx context.Context, q question, e *evidence, open []store.BlockPair) error {
	limited, cancel := context.WithTimeout(ctx, q.wait())
	defer cancel()
	since := s.Clock.Now().Add(-FreshFor)
	if s.AppView != nil && e.cheapAtView(open, since) {
		s.askView(limited, q, e, open)
		open = e.judge(open, since).open
	}
	if read := s.readLists(limited, q, e, open); len(read.Checked) > 0 {
		// What has arrived is kept, though the time for more is over.
		if err := s.Cache.SaveBlocks(ctx, read); err != nil {
			return err
		}
	}
	if open = e.judge(open, since).open; s.AppView != nil && len(open) > 0 {
		s.askView(limited, q, e, open)
	}
	return ctx.Err()
}

// cheapAtView reports whether asking the AppView takes no more requests than reading the lists, and
// it was not asked about any of the users just now.
func (e *evidence) cheapAtView(open []store.BlockPair, since time.Time) bool {
	users := map[mls.DID]struct{}{}
	for _, p := range open {
		if e.entries[p.Blocker].viewed.After(since) {
			return false
		}
		users[p.Blocker] = struct{}{}
	}
	return len(open) > 0 && callsFor(open) <= len(users)
}

// askView asks the AppView about pairs. It leaves half of the time to the lists.
func (s *Service) askView(ctx context.Context, q question, e *evidence, pairs []store.BlockPair) {
	now := s.Clock.Now()
	pairs = slices.DeleteFunc(slices.Clone(pairs), func(p store.BlockPair) bool { return now.Before(e.entries[p.Blocker].viewRetry) })
	half, cancel := context.WithTimeout(ctx, q.wait()/2)
	defer cancel()
	found, err := s.AppView.Lookup(half, q.caller, pairs, q.admits)
	e.spent = e.spent || errors.Is(err, errCallerSpent)
	e.late = e.late || errors.Is(err, errLate) || errors.Is(err, errSpent)
	s.leaveAlone(e, found.Away)
	blocks := make(map[store.BlockPair]*store.Block, len(found.Blocks))
	for _, b := range found.Blocks {
		blocks[b.BlockPair] = &b
	}
	said := map[mls.DID]map[mls.DID]opinion{}
	for _, p := range found.Checked {
		if said[p.Blocker] == nil {
			said[p.Blocker] = map[mls.DID]opinion{}
		}
		said[p.Blocker][p.Blocked] = opinion{at: found.At, block: blocks[p]}
	}
	for user, pairs := range said {
		k, asked := e.subjects[user]
		if !asked {
			continue // the other direction of a pair, which nobody wanted to know
		}
		s.remember(e, k, func(known *entry) {
			all := make(map[mls.DID]opinion, len(known.pairs)+len(pairs))
			maps.Copy(all, known.pairs)
			maps.DeleteFunc(all, func(_ mls.DID, o opinion) bool { return found.At.Sub(o.at) > UsableFor })
			maps.Copy(all, pairs)
			known.pairs, known.viewed = all, found.At
		})
	}
}

// leaveAlone notes that the AppView said nothing about the blockers of some pairs.
func (s *Service) leaveAlone(e *evidence, away []store.BlockPair) {
	until := s.Clock.Now().Add(retryAfter)
	for _, p := range away {
		if k, asked := e.subjects[p.Blocker]; asked && e.entries[p.Blocker].viewRetry.Before(until) {
			s.remember(e, k, func(known *entry) { known.viewRetry = until })
		}
	}
}

// remember changes what is remembered of a subject, and what the evidence holds of it. change is
// called for each, and makes new maps for each: what the memory holds belongs to its lock.
func (s *Service) remember(e *evidence, k subject, change func(*entry)) {
	s.memory.update(k, change)
	known := e.entries[k.user]
	change(&known)
	e.entries[k.user] = known
}

// readLists reads the lists of the pairs' blockers that are not fresh, and returns those that are
// common knowledge.
func (s *Service) readLists(ctx context.Context, q question, e *evidence, open []store.BlockPair) store.BlocksFound {
	now := s.Clock.Now()
	since := now.Add(-FreshFor)
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(parallelism)
	save := store.BlocksFound{At: now}
	for _, user := range (question{pairs: open}).blockers() {
		mu.Lock() // the readings that are under way write to the entries
		known := e.entries[user]
		mu.Unlock()
		read := want{list: known.listed.Before(since), probe: s.AppView != nil && known.probed.Before(since)}
		if !read.list && !read.probe || now.Before(known.retry) {
			continue
		}
		if !s.memory.callers.take(q.caller, now) {
			mu.Lock()
			e.spent = true
			mu.Unlock()
			continue
		}
		g.Go(func() error {
			k := e.subjects[user]
			own, cancel := context.WithTimeout(ctx, answerTime(q.wait()))
			defer cancel()
			got, err := s.read(own, k, read, since)
			mu.Lock()
			defer mu.Unlock()
			if errors.Is(lateOr(ctx, err), errLate) {
				e.late = true
				return nil
			}
			if list := s.note(e, k, got, err); list && k.caller == "" && len(got.list) <= maxSaved {
				save.Checked = append(save.Checked, store.BlockPair{Blocker: user})
				for _, b := range got.list {
					save.Blocks = append(save.Blocks, b)
				}
			}
			return nil
		})
	}
	_ = g.Wait() // the functions return no errors: one list says nothing about the next
	return save
}

// read reads about a subject, unless another question just did.
func (s *Service) read(ctx context.Context, k subject, w want, since time.Time) (reading, error) {
	if known := s.memory.recall(k); w.list && known.list != nil && known.listed.After(since) {
		return reading{at: known.listed, list: known.list, byLists: known.byLists, probed: w.probe}, nil
	}
	return s.PDS.read(ctx, k, w)
}

// note adds to the evidence what was read of a user, and reports whether a list was.
func (s *Service) note(e *evidence, k subject, got reading, err error) (list bool) {
	if err != nil {
		until := s.Clock.Now().Add(retryAfter)
		s.remember(e, k, func(known *entry) { known.retry = until })
		return false
	}
	if got.list != nil { // what was saved before is older than that
		maps.DeleteFunc(e.saved, func(p store.BlockPair, _ store.Block) bool { return p.Blocker == k.user })
	}
	s.remember(e, k, func(known *entry) {
		if got.probed {
			known.byLists, known.probed = got.byLists, got.at
		}
		if got.list != nil {
			known.list, known.listed = got.list, got.at
		}
	})
	return got.list != nil
}
