package chaos_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"mls-server/internal/e2e"
)

var (
	long = flag.Bool("chaos.long", false, "play everything three times, with longer faults")
	only = flag.String("chaos.only", "", "play only the experiments whose name matches the regular expression")
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := e2e.RemoveBuilds(); err != nil {
		code = 1
	}
	os.Exit(code)
}

// play is what is going on while the experiments are made.
type play struct {
	*world

	load      *load
	followers []*follower
	chats     []*e2e.Chat
	// fault is how long a fault lasts.
	fault time.Duration
}

// experiment breaks something and mends it again. Its result is a remark for the table.
type experiment struct {
	name string
	run  func(p *play) (remark string)
}

func experiments() []experiment {
	return []experiment{
		{"PostgreSQL killed (SIGKILL)", databaseKilled},
		{"PostgreSQL stopped (SIGSTOP)", databaseStopped},
		{"a server killed (SIGKILL)", serverKilled},
		{"a server stopped (SIGSTOP)", serverStopped},
		{"rolling restart (SIGTERM)", rollingRestart},
		{"Redis refuses writes, then is gone", redisRefuses},
		{"the PLC directory away", directoryAway},
		{"transaction in another database", neighbour},
		{"migration behind a reader", migration},
		{"disk full", diskFull},
		{"standby promoted", standbyPromoted},
		{"base backup restored", backupRestored},
	}
}

// TestChaos plays the experiments one after the other, with clients at work, and prints a table.
func TestChaos(t *testing.T) {
	t.Parallel()
	p := &play{world: newWorld(t), fault: 2 * time.Second}
	rounds := 1
	if *long {
		p.fault, rounds = 10*time.Second, 3
	}
	people := []*person{p.person(), p.person(), p.person()}
	for _, who := range people {
		who.at[0].Register(t, 5)
	}
	for range 3 {
		p.chats = append(p.chats, people[0].at[0].Create(t, people[1].at[0], people[2].at[0]))
	}
	for i, who := range people {
		p.followers = append(p.followers, p.follow(who, i%2, p.chats))
	}
	p.load = p.startLoad(p.chats, people)
	p.goesOn(p.load, 20)
	p.load.lap()
	table := []string{fmt.Sprintf("%-36s %6s %6s %8s %5s %8s %7s  %s", "experiment", "acked", "tries", "gap", "lost", "doubled", "unruly", "remark")}
	chosen := regexp.MustCompile(*only)
	for _, e := range experiments() {
		if !chosen.MatchString(e.name) {
			continue
		}
		times := rounds
		if e.name == "standby promoted" || e.name == "base backup restored" {
			times = 1 // these leave another database behind
		}
		for range times {
			t.Log(e.name)
			remark := e.run(p)
			p.goesOn(p.load, 20)
			v := p.verdict()
			acks, failed, gap, refused := p.load.lap()
			if len(refused) > 0 {
				t.Errorf("%s: clients got %v", e.name, refused)
			}
			if v.lost+v.doubled+v.unruly > 0 {
				t.Errorf("%s: %d lost, %d doubled, %d out of order: %s", e.name, v.lost, v.doubled, v.unruly, strings.Join(v.why, "; "))
			}
			table = append(table, fmt.Sprintf("%-36s %6d %6d %8s %5d %8d %7d  %s",
				e.name, acks, failed, gap.Round(10*time.Millisecond), v.lost, v.doubled, v.unruly, remark))
		}
	}
	close(p.load.stop)
	p.load.group.Wait()
	t.Logf("tries are repeated ones, the gap is the longest time without an acknowledgement\n%s", strings.Join(table, "\n"))
}

func databaseKilled(p *play) string {
	p.killDatabase()
	p.startDatabase()
	return ""
}

