package redact

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"syscall"

	"mls-server/internal/clock"
	"mls-server/internal/shared"
)

// Handler is a slog.Handler that writes to another one what its schema allows.
// Groups are flattened: the key of an attribute decides, wherever it stands.
type Handler struct {
	next   slog.Handler
	rules  *rules
	hasher *shared.Hasher
	// withheld counts what WithAttrs dropped.
	withheld int
}

var _ slog.Handler = (*Handler)(nil)

type rules struct {
	numbers, errs map[string]struct{}
	words         map[string]map[string]struct{}
	patterns      map[string]*regexp.Regexp
}

// NewHandler returns a handler in front of next. The hasher stands in for
// strings that are not written.
func NewHandler(next slog.Handler, schema Schema, hasher *shared.Hasher) *Handler {
	r := &rules{
		numbers: set(schema.Numbers), errs: set(schema.Errors),
		words: make(map[string]map[string]struct{}, len(schema.Words)), patterns: schema.Patterns,
	}
	for key, words := range schema.Words {
		r.words[key] = set(words)
	}
	return &Handler{next: next, rules: r, hasher: hasher}
}

func set(list []string) map[string]struct{} {
	m := make(map[string]struct{}, len(list))
	for _, s := range list {
		m[s] = struct{}{}
	}
	return m
}

// Enabled implements slog.Handler.
func (h *Handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

// Handle implements slog.Handler. No line tells a finer time than a stored
// message does (I8): the one of its request would tell the message's.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	out := slog.NewRecord(clock.Bucket(r.Time), r.Level, h.message(r.Message), r.PC)
	kept := make([]slog.Attr, 0, r.NumAttrs()+1)
	withheld := h.withheld
	r.Attrs(func(a slog.Attr) bool {
		kept, withheld = h.filter(kept, withheld, a, 0)
		return true
	})
	if withheld > 0 {
		kept = append(kept, slog.Int(keyWithheld, withheld))
	}
	out.AddAttrs(kept...)
	if err := h.next.Handle(ctx, out); err != nil {
		return fmt.Errorf("redact: %w", err)
	}
	return nil
}

// WithAttrs implements slog.Handler.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	var kept []slog.Attr
	for _, a := range attrs {
		kept, c.withheld = h.filter(kept, c.withheld, a, 0)
	}
	if len(kept) > 0 {
		c.next = h.next.WithAttrs(kept)
	}
	return &c
}

// WithGroup implements slog.Handler. The name goes nowhere.
func (h *Handler) WithGroup(string) slog.Handler { return h }

const maxDepth = 4

// filter appends what may be written of a, and counts what may not.
func (h *Handler) filter(kept []slog.Attr, withheld int, a slog.Attr, depth int) ([]slog.Attr, int) {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		for _, inner := range v.Group() {
			if depth == maxDepth {
				withheld++
				continue
			}
			kept, withheld = h.filter(kept, withheld, inner, depth+1)
		}
		return kept, withheld
	}
	safe, ok := h.value(a.Key, v)
	if !ok {
		return kept, withheld + 1
	}
	if safe.Kind() == slog.KindString && safe.String() == "" {
		return kept, withheld
	}
	return append(kept, slog.Attr{Key: a.Key, Value: safe}), withheld
}

// value decides about one scalar.
func (h *Handler) value(key string, v slog.Value) (slog.Value, bool) {
	switch v.Kind() {
	case slog.KindBool, slog.KindInt64, slog.KindUint64, slog.KindFloat64, slog.KindDuration:
		_, ok := h.rules.numbers[key]
		return v, ok
	case slog.KindString:
		return h.text(key, v.String())
	case slog.KindAny:
		err, isErr := v.Any().(error)
		if _, ok := h.rules.errs[key]; !ok || !isErr {
			return slog.Value{}, false
		}
		return slog.StringValue(describe(err)), true
	default: // times, and whatever slog learns to hold
		return slog.Value{}, false
	}
}

func (h *Handler) text(key, s string) (slog.Value, bool) {
	if words, ok := h.rules.words[key]; ok {
		if _, ok := words[s]; ok || s == "" {
			return slog.StringValue(s), true
		}
		// A word outside of its set is a mistake worth finding, not worth reading.
		return slog.StringValue(h.hash(s)), true
	}
	if p, ok := h.rules.patterns[key]; ok && (s == "" || len(s) <= 512 && p.MatchString(s)) {
		return slog.StringValue(s), true
	}
	return slog.Value{}, false
}

// plainMessage is words of letters. Identifiers, addresses, numbers, quoted and
// encoded values do not fit it.
var plainMessage = regexp.MustCompile(`^[A-Za-z][A-Za-z,;:'()/ _-]{0,119}$`)

// maxWord is longer than any word of a message and shorter than a key or token.
const maxWord = 18

func (h *Handler) message(m string) string {
	if !plainMessage.MatchString(m) || strings.Contains(m, "did:") || strings.Contains(m, "at:/") {
		return "message withheld " + h.hash(m)
	}
	for _, w := range strings.FieldsFunc(m, func(r rune) bool { return r == ' ' || r == '/' || r == '-' || r == '_' }) {
		if len(w) > maxWord {
			return "message withheld " + h.hash(m)
		}
	}
	return m
}

// maxChain bounds how much of an error is described.
const maxChain = 8

// describe names an error by the types in its chain, outermost first, with what
// is constant about them: SQLSTATE, constraint, errno, whether a context was cancelled.
func describe(err error) (text string) {
	var b strings.Builder
	defer func() {
		if recover() != nil { // a method of a foreign error, called on nil perhaps
			text = b.String() + "(panicked)"
		}
	}()
	n := 0
	var walk func(error)
	walk = func(err error) {
		if err == nil || n == maxChain {
			return
		}
		if n > 0 {
			b.WriteString(" < ")
		}
		n++
		fmt.Fprintf(&b, "%T", err)
		b.WriteString(constant(err))
		//nolint:errorlint // the walk visits each error itself
		switch x := err.(type) {
		case interface{ Unwrap() error }:
			walk(x.Unwrap())
		case interface{ Unwrap() []error }:
			for _, e := range x.Unwrap() {
				walk(e)
			}
		}
	}
	walk(err)
	return b.String()
}

var (
	sqlState = regexp.MustCompile(`^[0-9A-Z]{5}$`)
	// constraint is the form of the names that migrations give to constraints. They hold no values.
	constraint = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)
)

func constant(err error) string {
	if err == context.Canceled { //nolint:errorlint // as below
		return "(context canceled)"
	}
	//nolint:errorlint // each error of the chain is looked at by itself
	switch x := err.(type) {
	case syscall.Errno:
		return "(" + x.Error() + ")"
	case interface{ SQLState() string }:
		s := x.SQLState()
		if !sqlState.MatchString(s) {
			return ""
		}
		//nolint:errorlint // as above
		if c, ok := err.(interface{ Constraint() string }); ok && constraint.MatchString(c.Constraint()) {
			return "(" + s + " " + c.Constraint() + ")"
		}
		return "(" + s + ")"
	}
	return ""
}
