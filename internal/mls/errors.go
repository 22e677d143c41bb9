package mls

import (
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Error is a domain error that says more than its kind. It is made by the constructors below and
// unwraps to its Kind and, when it has one, to its Code. Its text is fit for a client's eyes (I9).
type Error struct {
	// Kind is what went wrong.
	Kind Kind
	// Code is the check that an MLS object failed, 0 when the error is not about one.
	Code Code
	// Detail is a sentence without any identifier or value of the caller's, "" for none.
	Detail string
	// Index is the position in the request's list, from 0; -1 when the error is not about an item.
	Index int
	// Have is the epoch of the request or message and Want the conversation's, for
	// ErrEpochMismatch.
	Have, Want Epoch
	// RetryAfter is when it is worth asking again, 0 when waiting mends nothing.
	RetryAfter time.Duration
}

func newError(kind Kind) *Error { return &Error{Kind: kind, Index: -1} }

// Detailed is an error of the kind with a fixed sentence.
func Detailed(kind Kind, detail string) error {
	e := newError(kind)
	e.Detail = detail
	return e
}

// EpochMismatch is ErrEpochMismatch with both epochs: a client that sees only the text can catch
// up.
func EpochMismatch(have, want Epoch) error {
	e := newError(ErrEpochMismatch)
	e.Have, e.Want = have, want
	e.Detail = fmt.Sprintf("made for epoch %d, the conversation is at epoch %d", have, want)
	return e
}

// OtherCommitStands is ErrEpochMismatch for a request of the right epoch whose sender got there by
// a commit that does not stand.
func OtherCommitStands(epoch Epoch) error {
	e := newError(ErrEpochMismatch)
	e.Have, e.Want = epoch, epoch
	e.Detail = fmt.Sprintf("made for epoch %d, to which another commit has led", epoch)
	return e
}

// InvalidKeyPackage is ErrInvalidKeyPackage for the only key package of a request.
func InvalidKeyPackage(code Code) error { return InvalidKeyPackageAt(-1, code) }

// InvalidKeyPackageAt is ErrInvalidKeyPackage for an item of the request's list, counted from 0.
func InvalidKeyPackageAt(index int, code Code) error {
	e := newError(ErrInvalidKeyPackage)
	e.Index, e.Code = index, code
	return e
}

// InvalidCommit is ErrInvalidCommit: a commit or proposal breaks a rule.
func InvalidCommit(code Code) error {
	e := newError(ErrInvalidCommit)
	e.Code = code
	return e
}

// InvalidGroupInfo is ErrInvalidGroupInfo: a GroupInfo failed a check.
func InvalidGroupInfo(code Code) error {
	e := newError(ErrInvalidGroupInfo)
	e.Code = code
	return e
}

// InvalidWelcome is ErrInvalidWelcome: a Welcome failed a check.
func InvalidWelcome(code Code) error {
	e := newError(ErrInvalidWelcome)
	e.Code = code
	return e
}

// InvalidAsset is ErrInvalidAsset. problem is a fixed sentence.
func InvalidAsset(problem string) error {
	e := newError(ErrInvalidAsset)
	e.Detail = problem
	return e
}

// InvalidInput is ErrInvalidInput. pointer is the RFC 6901 pointer of the field in the body or
// among the parameters, problem a fixed text that says what was expected.
func InvalidInput(pointer, problem string) error {
	e := newError(ErrInvalidInput)
	e.Detail = pointer + " " + problem
	return e
}

// UnstorableInput is ErrInvalidInput for a value that the database's types refuse.
func UnstorableInput() error {
	e := newError(ErrInvalidInput)
	e.Detail = "a value cannot be stored: text must not hold U+0000, numbers must be in range"
	return e
}

// RateLimited is ErrRateLimitExceeded. It is worth asking again after retry, a second at least.
func RateLimited(retry time.Duration) error {
	e := newError(ErrRateLimitExceeded)
	e.RetryAfter = max(retry, time.Second)
	return e
}

// JustJoined is ErrAlreadyMember for a device that has confirmed its Welcome a moment ago: it may
// ask to be added anew after retry, a second at least.
func JustJoined(retry time.Duration) error {
	e := newError(ErrAlreadyMember)
	e.Detail, e.RetryAfter = "the device has confirmed its Welcome a moment ago", max(retry, time.Second)
	return e
}

// TooManyInvitations is ErrTooManyInvitations. bound says which one is reached, and by whom of the
// request. It is worth asking again after retry, a second at least.
func TooManyInvitations(bound string, retry time.Duration) error {
	e := newError(ErrTooManyInvitations)
	e.Detail = bound
	e.RetryAfter = max(retry, time.Second)
	return e
}

// TooManyStreams is ErrRateLimitExceeded for a user who has limit streams open already.
func TooManyStreams(limit int, retry time.Duration) error {
	e := newError(ErrRateLimitExceeded)
	e.Detail = fmt.Sprintf("a user may have %d streams; close one", limit)
	e.RetryAfter = max(retry, time.Second)
	return e
}

// Busy is ErrBusy. detail is a fixed text, retry when it is worth asking again.
func Busy(detail string, retry time.Duration) error {
	e := newError(ErrBusy)
	e.Detail, e.RetryAfter = detail, retry
	return e
}

// Error says what the kind says, where, which check or detail, and when to try again, since
// proxies drop headers.
func (e *Error) Error() string {
	text := e.Kind.Error()
	if e.Index >= 0 {
		text += " at index " + strconv.Itoa(e.Index)
	}
	switch {
	case e.Code != 0:
		text += ": " + e.Code.String()
	case e.Detail != "":
		text += ": " + e.Detail
	}
	if e.RetryAfter > 0 {
		seconds := (e.RetryAfter + time.Second - 1) / time.Second
		text += "; try again in " + strconv.FormatInt(int64(seconds), 10) + " s"
	}
	return text
}

// Unwrap returns the kind, and the code when there is one.
func (e *Error) Unwrap() []error {
	if e.Code == 0 {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Code}
}

func (e *Error) domain() *Error { return e }

// impossible is a domain error that cannot come back where it did: a fault of the server.
type impossible string

func (i impossible) Error() string { return "cannot happen: " + string(i) }

// Impossible turns a domain error into a fault, where a verb can return it and this call of the
// verb cannot. Clients get InternalServerError, operators the request's event.
func Impossible(err error) error { return impossible(err.Error()) }

// AsError returns the domain error inside err, nil when there is none. What wraps it may come
// from a driver and quote values, so only the result's text may leave the server.
func AsError(err error) *Error {
	if d, ok := errors.AsType[interface {
		error
		domain() *Error
	}](err); ok {
		return d.domain()
	}
	return nil
}
