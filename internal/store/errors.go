package store

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"mls-server/internal/mls"
)

// errNotFound is the absence of a row that is no error of the domain yet.
var errNotFound = errors.New("no such row")

// SQLSTATEs, https://www.postgresql.org/docs/current/errcodes-appendix.html.
const (
	codeSerializationFailure = "40001"
	codeDeadlock             = "40P01"
	codeUniqueViolation      = "23505"
	codeUndefinedTable       = "42P01"
	codeUndefinedFunction    = "42883"
	codeLockNotAvailable     = "55P03"
	codeQueryCanceled        = "57014"
	codeReadOnly             = "25006"
	codeAdminShutdown        = "57P01"
	codeCrashShutdown        = "57P02"
	codeCannotConnectNow     = "57P03"
	codeIdleSessionTimeout   = "57P05"
	classConnection          = "08"
	classResources           = "53"
)

// byConstraint is what it means when a constraint is violated. Constraints
// that only a fault in this program can violate are not in it.
var byConstraint = map[string]error{
	"conversations_group_id_key":     mls.ErrGroupAlreadyExists,
	"user_devices_signature_key_key": mls.ErrDuplicatePublicKey,
	"messages_msg_id_key":            mls.ErrMessageIDConflict,
	"commits_one_per_epoch":          mls.ErrEpochMismatch,
	"reports_not_about_oneself":      mls.ErrCannotReportSelf,
	"key_packages_sha256_key":        mls.InvalidKeyPackage(mls.CodeInitKeyReused),
	"members_convo_id_fkey":          mls.ErrConvoNotFound,
	"cursors_convo_id_fkey":          mls.ErrConvoNotFound,
	"pending_welcomes_convo_id_fkey": mls.ErrConvoNotFound,
	"pending_welcomes_one_open_key":  mls.ErrBusy,
	"removal_debts_one_open_key":     mls.ErrBusy,
}

// domainError is the one place where the database's errors become the
// domain's. PostgreSQL's own text is dropped wherever it may quote a value (I9).
func domainError(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return errNotFound
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	fault, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		// Not an answer of the database's: the connection was lost, or could not be made.
		return errors.Join(mls.ErrBusy, err)
	}
	if known, ok := byConstraint[fault.ConstraintName]; ok {
		return known
	}
	switch fault.Code {
	case codeLockNotAvailable, codeQueryCanceled, codeReadOnly, codeAdminShutdown, codeCrashShutdown, codeCannotConnectNow, codeIdleSessionTimeout:
		return errors.Join(mls.ErrBusy, &stateError{fault.Code, fault.ConstraintName})
	}
	if strings.HasPrefix(fault.Code, classConnection) || strings.HasPrefix(fault.Code, classResources) {
		return errors.Join(mls.ErrBusy, &stateError{fault.Code, fault.ConstraintName})
	}
	return &stateError{fault.Code, fault.ConstraintName}
}

// stateError is a fault of the database by its code and constraint. Its text
// holds nothing of the statement or its values.
type stateError struct {
	code, constraint string
}

func (e *stateError) Error() string {
	if e.constraint == "" {
		return "SQLSTATE " + e.code
	}
	return "SQLSTATE " + e.code + " on " + e.constraint
}

// SQLState names the fault in logs, which hold no other text of the database's.
func (e *stateError) SQLState() string { return e.code }

// sqlState is the SQLSTATE of an error, "" when the database did not raise it.
func sqlState(err error) string {
	if state, ok := errors.AsType[*stateError](err); ok {
		return state.code
	}
	if fault, ok := errors.AsType[*pgconn.PgError](err); ok {
		return fault.Code
	}
	return ""
}

func isCode(err error, codes ...string) bool {
	return err != nil && slices.Contains(codes, sqlState(err))
}

func isNotFound(err error) bool {
	return errors.Is(err, errNotFound) || errors.Is(err, pgx.ErrNoRows)
}
