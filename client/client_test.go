package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"mls-server/client"
	"mls-server/internal/clock"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/ratelimit"
	"mls-server/internal/xrpc"
	"mls-server/lexrt"
)

// service answers the methods that the tests call; all others panic.
type service struct {
	mlsapi.Service

	mu      sync.Mutex
	streams []string // positions that streams started from
}

func (s *service) SendMessage(_ context.Context, caller lexrt.Caller, in *mlsapi.SendMessageInput) (*mlsapi.SendMessageOutput, error) {
	if in.ConvoID == "gone" {
		return nil, mlsapi.ErrConvoNotFound.WithMessage("There is no such conversation.")
	}
	if caller.DID != "did:web:alice.example" {
		return nil, errors.New("wrong caller " + string(caller.DID))
	}
	return &mlsapi.SendMessageOutput{MessageID: in.MsgID, ReceivedAt: "2026-01-15T09:30:00Z", Seq: 1, Epoch: in.Epoch}, nil
}

func (s *service) GetConvos(_ context.Context, _ lexrt.Caller, params *mlsapi.GetConvosParams) (*mlsapi.GetConvosOutput, error) {
	cursor := strconv.FormatInt(params.Limit, 10)
	return &mlsapi.GetConvosOutput{Conversations: []mlsapi.DefsConvoView{}, Cursor: &cursor}, nil
}

func (s *service) PublishKeyPackage(context.Context, lexrt.Caller, *mlsapi.PublishKeyPackageInput) (*mlsapi.PublishKeyPackageOutput, error) {
	return nil, &lexrt.Error{Name: "RateLimitExceeded", Status: http.StatusTooManyRequests, Message: "Slow down.", RetryAfter: 7 * time.Second}
}

// StreamConvoEvents sends two events after the position and then breaks the connection.
func (s *service) StreamConvoEvents(_ context.Context, _ lexrt.Caller, params *mlsapi.StreamConvoEventsParams, out lexrt.EventStream) error {
	from := 0
	cursor := ""
	if params.Cursor != nil {
		cursor = *params.Cursor
		n, err := strconv.Atoi(cursor)
		if err != nil {
			return mlsapi.ErrInvalidCursor.WithMessage("bad")
		}
		from = n
	}
	s.mu.Lock()
	s.streams = append(s.streams, cursor)
	s.mu.Unlock()
	if err := out.Comment("hello"); err != nil {
		return err
	}
	for i := from + 1; i <= from+2; i++ {
		id := strconv.Itoa(i)
		var event mlsapi.StreamConvoEventsEventWrapperEvent = &mlsapi.StreamConvoEventsInfoEvent{Cursor: id, Info: "line one\nline two"}
		if i == 2 {
			event = &mlsapi.UnknownVariant{RawUnion: lexrt.RawUnion{Type: "com.example.later#event", JSON: lexrt.Raw(`{"$type":"com.example.later#event","n":1}`)}}
		}
		if err := out.Event(id, "infoEvent", &mlsapi.StreamConvoEventsEventWrapper{Event: event}); err != nil {
			return err
		}
	}
	return nil
}

// edge stands for authentication, limits and observation.
type edge struct{ t *testing.T }

func (edge) Authenticate(_ context.Context, m *lexrt.Method, header, _ string) (xrpc.Credential, error) {
	if header != "Bearer for:"+m.NSID {
		return xrpc.Credential{}, &lexrt.Error{Name: "BadJwtLexiconMethod", Status: http.StatusUnauthorized, Message: "wrong method"}
	}
	return xrpc.Credential{Caller: lexrt.Caller{DID: "did:web:alice.example"}}, nil
}

func (edge) Spend(context.Context, xrpc.Credential) error { return nil }

func (edge) Give(context.Context, string, string, int) {}

func (edge) Peek(string, string) ratelimit.Result { return ratelimit.Result{Allowed: true} }

func (edge) Take(context.Context, string, string, int) ratelimit.Result {
	return ratelimit.Result{Allowed: true, Limit: 10, Remaining: 9, Window: time.Minute}
}

func (edge) ObserveRequest(xrpc.Event) {}

func (e edge) ObserveUndeclared(m *lexrt.Method, name string) {
	e.t.Errorf("%s answered with the undeclared %s", m.NSID, name)
}

