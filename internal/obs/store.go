package obs

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Queries is what package store reports of the database; it implements
// store.QueryObserver.
type Queries struct {
	duration *prometheus.HistogramVec
	failed   *prometheus.CounterVec
	retries  prometheus.Counter
}

func newQueries(s *set) Queries {
	return Queries{
		duration: s.histograms("mls_query_duration_seconds", "Database time by query name.",
			[]float64{.00025, .0005, .001, .002, .004, .008, .016, .032, .064, .256, 1, 4}, "query"),
		failed:  s.counters("mls_query_errors_total", "Failed database queries by query name.", "query"),
		retries: s.counter("mls_transaction_retries_total", "Transactions that were run again after a serialization failure or deadlock."),
	}
}

// ObserveQuery counts one database query under the name that its SQL file gives it.
func (q *Queries) ObserveQuery(name string, d time.Duration, err error) {
	q.duration.WithLabelValues(name).Observe(d.Seconds())
	if err != nil {
		q.failed.WithLabelValues(name).Inc()
	}
}

// ObserveRetry counts one repeated transaction.
func (q *Queries) ObserveRetry() { q.retries.Inc() }

// Messages is what was stored, without any link to who stored it.
type Messages struct {
	stored *prometheus.CounterVec
	size   prometheus.Histogram
}

func newMessages(s *set) Messages {
	return Messages{
		stored: s.counters("mls_messages_total", "Stored messages by kind.", "kind"),
		size: s.histogram("mls_message_size_bytes", "Padded size of stored messages.",
			[]float64{512, 1024, 2048, 4096, 8192, 65536, 524288, 1048576, 4194304, 10485760}),
	}
}

// ObserveMessage counts one stored message of a kind (app, commit or proposal) and its padded size
// in bytes.
func (m *Messages) ObserveMessage(kind string, size int) {
	m.stored.WithLabelValues(kind).Inc()
	m.size.Observe(float64(size))
}
