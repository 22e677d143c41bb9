// Command load measures the server: it starts PostgreSQL with durable commits
// and the released binary on it, loads the server over loopback HTTP with tokens
// that were signed before, has pgbench write the same rows in the same run, and
// writes a report with figures, ratios and plots.
//
// Figures of different runs or machines must not be compared with each other;
// ratios within a run may.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// options are what a run is asked to do.
type options struct {
	server  string
	out     string
	measure time.Duration
	warm    time.Duration
	history int
	only    string
}

func main() {
	var o options
	flag.StringVar(&o.server, "server", "bin/mls-server", "the released binary")
	flag.StringVar(&o.out, "out", "bench", "directory of REPORT.md and the plots")
	flag.DurationVar(&o.measure, "measure", 12*time.Second, "length of each measurement")
	flag.DurationVar(&o.warm, "warm", 3*time.Second, "length of the warm-up before it")
	flag.IntVar(&o.history, "history", 1_000_000, "messages in the largest conversation")
	flag.StringVar(&o.only, "only", "", "one step alone, such as claims; prints its loads and profile and writes no report")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	dir, err := os.MkdirTemp("", "mls-bench-")
	if err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // a leftover of a temporary directory is no failure
	m, err := startMachine(ctx, o.server, filepath.Join(dir, "postgres"))
	if err != nil {
		return err
	}
	defer m.stop()
	r := &report{options: o, started: time.Now()}
	for _, step := range []struct {
		name string
		do   func(context.Context, *machine, *report) error
	}{
		{"describe", describe}, {"seed", seed}, {"start", measureStart}, {"verification", measureVerify}, {"storage", measureStorage},
		{"pgbench", measurePgbench}, {"sends", measureSends}, {"sealed", measureSealed}, {"pages", measurePages}, {"flatness", measureFlatness},
		{"claims", measureClaims}, {"shared", measureShared}, {"registrations", measureRegister}, {"commits", measureCommits},
		{"streams", measureStreams}, {"large messages", measureLarge}, {"pgbench again", measurePgbench},
	} {
		if o.only != "" && !slices.Contains([]string{o.only, "describe", "seed", "start"}, step.name) {
			continue
		}
		fmt.Fprintf(os.Stderr, "%6.1fs %s\n", time.Since(r.started).Seconds(), step.name)
		if err := step.do(ctx, m, r); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	if o.only != "" {
		r.print(os.Stdout)
		fmt.Println(head(r.profile, profileLines))
		fmt.Printf("large messages: %+v\n", r.large)
		r.printCommits(os.Stdout)
		r.printStored(os.Stdout)
		fmt.Printf("costs: %v\n", r.costs())
		for _, t := range r.targets() {
			fmt.Println(t.what, t.want, t.found)
		}
		return nil
	}
	return r.write()
}
