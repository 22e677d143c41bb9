package store

import (
	"math"
	"time"

	"mls-server/internal/clock"
)

// bucket is how times are stored, whatever they are of (I8).
func bucket(t time.Time) time.Time { return clock.Bucket(t) }

// day is how times are stored that nothing needs finer: rows that are written beside a message
// would else tell when it came.
func day(t time.Time) time.Time { return clock.Day(t) }

// texts turns ids of a domain type into what arrays of the database take.
func texts[T ~string](values []T) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = string(v)
	}
	return out
}

// rowLimit keeps a caller's limit within LIMIT's type.
func rowLimit(n int) int32 { return int32(max(1, min(n, math.MaxInt32))) }

// absent stands for a null in arrays of numbers.
const absent = -1

func orAbsent[T ~int64](v *T) int64 {
	if v == nil {
		return absent
	}
	return int64(*v)
}

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func ptrIf[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}
