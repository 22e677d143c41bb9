package handlers

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"

	"mls-server/internal/delivery"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

// errIdempotencyKeyMissing is answered while REQUIRE_IDEMPOTENCY holds.
var errIdempotencyKeyMissing = mls.InvalidInput("/idempotencyKey", "is required")

// deterministic are the errors that are kept for a repeated request: they
// depend on the request and on what never comes back, as an epoch may.
var deterministic = []error{mls.ErrInvalidCommit, mls.ErrGroupAlreadyExists}

// statusOK marks stored answers that are outputs; the others are errors.
const statusOK = 200

// staleTries is how often a request starts over because the roster changed between vetting and
// lock.
const staleTries = 4

// request is a write that may be repeated.
type request struct {
	method *lexrt.Method
	caller mls.DID
	// key is nil when the client sent none, which it may where byContent says that the method tells
	// a repeat by what it brings.
	key       *string
	byContent bool
	input     lexrt.Response
	// prepare, when not nil, runs before the transaction, for what has to ask others over the
	// network.
	prepare func(ctx context.Context) error
}

// output is a pointer to an output whose stored bytes can be read again.
type output[T any] interface {
	*T
	lexrt.Response
	UnmarshalJSON(data []byte) error
}

// once runs a write in one transaction, and a request with a key only once:
// the answer is stored in the same transaction, so a crash leaves either both
// or nothing, and a repeat gets the stored answer.
func once[T any, P output[T]](ctx context.Context, h *Handlers, r request, run func(tx *store.Tx) (P, error)) (P, error) {
	if r.key == nil && h.Config.RequireIdempotency && !r.byContent {
		return nil, errIdempotencyKeyMissing
	}
	var out P
	var err error
	for range staleTries {
		out, err = attempt(ctx, h, r, run)
		if !errors.Is(err, delivery.ErrStale) {
			break
		}
	}
	return out, err
}

// race is once for a request with a commit, which may come too late: then the answer has what heals
// that, a repeated one too.
func race[T any, P output[T]](ctx context.Context, h *Handlers, key mls.ConvoKey, r request, run func(tx *store.Tx) (P, error)) (P, error) {
	out, err := once(ctx, h, r, run)
	if err = h.Delivery.AfterRace(ctx, key, r.caller, err); err != nil {
		return nil, err
	}
	if commit := commitOf(out); commit != "" {
		// A kept answer does not outlive its commit.
		if err := h.Delivery.RefuseVoid(ctx, key, r.caller, commit); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// commitOf is the message id of the commit that an answer names, "" for none.
func commitOf(answer any) mls.MessageID {
	switch out := answer.(type) {
	case *mlsapi.AddMembersOutput:
		return mls.MessageID(orEmpty(out.MessageID))
	case *mlsapi.RemoveMemberOutput:
		return mls.MessageID(orEmpty(out.MessageID))
	case *mlsapi.ProcessExternalCommitOutput:
		return mls.MessageID(out.MessageID)
	}
	return ""
}

func attempt[T any, P output[T]](ctx context.Context, h *Handlers, r request, run func(tx *store.Tx) (P, error)) (out P, err error) {
	var keyed store.IdempotentRequest
	if r.key != nil {
		keyed = store.IdempotentRequest{
			Key:  store.RequestKey(r.caller, r.method.NSID, *r.key),
			Body: sha256.Sum256(r.input.AppendJSON(nil)), At: h.now(),
		}
		if answer, err := h.Store.FindRequest(ctx, keyed); err != nil || answer != nil {
			return repeated[T, P](answer, err)
		}
	}
	if r.prepare != nil {
		if err := r.prepare(ctx); err != nil {
			return nil, err
		}
	}
	var kept error // a domain error that is the answer from now on
	err = h.Store.InTx(ctx, func(tx *store.Tx) (err error) {
		if r.key == nil {
			out, err = run(tx)
			return err
		}
		out, kept, err = keep(ctx, tx, keyed, run)
		return err
	})
	if err == nil {
		err = kept // only now is it known to be kept
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// keep runs a write and keeps its answer in the same transaction; kept is a domain error that is
// the answer. It returns the answer of the first request where there was one.
func keep[T any, P output[T]](ctx context.Context, tx *store.Tx, keyed store.IdempotentRequest, run func(tx *store.Tx) (P, error)) (out P, kept, err error) {
	if answer, err := tx.BeginRequest(ctx, keyed); err != nil || answer != nil {
		out, err := repeated[T, P](answer, err)
		return out, nil, err
	}
	err = tx.Savepoint(ctx, func() (err error) {
		out, err = run(tx)
		return err
	})
	switch {
	case err == nil:
		return out, nil, tx.FinishRequest(ctx, keyed, store.Answer{Status: statusOK, Body: out.AppendJSON(nil)})
	case slices.ContainsFunc(deterministic, func(d error) bool { return errors.Is(err, d) }):
		// The savepoint undid the request; only its answer stays.
		public := PublicError(err)
		return nil, err, tx.FinishRequest(ctx, keyed, store.Answer{Status: public.Status, Body: []byte(public.Name + "\n" + public.Message)})
	}
	return nil, nil, err
}

// repeated turns a stored answer into what the first request got.
func repeated[T any, P output[T]](a *store.Answer, err error) (P, error) {
	if err != nil {
		return nil, err
	}
	if a.Status != statusOK {
		name, message, _ := strings.Cut(string(a.Body), "\n")
		return nil, &lexrt.Error{Name: name, Status: a.Status, Message: message}
	}
	out := P(new(T))
	return out, out.UnmarshalJSON(a.Body)
}
