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

// errNotFound is the absence of a row that is not yet an error of the domain.
var errNotFound = errors.New("no such row")

// SQLSTATEs, https://www.postgresql.org/docs/current/errcodes-appendix.html.
const (
	codeSerializationFailure = "40001"
	codeDeadlock             = "40P01"
	codeUniqueViolation      = "23505"
	codeUndefinedTable       = "42P01"
	codeUndefinedFunction    = "42883"
	codeUndefinedColumn      = "42703"
	codeUnsupported          = "0A000" // a prepared statement whose result a migration has changed
	codeReadOnly             = "25006" // a standby, or a server that is being failed over
	codeUnknownStatement     = "26000" // a pooler in between has changed the session
	codeDuplicateStatement   = "42P05" // the same
	codeNotInState           = "55000"
	codeLockNotAvailable     = "55P03"
	codeQueryCanceled        = "57014" // statement_timeout, or an operator
	classData                = "22"    // a value that its type refuses
	classConnection          = "08"
	classResources           = "53"
	classIntervention        = "57"    // an operator, a shutdown, statement_timeout
	classSystem              = "58"    // files that cannot be written or read
	codeInternal             = "XX000" // what PostgreSQL has no code for; seen on a full disk
)

// violation is what it means to the caller when a statement violates a constraint. A verb names
// those that its statement can run into; any other is a fault of this program.
type violation struct {
	constraint string
	means      error
}

var (
	groupIDTaken       = violation{"conversations_group_id_key", mls.ErrGroupAlreadyExists}
	signatureKeyTaken  = violation{"user_devices_signature_key_key", mls.ErrDuplicatePublicKey}
	deviceIDTaken      = violation{"user_devices_device_id_key", mls.ErrDeviceIDTaken}
	groupIDUsed        = violation{"convo_groups_pkey", mls.ErrGroupAlreadyExists}
	epochHasCommit     = violation{"commits_standing_key", mls.ErrEpochMismatch}
	reportOfOneself    = violation{"reports_not_about_oneself", mls.ErrCannotReportSelf}
	keyPackageSeen     = violation{"key_packages_sha256_key", mls.InvalidKeyPackage(mls.CodeInitKeyReused)}
	requestOpenAlready = violation{"pending_welcomes_one_open_key", mls.ErrBusy}
	debtOpenAlready    = violation{"removal_debts_one_open_key", mls.ErrBusy}
)

// domainError is the one place where the database's errors become the domain's. PostgreSQL's own
// text is dropped wherever it may quote a value (I9).
func domainError(err error, expected []violation) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return errNotFound
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || mls.AsError(err) != nil {
		return err
	}
	fault, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		// Not an answer of the database's: the connection was lost, or could not be made.
		return errors.Join(mls.ErrBusy, err)
	}
	for _, v := range expected {
		if fault.ConstraintName == v.constraint {
			return v.means
		}
	}
	state := &stateError{fault.Code, fault.ConstraintName}
	switch {
	case passes(fault.Code):
		return errors.Join(mls.ErrBusy, state)
	case strings.HasPrefix(fault.Code, classData):
		return errors.Join(mls.UnstorableInput(), state)
	}
	return state
}

// passes reports whether a SQLSTATE tells of a condition that ends by itself or by an operator's
// hand, so that the request may be repeated.
func passes(code string) bool {
	switch code {
	case codeSerializationFailure, codeDeadlock, codeUnsupported, codeReadOnly, codeUnknownStatement,
		codeDuplicateStatement, codeNotInState, codeLockNotAvailable, codeInternal:
		return true
	}
	return strings.HasPrefix(code, classConnection) || strings.HasPrefix(code, classResources) ||
		strings.HasPrefix(code, classIntervention) || strings.HasPrefix(code, classSystem)
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

// Constraint names in logs what a statement has violated, "" for nothing.
func (e *stateError) Constraint() string { return e.constraint }

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
