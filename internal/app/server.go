package app

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"mls-server/internal/netopt"
)

// unackedTimeout is how long sent bytes may wait for their acknowledgement
// before the kernel gives the connection up. A stream sends something every 15
// seconds, so a peer that is gone without a word is found out within a minute.
// Heartbeats are too small to fill the send buffer, so that no write would ever
// block and meet its deadline. It is longer than those deadlines.
const unackedTimeout = 45 * time.Second

// listen opens a port. Go's own keep-alives look after connections that are
// silent, unackedTimeout after the others.
func listen(ctx context.Context, host string, port int) (net.Listener, error) {
	config := net.ListenConfig{Control: netopt.Unacked(unackedTimeout)}
	config.SetMultipathTCP(false) // its sockets do not know the option
	l, err := config.Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return l, nil
}

// server is an http.Server that does not wait for connections on which nobody
// has asked for anything when it is shut down.
type server struct {
	*http.Server
	mu sync.Mutex
	// fresh are the connections that have not brought a request yet.
	fresh map[net.Conn]struct{}
	// closing says that fresh connections are closed as they come.
	closing bool
}

// newServer bounds what a slow client can hold: headers within 10 s and 64 KiB,
// a body of 10 MiB within two minutes, idle connections two minutes, an answer
// three minutes after its request. Answers and streams set nearer deadlines for
// what they write.
func newServer(h http.Handler, log *slog.Logger) *server {
	s := &server{fresh: map[net.Conn]struct{}{}}
	s.Server = &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 2 * time.Minute, IdleTimeout: 2 * time.Minute,
		WriteTimeout:   3 * time.Minute,
		MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		ConnState: s.note,
	}
	return s
}

// note keeps fresh up to date.
func (s *server) note(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case state != http.StateNew:
		delete(s.fresh, c)
	case s.closing:
		_ = c.Close() // the server meets the error when it reads
	default:
		s.fresh[c] = struct{}{}
	}
}

// freshGrace is how long a request may take to come over a connection that was
// opened just before the server was told to stop.
const freshGrace = 250 * time.Millisecond

// Shutdown is that of http.Server, which would wait five seconds for the first
// request of each connection, and so for every client that connects ahead.
func (s *server) Shutdown(ctx context.Context) error {
	timer := time.AfterFunc(freshGrace, s.closeFresh)
	defer timer.Stop()
	if err := s.Server.Shutdown(ctx); err != nil {
		return fmt.Errorf("shut down: %w", err)
	}
	return nil
}

func (s *server) closeFresh() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing = true
	for c := range s.fresh {
		_ = c.Close() // as above
	}
}
