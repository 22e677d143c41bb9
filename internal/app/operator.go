package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"mls-server/internal/clock"
	"mls-server/internal/store"
)

// Release names what runs.
type Release struct{ Version, Revision string }

// Introduce tells the server which release it is and where its operator reads. Without it, what is
// for the operator alone is said nowhere. It must be called before Run.
func (a *App) Introduce(r Release, operator io.Writer) {
	a.release, a.out = r, operator
	a.description.Version = r.Version
	a.metrics.ObserveBuild(r.Version, r.Revision)
}

// say tells the operator something in plain words, beside the log. It may name the operator's own
// facts, such as hosts, ports and databases, and nothing of users (I9).
func (a *App) say(text string) {
	_, _ = fmt.Fprintln(a.out, "mls-server:", text) // there is no other place to say it
}

const (
	// watchInterval is how often what the server depends on is looked at.
	watchInterval = 2 * time.Second
	watchTimeout  = 3 * time.Second
	// maxSilence is how long a fault that lasts goes unsaid.
	maxSilence = 10 * time.Minute
)

// dependency is something that the server cannot work without, or not well.
type dependency struct {
	name  string
	check func(ctx context.Context) error
	// explain says in one line what an error of check means.
	explain func(err error) string
	// fatal errors end the watch, and the server.
	fatal error
	// up is called when the first check succeeds; nil for nothing.
	up func()
}

// watch says what stands against a dependency: at once, and again at doubling intervals for as long
// as it lasts; and when it is over.
func (a *App) watch(ctx context.Context, d dependency) error {
	var next time.Time // when to say it again; zero while all is well
	silence, seen := watchInterval, false
	for {
		limited, cancel := context.WithTimeout(ctx, watchTimeout)
		err := d.check(limited)
		cancel()
		now := clock.System.Now()
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // the server stops
		case d.fatal != nil && errors.Is(err, d.fatal):
			return errors.New(d.explain(err))
		case err != nil && !now.Before(next):
			a.say(d.explain(err) + "; trying again")
			next, silence = now.Add(silence), min(2*silence, maxSilence)
		case err == nil:
			if !next.IsZero() {
				a.say(d.name + " answers")
			}
			if !seen && d.up != nil {
				d.up()
			}
			next, silence, seen = time.Time{}, watchInterval, true
		}
		if clock.Pause(ctx, watchInterval) != nil {
			return nil //nolint:nilerr // the server stops
		}
	}
}

// database is the dependency without which nothing works.
func (a *App) database() dependency {
	migrated := false
	return dependency{
		name: "PostgreSQL", explain: a.explainDatabase, fatal: store.ErrUnsuitable, up: func() { a.notify("READY=1") },
		check: func(ctx context.Context) error {
			if err := a.store.CheckSuitable(ctx); err != nil || migrated {
				return err
			}
			status, err := a.store.MigrationStatus(ctx)
			if migrated = err == nil && status.Ready(); err == nil && !migrated {
				return errSchemaBehind
			}
			return err
		},
	}
}

var errSchemaBehind = errors.New("the schema is behind this release: run mls-server migrate")

// explainDatabase says why the database cannot be used.
func (a *App) explainDatabase(err error) string {
	if errors.Is(err, errSchemaBehind) {
		return err.Error()
	}
	return a.store.Explain(err)
}

// notify tells systemd how the service does (sd_notify(3)), where it runs under systemd.
func (a *App) notify(state string) {
	path := a.notifyAt
	if path == "" {
		return
	}
	if path[0] == '@' {
		path = "\x00" + path[1:] // an abstract socket
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err == nil {
		_, err = conn.Write([]byte(state))
		err = errors.Join(err, conn.Close())
	}
	if err != nil {
		a.log.LogAttrs(context.Background(), slog.LevelWarn, "systemd cannot be told", slog.String("component", "app"), slog.Any("err", err))
	}
}
