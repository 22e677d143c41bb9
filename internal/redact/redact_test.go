package redact

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"time"

	"mls-server/internal/shared"
)

const secretText = "did:plc:veryprivateveryprivatex"

type leaky struct{ Inner string }

func (leaky) LogValue() slog.Value { return slog.StringValue(secretText) }
func (leaky) String() string       { return secretText }
func (leaky) Error() string        { return secretText }

type leakyGroup struct{}

func (leakyGroup) LogValue() slog.Value {
	return slog.GroupValue(slog.String("did", secretText), slog.Int("status", 7), slog.String("secret", secretText))
}

type panicking struct{ p *string }

func (p *panicking) Error() string { return *p.p }
func (p *panicking) Unwrap() error { return errors.New(*p.p) }

type sqlError struct{ state string }

func (sqlError) Error() string      { return secretText }
func (e sqlError) SQLState() string { return e.state }

// violation is an error that names what was violated.
type violation struct {
	sqlError

	name string
}

func (v violation) Constraint() string { return v.name }

type marshaler struct{}

func (marshaler) MarshalJSON() ([]byte, error) { return json.Marshal(secretText) }
func (marshaler) MarshalText() ([]byte, error) { return []byte(secretText), nil }

func newLogger(t *testing.T) (*slog.Logger, *bytes.Buffer) {
	t.Helper()
	var buf bytes.Buffer
	schema := BaseSchema().With("method", "blue.catbird.mls.sendMessage").With("error_name", "NotMember")
	return slog.New(NewHandler(slog.NewJSONHandler(&buf, &slog.HandlerOptions{Level: slog.LevelDebug}), schema, newHasher(t, "0123456789abcdef"))), &buf
}

