package delivery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// Turns gives those who lost a race for an epoch turns to try again. Package turns implements it.
type Turns interface {
	// Lost returns how long a user who came too late in a line should wait: 0 when it is its turn.
	Lost(ctx context.Context, line, user string) time.Duration
	// Won gives up the place of a user who has committed.
	Won(ctx context.Context, line, user string)
}

// conflictBytes is how many bytes of commits an answer to one that came too late holds at most.
const conflictBytes = 256 << 10

// Stored is what a request has done to its conversation.
type Stored struct {
	Epoch mls.Epoch
	// CommitID and CommitSeq name the commit or proposal that was stored; "" and 0 for none.
	CommitID  mls.MessageID
	CommitSeq mls.Seq

	leaves []store.Leaf // of a group that the server follows, behind the commit
}

// ConflictError is mls.ErrEpochMismatch for a commit that came too late, with what its sender needs
// to try again.
type ConflictError struct {
	cause error // mls.ErrEpochMismatch
	// Epoch is the conversation's, CommitID the commit that led to it, "" where there is none.
	Epoch    mls.Epoch
	CommitID mls.MessageID
	// Commits are those since the commit's epoch that the sender may read, as far as they fit.
	Commits []store.Commit
	// RetryAfter is how long the sender should wait, 0 when it is its turn.
	RetryAfter time.Duration
}

// Error has the epoch and the milliseconds in a fixed form, since proxies drop everything else.
func (c *ConflictError) Error() string {
	return fmt.Sprintf("%v; retry after %d ms", c.cause, c.RetryAfter.Milliseconds())
}

// Unwrap returns the domain error.
func (c *ConflictError) Unwrap() error { return c.cause }

// AfterRace tells the line of those who race for the conversation's epochs what became of a request
// that stores a commit, and adds to an mls.ErrEpochMismatch what heals it (see ConflictError), to
// an mls.ErrGroupReset the present group. Any other outcome is returned as it is. It must run
// outside of the request's transaction.
func (s *Service) AfterRace(ctx context.Context, key mls.ConvoKey, sender mls.DID, outcome error) error {
	if outcome != nil && !errors.Is(outcome, mls.ErrEpochMismatch) {
		return s.TellGroup(ctx, key, sender, outcome)
	}
	standing, err := s.store.RequireMember(ctx, key, sender)
	if err != nil {
		return outcome // nothing can be added to what is known
	}
	if outcome == nil {
		s.Turns.Won(ctx, string(standing.ID), string(sender))
		return nil
	}
	cause := mls.AsError(outcome)
	have := cause.Have
	conflict := &ConflictError{cause: cause, Epoch: standing.Epoch, CommitID: standing.CommitID}
	if cause.Want != standing.Epoch {
		conflict.cause = mls.EpochMismatch(have, standing.Epoch) // what is said now
	}
	if have >= 0 && have < standing.Epoch {
		conflict.Commits = s.missed(ctx, standing, sender, have)
		conflict.RetryAfter = s.Turns.Lost(ctx, string(standing.ID), string(sender))
	}
	return conflict
}

// missed lists the commits that lead from an epoch to the conversation's, as far as they fit into
// an answer. What cannot be read now is left out: the sender asks for it.
func (s *Service) missed(ctx context.Context, convo store.Standing, reader mls.DID, from mls.Epoch) []store.Commit {
	last := convo.Epoch - 1 // others may be on their way past it
	page, err := s.store.ListCommits(ctx, mls.ConvoKey{ConvoID: convo.ID}, reader,
		store.CommitRange{From: from, To: &last, Limit: conflictBytes / 128, MaxBytes: conflictBytes})
	if err != nil || len(page.Commits) == 0 || page.Commits[0].Epoch != from {
		return nil
	}
	size := 0
	for i, c := range page.Commits {
		if size += len(c.Bytes); size > conflictBytes {
			return page.Commits[:i]
		}
	}
	return page.Commits
}
