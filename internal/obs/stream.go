package obs

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Streams is what package stream reports; it implements stream.Observer.
type Streams struct {
	open      prometheus.Gauge
	delivered prometheus.Counter
	lag       prometheus.Gauge
}

func newStreams(s *set) Streams {
	return Streams{
		open:      s.gauge("mls_streams", "Open event streams."),
		delivered: s.counter("mls_events_delivered_total", "Events written to streams."),
		lag:       s.gauge("mls_event_log_lag_seconds", "How long the first event that streams were not given yet has waited; 0 when none does."),
	}
}

// StreamOpened counts one more open stream.
func (s *Streams) StreamOpened() { s.open.Inc() }

// StreamClosed is called once for each StreamOpened.
func (s *Streams) StreamClosed() { s.open.Dec() }

// ObserveDelivered counts events written to streams.
func (s *Streams) ObserveDelivered(n int) { s.delivered.Add(float64(n)) }

// ObserveLag sets for how long the first event that streams were not given yet
// has waited.
func (s *Streams) ObserveLag(d time.Duration) { s.lag.Set(d.Seconds()) }