func newHasher(t *testing.T, secret string) *shared.Hasher {
	t.Helper()
	h, err := shared.NewHasher([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func line(t *testing.T, buf *bytes.Buffer) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(buf.Bytes(), &m); err != nil {
		t.Fatalf("%v in %s", err, buf)
	}
	buf.Reset()
	delete(m, "time")
	delete(m, "level")
	return m
}

func TestWhatPasses(t *testing.T) {
	t.Parallel()
	log, buf := newLogger(t)
	log.Info("request",
		"request_id", "0123456789abcdef", "method", "blue.catbird.mls.sendMessage", "status", 200, "error_name", "",
		"duration_us", int64(12), "bytes_in", uint64(3), "bytes_out", 1.5, "component", "app", "fault", syscall.EPIPE)
	got := line(t, buf)
	want := map[string]any{
		"msg": "request", "request_id": "0123456789abcdef", "method": "blue.catbird.mls.sendMessage", "status": 200.0,
		"duration_us": 12.0, "bytes_in": 3.0, "bytes_out": 1.5, "component": "app", "fault": "syscall.Errno(broken pipe)",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// The time of a line is as coarse as that of a message (I8).
func TestTimesAreCoarse(t *testing.T) {
	t.Parallel()
	var buf bytes.Buffer
	h := NewHandler(slog.NewJSONHandler(&buf, nil), BaseSchema(), newHasher(t, "0123456789abcdef"))
	at := time.Date(2026, 1, 2, 3, 4, 5, 678_901_234, time.FixedZone("", 3600))
	if err := h.Handle(t.Context(), slog.NewRecord(at, slog.LevelInfo, "request", 0)); err != nil {
		t.Fatal(err)
	}
	if want := `"time":"2026-01-02T02:04:04Z"`; !strings.Contains(buf.String(), want) {
		t.Errorf("the line is %s, want %s in it", buf.String(), want)
	}
}

// Each attribute carries the secret in some way; none may reach the output.
func TestWhatDoesNotPass(t *testing.T) {
	t.Parallel()
	secretPtr := secretText
	for name, attrs := range map[string][]any{
		"unknown key":             {"user", secretText},
		"unknown number":          {"seq", 123456789},
		"string under a number":   {"status", secretText},
		"number under a word":     {"component", 123456789},
		"word outside its set":    {"component", secretText},
		"method outside its set":  {"method", secretText},
		"error name outside":      {"error_name", secretText},
		"request id of others":    {"request_id", secretText},
		"fault as free text":      {"fault", "failed for " + secretText},
		"identity":                {"did", secretText},
		"struct":                  {"did", struct{ DID string }{secretText}},
		"pointer":                 {"did", &secretPtr},
		"slice":                   {"did", []string{secretText}},
		"map":                     {"status", map[string]string{secretText: secretText}},
		"bytes":                   {"did", []byte(secretText)},
		"stringer":                {"component", fmt.Stringer(leaky{})},
		"log valuer":              {"component", leaky{}},
		"log valuer under number": {"status", leaky{}},
		"log valuer in a struct":  {"status", struct{ L leaky }{}},
		"log valuer in a slice":   {"status", []slog.LogValuer{leaky{}}},
		"log valuer in a map":     {"status", map[string]leaky{"a": {}}},
		"log valuer of a group":   {"anything", leakyGroup{}},
		"error text":              {"err", errors.New(secretText)},
		"wrapped error":           {"err", fmt.Errorf("get %s: %w", secretText, leaky{})},
		"joined errors":           {"err", errors.Join(errors.New(secretText), fmt.Errorf("%w %w", leaky{}, errors.New(secretText)))},
		"error with an SQLSTATE":  {"err", sqlError{secretText}},
		"error under another key": {"component", errors.New(secretText)},
		"error that panics":       {"err", &panicking{}},
		"string under err":        {"err", secretText},
		"marshaler":               {"status", marshaler{}},
		"time":                    {"status", time.Unix(123456789, 0)},
		"group":                   {slog.Group(secretText, "user", secretText, slog.Group("x", "y", secretText))},
		"deep group":              {slog.Group("a", slog.Group("b", slog.Group("c", slog.Group("d", slog.Group("e", slog.Group("f", "status", 1, "did", secretText))))))},
		"key":                     {secretText, 1},
		"no key":                  {"", secretText},
		"odd arguments":           {secretText},
		"nil":                     {"status", nil},
	} {
		log, buf := newLogger(t)
		log.Info("request", attrs...)
		log.With(attrs...).Info("request")
		log.WithGroup(secretText).With(attrs...).WithGroup("g").Info("request", attrs...)
		out := buf.String()
		for _, leak := range []string{"veryprivate", "123456789", "BADKEY"} {
			if strings.Contains(out, leak) {
				t.Errorf("%s: %s", name, out)
			}
		}
		if n := strings.Count(out, "\n"); n != 3 {
			t.Errorf("%s: %d lines", name, n)
		}
	}
}

func TestDroppedAttributesAreCounted(t *testing.T) {
	t.Parallel()
	log, buf := newLogger(t)
	log.With("user", secretText, "status", 1).WithGroup("g").With("seq", 5).Info("request", "x", 1, slog.Group("y", "z", 1, "bytes_in", 2))
	got := line(t, buf)
	if got["withheld"] != 4.0 || got["status"] != 1.0 || got["bytes_in"] != 2.0 {
		t.Errorf("%v", got)
	}
}

func TestErrorsAreDescribed(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		err  error
		want string
	}{
		{errors.New("x"), "*errors.errorString"},
		{fmt.Errorf("x: %w", context.Canceled), "*fmt.wrapError < *errors.errorString(context canceled)"},
		{context.DeadlineExceeded, "context.deadlineExceededError"},
		{fmt.Errorf("x: %w", sqlError{"23505"}), "*fmt.wrapError < redact.sqlError(23505)"},
		{violation{sqlError{"23514"}, "messages_seq_positive"}, "redact.violation(23514 messages_seq_positive)"},
		{violation{sqlError{"23514"}, secretText}, "redact.violation(23514)"},
		{fmt.Errorf("x: %w", syscall.ECONNREFUSED), "*fmt.wrapError < syscall.Errno(connection refused)"},
		{errors.Join(syscall.EPIPE, errors.New("x")), "*errors.joinError < syscall.Errno(broken pipe) < *errors.errorString"},
		{&panicking{}, "*redact.panicking(panicked)"},
	} {
		log, buf := newLogger(t)
		log.Error("failed", "err", tc.err)
		got, _ := line(t, buf)["err"].(string)
		if !strings.HasPrefix(got, tc.want) {
			t.Errorf("%q, want %q", got, tc.want)
		}
	}
}

// Long chains are cut, and only the key of errors has any.
func TestErrorsAreBounded(t *testing.T) {
	t.Parallel()
	err := errors.New("x")
	for range 100 {
		err = fmt.Errorf("x: %w", err)
	}
	log, buf := newLogger(t)
	log.Error("failed", "err", err, "component", errors.New("x"), "error", errors.New("x"))
	got := line(t, buf)
	if text, _ := got["err"].(string); strings.Count(text, "*fmt.wrapError") != 8 {
		t.Errorf("a chain of 101 errors is described as %q, want eight of them", text)
	}
	for _, key := range []string{"component", "error"} {
		if v, there := got[key]; there {
			t.Errorf("an error under %s is written as %v", key, v)
		}
	}
}

func TestMessages(t *testing.T) {
	t.Parallel()
	for message, passes := range map[string]bool{
		"request":                                              true,
		"database is ready, serving requests":                  true,
		"stream ended (slow consumer)":                         true,
		"failed for " + secretText:                             false,
		"http: TLS handshake error from 203.0.113.5:4711: EOF": false,
		"user alice.example.com":                               false,
		"convo 3kabcdefghijk":                                  false,
		"token eyJhbGciOiJFUzI1NiJ":                            false,
		"key abcdefghijklmnopqrstuvwxyz":                       false,
		"at://x":                                               false,
		"café":                                                 false,
		"two\nlines":                                           false,
		"":                                                     false,
		strings.Repeat("word ", 100):                           false,
	} {
		log, buf := newLogger(t)
		log.Info(message) //nolint:sloglint // the message is what is tested
		got, _ := line(t, buf)["msg"].(string)
		if (got == message) != passes {
			t.Errorf("%q was written as %q", message, got)
		}
	}
}

// What stands for a word outside of its set can be compared with itself under
// one secret, and with no hash that has another purpose.
func TestHashesOfWords(t *testing.T) {
	t.Parallel()
	hash := func(secret, word string) string {
		var buf bytes.Buffer
		log := slog.New(NewHandler(slog.NewJSONHandler(&buf, nil), BaseSchema(), newHasher(t, secret)))
		log.Info("request", "component", word)
		text, _ := line(t, &buf)["component"].(string)
		return text
	}
	const one, two = "0123456789abcdef", "fedcba9876543210"
	h := hash(one, secretText)
	if h != hash(one, secretText) {
		t.Error("the same secret gives another hash")
	}
	if h == hash(two, secretText) {
		t.Error("another secret gives the same hash")
	}
	if h == hash(one, secretText+"x") || len(h) != 18 || !strings.HasPrefix(h, "h:") {
		t.Errorf("hash %q", h)
	}
	mac := hmac.New(sha256.New, []byte(one))
	mac.Write([]byte(secretText))
	if h == "h:"+hex.EncodeToString(mac.Sum(nil)[:8]) {
		t.Error("the hash has no purpose, so it could be that of a token")
	}
}

// Groups are read to a depth of four, whatever is in them.
func TestDeepGroupsAreWithheld(t *testing.T) {
	t.Parallel()
	nested := func(depth int) slog.Attr {
		a := slog.Int("status", 7)
		for range depth {
			a = slog.Attr{Key: "g", Value: slog.GroupValue(a)}
		}
		return a
	}
	for depth, passes := range map[int]bool{0: true, 4: true, 5: false, 100: false} {
		log, buf := newLogger(t)
		log.Info("request", nested(depth))
		got := line(t, buf)
		if (got["status"] == 7.0) != passes || (got["withheld"] == 1.0) == passes {
			t.Errorf("depth %d: %v", depth, got)
		}
	}
}

func TestLevels(t *testing.T) {
	t.Parallel()
	var buf bytes.Buffer
	log := slog.New(NewHandler(slog.NewTextHandler(&buf, &slog.HandlerOptions{Level: slog.LevelWarn}), BaseSchema(), newHasher(t, "0123456789abcdef")))
	log.Info("request")
	log.Warn("request", "did", secretText, "component", secretText)
	if n := strings.Count(buf.String(), "\n"); n != 1 || strings.Contains(buf.String(), "veryprivate") {
		t.Errorf("%s", buf.String())
	}
}
