package obs

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mls-server/internal/egress"
)

// Redis is what is decided without it.
type Redis struct{ fallbacks prometheus.Counter }

func newRedis(s *set) Redis {
	return Redis{s.counter("mls_redis_fallbacks_total", "Decisions taken without Redis because it did not answer.")}
}

// ObserveRedisFallback counts one decision that was taken without Redis.
func (r *Redis) ObserveRedisFallback() { r.fallbacks.Inc() }

// Tokens is what package auth reports.
type Tokens struct{ unknown prometheus.Counter }

func newTokens(s *set) Tokens {
	return Tokens{s.counter("mls_unknown_tokens_total", "Tokens refused because no store could say whether they were used.")}
}

// ObserveUnknownToken counts one token that was refused because no store could
// say whether it was used.
func (t *Tokens) ObserveUnknownToken() { t.unknown.Inc() }

// Egress is what package egress reports.
type Egress struct{ duration *prometheus.HistogramVec }

func newEgress(s *set) Egress {
	return Egress{s.histograms("mls_egress_duration_seconds", "Outbound requests by purpose and outcome.",
		[]float64{.01, .05, .1, .5, 1, 5, 10}, "purpose", "outcome")}
}

// ObserveEgress counts one outbound request; both labels are from closed sets.
func (e *Egress) ObserveEgress(p egress.Purpose, outcome string, elapsed time.Duration) {
	e.duration.WithLabelValues(string(p), outcome).Observe(elapsed.Seconds())
}

// Blocks is what package blocks reports.
type Blocks struct {
	lookups *prometheus.CounterVec
	feed    *prometheus.CounterVec
}

func newBlocks(s *set) Blocks {
	return Blocks{
		lookups: s.counters("mls_block_lookups_total", "Questions about blocks by how they were answered.", "outcome"),
		feed:    s.counters("mls_jetstream_events_total", "What the Jetstream subscription met.", "event"),
	}
}

// ObserveBlocks counts one question about blocks; outcome is what blocks.Config.Observe is
// told.
func (b *Blocks) ObserveBlocks(outcome string) { b.lookups.WithLabelValues(outcome).Inc() }

// ObserveFeed counts what the Jetstream subscription met; event is what
// blocks.FeedConfig.Observe is told.
func (b *Blocks) ObserveFeed(event string) { b.feed.WithLabelValues(event).Inc() }
