package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	"mls-server/internal/clock"
	"mls-server/internal/config"
	"mls-server/internal/delivery"
	"mls-server/internal/doctor"
	"mls-server/internal/netopt"
	"mls-server/internal/operator"
	"mls-server/internal/store"
)

// Migrate applies the migrations that the database lacks, and says on w what it does.
func Migrate(ctx context.Context, cfg *config.Config, w io.Writer) error {
	s, err := store.New(ctx, store.Config{URL: string(cfg.DatabaseURL)})
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.CheckSuitable(ctx); errors.Is(err, store.ErrUnsuitable) {
		return errors.New(s.Explain(err))
	}
	return s.Migrate(ctx, func(text string) { _, _ = fmt.Fprintln(w, "mls-server migrate: "+text) })
}

// MigrationStatus says on w which migrations the database has and which it lacks. It fails when it
// lacks any, so that scripts can tell.
func MigrationStatus(ctx context.Context, cfg *config.Config, w io.Writer) error {
	s, err := store.New(ctx, store.Config{URL: string(cfg.DatabaseURL)})
	if err != nil {
		return err
	}
	defer s.Close()
	status, err := s.MigrationStatus(ctx)
	if err != nil {
		return errors.New(s.Explain(err))
	}
	_, _ = fmt.Fprintf(w, "mls-server migrate: the schema is at version %d, this release has %d\n", status.Current, status.Target)
	for _, name := range status.Missing {
		_, _ = fmt.Fprintln(w, "mls-server migrate: missing", name)
	}
	if !status.Ready() {
		return errSchemaBehind
	}
	return nil
}

// Examine checks what the server stands on and says on w what it found. It fails when something has
// to be mended.
func Examine(ctx context.Context, cfg *config.Config, w io.Writer, colour bool) error {
	s, err := store.New(ctx, store.Config{URL: string(cfg.DatabaseURL), MaxConns: 2})
	if err != nil {
		return err
	}
	defer s.Close()
	p := &doctor.Patient{Config: cfg, Store: s, HTTP: &http.Client{}, Clock: clock.System, Files: netopt.OpenFiles()}
	if cfg.RedisURL != "" {
		client, err := openRedis(string(cfg.RedisURL))
		if err != nil {
			return err
		}
		defer func() { _ = client.Close() }()
		p.Redis = client
	}
	findings := doctor.Examine(ctx, p)
	if err := doctor.Print(w, findings, colour); err != nil {
		return err
	}
	if doctor.Worst(findings) == doctor.Fault {
		return errFaults
	}
	return nil
}

var errFaults = errors.New("something has to be mended")

// adminTimeout ends a statement of the operator's: some look through whole tables.
const adminTimeout = 10 * time.Minute

// Administer runs a command of the operator's on the database, and says on w what came of it.
func Administer(ctx context.Context, cfg *config.Config, do *operator.Command, w io.Writer) error {
	s, err := store.New(ctx, store.Config{URL: string(cfg.DatabaseURL), MaxConns: 2, StatementTimeout: adminTimeout})
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.CheckSuitable(ctx); err != nil {
		return errors.New(s.Explain(err))
	}
	switch status, err := s.MigrationStatus(ctx); {
	case err != nil:
		return errors.New(s.Explain(err))
	case !status.Ready():
		return errSchemaBehind
	}
	return do.Run(ctx, operator.Console{Store: s, Delivery: delivery.New(delivery.Config{Store: s}), Out: w, Clock: clock.System})
}

// PrintConfig writes the effective configuration, a variable a line, secrets hidden.
func PrintConfig(w io.Writer, cfg *config.Config) error {
	var errs []error
	for _, v := range config.Variables() {
		_, err := fmt.Fprintf(w, "%s=%s\n", v.Name, v.Value(cfg))
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

var errNotReady = errors.New("the server is not ready")

// Healthcheck asks the server on this machine whether it is ready.
func Healthcheck(ctx context.Context, cfg *config.Config) error {
	host := cfg.ServerHost
	if host == "" {
		host = "127.0.0.1"
	}
	url := "http://" + net.JoinHostPort(host, strconv.Itoa(cfg.ServerPort)) + "/health/ready"
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return errNotReady
	}
	return nil
}

// PrintHints tells someone who has just started a server what to try.
func PrintHints(w io.Writer, cfg *config.Config, public, admin net.Addr) {
	port := cfg.ServerPort
	if tcp, ok := public.(*net.TCPAddr); ok {
		port = tcp.Port
	}
	base := "http://localhost:" + strconv.Itoa(port)
	_, _ = fmt.Fprintf(w, "\nmls-server is up at %s as %s\n\n", base, cfg.ServiceDID)
	lines := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, hint := range slices.Concat(devHints(base), [][2]string{
		{"curl " + base + "/health/ready", "is it ready"},
		{"curl " + base + "/.well-known/did.json", "who it is"},
		{"curl " + base + "/xrpc/blue.catbird.mls.describeServer", "what it accepts"},
		{"curl " + base + "/xrpc/blue.catbird.mls.getConvos", "401: methods want a service token"},
		{"curl http://" + admin.String() + "/metrics", "metrics, on the admin port"},
		{"make demo", "three people chat, with real MLS clients, told as a story"},
	}) {
		_, _ = fmt.Fprintf(lines, "  %s\t%s\n", hint[0], hint[1])
	}
	_ = lines.Flush()
	_, _ = fmt.Fprintln(w, "\nCtrl-C stops the server; its data stays in .data/ (make run FRESH=1 empties it).")
}
