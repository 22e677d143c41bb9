package obs

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// PoolState is what a pool of connections is at.
type PoolState struct {
	// Used are connections that statements run on, Idle those that wait for one, and Most is how
	// many there may be.
	Used, Idle, Most int32
	// Waits is how often a statement had to wait for a connection, and Waited for how long
	// altogether, since the start.
	Waits  int64
	Waited time.Duration
}

// Gauges are read when somebody asks for the metrics.
type Gauges struct{ s *set }

func newGauges(s *set) Gauges {
	s.names = append(s.names, "mls_pool_connections", "mls_pool_connections_max", "mls_pool_waits_total", "mls_pool_wait_seconds_total", "mls_body_memory_bytes", "mls_event_log_generation_timestamp_seconds", "mls_account_states_age_seconds")
	return Gauges{s}
}

// WatchPool has the pool of connections to the database read.
func (g *Gauges) WatchPool(read func() PoolState) {
	const connections = "mls_pool_connections"
	help := "Connections to PostgreSQL by state."
	g.gauge(connections, help, prometheus.Labels{"state": "used"}, func() float64 { return float64(read().Used) })
	g.gauge(connections, help, prometheus.Labels{"state": "idle"}, func() float64 { return float64(read().Idle) })
	g.gauge("mls_pool_connections_max", "Connections to PostgreSQL at most.", nil, func() float64 { return float64(read().Most) })
	g.counter("mls_pool_waits_total", "Statements that had to wait for a connection.", func() float64 { return float64(read().Waits) })
	g.counter("mls_pool_wait_seconds_total", "How long statements have waited for a connection.", func() float64 { return read().Waited.Seconds() })
}

// WatchBodyMemory has the memory read that large bodies and answers hold, in bytes, each as it is
// counted (BODY_MEMORY_MB), and what they may hold.
func (g *Gauges) WatchBodyMemory(read func() (used, most int64)) {
	const name, help = "mls_body_memory_bytes", "Memory that large bodies and answers hold, as it is counted, and may hold."
	g.gauge(name, help, prometheus.Labels{"state": "used"}, func() float64 { used, _ := read(); return float64(used) })
	g.gauge(name, help, prometheus.Labels{"state": "max"}, func() float64 { _, most := read(); return float64(most) })
}

// WatchGeneration has the time read at which the event log's generation began, zero while it is not
// known.
func (g *Gauges) WatchGeneration(read func() time.Time) {
	const help = "When the event log's generation began, in seconds since 1970: it changes when the database is restored, failed over or restarted."
	g.gauge("mls_event_log_generation_timestamp_seconds", help, nil, func() float64 { return max(0, float64(read().Unix())) })
}

// WatchStatesAge has read how old is what the server knows of refused accounts.
func (g *Gauges) WatchStatesAge(read func() time.Duration) {
	const help = "How old what this server knows of refused accounts is."
	g.gauge("mls_account_states_age_seconds", help, nil, func() float64 { return read().Seconds() })
}

func (g *Gauges) gauge(name, help string, labels prometheus.Labels, read func() float64) {
	g.s.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, read))
}

func (g *Gauges) counter(name, help string, read func() float64) {
	g.s.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, read))
}
