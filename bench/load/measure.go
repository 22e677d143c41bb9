package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"mls-server/internal/pgcluster"
)

// perSecond is how many requests are signed for each second of a closed loop:
// more than two processors can answer.
const perSecond = 10000

func measureStart(ctx context.Context, m *machine, r *report) error {
	for range 5 {
		took, err := m.startServer(ctx)
		if err != nil {
			return err
		}
		r.starts = append(r.starts, took)
	}
	slices.Sort(r.starts)
	time.Sleep(2 * time.Second)
	r.idle, _ = rss(m.cmd.Process.Pid)
	return nil
}

// transaction is what a send writes, as plain statements of one transaction.
const transaction = `\set n random(0, %d)
BEGIN;
UPDATE conversations SET last_seq = last_seq + 1, last_activity_at = greatest(last_activity_at, date_bin('2 seconds', now(), '2000-01-01 00:00:00+00')),
 last_message_bucket_ts = date_bin('2 seconds', now(), '2000-01-01 00:00:00+00'), log_xid = greatest(log_xid, pg_current_xact_id()::text::bigint)
 WHERE id = (SELECT id FROM bench_convos WHERE n = :n) RETURNING id, last_seq, log_xid \gset
INSERT INTO messages (convo_id, seq, msg_id, kind, epoch, ciphertext, padded_size, received_bucket_ts)
 VALUES (:id, :last_seq, gen_random_uuid()::text, 1, 1, decode(repeat('c3', 1024), 'hex'), 1024, date_bin('2 seconds', now(), '2000-01-01 00:00:00+00'));
INSERT INTO event_stream (generation, log_xid, kind, audience, convo_id, seq, message_id, bucket_ts)
 VALUES (1, :log_xid, 1, 1, :id, :last_seq, gen_random_uuid()::text, date_bin('2 seconds', now(), '2000-01-01 00:00:00+00'));
COMMIT;
`

var tpsPattern = regexp.MustCompile(`tps = ([0-9.]+)`)

// measurePgbench lets pgbench write the same rows: over the conversations, and into one.
func measurePgbench(ctx context.Context, m *machine, r *report) error {
	if err := m.tell(ctx, "bench_convos", m.convos); err != nil {
		return err
	}
	for name, last := range map[string]int{"over 1,000 conversations": conversations - 1, "into one conversation": 0} {
		tps, err := m.runPgbench(ctx, 64, r.options.measure, fmt.Sprintf(transaction, last))
		if err != nil {
			return err
		}
		if r.pgbench == nil {
			r.pgbench = map[string][]float64{}
		}
		r.pgbench[name] = append(r.pgbench[name], tps)
	}
	return nil
}

// tell writes a table of conversations for pgbench, if it is not there.
func (m *machine) tell(ctx context.Context, table string, convos []convo) error {
	conn, err := m.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, "CREATE TABLE IF NOT EXISTS "+table+" (n int PRIMARY KEY, id text NOT NULL)"); err != nil {
		return fmt.Errorf("prepare pgbench: %w", err)
	}
	for n, c := range convos {
		if _, err := conn.Exec(ctx, "INSERT INTO "+table+" VALUES ($1, $2) ON CONFLICT DO NOTHING", n, c.id); err != nil {
			return fmt.Errorf("prepare pgbench: %w", err)
		}
	}
	for _, statement := range []string{"ANALYZE " + table, "CHECKPOINT"} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("prepare pgbench: %w", err)
		}
	}
	return nil
}

// runPgbench returns how many transactions of a script pgbench reaches in a second.
func (m *machine) runPgbench(ctx context.Context, clients int, d time.Duration, text string) (float64, error) {
	dir, err := pgcluster.FindBinaries(ctx)
	if err != nil {
		return 0, err
	}
	script, err := os.CreateTemp("", "mls-bench-*.sql")
	if err != nil {
		return 0, fmt.Errorf("write pgbench's script: %w", err)
	}
	defer func() { _ = os.Remove(script.Name()) }() // a leftover of a temporary file is no failure
	_, err = script.WriteString(text)
	if err == nil {
		err = script.Close()
	}
	if err != nil {
		return 0, fmt.Errorf("write pgbench's script: %w", err)
	}
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "pgbench"), "-n", "-M", "prepared", "-c", strconv.Itoa(clients), "-j", "2",
		"-T", strconv.Itoa(max(1, int(d.Seconds()))), "-f", script.Name(), m.cluster.URL(database)) //nolint:gosec // our own script
	out, err := cmd.CombinedOutput()
	match := tpsPattern.FindSubmatch(out)
	if err != nil || match == nil {
		return 0, fmt.Errorf("pgbench: %w: %s", err, out)
	}
	tps, err := strconv.ParseFloat(string(match[1]), 64)
	if err != nil {
		return 0, fmt.Errorf("pgbench: %w", err)
	}
	return tps, nil
}

