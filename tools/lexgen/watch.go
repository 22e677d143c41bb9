package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"time"
)

// watchEvery is how often gen --watch looks at its inputs.
const watchEvery = 300 * time.Millisecond

// watch does the work, and again whenever the digest is another one than before the last time,
// until the context ends.
func watch(ctx context.Context, every time.Duration, digest func() string, work func()) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		before := digest()
		work()
		for digest() == before {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}
}

// inputs is the digest of all that a command line of gen reads. What cannot be read counts as the
// error.
func inputs(args []string) string {
	h := sha256.New()
	all, err := configs("gen", args, io.Discard)
	fmt.Fprintln(h, err)
	for _, c := range all {
		fmt.Fprintln(h, c.cacheKey())
	}
	return hex.EncodeToString(h.Sum(nil))
}
