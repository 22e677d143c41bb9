package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"mls-server/lexrt"
	"mls-server/lexrt/lexhttp"
	"mls-server/tools/lexgen/examples/notes/api"
	"mls-server/tools/lexgen/examples/notes/client"
	"mls-server/tools/lexgen/examples/notes/handlers"
	"mls-server/tools/lexgen/examples/notes/notebook"
)

// program runs the command with a notebook of its own.
func program(t *testing.T) func(args ...string) (string, error) {
	t.Helper()
	mux := lexhttp.New(lexhttp.Options{Authenticate: lexhttp.Anyone})
	api.Mount(mux, &handlers.Handlers{Notebook: notebook.New()})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return func(args ...string) (string, error) {
		var out strings.Builder
		err := run(t.Context(), append([]string{"-url", server.URL}, args...), &out)
		return out.String(), err
	}
}

func TestCommands(t *testing.T) {
	t.Parallel()
	notes := program(t)
	first, err := notes("add", "one")
	key, cid, found := strings.Cut(strings.TrimSpace(first), " ")
	if err != nil || !found || !strings.HasPrefix(cid, "bafyrei") {
		t.Fatal(first, err)
	}
	if _, err := notes("add", "two"); err != nil {
		t.Fatal(err)
	}
	if list, err := notes("list"); err != nil || !strings.HasSuffix(list, key+" one\n") || strings.Count(list, "\n") != 2 {
		t.Errorf("%q %v", list, err)
	}
	if _, err := notes("delete", key); err != nil {
		t.Error(err)
	}
	if _, err := notes("delete", key); !errors.Is(err, client.ErrNoteNotFound) {
		t.Error(err)
	}
	for _, args := range [][]string{{}, {"add"}, {"list", "more"}, {"nothing"}} {
		if _, err := notes(args...); !errors.Is(err, errUsage) {
			t.Errorf("%v: %v", args, err)
		}
	}
}

// fromStart sends those who name no position everything.
type fromStart struct{ *handlers.Handlers }

func (s fromStart) SubscribeNotes(ctx context.Context, caller lexrt.Caller, params *api.SubscribeNotesParams, out *api.SubscribeNotesStream) error {
	if params.Cursor == nil {
		params.Cursor = new(int64)
	}
	return s.Handlers.SubscribeNotes(ctx, caller, params, out)
}

func TestFollow(t *testing.T) {
	t.Parallel()
	mux := lexhttp.New(lexhttp.Options{Authenticate: lexhttp.Anyone})
	book := notebook.New()
	api.Mount(mux, fromStart{&handlers.Handlers{Notebook: book}})
	server := httptest.NewServer(mux)
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, []string{"-url", server.URL, "follow"}, in) }()
	view, err := book.Add(api.Note{Text: "note", CreatedAt: "2026-11-27T10:00:00Z"})
	if err != nil {
		t.Fatal(err)
	}
	if err := book.Delete(view.Key); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	for _, want := range []string{"put " + view.Key.String() + " note\n", "deleted " + view.Key.String() + "\n"} {
		if line, err := lines.ReadString('\n'); err != nil || line != want {
			t.Errorf("%q, want %q: %v", line, want, err)
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
