package e2e_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"mls-server/internal/app"
	"mls-server/internal/authtest"
	"mls-server/internal/config"
	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/pgcluster"
	"mls-server/internal/pgtest"
)

// site is a place where PostgreSQL runs: one address, behind which a disaster
// puts another copy of the data.
type site struct {
	port    int
	running *pgcluster.Cluster
	// url is that of the server's database, the same for whatever copy runs.
	url string
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{port: freePort(t)}
	t.Cleanup(func() { s.stop(t) })
	return s
}

// start runs the data in a directory, which is made when it is empty.
func (s *site) start(t *testing.T, dir string) {
	t.Helper()
	values := map[string]string{"fsync": "off", "shared_buffers": "16MB", "max_connections": "60"}
	var err error
	// The context of the test ends before its servers do.
	s.running, err = pgcluster.Start(context.WithoutCancel(t.Context()), pgcluster.Config{Dir: dir, Database: "mls", Port: s.port, Settings: values})
	if err != nil {
		t.Fatal(err)
	}
	if s.url == "" {
		s.url = s.running.LoopbackURL("mls")
	}
}

// stop ends PostgreSQL in order, crash at once and without a checkpoint.
func (s *site) stop(t *testing.T) {
	t.Helper()
	if s.running == nil {
		return
	}
	if err := s.running.Stop(); err != nil {
		t.Error(err)
	}
	s.running = nil
}

func (s *site) crash(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(s.running.Pid(), syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	<-s.running.Exited()
	s.stop(t)
}

// run runs a program of PostgreSQL's against the site.
func (s *site) run(t *testing.T, program string, arguments ...string) {
	t.Helper()
	bin, err := pgcluster.FindBinaries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, program), arguments...)
	cmd.Dir = "/"
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", program, err, out)
	}
}

