// Package obs holds the server's metrics: a struct for each package that is
// observed. Every label comes from a closed set: the method table, error
// names, query names. Nothing here ever receives an identity (I9), so nothing
// can be enumerated through the metrics port.
//
// It must not log and must not import anything that behaves.
package obs

import (
	"net/http"
	"net/http/pprof"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics is the set of all metrics of a server process.
type Metrics struct {
	Requests
	Queries
	Messages
	Jobs
	Streams
	Redis
	Tokens
	Egress
	Blocks
	Build
	Gauges

	set *set
}

// New returns metrics on a registry of their own.
func New() *Metrics {
	s := &set{registry: prometheus.NewRegistry()}
	m := &Metrics{
		Requests: newRequests(s),
		Queries:  newQueries(s),
		Messages: newMessages(s),
		Jobs:     newJobs(s),
		Streams:  newStreams(s),
		Redis:    newRedis(s),
		Tokens:   newTokens(s),
		Egress:   newEgress(s),
		Blocks:   newBlocks(s),
		Build:    newBuild(s),
		Gauges:   newGauges(s),
	}
	s.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.set = s
	return m
}

// Names lists the metrics of this package in order, without those of the Go
// runtime and the process. OPERATIONS.md is tested against it.
func Names() []string {
	names := New().set.names
	slices.Sort(names)
	return names
}

// AdminHandler serves /metrics and /debug/pprof/. It belongs on the admin port only.
func (m *Metrics) AdminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.set.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

// set registers metrics and keeps their names.
type set struct {
	registry *prometheus.Registry
	names    []string
}

func register[C prometheus.Collector](s *set, name string, c C) C {
	s.names = append(s.names, name)
	s.registry.MustRegister(c)
	return c
}

func (s *set) counter(name, help string) prometheus.Counter {
	return register(s, name, prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help}))
}

func (s *set) counters(name, help string, labels ...string) *prometheus.CounterVec {
	return register(s, name, prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels))
}

func (s *set) gauge(name, help string) prometheus.Gauge {
	return register(s, name, prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help}))
}

func (s *set) gauges(name, help string, labels ...string) *prometheus.GaugeVec {
	return register(s, name, prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels))
}

func (s *set) histogram(name, help string, buckets []float64) prometheus.Histogram {
	return register(s, name, prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}))
}

func (s *set) histograms(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return register(s, name, prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels))
}
