package store

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
)

// Explain says in one line, for the operator, why the database cannot be used. It names the host,
// the database and the role, which are the operator's own facts, and nothing of a statement.
func (s *Store) Explain(err error) string {
	config := s.pool.Config().ConnConfig
	at := net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port)))
	if strings.HasPrefix(config.Host, "/") {
		at = config.Host + " (socket), port " + strconv.Itoa(int(config.Port))
	}
	if fault, ok := errors.AsType[*pgconn.PgError](err); ok {
		return "PostgreSQL at " + at + ": " + refusal(fault.Code, config.Database, config.User)
	}
	if fault, ok := errors.AsType[*stateError](err); ok {
		return "PostgreSQL at " + at + ": " + refusal(fault.code, config.Database, config.User)
	}
	reason := "it gives no answer"
	var errno syscall.Errno
	var dns *net.DNSError
	switch {
	case errors.Is(err, ErrUnsuitable):
		return "PostgreSQL at " + at + ": " + err.Error()
	case errors.As(err, &errno):
		reason = errno.Error()
	case errors.As(err, &dns):
		reason = "the name cannot be resolved"
	case errors.Is(err, context.DeadlineExceeded):
		reason = "no answer in time"
	}
	return "cannot reach PostgreSQL at " + at + ", database " + config.Database + ": " + reason
}

// refusal says what a SQLSTATE of a connection or of the first statements means.
func refusal(code, database, role string) string {
	switch code {
	case "3D000":
		return "there is no database " + database
	case "28P01":
		return "the password of role " + role + " is refused"
	case "28000":
		return "role " + role + " is refused (pg_hba.conf)"
	case "42P01", "3F000":
		return "the schema is missing: run mls-server migrate"
	case "42501":
		return "role " + role + " lacks privileges in database " + database
	case "53300":
		return "there are too many connections"
	case "57P03":
		return "it is starting up or shutting down"
	case "08P01":
		return "the connection is refused as a protocol violation, as PgBouncer does with startup parameters that it was not told to ignore (OPERATIONS.md, PgBouncer)"
	case "25006", "55000":
		return "it is a standby, or read-only"
	}
	return "SQLSTATE " + code
}