func (s *site) exec(t *testing.T, database, statement string) {
	t.Helper()
	pool := pgtest.Open(t, s.running.URL(database))
	defer pool.Close()
	if _, err := pool.Exec(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// copyDir copies data as a snapshot of the file system does.
func copyDir(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(to, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
}

func migrate(t *testing.T, databaseURL string) {
	t.Helper()
	env := map[string]string{"MLS_ENV": "development", "DATABASE_URL": databaseURL}
	cfg, err := config.Load(func(name string) (string, bool) { v, ok := env[name]; return v, ok })
	if err != nil {
		t.Fatal(err)
	}
	if err := app.Migrate(t.Context(), cfg, io.Discard); err != nil {
		t.Fatal(err)
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	port, err := strconv.Atoi(e2e.FreePort(t))
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// way is one way in which a database goes back.
type way struct {
	// backup takes one, while the site runs from a directory.
	backup func(t *testing.T, s *site, from, backup string)
	// restore puts the backup behind the site's address. It may be done twice.
	restore func(t *testing.T, s *site, backup, to string)
}

// The ways are those of OPERATIONS.md.
var ways = map[string]way{
	"a base backup simply started": {
		func(t *testing.T, s *site, from, backup string) {
			t.Helper()
			s.run(t, "pg_basebackup", "-D", filepath.Join(backup, "data"), "-X", "stream", "-c", "fast", "-d", s.running.URL("postgres"))
			keepPassword(t, from, backup)
		},
		startCopy,
	},
	"a directory copied": {
		func(t *testing.T, s *site, from, backup string) {
			t.Helper()
			s.stop(t)
			copyDir(t, from, backup)
			s.start(t, from)
		},
		startCopy,
	},
	"a crashed directory copied": {
		func(t *testing.T, s *site, from, backup string) {
			t.Helper()
			s.crash(t)
			copyDir(t, from, backup)
			s.start(t, from)
		},
		startCopy,
	},
	"a dump into a new cluster": {
		takeDump,
		func(t *testing.T, s *site, backup, to string) {
			t.Helper()
			s.stop(t)
			s.start(t, to)
			u, err := url.Parse(s.url)
			if err != nil {
				t.Fatal(err)
			}
			password, _ := u.User.Password()
			s.exec(t, "postgres", "ALTER ROLE postgres PASSWORD '"+password+"'")
			s.run(t, "pg_restore", "-d", s.running.URL("mls"), filepath.Join(backup, "dump"))
		},
	},
	"a dump into the same cluster": {
		takeDump,
		func(t *testing.T, s *site, backup, _ string) {
			t.Helper()
			s.exec(t, "postgres", "DROP DATABASE mls WITH (FORCE)")
			s.exec(t, "postgres", "CREATE DATABASE mls")
			s.run(t, "pg_restore", "-d", s.running.URL("mls"), filepath.Join(backup, "dump"))
		},
	},
	"a replica promoted": {
		func(t *testing.T, s *site, from, backup string) {
			t.Helper()
			s.run(t, "pg_basebackup", "-D", filepath.Join(backup, "data"), "-X", "stream", "-c", "fast", "-d", s.running.URL("postgres"))
			keepPassword(t, from, backup)
			if err := os.WriteFile(filepath.Join(backup, "data", "standby.signal"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		},
		func(t *testing.T, s *site, backup, to string) {
			t.Helper()
			startCopy(t, s, backup, to)
			s.exec(t, "postgres", "SELECT pg_promote()")
		},
	},
}

func startCopy(t *testing.T, s *site, backup, to string) {
	t.Helper()
	s.stop(t)
	copyDir(t, backup, to)
	s.start(t, to)
}

func takeDump(t *testing.T, s *site, _, backup string) {
	t.Helper()
	s.run(t, "pg_dump", "-Fc", "-f", filepath.Join(backup, "dump"), s.running.URL("mls"))
}

// keepPassword gives a copy the password that its role has.
func keepPassword(t *testing.T, from, to string) {
	t.Helper()
	password, err := os.ReadFile(filepath.Join(from, "password"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(to, "password"), password, 0o600); err != nil {
		t.Fatal(err)
	}
}

// After each way of going back, with a server that was left running and with a
// new one, every stream and every cursor gets each event that its user may see
// exactly once, or is told compacted. None is refused, none is silent.
func TestRestore(t *testing.T) {
	t.Parallel()
	for name, w := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			original, backup := filepath.Join(dir, "original"), filepath.Join(dir, "backup")
			s := newSite(t)
			s.start(t, original)
			migrate(t, s.url)
			directory := authtest.NewDirectory(t, nil)
			server := e2e.StartOn(t, s.url, directory, e2e.Env{"STREAMS_PER_USER": "50"})
			p := newParty(t, server)

			p.say(t, 3)
			p.heard(t, p.bobs, 0, p.said)
			kept := p.bobs.last()
			// PostgreSQL runs under another account
			if err := os.MkdirAll(backup, 0o755); err != nil {
				t.Fatal(err)
			}
			w.backup(t, s, original, backup)
			p.atBackup = len(p.said)

			lost := []string{p.lostLife(t)}
			// Starting PostgreSQL anew, as some ways do, is nothing that streams hear of.
			if n := p.bobs.compacted(); n != 0 {
				t.Errorf("streams were told compacted by the backup")
			}
			for life := range 2 {
				w.restore(t, s, backup, filepath.Join(dir, fmt.Sprint("restored", life)))
				p.wentBack(t, life+1)
				p.resume(t, server, kept, lost)
				// Later, when transaction ids have passed those of the history that was lost.
				s.exec(t, "mls", fmt.Sprintf("DO $$ BEGIN FOR i IN 1..%d LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$", 2000*(life+1)))
				p.resume(t, e2e.StartOn(t, s.url, directory, e2e.Env{"STREAMS_PER_USER": "50"}), kept, lost)
				lost = append(lost, p.lostLife(t))
			}
		})
	}
}

// party is a conversation whose members follow it on a server that stays.
type party struct {
	alice, bob, carol, dave *e2e.Device
	chat                    e2e.Chat
	bobs, carols, daves     follower
	said                    []string // ids of the messages, in order
	atBackup                int
	hers                    map[string]bool // all that were ever said
}

type follower struct{ *e2e.Stream }

func (f follower) last() string {
	events := f.Events()
	return events[len(events)-1].Cursor
}

func (f follower) compacted() int {
	n := 0
	for _, k := range f.Kinds() {
		if k == "compacted" {
			n++
		}
	}
	return n
}

func newParty(t *testing.T, server *e2e.Server) *party {
	t.Helper()
	users := server.Users(4)
	p := &party{
		hers: map[string]bool{}, alice: users[0].Register(t, 4), bob: users[1].Register(t, 4), carol: users[2].Register(t, 4), dave: users[3].Register(t, 9),
	}
	p.chat = *p.alice.Create(t, p.bob.User, p.carol.User)
	p.bobs, p.carols, p.daves = follower{p.bob.Follow(t, "")}, follower{p.carol.Follow(t, "")}, follower{p.dave.Follow(t, "")}
	return p
}

// say sends messages as alice, who repeats what was answered 503.
func (p *party) say(t *testing.T, n int) {
	t.Helper()
	for range n {
		in := p.chat.Message()
		p.until(t, func() e2e.Answer { return p.alice.Post(t, mlsapi.MethodSendMessage, in, nil) })
		p.said, p.hers[in.MsgID] = append(p.said, in.MsgID), true
	}
}

// until repeats a call while the database is away, and while its token counts
// as one of before the restore.
func (p *party) until(t *testing.T, call func() e2e.Answer) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		switch a := call(); {
		case a.Status == http.StatusOK:
			return
		case time.Now().After(end), a.Status != http.StatusServiceUnavailable && a.Error != "JwtExpired":
			t.Fatalf("got %d %s\n%s", a.Status, a.Error, p.bob.Server.Logs)
		}
	}
}

const patience = 2 * time.Minute

// heard waits until a stream has told of the messages, and of no others, after
// it was told compacted so many times.
func (p *party) heard(t *testing.T, f follower, compacted int, want []string) {
	t.Helper()
	var got []string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		got = nil
		seen := 0
		for _, e := range f.Events() {
			switch {
			case e.Kind == "compacted":
				seen++
			case e.Kind == "message" && p.hers[e.MessageID] && seen == compacted:
				got = append(got, e.MessageID)
			}
		}
		if len(got) >= len(want) {
			break
		}
	}
	if !slices.Equal(got, want) || f.compacted() != compacted {
		t.Errorf("heard %d messages, want %d; told compacted %d times, want %d; all: %v", len(got), len(want), f.compacted(), compacted, f.Kinds())
	}
}

// lostLife is what happens between the backup and a disaster: carol is removed
// and dave comes. It returns where bob's client is then.
func (p *party) lostLife(t *testing.T) string {
	t.Helper()
	before, chat := p.bobs.compacted(), p.chat
	p.say(t, 2)
	p.alice.Remove(t, &chat, p.carol.User, nil).OK(t)
	p.alice.Add(t, &chat, p.dave.User)
	p.chat, chat = chat, p.chat
	p.say(t, 2)
	p.chat = chat
	heard := p.said
	if before > 0 {
		heard = p.said[p.atBackup:]
	}
	p.heard(t, p.bobs, before, heard)
	cursor := p.bobs.last()
	p.said = p.said[:p.atBackup]
	return cursor
}

// wentBack waits until the streams of the server that stayed are told.
func (p *party) wentBack(t *testing.T, times int) {
	t.Helper()
	for _, f := range []follower{p.bobs, p.carols, p.daves} {
		for end := time.Now().Add(patience); f.compacted() < times; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("a stream is not told that the log went back: %v", f.Kinds())
			}
		}
	}
}

