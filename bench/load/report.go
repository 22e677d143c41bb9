package main

import (
	"fmt"
	"io"
	"math"
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
}

// mean of what pgbench reached before and after the loads.
func (r *report) mean(name string) float64 {
	total := 0.0
	for _, v := range r.pgbench[name] {
		total += v
	}
	return total / float64(max(1, len(r.pgbench[name])))
}

func (r *report) find(name string) *outcome {
	for _, o := range append(append([]*outcome{}, r.loads...), r.flat...) {
		if strings.HasPrefix(o.name, name) {
			return o
		}
	}
	return &outcome{latency: newHistogram()}
}

// write writes REPORT.md and the plots.
func (r *report) write() error {
	base := r.mean("over 1,000 conversations")
	peak, one, steady, claims := r.find("64 in flight over"), r.find("256 in flight into"), r.find("70 %"), r.find("key package")
	start := r.starts[len(r.starts)/2]
	var b strings.Builder
	line := func(format string, a ...any) { fmt.Fprintf(&b, format+"\n", a...) }
	line("# Benchmark\n\nWritten by `make bench` on %s; the run took %.0f s. Load generator, server and PostgreSQL share the machine.", r.started.UTC().Format("2006-01-02 15:04 UTC"), time.Since(r.started).Seconds())
	line("Figures hold for this run and machine; only ratios within the run say something about another.\n")
	for _, f := range r.facts {
		line("- %s", f)
	}
	line("\n## Targets\n\n| target | wanted | found | |\n| --- | --- | --- | --- |")
	row := func(what, want, found string, met bool) {
		line("| %s | %s | %s | %s |", what, want, found, map[bool]string{true: "met", false: "**not met**"}[met])
	}
	row("sends, 64 in flight over 1,000 conversations, of pgbench's rate", "≥ 0.50", fmt.Sprintf("%.2f (%.0f of %.0f a second)", peak.rate/base, peak.rate, base), peak.rate >= base/2)
	row("sends, 256 in flight into one conversation, of the same", "≥ 0.40", fmt.Sprintf("%.2f (%.0f a second)", one.rate/base, one.rate), one.rate >= base*0.4)
	row("p99 at 70 % of the peak", "< 40 ms", fmt.Sprintf("%.1f ms", steady.quantile(99)), steady.quantile(99) < 40)
	ratio := func(a, z string) float64 { return r.find(z).quantile(50) / r.find(a).quantile(50) }
	for _, f := range []struct{ name, from, to string }{
		{"send, median, 1,000 messages → many", "send, 1,000", fmt.Sprintf("send, %d", r.options.history)}, {"page, median, 1,000 messages → many", "page of 50, 1,000", fmt.Sprintf("page of 50, %d", r.options.history)},
		{"send, median, 2 members → 2,000", "send, 1,000", "send, 2,000"}, {"page, median, 2 members → 2,000", "page of 50, 1,000", "page of 50, 2,000"},
	} {
		v := ratio(f.from, f.to)
		row(f.name, "± 15 %", fmt.Sprintf("%+.0f %%", (v-1)*100), math.Abs(v-1) <= 0.15)
	}
	convos := r.find("getConvos").quantile(50)
	row("getConvos with 1,000 conversations, median", "< 10 ms", fmt.Sprintf("%.1f ms", convos), convos < 10)
	row("memory, idle", "< 64 MB", megabytes(r.idle), r.idle < 64e6)
	row("memory, highest up to the end of the send peak", "< 150 MB", megabytes(r.peakRSS), r.peakRSS < 150e6)
	row("exec to ready, median of 5", "< 300 ms", fmt.Sprintf("%.0f ms", float64(start.Microseconds())/1000), start < 300*time.Millisecond)
	row("binary", "< 40 MB", megabytes(r.binarySize), r.binarySize < 40e6)
	row("key package claims", "≥ 3,000 a second", fmt.Sprintf("%.0f a second", claims.rate), claims.rate >= 3000)
	signature, db := r.share(`\(\*ServiceAuth\)\.checkSignature`), r.share(`\(\*Sends\)\.write`)+r.share(`\(\*reader\)\.ReadLog`)
	profiled := r.find("64 in flight, profiled")
	all := float64(profiled.serverCPU.Microseconds()) / float64(max(1, profiled.latency.TotalCount()))
	own := all * (1 - (signature+db)/100)
	row("CPU of a send outside signature and database", "< 60 µs", fmt.Sprintf("%.0f µs of %.0f; signature %.0f %%, database %.0f %% of the profile", own, all, signature, db), own < 60 && signature > 0 && db > 0)
	row("registerDevice with 200 packages, the server's CPU", "< 100 ms", fmt.Sprintf("%.1f ms", float64(r.register.Microseconds())/1000), r.register < 100*time.Millisecond)
	row("memory for one message of 10 MiB", "≤ 3 × its size", fmt.Sprintf("%.1f ×", r.large.one/largeSize), r.large.one <= 3*largeSize)
	row("memory, highest with 100 of them at once", "≤ BODY_MEMORY_MB (256 MiB), no 5xx but 503", fmt.Sprintf("%s; %d sent, %d told to come back, %d otherwise", megabytes(r.large.peak), r.large.accepted, r.large.busy, r.large.other), r.large.other == 0 && r.large.accepted > 0 && r.large.peak <= 256<<20)
	line("\npgbench (64 clients, prepared, one transaction of three statements), transactions a second before and after the loads:\n")
	for _, name := range []string{"over 1,000 conversations", "into one conversation"} {
		line("- %s: %.0f", name, r.pgbench[name])
	}
	line("\n## Loads\n\nLatencies in ms. In the open loop they count from the moment a request was planned for. CPU is that of the server's process, token verification, database driver and HTTP included.\n")
	r.print(&b)
	line("\n## Commits\n\nOf verified conversations, one after the other: each is held against the group's public state, with the GroupInfo that comes along. The server's clock of CPU ticks at 10 ms, so its figure is a mean. What is added comes last, before the updates.\n")
	r.printCommits(&b)
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
	return nil
}

// profileLines is how much of the profile the report shows.
const profileLines = 50

// head is the first n lines of a text.
func head(text string, n int) string {
	lines := strings.Split(text, "\n")
	return strings.Join(lines[:min(n, len(lines))], "\n")
}

// print writes the loads as a table.
func (r *report) print(w io.Writer) {
	line := func(format string, a ...any) { _, _ = fmt.Fprintf(w, format+"\n", a...) }
	line("| load | offered | a second | failed | p50 | p90 | p99 | p99.9 | max | CPU a request | |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
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
		line("| %s | %s | %.0f | %d | %.1f | %.1f | %.1f | %.1f | %.1f | %d µs | %s |", o.name, offered, o.rate, o.failures,
			o.quantile(50), o.quantile(90), o.quantile(99), o.quantile(99.9), float64(o.latency.Max())/1000,
			o.serverCPU.Microseconds()/max(1, o.latency.TotalCount()), note)
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
