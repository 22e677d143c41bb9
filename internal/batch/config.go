// Package batch carries out concurrent sends and claims together, as a database
// commits in groups: one statement for the messages, or the claims, that arrive
// while the statement before it runs. The answers are those of the store's own
// verbs, only faster under load.
//
// It keeps the order of a conversation's messages (I3) and never hands a key
// package to two callers (I4). It knows the store's verbs and nothing else: it
// must not judge a message, know who may send it, or keep anything that outlives
// the calls it carries out.
package batch

import (
	"cmp"
	"time"
)

// Config bounds batches. Zeros mean the defaults.
type Config struct {
	// Workers is how many statements run at once, apart from those that are held
	// up; 0 means 2. More would not help: a statement costs the database about the
	// same, however many calls it carries.
	Workers int
	// MaxMessages is how many messages a statement takes; 0 means 128.
	MaxMessages int
	// MaxBytes is how many bytes of ciphertext a statement takes, though always
	// one message; 0 means 1 MiB.
	MaxBytes int
	// Timeout ends a statement, and the wait for a connection before it; 0 means
	// 30 s. The store's own limits for statements and locks are shorter.
	Timeout time.Duration
	// Patience is how long a statement may take before it counts as held up, by a
	// lock most likely, and makes room for another one; 0 means 250 ms, many times
	// what the fullest batch takes.
	Patience time.Duration
}

// maxHeldUp is how many statements may be under way, those that are held up
// included: half of the store's connections.
const maxHeldUp = 8

func (c Config) withDefaults() Config {
	return Config{
		Workers: cmp.Or(c.Workers, 2), MaxMessages: cmp.Or(c.MaxMessages, 128), MaxBytes: cmp.Or(c.MaxBytes, 1<<20),
		Timeout: cmp.Or(c.Timeout, 30*time.Second), Patience: cmp.Or(c.Patience, 250*time.Millisecond),
	}
}
