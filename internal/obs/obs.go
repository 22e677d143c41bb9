// Package obs holds the server's metrics. Every label comes from a closed set:
// the method table, error names, query names. Nothing here ever receives an
// identity (I9), so nothing can be enumerated through the metrics port.
//
// It must not log and must not import anything that behaves.
package obs

import (
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"mls-server/internal/egress"
	"mls-server/internal/xrpc"
	"mls-server/lexrt"
)

// otherMethod labels requests that matched no method.
const otherMethod = "other"

// Metrics is the set of all metrics of a server process.
type Metrics struct {
	registry *prometheus.Registry

	requests   *prometheus.CounterVec
	duration   *prometheus.HistogramVec
	undeclared *prometheus.CounterVec
	queries    *prometheus.HistogramVec
	queryFails *prometheus.CounterVec
	txRetries  prometheus.Counter

	// Messages counts stored messages by kind: app, commit, proposal.
	messages     *prometheus.CounterVec
	messageBytes prometheus.Histogram
	jobRuns      *prometheus.CounterVec
	jobRows      *prometheus.CounterVec
	streams      prometheus.Gauge
	delivered    prometheus.Counter
	limitFalls   prometheus.Counter
	conversation prometheus.Gauge
	egress       *prometheus.HistogramVec
	blocks       *prometheus.CounterVec
	feed         *prometheus.CounterVec
}