// resume connects with cursors of before and after the backup.
func (p *party) resume(t *testing.T, server *e2e.Server, kept string, lost []string) {
	t.Helper()
	at := func(cursor string) follower {
		bob := &e2e.User{Identity: p.bob.Identity, Server: server}
		return follower{bob.Follow(t, "cursor="+url.QueryEscape(cursor))}
	}
	told := p.bobs.compacted()
	missed := slices.Clone(p.said[p.atBackup:])
	good, bad := at(kept), make([]follower, len(lost))
	for i, cursor := range lost {
		bad[i] = at(cursor)
		bad[i].Await(t, "compacted")
	}
	var page mlsapi.GetMessagesOutput
	p.until(t, func() e2e.Answer { return p.bob.Get(t, mlsapi.MethodGetMessages, &page, "convoId", p.chat.ID) })
	if len(page.Messages) != len(p.said) {
		t.Errorf("%d messages are found by polling, want %d", len(page.Messages), len(p.said))
	}
	p.say(t, 2)
	news := p.said[len(p.said)-2:]
	p.heard(t, good, 0, append(missed, news...))
	for _, f := range bad {
		p.heard(t, f, 1, news)
	}
	// Whoever was removed in the history that was lost is a member again; whoever
	// came in it is none.
	p.heard(t, p.bobs, told, p.said[p.atBackup:])
	p.heard(t, p.carols, told, p.said[p.atBackup:])
	own := p.dave.Create(t)
	sent := p.dave.Send(t, own)
	p.daves.AwaitWhere(t, "message", func(e e2e.Event) bool { return e.MessageID == sent.MessageID })
	p.heard(t, p.daves, told, nil)
}

// A hot standby behind the server's address is not ready and says so; requests
// are told to come back, and find it after its promotion.
func TestStandby(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	original, backup := filepath.Join(dir, "original"), filepath.Join(dir, "backup")
	s := newSite(t)
	s.start(t, original)
	migrate(t, s.url)
	if err := os.MkdirAll(backup, 0o755); err != nil { // PostgreSQL runs under another account
		t.Fatal(err)
	}
	ways["a replica promoted"].backup(t, s, original, backup)
	startCopy(t, s, backup, filepath.Join(dir, "standby"))
	server := e2e.StartOn(t, s.url, authtest.NewDirectory(t, nil))
	ready := func(status int, reason string) {
		t.Helper()
		var body string
		for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/health/ready", http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			if body = string(text); resp.StatusCode == status && strings.Contains(body, reason) {
				return
			}
		}
		t.Errorf("readiness is %s, want %d %s", body, status, reason)
	}
	ready(http.StatusServiceUnavailable, `"standby"`)
	alice := server.Users(1)[0]
	for range 3 {
		alice.Get(t, mlsapi.MethodGetConvos, nil).Want(t, http.StatusServiceUnavailable, "NotEnoughResources")
	}
	s.exec(t, "postgres", "SELECT pg_promote()")
	ready(http.StatusOK, `"ready"`)
	alice.Get(t, mlsapi.MethodGetConvos, nil).OK(t)
}
