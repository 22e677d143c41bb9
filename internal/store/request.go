package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"time"

	"mls-server/internal/gen/db"
	"mls-server/internal/mls"
)

// IdempotencyLifetime is how long the answer to a key is kept at least. Its time is
// stored to the day, so that it may be kept for a day more.
const IdempotencyLifetime = 24 * time.Hour

// IdempotentRequest is a request that carries an idempotency key.
type IdempotentRequest struct {
	// Key is of RequestKey, Body the SHA-256 of the canonical body.
	Key, Body [sha256.Size]byte
	At        time.Time
}

// Answer is what a request was answered with.
type Answer struct {
	// Status is the HTTP status.
	Status int
	Body   []byte
}

// RequestKey hashes what an idempotency key is unique in: the caller and the method.
func RequestKey(caller mls.DID, nsid, key string) [sha256.Size]byte {
	var message []byte
	for _, part := range []string{string(caller), nsid, key} {
		message = binary.BigEndian.AppendUint64(message, uint64(len(part)))
		message = append(message, part...)
	}
	return sha256.Sum256(message)
}

// BeginRequest is called first in the business transaction. It returns the
// answer of the first request with this key, nil when this is it. Errors:
// mls.ErrRequestInProgress while another transaction works on the key,
// mls.ErrIdempotencyKeyReused when the body differs. A crash before the commit
// leaves nothing.
func (tx *Tx) BeginRequest(ctx context.Context, q IdempotentRequest) (*Answer, error) {
	locked, err := tx.q.TryLockRequest(ctx, int64(binary.BigEndian.Uint64(q.Key[:8]))) //nolint:gosec // any 64 bits will do
	if err != nil {
		return nil, fail("lock request", err)
	}
	if !locked {
		return nil, mls.ErrRequestInProgress
	}
	return tx.findRequest(ctx, q)
}

// FinishRequest keeps the answer: a success, or an error of the domain that
// the same request would meet again.
func (tx *Tx) FinishRequest(ctx context.Context, q IdempotentRequest, a Answer) error {
	return fail("finish request", tx.q.InsertRequest(ctx, db.InsertRequestParams{
		KeyHash: q.Key[:], BodyHash: q.Body[:], Status: int16(a.Status), //nolint:gosec // HTTP statuses have three digits
		Response: a.Body, CreatedAt: day(q.At),
	}))
}

// Replays keeps the hashes of used tokens in the database.
type Replays struct{ s *Store }

// Replays is the store of used tokens.
func (s *Store) Replays() *Replays { return &Replays{s} }

// Use is true for the first use of a token and false for a replay, however
// many race. hash is a keyed hash of issuer and jti, never of the method (I7).
func (r *Replays) Use(ctx context.Context, hash [sha256.Size]byte, expires time.Time) (bool, error) {
	// Later than need be, to the minute: the moment of a use is nobody's business.
	expires = expires.Add(time.Minute - 1).Truncate(time.Minute)
	n, err := r.s.q.UseJTI(ctx, db.UseJTIParams{Hash: hash[:], ExpiresAt: expires, Now: r.s.clock.Now()})
	return n == 1, fail("use token", err)
}

// FindRequest is BeginRequest without a transaction or a lock: the answer of a
// request that is done, nil when there is none.
func (s *Store) FindRequest(ctx context.Context, q IdempotentRequest) (*Answer, error) {
	return s.findRequest(ctx, q)
}

func (r *reader) findRequest(ctx context.Context, q IdempotentRequest) (*Answer, error) {
	row, err := r.q.FindRequest(ctx, q.Key[:], day(q.At.Add(-IdempotencyLifetime)))
	if isNotFound(err) {
		return nil, nil //nolint:nilnil // absence is an ordinary answer here
	}
	if err != nil {
		return nil, fail("find request", err)
	}
	if !bytes.Equal(row.BodyHash, q.Body[:]) {
		return nil, mls.ErrIdempotencyKeyReused
	}
	return &Answer{Status: int(row.Status), Body: row.Response}, nil
}
