package main

import (
	"fmt"
	"math"
	"time"
)

// target is what is wanted of a figure, and what was found.
type target struct {
	what, want, found string
	met               bool
}

// atLeast is the target that a ratio is not below a bound. The figures in detail are of the same
// run.
func atLeast(what string, bound, ratio float64, detail string, a ...any) target {
	return target{what, fmt.Sprintf("≥ %.2g", bound), found(ratio, detail, a), ratio >= bound}
}

// atMost is the target that a ratio is not above a bound.
func atMost(what string, bound, ratio float64, detail string, a ...any) target {
	return target{what, fmt.Sprintf("≤ %.2g", bound), found(ratio, detail, a), ratio <= bound}
}

func found(ratio float64, detail string, a []any) string {
	return fmt.Sprintf("%.2f (%s)", ratio, fmt.Sprintf(detail, a...))
}

// targets holds the figures of a run against what is wanted of them: ratios to what was measured in
// the same run.
func (r *report) targets() []target {
	all := append(r.sendTargets(), r.readTargets()...)
	all = append(all, r.sharedTargets()...)
	all = append(all, r.groupTargets()...)
	return append(all, r.processTargets()...)
}

func (r *report) sendTargets() []target {
	base := r.mean("over 1,000 conversations")
	peak, one, steady, claims := r.find("64 in flight over"), r.find("256 in flight into"), r.find("70 %"), r.find("key package")
	token, unnamed := r.find("send, 64"), r.find("sealed send, 64")
	signature, db := r.share(`\(\*ServiceAuth\)\.checkSignature`), r.share(`\(\*Sends\)\.write`)+r.share(`\(\*reader\)\.ReadLog`)
	profiled := r.find("64 in flight, profiled")
	all := float64(profiled.serverCPU.Microseconds()) / float64(max(1, profiled.latency.TotalCount()))
	own := all * (1 - (signature+db)/100)
	verification := float64(r.verification.Nanoseconds()) / 1000
	return []target{
		atLeast("sends, 64 in flight over 1,000 conversations ÷ pgbench", 2, peak.rate/base, "%.0f of %.0f a second", peak.rate, base),
		atLeast("sends, 256 in flight into one conversation ÷ the same", 3, one.rate/base, "%.0f a second", one.rate),
		atMost("sends at 70 % of the peak, p99 ÷ p50", 6, steady.quantile(99)/steady.quantile(50), "%.1f of %.1f ms", steady.quantile(99), steady.quantile(50)),
		atLeast("sealed sends ÷ sends with a token, 64 in flight", 1.35, unnamed.rate/token.rate, "%.0f of %.0f a second", unnamed.rate, token.rate),
		atMost("CPU of a send outside signature and database ÷ one P-256 verification", 0.7, own/verification, "%.0f µs of %.0f, signature %.0f %%, database %.0f %% of the profile; a verification %.0f µs", own, all, signature, db, verification),
		atLeast("key package claims ÷ sends, 64 in flight", 0.8, claims.rate/peak.rate, "%.0f a second", claims.rate),
	}
}

func (r *report) readTargets() []target {
	pages, convos, one := r.find("page of 50 × 2 KiB"), r.find("getConvos"), r.find("page of 50, 1,000")
	byPgbench := mean(r.pagesByPgbench)
	all := []target{
		atLeast("getMessages of 50 × 2 KiB, 16 in flight ÷ pgbench reading the same rows", 0.7, pages.rate/byPgbench, "%.0f of %.0f a second", pages.rate, byPgbench),
		atMost("the same, p99 ÷ p50", 5, pages.quantile(99)/pages.quantile(50), "%.1f of %.1f ms", pages.quantile(99), pages.quantile(50)),
		atMost("getConvos with 1,000 conversations ÷ one page of getMessages, medians", 2, convos.quantile(50)/one.quantile(50), "%.2f of %.2f ms", convos.quantile(50), one.quantile(50)),
	}
	for _, f := range []struct{ name, from, to string }{
		{"send, median, 1,000 messages → many", "send, 1,000", fmt.Sprintf("send, %d", r.options.history)}, {"page, median, 1,000 messages → many", "page of 50, 1,000", fmt.Sprintf("page of 50, %d", r.options.history)},
		{"send, median, 2 members → 2,000", "send, 1,000", "send, 2,000"}, {"page, median, 2 members → 2,000", "page of 50, 1,000", "page of 50, 2,000"},
	} {
		v := r.find(f.to).quantile(50) / r.find(f.from).quantile(50)
		all = append(all, target{f.name, "± 15 %", fmt.Sprintf("%+.0f %%", (v-1)*100), math.Abs(v-1) <= 0.15})
	}
	return all
}

func (r *report) sharedTargets() []target {
	var all []target
	for _, what := range []string{"send", "claim", "page"} {
		with, without := r.find("shared: "+what+withRedis), r.named("shared: "+what)
		all = append(all, atLeast(what+"s with Redis ÷ without", 0.9, with.rate/without.rate, "%.0f of %.0f a second", with.rate, without.rate))
	}
	return all
}

func (r *report) groupTargets() []target {
	if len(r.commits) == 0 {
		return nil
	}
	large := r.commits[len(r.commits)-1]
	rounds := float64(2 * ((addAtOnce + 7) / 8))
	return []target{
		atMost("addMembers of 50 users into 450 ÷ an update commit in that group", 5, float64(large.additionTime)/float64(large.median), "%.0f of %.0f ms", ms(large.additionTime), ms(large.median)),
		atMost("the same with an AppView that takes "+upstreamDelay.String()+", what it takes longer ÷ that", rounds, float64(r.slowAddition-large.additionTime)/float64(upstreamDelay), "%.0f ms", ms(r.slowAddition)),
		{"a message's bytes beside its ciphertext, without the database's log", "known", fmt.Sprintf("%.0f B", r.stored.beside()), r.stored.beside() > 0},
		{"registerDevice with 200 packages, the server's CPU", "< 100 ms", fmt.Sprintf("%.1f ms", ms(r.register)), r.register < 100*time.Millisecond},
	}
}

func (r *report) processTargets() []target {
	start := r.starts[len(r.starts)/2]
	return []target{
		{"memory, idle", "< 64 MB", megabytes(r.idle), r.idle < 64e6},
		{"memory, highest up to the end of the send peak", "< 150 MB", megabytes(r.peakRSS), r.peakRSS < 150e6},
		{"exec to ready, median of 5", "< 300 ms", fmt.Sprintf("%.0f ms", ms(start)), start < 300*time.Millisecond},
		{"binary", "< 40 MB", megabytes(r.binarySize), r.binarySize < 40e6},
		{"memory for one message of 10 MiB", "≤ 3 × its size", fmt.Sprintf("%.1f ×", r.large.one/largeSize), r.large.one <= 3*largeSize},
		{"memory, highest with 100 of them at once", "≤ BODY_MEMORY_MB (256 MiB), no 5xx but 503", fmt.Sprintf("%s; %d sent, %d told to come back, %d otherwise", megabytes(r.large.peak), r.large.accepted, r.large.busy, r.large.other), r.large.other == 0 && r.large.accepted > 0 && r.large.peak <= 256<<20},
	}
}

func mean(values []float64) float64 {
	total := 0.0
	for _, v := range values {
		total += v
	}
	return total / float64(max(1, len(values)))
}
