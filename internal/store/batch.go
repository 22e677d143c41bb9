package store

import (
	"context"
	"errors"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"mls-server/internal/gen/db"
	"mls-server/internal/mls"
)

// SendOutcome is what became of one message of a batch: the result, or the
// error that SendMessage has for it.
type SendOutcome struct {
	Result SendResult
	Err    error
}

// aloneAtOnce bounds how many messages of a failed batch are sent at once.
const aloneAtOnce = 8

// SendMessages stores application messages and their events, of one or several
// conversations, in one statement and one round trip. The outcomes are in the
// order of messages, and each is what SendMessage would have answered: a message
// that is refused stands in no other's way. Messages of one conversation get
// their seqs in the order of messages.
//
// Where the statement fails because of one of them (a twin that another process
// stores, a value that the database refuses, a conversation that is locked for
// too long), each message is sent by itself. When the connection breaks, all
// messages that are not known to be stored have the error: as with SendMessage,
// they may be sent again under the same ids.
func (s *Store) SendMessages(ctx context.Context, messages []SendParams) []SendOutcome {
	outcomes := make([]SendOutcome, len(messages))
	open := make([]int, len(messages)) // the messages without an outcome
	for i := range messages {
		open[i] = i
	}
	alone := func(p SendParams) (SendResult, error) { return s.SendMessage(ctx, p) }
	for range sendAttempts {
		if len(open) < 2 {
			break
		}
		rows, err := s.q.SendMessages(ctx, batchParams(messages, open))
		switch {
		case isCode(err, codeSerializationFailure, codeDeadlock):
			s.observer.ObserveRetry()
			continue
		case isCode(err, codeLockNotAvailable):
			// The time to wait is over for the messages of the locked conversation; the others need
			// none.
			s.observer.ObserveRetry()
			s.sendAlone(messages, outcomes, open, func(p SendParams) (SendResult, error) { return s.sendMessage(ctx, p, s.sendHastily) })
			return outcomes
		case isOneMessagesFault(err):
			s.observer.ObserveRetry()
			s.sendAlone(messages, outcomes, open, alone)
			return outcomes
		case err != nil:
			return failOpen(outcomes, open, fail("send messages", err))
		}
		open = s.settle(rows, messages, outcomes, open)
	}
	// One left: the statement for one is the cheaper. Several left: the roster
	// changed each time, and each of them has its own attempts.
	s.sendAlone(messages, outcomes, open, alone)
	return outcomes
}

// settle writes down the outcomes that a statement's rows tell of, and returns
// the messages that must be judged again.
func (s *Store) settle(rows []db.SendMessagesRow, messages []SendParams, outcomes []SendOutcome, open []int) []int {
	for _, i := range open {
		outcomes[i] = SendOutcome{Err: mls.ErrConvoNotFound} // what has no row
	}
	var again []int
	wrote := false
	for _, row := range rows {
		i := int(row.Ord)
		p := &messages[i]
		if row.Sent > 0 {
			wrote = true
			s.stored(KindApplication, len(p.Ciphertext))
			outcomes[i] = SendOutcome{Result: SendResult{
				ConvoID: mls.ConvoID(row.ConvoID), Seq: mls.Seq(row.Sent), Epoch: p.Epoch, ReceivedAt: bucket(p.At),
			}}
			continue
		}
		result, err := unsent(db.SendMessageRow{
			ConvoID: row.ConvoID, ConvoEpoch: row.ConvoEpoch, ConvoCommit: row.ConvoCommit, Ended: row.Ended, IsMember: row.IsMember, InGroup: row.InGroup, InFormer: row.InFormer, WasMember: row.WasMember,
			TwinSeq: row.TwinSeq, TwinEpoch: row.TwinEpoch, TwinSame: row.TwinSame, TwinTs: row.TwinTs,
		}, *p)
		if errors.Is(err, errChanged) {
			again = append(again, i)
		}
		outcomes[i] = SendOutcome{Result: result, Err: err}
	}
	if wrote {
		s.committed()
	}
	return again
}

// sendAlone sends some of the messages each by itself.
func (s *Store) sendAlone(messages []SendParams, outcomes []SendOutcome, open []int, send func(SendParams) (SendResult, error)) {
	if len(open) == 1 {
		i := open[0]
		outcomes[i].Result, outcomes[i].Err = send(messages[i])
		return
	}
	var g errgroup.Group
	g.SetLimit(aloneAtOnce)
	for _, i := range open {
		g.Go(func() error {
			outcomes[i].Result, outcomes[i].Err = send(messages[i])
			return nil
		})
	}
	_ = g.Wait() // the errors are in the outcomes
}

func failOpen(outcomes []SendOutcome, open []int, err error) []SendOutcome {
	for _, i := range open {
		outcomes[i] = SendOutcome{Err: err}
	}
	return outcomes
}

// isOneMessagesFault reports whether the database refused a statement for what may be the matter of
// one message in it: a value (class 22), a constraint (class 23), or a statement that took too
// long. Nothing was written.
func isOneMessagesFault(err error) bool {
	state := sqlState(err)
	return strings.HasPrefix(state, "22") || strings.HasPrefix(state, "23") || state == codeQueryCanceled
}

// batchParams turns the messages into the statement's lists.
func batchParams(messages []SendParams, open []int) db.SendMessagesParams {
	n := len(open)
	arg := db.SendMessagesParams{
		Ords: make([]int32, n), ConvoIds: make([]string, n), GroupIds: make([]string, n), FramedGroups: make([]string, n),
		UserDids: make([]string, n), MsgIds: make([]string, n), CommitIds: make([]string, n), Seals: make([]int64, n), Epochs: make([]int64, n), Graces: make([]int64, n),
		ReceivedAts: make([]time.Time, n), Ciphertexts: make([][]byte, n), DeclaredSizes: make([]int64, n),
	}
	for at, i := range open {
		p := &messages[i]
		arg.Ords[at] = int32(i) //nolint:gosec // an index into a batch
		arg.ConvoIds[at], arg.GroupIds[at], arg.FramedGroups[at] = string(p.Key.ConvoID), string(p.Key.GroupID), string(p.GroupID)
		arg.UserDids[at], arg.MsgIds[at], arg.Epochs[at] = string(p.Sender), string(p.ID), int64(p.Epoch)
		arg.CommitIds[at], arg.Seals[at] = string(p.CommitID), int64(p.Seal)
		arg.Graces[at], arg.ReceivedAts[at] = clampGrace(p.Grace), bucket(p.At)
		arg.Ciphertexts[at], arg.DeclaredSizes[at] = p.Ciphertext, noSize
		if p.DeclaredSize != nil {
			arg.DeclaredSizes[at] = *p.DeclaredSize
		}
	}
	return arg
}

// noSize stands for an absent declared size; sizes are not negative (mls.CheckSizes).
const noSize = -1
