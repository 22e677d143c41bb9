package store

import (
	"errors"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"

	"mls-server/internal/pgtest"
)

// pooler stands between servers and PostgreSQL as PgBouncer does: it answers for the database, and
// gives each session, or each transaction, the connection that was given back last.
type pooler struct {
	t           *testing.T
	target      *pgx.ConnConfig
	transaction bool

	mu   sync.Mutex
	idle []*pgproto3.Frontend
}

// newPooler is the URL of a database behind a pooler.
func newPooler(t *testing.T, database string, transaction bool) string {
	t.Helper()
	target, err := pgx.ParseConfig(database)
	must(t, err)
	p := &pooler{t: t, target: target, transaction: transaction}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // the test is over
			}
			wg.Go(func() { p.serve(conn) })
		}
	})
	return "postgres://" + target.User + "@" + l.Addr().String() + "/" + target.Database + "?sslmode=disable"
}

// take is a connection that was given back, or a new one.
func (p *pooler) take() (*pgproto3.Frontend, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.idle); n > 0 {
		server := p.idle[n-1]
		p.idle = p.idle[:n-1]
		return server, nil
	}
	conn, err := pgx.ConnectConfig(p.t.Context(), p.target)
	if err != nil {
		return nil, err
	}
	hijacked, err := conn.PgConn().Hijack()
	if err != nil {
		return nil, err
	}
	p.t.Cleanup(func() { _ = hijacked.Conn.Close() })
	return pgproto3.NewFrontend(hijacked.Conn, hijacked.Conn), nil
}

func (p *pooler) giveBack(server *pgproto3.Frontend) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, server)
}

// serve is one client's session.
func (p *pooler) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	client := pgproto3.NewBackend(conn, conn)
	if _, err := client.ReceiveStartupMessage(); err != nil {
		return
	}
	client.Send(&pgproto3.AuthenticationOk{})
	client.Send(&pgproto3.ParameterStatus{Name: "server_version", Value: "15.18"})
	client.Send(&pgproto3.ParameterStatus{Name: "client_encoding", Value: "UTF8"})
	client.Send(&pgproto3.ParameterStatus{Name: "standard_conforming_strings", Value: "on"})
	client.Send(&pgproto3.BackendKeyData{ProcessID: 1, SecretKey: []byte("fake")})
	client.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	if client.Flush() != nil {
		return
	}
	var server *pgproto3.Frontend
	for {
		message, err := client.Receive()
		if _, ends := message.(*pgproto3.Terminate); ends || err != nil {
			break
		}
		if server == nil {
			if server, err = p.take(); err != nil {
				p.t.Error(err)
				return
			}
		}
		server.Send(message)
		if !asks(message) {
			continue
		}
		idle, err := relay(server, client)
		if err != nil {
			return // the connection is of no more use
		}
		if p.transaction && idle {
			p.giveBack(server)
			server = nil
		}
	}
	if server != nil {
		p.giveBack(server)
	}
}

// asks says whether the server answers up to ReadyForQuery after a message.
func asks(message pgproto3.FrontendMessage) bool {
	switch message.(type) {
	case *pgproto3.Query, *pgproto3.Sync:
		return true
	}
	return false
}

// relay passes an answer on, and says whether the session is outside of a transaction after it.
func relay(server *pgproto3.Frontend, client *pgproto3.Backend) (idle bool, err error) {
	if err := server.Flush(); err != nil {
		return false, err
	}
	for {
		answer, err := server.Receive()
		if err != nil {
			return false, err
		}
		client.Send(answer)
		if ready, ok := answer.(*pgproto3.ReadyForQuery); ok {
			return ready.TxStatus == 'I', client.Flush()
		}
	}
}

// A pooler that gives each transaction another connection is refused in words; one that keeps a
// connection for each session is not, and works.
func TestPoolers(t *testing.T) {
	t.Parallel()
	database := pgtest.New(t)
	session := connect(t, newPooler(t, database, false), 4)
	must(t, session.CheckSuitable(t.Context()))
	for range 3 {
		if _, err := session.ListUsers(t.Context()); err != nil {
			t.Error(err)
		}
	}
	transaction := connect(t, newPooler(t, database, true), 4)
	err := transaction.CheckSuitable(t.Context())
	if !errors.Is(err, ErrPooled) || !errors.Is(err, ErrUnsuitable) {
		t.Errorf("a pooler in transaction mode: %v", err)
	}
	if text := transaction.Explain(err); !strings.Contains(text, "(OPERATIONS.md, PgBouncer)") || !strings.Contains(text, "127.0.0.1:") {
		t.Errorf("it is explained as %q", text)
	}
}