// measureSends finds the peak over many conversations and into one, with
// batching and without, and the latency at 70 % of the peak.
func measureSends(ctx context.Context, m *machine, r *report) error {
	closed := int((r.options.warm + r.options.measure).Seconds() * perSecond)
	run := func(name string, inFlight int, offered float64, convos []convo, profile bool) (*outcome, error) {
		n := closed
		if offered > 0 {
			n = int(offered*(r.options.warm+r.options.measure).Seconds()) + inFlight
		}
		requests, err := prepare(n, func(i int) ([]byte, error) {
			c := convos[i%len(convos)]
			return m.sendRequest(c, c.users[i/len(convos)%2])
		})
		if err != nil {
			return nil, err
		}
		done := make(chan string, 1)
		if profile {
			go func() { done <- m.profile(ctx, r.options) }()
		}
		result, err := load(ctx, m, name, inFlight, offered, r.options, requests)
		if profile {
			r.profile = <-done
		}
		if err == nil {
			r.loads = append(r.loads, result)
		}
		return result, err
	}
	peak, err := run("64 in flight over 1,000 conversations", 64, 0, m.convos, false)
	if err != nil {
		return err
	}
	_, r.peakRSS = rss(m.cmd.Process.Pid)
	if _, err := run("256 in flight into one conversation", 256, 0, m.convos[:1], false); err != nil {
		return err
	}
	if _, err := run("70 % of the peak, open loop", 256, peak.rate*0.7, m.convos, false); err != nil {
		return err
	}
	if _, err := run("64 in flight, profiled", 64, 0, m.convos, true); err != nil {
		return err
	}
	if _, err := m.startServer(ctx, "ENABLE_ACTOR_SYSTEM=false"); err != nil {
		return err
	}
	if _, err := run("64 in flight, each send by itself", 64, 0, m.convos, false); err != nil {
		return err
	}
	if _, err := run("256 into one, each send by itself", 256, 0, m.convos[:1], false); err != nil {
		return err
	}
	_, err = m.startServer(ctx)
	return err
}

// profile is the heaviest functions of the server in the middle of a load.
func (m *machine) profile(ctx context.Context, o options) string {
	time.Sleep(o.warm)
	seconds := max(1, int(o.measure.Seconds())-2)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", m.admin, seconds), http.NoBody)
	if err != nil {
		return err.Error()
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	file, err := os.CreateTemp("", "mls-bench-*.pprof")
	if err != nil {
		return err.Error()
	}
	defer func() { _ = os.Remove(file.Name()) }()
	if _, err := io.Copy(file, resp.Body); err != nil {
		return err.Error()
	}
	_ = file.Close()
	out, err := exec.CommandContext(ctx, "go", "tool", "pprof", "-top", "-cum", "-nodecount=500", file.Name()).CombinedOutput() //nolint:gosec // our own file
	if err != nil {
		return err.Error()
	}
	text := string(out)
	if at := strings.Index(text, "Duration"); at >= 0 {
		text = text[at:]
	}
	return text
}

// measureFlatness sends and reads one after the other where history and group
// are small and large. It goes round, so that a slow moment of the machine is
// no figure's alone.
func measureFlatness(ctx context.Context, m *machine, r *report) error {
	const rounds, samples = 10, 60
	o := r.options
	o.warm, o.measure = 0, 20*time.Second
	var kinds []kind
	for _, size := range []struct{ key, name string }{
		{"thousand", "1,000 messages"}, {"million", fmt.Sprintf("%d messages", o.history)}, {"crowd", "2,000 members"},
	} {
		c := m.flat[size.key]
		kinds = append(kinds,
			kind{"send, " + size.name, 1, func(int) ([]byte, error) { return m.sendRequest(c, c.users[0]) }},
			kind{"page of 50, " + size.name, 1, func(int) ([]byte, error) {
				return m.readRequest("getMessages", "limit=50&convoId="+string(c.id), c.users[0])
			}})
	}
	kinds = append(kinds, kind{"getConvos, page of 100 of 1,000", 1, func(int) ([]byte, error) { return m.readRequest("getConvos", "limit=100", m.people[0]) }})
	r.flat = make([]*outcome, len(kinds))
	for range rounds {
		for i, k := range kinds {
			requests, err := prepare(samples, k.request)
			if err != nil {
				return err
			}
			result, err := load(ctx, m, k.name, k.inFlight, 0, o, requests)
			if err != nil {
				return err
			}
			r.flat[i] = result.add(r.flat[i])
		}
	}
	return nil
}

// measureClaims claims one key package a request, of owners in turn, each with
// as many as a device has. Each claim must have taken a package of its own.
func measureClaims(ctx context.Context, m *machine, r *report) error {
	o := r.options
	o.measure = min(o.measure, 10*time.Second)
	requests, err := prepare(int((o.warm+o.measure).Seconds()*perSecond), m.nextClaim)
	if err != nil {
		return err
	}
	result, err := load(ctx, m, "key package claims, 64 in flight", 64, 0, o, requests)
	if err != nil {
		return err
	}
	r.loads = append(r.loads, result)
	gone, err := m.count(ctx, "SELECT count(*) FROM key_packages WHERE claimed_at IS NOT NULL")
	if err != nil {
		return err
	}
	if gone != result.answered {
		return fmt.Errorf("%w: %d claims were answered and %d packages are gone", errRepeat, result.answered, gone)
	}
	return nil
}

// nextClaim is a whole HTTP request that claims a key package, of owners in turn.
func (m *machine) nextClaim(i int) ([]byte, error) {
	return m.readRequest("getKeyPackages", "dids=did:plc:owner"+strconv.Itoa(i%claimOwners), m.people[i%users])
}

// count asks the database for one number.
func (m *machine) count(ctx context.Context, query string, args ...any) (n int64, err error) {
	conn, err := m.connect(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close(ctx) }()
	if err := conn.QueryRow(ctx, query, args...).Scan(&n); err != nil {
		return 0, fmt.Errorf("ask PostgreSQL: %w", err)
	}
	return n, nil
}

var errRepeat = errors.New("a package went out twice, or none")
