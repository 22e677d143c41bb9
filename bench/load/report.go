package main

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// report is what a run has found.
type report struct {
	options       options
	started       time.Time
	facts         []string
	binarySize    int64
	starts        []time.Duration
	idle, peakRSS int64
	pgbench       map[string][]float64
	loads, flat   []*outcome
	large         largeFigures
	register      time.Duration
	commits       []commitFigures
	profile       string

	pagesByPgbench []float64
	verification   time.Duration
	slowAddition   time.Duration
	streams        streamFigures
	stored         storage
}

// mean of what pgbench reached before and after the loads.
func (r *report) mean(name string) float64 {
	return mean(r.pgbench[name])
}

func (r *report) find(name string) *outcome {
	for _, o := range append(append([]*outcome{}, r.loads...), r.flat...) {
		if strings.HasPrefix(o.name, name) {
			return o
		}
	}
	return &outcome{latency: newHistogram()}
}

// named is the load of a name, nothing where there is none.
func (r *report) named(name string) *outcome {
	for _, o := range r.loads {
		if o.name == name {
			return o
		}
	}
	return &outcome{latency: newHistogram()}
}

// write writes REPORT.md and the plots.
func (r *report) write() error {
	var b strings.Builder
	line := func(format string, a ...any) { fmt.Fprintf(&b, format+"\n", a...) }
	line("# Benchmark\n\nWritten by `make bench` on %s; the run took %.0f s. Load generator, server and PostgreSQL share the machine.", r.started.UTC().Format("2006-01-02 15:04 UTC"), time.Since(r.started).Seconds())
	line("Figures hold for this run and machine; only ratios within the run say something about another.\n")
	for _, f := range r.facts {
		line("- %s", f)
	}
	line("\n## Targets\n\n| target | wanted | found | |\n| --- | --- | --- | --- |")
	for _, t := range r.targets() {
		line("| %s | %s | %s | %s |", t.what, t.want, t.found, map[bool]string{true: "met", false: "**not met**"}[t.met])
	}
	line("\npgbench (64 clients, prepared, one transaction of three statements), transactions a second before and after the loads:\n")
	for _, name := range []string{"over 1,000 conversations", "into one conversation"} {
		line("- %s: %.0f", name, r.pgbench[name])
	}
	line("\n## Loads\n\nLatencies in ms. In the open loop they count from the moment a request was planned for. CPU is that of the server's process, token verification, database driver and HTTP included, and that of PostgreSQL's.\n")
	r.print(&b)
	line("\n## Commits\n\nOf verified conversations, one after the other: each is held against the group's public state, with the GroupInfo that comes along. The server's clock of CPU ticks at 10 ms, so its figure is a mean. What is added comes last, before the updates.\n")
	r.printCommits(&b)
	line("\n## What a message takes in the database\n\nBytes that each of %d messages of %d bytes added, 64 in flight over 1,000 conversations, after a checkpoint.\n", storageMessages, bucketSize)
	r.printStored(&b)
	line("\n![latency by quantile](latency.svg)\n\n![answers a second](rate.svg)\n\n## Where the server's time goes\n\nProfile of the send peak, functions by cumulated time:\n\n```\n%s\n```", head(r.profile, profileLines))
	line("\n## About the figures\n\n%s", notes)
	for name, content := range map[string]string{"latency": latencyPlot(r.loads), "rate": ratePlot(r.loads)} {
		if err := os.WriteFile(plotPath(r.options.out, name), []byte(content), 0o644); err != nil { //nolint:gosec // a picture for everybody
			return fmt.Errorf("write a plot: %w", err)
		}
	}
	if err := os.WriteFile(r.options.out+"/REPORT.md", []byte(b.String()), 0o644); err != nil { //nolint:gosec // a report for everybody
		return fmt.Errorf("write the report: %w", err)
	}
	return r.writeCapacity()
}

// profileLines is how much of the profile the report shows.
const profileLines = 50

// head is the first n lines of a text.
func head(text string, n int) string {
	lines := strings.Split(text, "\n")
	return strings.Join(lines[:min(n, len(lines))], "\n")
}

// printStored writes what a message adds to the database as a table.
func (r *report) printStored(w io.Writer) {
	s := r.stored
	_, _ = fmt.Fprintf(w, "| messages | their indexes | events | their indexes | in all, beside the ciphertext | log of the database |\n| --- | --- | --- | --- | --- | --- |\n| %.0f | %.0f | %.0f | %.0f | %.0f | %.0f |\n",
		s.heap, s.indexes, s.log, s.logIndexes, s.beside(), s.wal)
}

// print writes the loads as a table.
func (r *report) print(w io.Writer) {
	line := func(format string, a ...any) { _, _ = fmt.Fprintf(w, format+"\n", a...) }
	line("| load | offered | a second | failed | p50 | p90 | p99 | p99.9 | max | CPU a request, server | database | |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
	for _, o := range append(append([]*outcome{}, r.loads...), r.flat...) {
		offered := "closed"
		if o.offered > 0 {
			offered = fmt.Sprintf("%.0f", o.offered)
		}
		note := ""
		if o.offered > 0 {
			note = fmt.Sprintf("%d sent over 1 ms late, which their latency holds", o.late)
		} else if o.dropped && o.inFlight > 1 {
			note = "ended early: all signed requests were used"
		}
		server, database := o.each()
		line("| %s | %s | %.0f | %d | %.1f | %.1f | %.1f | %.1f | %.1f | %.0f µs | %.0f µs | %s |", o.name, offered, o.rate, o.failures,
			o.quantile(50), o.quantile(90), o.quantile(99), o.quantile(99.9), float64(o.latency.Max())/1000,
			server, database, note)
	}
}

// notes is what a reader of the figures should know.
const notes = "- pgbench parses its script and makes its random numbers on the same two processors, and each of its transactions takes several round trips and a flush of its own; the server sends what arrives together as one statement. A ratio above 1 is that, and not a faster database.\n" +
	"- The CPU outside signature and database is the server's whole CPU for a request less the two shares of the profile; connection handling by net/http, garbage collection and the profiler itself are in it. Most of it is net/http and the kernel: reading a request, writing its answer (one system call each), waking the goroutines that wait. It moves with the machine: three processes share two processors and their caches.\n" +
	"- Claims that arrive together share a statement, as sends do, and each statement keeps one plan; what a claim asks about blocks is a round trip of its own.\n" +
	"- A message of 10 MiB arrives as 14 MB of JSON and is decoded over its own text; the frame to the database is the one copy. While it is handled it holds six times its text of BODY_MEMORY_MB (256 MiB here): that is what it takes with what the collector has not taken back yet."

// share is a function's cumulated part of the profile in percent; 0 when it is not in it.
func (r *report) share(function string) float64 {
	match := regexp.MustCompile(`([0-9.]+)%\s+\S*` + function + `\n`).FindStringSubmatch(r.profile)
	if match == nil {
		return 0
	}
	v, _ := strconv.ParseFloat(match[1], 64)
	return v
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }
