package obs

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
)

// Build says which release runs.
type Build struct{ info *prometheus.GaugeVec }

func newBuild(s *set) Build {
	const name = "mls_build_info"
	opts := prometheus.GaugeOpts{Name: name, Help: "Always 1, labelled with what runs."}
	return Build{register(s, name, prometheus.NewGaugeVec(opts, []string{"version", "revision", "go"}))}
}

// ObserveBuild tells the release tag and the commit.
func (b *Build) ObserveBuild(version, revision string) {
	b.info.WithLabelValues(version, revision, runtime.Version()).Set(1)
}
