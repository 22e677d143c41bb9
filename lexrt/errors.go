package lexrt

import (
	"strconv"
	"strings"
	"time"
)

// Error is an XRPC error: a name that clients match on, an HTTP status and a message for people.
// Generated packages have a variable for each declared error, this package one for each general
// error; WithMessage gives one its text.
type Error struct {
	// Name is the value of the "error" member, for example "NotMember".
	Name string
	// Status is the HTTP status code.
	Status int
	// Message is the value of the "message" member. It never repeats a value of the caller's.
	Message string
	// Details, when not nil, is an object whose members the body has beside error and message.
	Details Response
	// Body is the whole body of an error that a client received, from which the details can be
	// decoded.
	Body []byte
	// RetryAfter, when positive, becomes a Retry-After header of at least one second.
	RetryAfter time.Duration
}

// Error returns name and message.
func (e *Error) Error() string {
	if e.Message == "" {
		return e.Name
	}
	return e.Name + ": " + e.Message
}

// WithMessage returns the error with another message.
func (e *Error) WithMessage(message string) *Error {
	c := *e
	c.Message = message
	return &c
}

// Is makes two errors of one name equal for errors.Is, whatever their messages.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Name == e.Name
}

// AppendJSON appends the body of an answer with the error: its name, its message, and the members
// of its details.
func (e *Error) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"error":`...)
	dst = AppendString(dst, &e.Name)
	dst = append(dst, `,"message":`...)
	dst = AppendString(dst, &e.Message)
	if e.Details == nil {
		return append(dst, '}')
	}
	// The details are an object of their own: its members follow, and its end is the body's.
	start := len(dst)
	dst = e.Details.AppendJSON(dst)
	if dst[start+1] == '}' {
		return append(dst[:start], '}')
	}
	dst[start] = ','
	return dst
}

// Issue is one way in which a value breaks its schema.
type Issue struct {
	// Pointer is the RFC 6901 JSON pointer of the offending value ("" is the whole).
	Pointer string
	// Rule is the keyword of the lexicon language that was broken, for example
	// "maxLength", "format", "required", or "type" and "json" for values of the wrong shape.
	Rule string
	// Problem says what was expected, with the limit, and never repeats the value.
	Problem string
}

// InvalidError reports all issues that a decoder or validator found, in order.
type InvalidError struct {
	// What names the part that was checked: "body", "params" or "value".
	What   string
	Issues []Issue
}

// Error lists the issues, separated by semicolons.
func (e *InvalidError) Error() string {
	var b strings.Builder
	b.WriteString("invalid ")
	b.WriteString(e.What)
	for i, is := range e.Issues {
		if i == 0 {
			b.WriteString(": ")
		} else {
			b.WriteString("; ")
		}
		if i == 8 {
			b.WriteString("and ")
			b.WriteString(strconv.Itoa(len(e.Issues) - i))
			b.WriteString(" more")
			break
		}
		if is.Pointer != "" {
			b.WriteString(is.Pointer)
			b.WriteString(" ")
		}
		b.WriteString(is.Problem)
	}
	return b.String()
}