// databaseStopped stops the database's main process and all that it has started.
func databaseStopped(p *play) string {
	pids := []int{p.database.Pid()}
	conn := p.connect("mls")
	rows, err := conn.Query(p.t.Context(), "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
	if err == nil {
		var more []int
		more, err = pgx.CollectRows(rows, pgx.RowTo[int])
		pids = append(pids, more...)
	}
	p.close(conn)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, pid := range pids {
		p.signal(pid, syscall.SIGSTOP)
	}
	time.Sleep(p.fault) // the fault itself
	for _, pid := range pids {
		p.signal(pid, syscall.SIGCONT)
	}
	return ""
}

func serverKilled(p *play) string {
	for _, s := range p.servers {
		s.Kill()
		p.goesOn(p.load, 10) // the other one serves
		s.Restart(p.t)
	}
	return ""
}

func serverStopped(p *play) string {
	s := p.servers[0]
	s.Signal(p.t, syscall.SIGSTOP)
	p.goesOn(p.load, 10)
	time.Sleep(p.fault) // the fault itself
	s.Signal(p.t, syscall.SIGCONT)
	return ""
}

func rollingRestart(p *play) string {
	for _, s := range p.servers {
		s.Terminate(p.t)
		p.goesOn(p.load, 10)
		s.Restart(p.t)
		p.goesOn(p.load, 10)
	}
	return ""
}

func redisRefuses(p *play) string {
	client := p.redis.Client(p.t)
	if err := client.ConfigSet(p.t.Context(), "maxmemory", "1").Err(); err != nil {
		p.t.Fatal(err)
	}
	p.goesOn(p.load, 50)
	p.redis.Kill()
	p.goesOn(p.load, 50)
	p.redis.Restart(p.t)
	return ""
}

func directoryAway(p *play) string {
	p.directory.SetDown(true)
	p.goesOn(p.load, 50)
	p.directory.SetDown(false)
	return ""
}

// neighbour holds a transaction open in another database of the cluster: streams must not wait for
// it.
func neighbour(p *play) string {
	p.exec("DROP DATABASE IF EXISTS neighbour", "CREATE DATABASE neighbour")
	conn := p.connect("neighbour")
	defer p.close(conn)
	tx, err := conn.Begin(p.t.Context())
	if err == nil {
		_, err = tx.Exec(p.t.Context(), "SELECT pg_current_xact_id()")
	}
	if err != nil {
		p.t.Fatal(err)
	}
	p.delivered(30)
	if err := tx.Rollback(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
	return "streams went on"
}

// delivered waits until every follower has got n more messages.
func (p *play) delivered(n int64) {
	p.t.Helper()
	for _, f := range p.followers {
		want := f.events.Load() + n
		p.await("streams deliver", func() bool { return f.events.Load() >= want })
	}
}

// migration alters a table that a reader holds, as store.Migrate does: two seconds at a time.
func migration(p *play) string {
	reader := p.connect("mls")
	defer p.close(reader)
	tx, err := reader.Begin(p.t.Context())
	if err == nil {
		_, err = tx.Exec(p.t.Context(), "SELECT count(*) FROM conversations")
	}
	if err != nil {
		p.t.Fatal(err)
	}
	alter := p.connect("mls")
	defer p.close(alter)
	if _, err := alter.Exec(p.t.Context(), "SET lock_timeout = '2s'"); err != nil {
		p.t.Fatal(err)
	}
	if _, err = alter.Exec(p.t.Context(), "ALTER TABLE conversations ADD COLUMN chaos integer"); err == nil {
		p.t.Fatal("the reader was not in the way")
	}
	p.goesOn(p.load, 10)
	if err := tx.Rollback(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
	for _, sql := range []string{"ALTER TABLE conversations ADD COLUMN chaos integer", "ALTER TABLE conversations DROP COLUMN chaos"} {
		p.await(sql, func() bool { _, err := alter.Exec(p.t.Context(), sql); return err == nil })
		p.goesOn(p.load, 10)
	}
	return ""
}

// diskFull fills the file system below the database until PostgreSQL gives up.
func diskFull(p *play) string {
	if p.disk == "" {
		return "NOT PLAYED: only root can mount a file system"
	}
	filler := filepath.Join(p.disk, "filler")
	fill := func() {
		f, err := os.OpenFile(filler, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			p.t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		block := make([]byte, 1<<20)
		for size := len(block); size >= 4096; {
			if _, err := f.Write(block[:size]); err != nil {
				if !errors.Is(err, syscall.ENOSPC) {
					p.t.Fatal(err)
				}
				size /= 2
			}
		}
	}
	conn := p.connect("mls")
	defer p.close(conn)
	p.await("PostgreSQL ends on a full disk", func() bool {
		fill()
		// New segments of the log are what it needs room for.
		if conn.IsClosed() {
			return true
		}
		_, _ = conn.Exec(p.t.Context(), "SELECT pg_switch_wal()") // fails in the end
		select {
		case <-p.database.Exited():
			return true
		default:
			return false
		}
	})
	if err := os.Remove(filler); err != nil {
		p.t.Fatal(err)
	}
	// After a PANIC the main process starts recovery by itself, or it is gone.
	select {
	case <-p.database.Exited():
		p.forget()
		p.startDatabase()
		return "PostgreSQL ended"
	case <-time.After(time.Second):
		return "PostgreSQL recovered by itself"
	}
}

// standbyPromoted kills the primary of a synchronous standby and promotes the standby.
func standbyPromoted(p *play) string {
	standby := p.backup("standby", p.ports[1], "-R")
	primary := p.database
	p.config = standby
	p.startDatabase()
	p.exec("ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
	conn := p.connect("mls")
	p.await("the standby is synchronous", func() bool {
		var state string
		err := conn.QueryRow(p.t.Context(), "SELECT coalesce(max(sync_state), '') FROM pg_stat_replication").Scan(&state)
		return err == nil && state == "sync"
	})
	p.close(conn)
	p.goesOn(p.load, 20)
	p.signal(primary.Pid(), syscall.SIGKILL)
	<-primary.Exited()
	if err := primary.Stop(); err != nil {
		p.t.Fatal(err)
	}
	// The last of the primary's log may be in conflict with a first try.
	p.await("the standby is promoted", func() bool {
		direct, err := pgx.Connect(p.t.Context(), p.database.LoopbackURL("mls"))
		if err != nil {
			return false
		}
		defer p.close(direct)
		_, err = direct.Exec(p.t.Context(), "SELECT pg_promote()")
		return err == nil
	})
	return ""
}

// backupRestored starts a base backup in place of the database, while the servers stay up. What
// was stored after the backup is gone by nature; everything else must be there and be told.
func backupRestored(p *play) string {
	before := time.Now()
	config := p.backup("backup", p.config.Port)
	p.goesOn(p.load, 50)
	p.signal(p.database.Pid(), syscall.SIGINT)
	<-p.database.Exited()
	p.forget()
	p.config = config
	for _, f := range p.followers {
		f.anew()
	}
	p.startDatabase()
	restored := time.Now()
	p.goesOn(p.load, 50)
	stored := p.stored()
	gone := p.load.keep(func(m sent) bool {
		return m.at.Before(before) || m.at.After(restored) || stored[m.convo+" "+m.id] != nil
	})
	told := 0
	for _, f := range p.followers {
		p.await("streams go on after the restore", func() bool { return f.events.Load() > 0 })
		f.mu.Lock()
		told += f.told
		f.mu.Unlock()
	}
	return fmt.Sprintf("%d messages of after the backup are gone, compacted was told %d times", gone, told)
}
