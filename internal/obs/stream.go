package obs

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Streams is what package stream reports; it implements stream.Observer.
type Streams struct {
	open      *prometheus.GaugeVec
	ended     *prometheus.CounterVec
	delivered *prometheus.CounterVec
	lag       prometheus.Gauge
}

func newStreams(s *set) Streams {
	return Streams{
		open:      s.gauges("mls_streams", "Open event streams by the way in which they are followed: sse or websocket.", "door"),
		ended:     s.counters("mls_stream_ends_total", "Event streams that have ended, by how.", "door", "reason"),
		delivered: s.counters("mls_events_delivered_total", "Events written to streams.", "door"),
		lag:       s.gauge("mls_event_log_lag_seconds", "How long the first event that streams were not given yet has waited; 0 when none does."),
	}
}

// Doors makes the series of all doors and of all ways to end, so that the first stream that ends in
// one of them is an increase, too.
func (s *Streams) Doors(doors, ends []string) {
	for _, door := range doors {
		s.open.WithLabelValues(door)
		s.delivered.WithLabelValues(door)
		for _, end := range ends {
			s.ended.WithLabelValues(door, end)
		}
	}
}

// StreamOpened counts one more open stream.
func (s *Streams) StreamOpened(door string) { s.open.WithLabelValues(door).Inc() }

// StreamClosed is called once for each StreamOpened.
func (s *Streams) StreamClosed(door, end string) {
	s.open.WithLabelValues(door).Dec()
	s.ended.WithLabelValues(door, end).Inc()
}

// ObserveDelivered counts events written to streams.
func (s *Streams) ObserveDelivered(door string, n int) {
	s.delivered.WithLabelValues(door).Add(float64(n))
}

// ObserveLag sets for how long the first event that streams were not given yet
// has waited.
func (s *Streams) ObserveLag(d time.Duration) { s.lag.Set(d.Seconds()) }