// New returns metrics on a registry of their own.
func New() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mls_requests_total", Help: "Requests by method and error name (none for successes).",
		}, []string{"method", "error"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "mls_request_duration_seconds", Help: "Time from request to the end of the answer, streams left out.",
			Buckets: []float64{.0005, .001, .002, .004, .008, .016, .032, .064, .128, .256, .512, 1, 2, 4, 8},
		}, []string{"method"}),
		undeclared: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mls_undeclared_errors_total", Help: "Errors that a handler returned and its lexicon does not declare.",
		}, []string{"method"}),
		queries: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "mls_query_duration_seconds", Help: "Database time by query name.",
			Buckets: []float64{.00025, .0005, .001, .002, .004, .008, .016, .032, .064, .256, 1, 4},
		}, []string{"query"}),
		queryFails: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mls_query_errors_total", Help: "Failed database queries by query name.",
		}, []string{"query"}),
		txRetries: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mls_transaction_retries_total", Help: "Transactions that were run again after a serialization failure or deadlock.",
		}),
		messages: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mls_messages_total", Help: "Stored messages by kind.",
		}, []string{"kind"}),
		messageBytes: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "mls_message_size_bytes", Help: "Padded size of stored messages.",
			Buckets: []float64{512, 1024, 2048, 4096, 8192, 65536, 524288, 1048576, 4194304, 10485760},
		}),
		jobRuns: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mls_job_runs_total", Help: "Runs of retention jobs by job and result.",
		}, []string{"job", "result"}),
		jobRows: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mls_job_rows_total", Help: "Rows that retention jobs deleted, by job.",
		}, []string{"job"}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "mls_streams", Help: "Open event streams.",
		}),
		delivered: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mls_events_delivered_total", Help: "Events written to streams.",
		}),
		limitFalls: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mls_redis_fallbacks_total", Help: "Decisions taken without Redis because it did not answer.",
		}),
		conversation: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "mls_active_conversations", Help: "Conversations with a message in the last day, as last counted.",
		}),
		egress: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "mls_egress_duration_seconds", Help: "Outbound requests by purpose and outcome.",
			Buckets: []float64{.01, .05, .1, .5, 1, 5, 10},
		}, []string{"purpose", "outcome"}),
		blocks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mls_block_lookups_total", Help: "Questions about blocks by how they were answered.",
		}, []string{"outcome"}),
		feed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mls_jetstream_events_total", Help: "What the Jetstream subscription met.",
		}, []string{"event"}),
	}
	m.registry.MustRegister(
		m.requests, m.duration, m.undeclared, m.queries, m.queryFails, m.txRetries, m.messages, m.messageBytes,
		m.jobRuns, m.jobRows, m.streams, m.delivered, m.limitFalls, m.conversation, m.egress, m.blocks, m.feed,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// ObserveRequest implements xrpc.Observer.
func (m *Metrics) ObserveRequest(e xrpc.Event) {
	method, name := e.Method, e.Error
	if method == "" {
		method = otherMethod
	}
	if name == "" {
		name = "none"
	}
	m.requests.WithLabelValues(method, name).Inc()
	if !e.Stream {
		m.duration.WithLabelValues(method).Observe(e.Duration.Seconds())
	}
}

// ObserveUndeclared implements xrpc.Observer.
func (m *Metrics) ObserveUndeclared(method *lexrt.Method, _ string) {
	m.undeclared.WithLabelValues(method.NSID).Inc()
}

// ObserveQuery counts one database query under the name that its SQL file gives it.
func (m *Metrics) ObserveQuery(name string, d time.Duration, err error) {
	m.queries.WithLabelValues(name).Observe(d.Seconds())
	if err != nil {
		m.queryFails.WithLabelValues(name).Inc()
	}
}

// ObserveRetry counts one repeated transaction.
func (m *Metrics) ObserveRetry() { m.txRetries.Inc() }

// ObserveMessage counts one stored message of a kind (app, commit or proposal) and its padded size in bytes.
func (m *Metrics) ObserveMessage(kind string, size int) {
	m.messages.WithLabelValues(kind).Inc()
	m.messageBytes.Observe(float64(size))
}

// ObserveJob counts one run of a retention job and the rows it deleted.
func (m *Metrics) ObserveJob(job string, rows int64, err error) {
	result := "ok"
	if err != nil {
		result = "failed"
	}
	m.jobRuns.WithLabelValues(job, result).Inc()
	m.jobRows.WithLabelValues(job).Add(float64(rows))
}

// SetActiveConversations records the last count of conversations in use.
func (m *Metrics) SetActiveConversations(n int64) { m.conversation.Set(float64(n)) }

// ObserveRedisFallback counts one decision that was taken without Redis.
func (m *Metrics) ObserveRedisFallback() { m.limitFalls.Inc() }

// ObserveEgress counts one outbound request; both labels are from closed sets.
func (m *Metrics) ObserveEgress(p egress.Purpose, outcome string, elapsed time.Duration) {
	m.egress.WithLabelValues(string(p), outcome).Observe(elapsed.Seconds())
}

// ObserveBlocks counts one question about blocks; outcome is one of blocks.Outcomes.
func (m *Metrics) ObserveBlocks(outcome string) { m.blocks.WithLabelValues(outcome).Inc() }

// ObserveFeed counts what the Jetstream subscription met; event is one of blocks.FeedEvents.
func (m *Metrics) ObserveFeed(event string) { m.feed.WithLabelValues(event).Inc() }

// StreamOpened and StreamClosed keep the number of open streams.
func (m *Metrics) StreamOpened() { m.streams.Inc() }

// StreamClosed is called once for each StreamOpened.
func (m *Metrics) StreamClosed() { m.streams.Dec() }

// ObserveDelivered counts events written to streams.
func (m *Metrics) ObserveDelivered(n int) { m.delivered.Add(float64(n)) }

// AdminHandler serves /metrics and /debug/pprof/. It belongs on the admin port only.
func (m *Metrics) AdminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

// Names lists the metrics of this package, without those of the Go runtime and
// the process. OPERATIONS.md is tested against it.
func Names() []string {
	return []string{
		"mls_active_conversations", "mls_block_lookups_total", "mls_egress_duration_seconds", "mls_events_delivered_total", "mls_jetstream_events_total", "mls_job_rows_total", "mls_job_runs_total",
		"mls_message_size_bytes", "mls_messages_total", "mls_query_duration_seconds", "mls_query_errors_total",
		"mls_redis_fallbacks_total", "mls_request_duration_seconds", "mls_requests_total", "mls_streams",
		"mls_transaction_retries_total", "mls_undeclared_errors_total",
	}
}
