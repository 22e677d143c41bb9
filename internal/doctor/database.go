package doctor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mls-server/internal/store"
)

// skew is by how much a clock may differ from ours before it matters: tokens live a minute.
const skew = 5 * time.Second

func examineDatabase(ctx context.Context, p *Patient, r *report) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := p.Store.CheckSuitable(ctx); err != nil {
		advice := "bring it up, or correct DATABASE_URL"
		if errors.Is(err, store.ErrUnsuitable) {
			advice = "the server does not start on it: see OPERATIONS.md"
		}
		r.add(Fault, "connection", p.Store.Explain(err), advice)
		return
	}
	d, err := p.Store.Describe(ctx)
	if err != nil {
		r.add(Fault, "connection", p.Store.Explain(err), "the role in DATABASE_URL has to read pg_catalog")
		return
	}
	r.add(Fine, "connection", "PostgreSQL "+d.Version, "")
	r.judge(!d.Standby, Fault, "primary", said("a primary", !d.Standby), "promote it, or point DATABASE_URL at the primary; target_session_attrs=read-write in it refuses others")
	r.judge(d.Owner, Fault, "role", said("owns the database", d.Owner), "ALTER DATABASE … OWNER TO the role in DATABASE_URL: migrations create tables")
	r.judge(!d.Superuser, Notice, "privileges", said("superuser", d.Superuser), "give the server a role of its own that owns the database and is nothing more")
	examineSchema(ctx, p, r)
	r.judge(d.Fsync == "on", Fault, "fsync", d.Fsync, "turn it on: a crash of the machine may destroy the database")
	r.judge(d.SynchronousCommit != "off", Fault, "synchronous_commit", d.SynchronousCommit, "turn it on: only then does an acknowledged message survive a crash")
	r.judge(d.CommitTimestamps == "off", Fault, "track_commit_timestamp", d.CommitTimestamps, "turn it off: it keeps the exact time of every message")
	r.judge(d.LogErrorVerbosity == "terse", Fault, "log_error_verbosity", d.LogErrorVerbosity, "set it to terse: details of errors quote values of rows")
	r.judge(d.LogStatement != "all" && d.LogStatement != "mod", Fault, "log_statement", d.LogStatement, "set it to none: statements of sends come with who sends")
	r.judge(!d.LogsSlow || !d.LogsParameters, Fault, "parameters in the log", said("logged", d.LogsSlow && d.LogsParameters),
		"set log_parameter_max_length to 0, or log_min_duration_statement to -1: the parameters of a send name its sender")
	r.judge(d.ArchiveMode == "off", Notice, "write-ahead log", "archive_mode is "+d.ArchiveMode,
		"the archive has the time of each commit to the microsecond: encrypt it, and keep it no longer than backups need")
	r.judge(d.EndsIdle, Notice, "idle transactions", said("ended", d.EndsIdle),
		"set idle_in_transaction_session_timeout for other roles that write to this database: a transaction that is left open holds up all streams")
	r.judge(d.Prepared == 0, Fault, "prepared transactions", fmt.Sprintf("%d", d.Prepared), "end them: ROLLBACK PREPARED 'gid'. Streams wait for them")
	r.judge(p.Config.DatabaseMaxConns < d.Connections, Fault, "connections", fmt.Sprintf("%d for all, each server takes up to %d", d.Connections, p.Config.DatabaseMaxConns+1),
		"raise max_connections, or lower DATABASE_MAX_CONNS, so that all servers fit")
	r.judge(d.Behind.Abs() < skew, Fault, "clock", fmt.Sprintf("differs from ours by %v", d.Behind.Abs().Round(time.Millisecond)), "keep both by NTP: what expires is judged by both")
}

func examineSchema(ctx context.Context, p *Patient, r *report) {
	status, err := p.Store.MigrationStatus(ctx)
	switch {
	case err != nil:
		r.add(Fault, "schema", p.Store.Explain(err), "run mls-server migrate")
	case !status.Ready():
		r.add(Fault, "schema", fmt.Sprintf("at version %d of %d", status.Current, status.Target), "run mls-server migrate")
	case status.Current > status.Target:
		r.add(Notice, "schema", fmt.Sprintf("at version %d, ahead of this release's %d", status.Current, status.Target), "finish the rollout of the newer release")
	default:
		r.add(Fine, "schema", fmt.Sprintf("at version %d", status.Current), "")
	}
}
