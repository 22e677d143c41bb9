package obs

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Jobs is what package jobs reports.
type Jobs struct {
	runs          *prometheus.CounterVec
	rows          *prometheus.CounterVec
	conversations prometheus.Gauge
	retained      prometheus.Gauge
}

func newJobs(s *set) Jobs {
	return Jobs{
		runs:          s.counters("mls_job_runs_total", "Runs of retention jobs by job and result.", "job", "result"),
		rows:          s.counters("mls_job_rows_total", "Rows that retention jobs deleted, by job.", "job"),
		conversations: s.gauge("mls_active_conversations", "Conversations with a message in the last day, as last counted."),
		retained:      s.gauge("mls_retention_timestamp_seconds", "When this server last went through all that is kept for a time only, in seconds since 1970; 0 before the first time."),
	}
}

// ObserveJob counts one run of a retention job and the rows it deleted.
func (j *Jobs) ObserveJob(job string, rows int64, err error) {
	result := "ok"
	if err != nil {
		result = "failed"
	}
	j.runs.WithLabelValues(job, result).Inc()
	j.rows.WithLabelValues(job).Add(float64(rows))
}

// ObserveRetention records when retention was last done, all of it.
func (j *Jobs) ObserveRetention(at time.Time) { j.retained.Set(float64(at.Unix())) }

// SetActiveConversations records the last count of conversations in use.
func (j *Jobs) SetActiveConversations(n int64) { j.conversations.Set(float64(n)) }