func start(t *testing.T, s *service, opt client.Options) *client.Client {
	t.Helper()
	e := edge{t}
	server := xrpc.New(xrpc.Options{
		Authenticator: e, Limiter: e, Observer: e, Clock: clock.System, Logger: slog.New(slog.DiscardHandler),
		MapError: func(err error) *lexrt.Error { t.Errorf("inner error: %v", err); return nil },
		ClientIP: func(*http.Request) string { return "192.0.2.1" },
	})
	mlsapi.Mount(server, s)
	web := httptest.NewServer(server)
	t.Cleanup(web.Close)
	if opt.Token == nil {
		opt.Token = func(_ context.Context, lxm string) (string, error) { return "for:" + lxm, nil }
	}
	c, err := client.New(web.URL+"/", opt)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCalls(t *testing.T) {
	t.Parallel()
	c := start(t, &service{}, client.Options{})
	out, err := c.SendMessage(t.Context(), &client.SendMessageInput{ConvoID: "c", MsgID: "m", Ciphertext: make([]byte, 512), PaddedSize: 512, Epoch: 3})
	if err != nil || out.MessageID != "m" || out.Epoch != 3 {
		t.Errorf("%+v %v", out, err)
	}
	convos, err := c.GetConvos(t.Context(), &client.GetConvosParams{Limit: 7})
	if err != nil || convos.Cursor == nil || *convos.Cursor != "7" {
		t.Errorf("%+v %v", convos, err)
	}
	if convos, err = c.GetConvos(t.Context(), nil); err != nil || *convos.Cursor != "50" {
		t.Errorf("without parameters: %+v %v", convos, err)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	c := start(t, &service{}, client.Options{})
	_, err := c.SendMessage(t.Context(), &client.SendMessageInput{ConvoID: "gone", PaddedSize: 512})
	var named *lexrt.Error
	if !errors.As(err, &named) || named.Status != http.StatusNotFound || named.Message != "There is no such conversation." || !errors.Is(err, client.ErrConvoNotFound) {
		t.Errorf("%v", err)
	}
	_, err = c.PublishKeyPackage(t.Context(), &client.PublishKeyPackageInput{})
	if !errors.As(err, &named) || named.Name != "RateLimitExceeded" || named.RetryAfter != 7*time.Second {
		t.Errorf("%v", err)
	}
	_, err = c.SendMessage(t.Context(), &client.SendMessageInput{PaddedSize: 1})
	if !errors.Is(err, client.ErrInvalidAsset) {
		t.Errorf("a bound constraint: %v", err)
	}
	wrong := start(t, &service{}, client.Options{Token: func(context.Context, string) (string, error) { return "for:other", nil }})
	if _, err = wrong.GetConvos(t.Context(), nil); !errors.As(err, &named) || named.Name != "BadJwtLexiconMethod" {
		t.Errorf("%v", err)
	}
	refused := errors.New("no key")
	none := start(t, &service{}, client.Options{Token: func(context.Context, string) (string, error) { return "", refused }})
	if _, err = none.GetConvos(t.Context(), nil); !errors.Is(err, refused) {
		t.Errorf("%v", err)
	}
}

// TestStreamResumes reads over several broken connections without losing or repeating an event.
func TestStreamResumes(t *testing.T) {
	t.Parallel()
	s := &service{}
	c := start(t, s, client.Options{})
	stream := c.StreamConvoEvents(&client.StreamConvoEventsParams{})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	n := 0
	for event, err := range stream.All(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		n++
		if event.ID != strconv.Itoa(n) || event.Name != "infoEvent" {
			t.Errorf("event %d: %q %q", n, event.ID, event.Name)
		}
		switch e := event.Data.Event.(type) {
		case *client.StreamConvoEventsInfoEvent:
			if e.Info != "line one\nline two" {
				t.Errorf("event %d: %q", n, e.Info)
			}
		case *client.UnknownVariant:
			if e.Type != "com.example.later#event" || n != 2 {
				t.Errorf("event %d: %s", n, e.Type)
			}
		default:
			t.Errorf("event %d: %T", n, e)
		}
		if n == 5 {
			break
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if got := strings.Join(s.streams, " "); got != " 2 4" {
		t.Errorf("streams started after %q", got)
	}
}

func TestStreamRefused(t *testing.T) {
	t.Parallel()
	calls := 0
	c := start(t, &service{}, client.Options{Token: func(context.Context, string) (string, error) { calls++; return "bad", nil }})
	stream := c.StreamConvoEvents(nil)
	defer stream.Close()
	var named *lexrt.Error
	if _, err := stream.Next(t.Context()); !errors.As(err, &named) || named.Status != http.StatusUnauthorized {
		t.Errorf("%v", err)
	}
	if calls != 2 {
		t.Errorf("%d tokens were asked for, want a second one after the first was refused", calls)
	}
}

// document is what the tests read of docs/api/openapi.json.
type document struct {
	Paths map[string]map[string]struct {
		RequestBody struct {
			Content map[string]struct {
				Example json.RawMessage `json:"example"`
			} `json:"content"`
		} `json:"requestBody"`
		Responses map[string]struct {
			Content map[string]struct {
				Example json.RawMessage `json:"example"`
				Schema  struct {
					AllOf []struct {
						Properties struct {
							Error struct {
								Enum []string `json:"enum"`
							} `json:"error"`
						} `json:"properties"`
					} `json:"allOf"`
				} `json:"schema"`
			} `json:"content"`
		} `json:"responses"`
	} `json:"paths"`
}

func readDocument(t *testing.T) document {
	t.Helper()
	data, err := os.ReadFile("../docs/api/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	var doc document
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// TestExamples sends the documented example of every answer to the generated
// client, and the example of every request through the generated types.
func TestExamples(t *testing.T) {
	t.Parallel()
	doc := readDocument(t)
	var mu sync.Mutex
	seen := map[string]bool{}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		seen[r.URL.Path] = true
		mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		for _, op := range doc.Paths[r.URL.Path] {
			if example := op.Responses["200"].Content["application/json"].Example; example != nil {
				_, _ = w.Write(example)
				return
			}
		}
		w.WriteHeader(http.StatusTeapot)
	}))
	t.Cleanup(web.Close)
	c, err := client.New(web.URL, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	v := reflect.ValueOf(c)
	for i := range v.NumMethod() {
		name := v.Type().Method(i).Name
		method := v.Method(i).Type()
		if method.NumIn() != 2 {
			continue // the event stream
		}
		path := "/xrpc/blue.catbird.mls." + strings.ToLower(name[:1]) + name[1:]
		in := reflect.New(method.In(1).Elem())
		for _, op := range doc.Paths[path] {
			example := op.RequestBody.Content["application/json"].Example
			if example == nil {
				continue
			}
			if err := json.Unmarshal(example, in.Interface()); err != nil {
				t.Errorf("%s: the example of the request: %v", name, err)
			}
		}
		results := v.Method(i).Call([]reflect.Value{reflect.ValueOf(t.Context()), in})
		if err, ok := reflect.TypeAssert[error](results[len(results)-1]); ok && err != nil {
			t.Errorf("%s: the example of the answer: %v", name, err)
		}
	}
	if len(seen) < 26 {
		t.Errorf("%d methods were called", len(seen))
	}
}

// TestDocumentedErrors compares the errors in the document with what the runtime
// lets through.
func TestDocumentedErrors(t *testing.T) {
	t.Parallel()
	doc := readDocument(t)
	known := map[string]bool{}
	statuses := map[string]int{}
	for _, e := range lexrt.GeneralErrors() {
		known[e.Name], statuses[e.Name] = true, e.Status
	}
	delete(known, "MethodNotImplemented") // is about methods that are not there
	documented := map[string]bool{}
	for _, m := range mlsapi.Methods() {
		for _, e := range m.Errors {
			statuses[e.Name] = e.Status
		}
		for _, op := range doc.Paths["/xrpc/"+m.NSID] {
			for status, resp := range op.Responses {
				for _, content := range resp.Content {
					for _, all := range content.Schema.AllOf {
						for _, name := range all.Properties.Error.Enum {
							documented[name] = true
							if !m.Declares(name) && !known[name] {
								t.Errorf("%s documents %s, which it cannot answer with", m.NSID, name)
							}
							if want := strconv.Itoa(statuses[name]); status != want {
								t.Errorf("%s documents %s with %s, it has %s", m.NSID, name, status, want)
							}
						}
					}
				}
			}
		}
	}
	for name := range known {
		if !documented[name] {
			t.Errorf("no method documents %s", name)
		}
	}
}

func ExampleClient() {
	c, err := client.New("https://mls.example.com", client.Options{
		Token: func(_ context.Context, lxm string) (string, error) {
			// Ask the account's PDS: com.atproto.server.getServiceAuth with this lxm.
			return "a service token for " + lxm, nil
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = c.GetEpoch(context.Background(), &client.GetEpochParams{ConvoID: "3kzq3vdqyhm2a"})
	if errors.Is(err, client.ErrNotMember) {
		fmt.Println("not a member")
	}
}
