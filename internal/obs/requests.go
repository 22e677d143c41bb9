package obs

import (
	"github.com/prometheus/client_golang/prometheus"

	"mls-server/internal/xrpc"
	"mls-server/lexrt"
)

// otherMethod labels requests that matched no method.
const otherMethod = "other"

// Requests is what package xrpc reports; it implements xrpc.Observer.
type Requests struct {
	total      *prometheus.CounterVec
	duration   *prometheus.HistogramVec
	undeclared *prometheus.CounterVec
}

func newRequests(s *set) Requests {
	return Requests{
		total: s.counters("mls_requests_total", "Requests by method and error name (none for successes).", "method", "error"),
		duration: s.histograms("mls_request_duration_seconds", "Time from request to the end of the answer, streams left out.",
			[]float64{.0005, .001, .002, .004, .008, .016, .032, .064, .128, .256, .512, 1, 2, 4, 8}, "method"),
		undeclared: s.counters("mls_undeclared_errors_total", "Errors that a handler returned and its lexicon does not declare.", "method"),
	}
}

var _ xrpc.Observer = (*Requests)(nil)

// ObserveRequest implements xrpc.Observer.
func (r *Requests) ObserveRequest(e xrpc.Event) {
	method, name := e.Method, e.Error
	if method == "" {
		method = otherMethod
	}
	if name == "" {
		name = "none"
	}
	r.total.WithLabelValues(method, name).Inc()
	if !e.Stream {
		r.duration.WithLabelValues(method).Observe(e.Duration.Seconds())
	}
}

// ObserveUndeclared implements xrpc.Observer.
func (r *Requests) ObserveUndeclared(method *lexrt.Method, _ string) {
	r.undeclared.WithLabelValues(method.NSID).Inc()
}
