package main

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
)

// measureVerify finds what one verification of a P-256 signature costs here, by the library that
// servers and clients of atproto use: the median of several rounds of CPU time.
func measureVerify(_ context.Context, _ *machine, r *report) error {
	const rounds, each = 9, 400
	key, err := atcrypto.GeneratePrivateKeyP256()
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	public, err := key.PublicKey()
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	text := []byte("what is signed is about as long as a token")
	signature, err := key.HashAndSign(text)
	if err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	var times []time.Duration
	for range rounds {
		before := processCPU()
		for range each {
			if err := public.HashAndVerify(text, signature); err != nil {
				return fmt.Errorf("verify: %w", err)
			}
		}
		times = append(times, (processCPU()-before)/each)
	}
	slices.Sort(times)
	r.verification = times[len(times)/2]
	return nil
}

// processCPU is the CPU that this process has used.
func processCPU() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // it fails for wrong arguments only
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
