package handlers_test

import (
	"errors"
	"net/http/httptest"
	"strings"
	"testing"

	"mls-server/lexrt"
	"mls-server/lexrt/lexclient"
	"mls-server/lexrt/lexhttp"
	"mls-server/tools/lexgen/examples/notes/api"
	"mls-server/tools/lexgen/examples/notes/client"
	"mls-server/tools/lexgen/examples/notes/handlers"
	"mls-server/tools/lexgen/examples/notes/notebook"
)

// serve is a client of a server whose notebook is empty.
func serve(t *testing.T) *client.Client {
	t.Helper()
	mux := lexhttp.New(lexhttp.Options{Authenticate: lexhttp.Anyone, Fault: func(m *lexrt.Method, err error) { t.Errorf("%s: %v", m.NSID, err) }})
	api.Mount(mux, &handlers.Handlers{Notebook: notebook.New()})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	c, err := client.New(server.URL, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func put(t *testing.T, c *client.Client, key *lexrt.TID, text string) *client.DefsNoteView {
	t.Helper()
	view, err := c.PutNote(t.Context(), &client.PutNoteInput{Key: key, Note: client.Note{Text: text, CreatedAt: "2026-11-27T10:00:00Z"}})
	if err != nil {
		t.Fatal(err)
	}
	return view
}

func TestNotes(t *testing.T) {
	t.Parallel()
	c := serve(t)
	first := put(t, c, nil, "one")
	changed := put(t, c, &first.Key, "one, changed")
	second := put(t, c, nil, "two")
	if changed.Key != first.Key || changed.CID == first.CID || second.Key <= first.Key {
		t.Errorf("%v %v %v", first, changed, second)
	}
	got, err := c.GetNote(t.Context(), &client.GetNoteParams{Key: first.Key})
	if err != nil || got.Note.Text != "one, changed" || got.CID != changed.CID {
		t.Error(got, err)
	}
	if _, err := c.DeleteNote(t.Context(), &client.DeleteNoteInput{Key: first.Key}); err != nil {
		t.Error(err)
	}
	_, gone := c.GetNote(t.Context(), &client.GetNoteParams{Key: first.Key})
	_, replaced := c.PutNote(t.Context(), &client.PutNoteInput{Key: &first.Key, Note: second.Note})
	_, deleted := c.DeleteNote(t.Context(), &client.DeleteNoteInput{Key: first.Key})
	for what, err := range map[string]error{"get": gone, "put": replaced, "delete": deleted} {
		if !errors.Is(err, client.ErrNoteNotFound) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestPages lists notes in pages, the newest first.
func TestPages(t *testing.T) {
	t.Parallel()
	c := serve(t)
	for range 5 {
		put(t, c, nil, "note")
	}
	var keys []string
	params := &client.ListNotesParams{Limit: 2}
	for {
		page, err := c.ListNotes(t.Context(), params)
		if err != nil {
			t.Fatal(err)
		}
		for _, view := range page.Notes {
			keys = append(keys, view.Key.String())
		}
		if params.Cursor = page.Cursor; page.Cursor == nil {
			break
		}
	}
	if len(keys) != 5 || keys[0] <= keys[1] || keys[3] <= keys[4] {
		t.Errorf("%v", keys)
	}
}

// TestTooLong has the lexicon's own name for a limit that a note breaks, in bytes or in characters.
func TestTooLong(t *testing.T) {
	t.Parallel()
	c := serve(t)
	for _, text := range []string{strings.Repeat("a", 301), strings.Repeat("a", 3001)} {
		_, err := c.PutNote(t.Context(), &client.PutNoteInput{Note: client.Note{Text: text, CreatedAt: "2026-11-27T10:00:00Z"}})
		if !errors.Is(err, client.ErrNoteTooLong) {
			t.Errorf("%d bytes: %v", len(text), err)
		}
	}
	_, err := c.PutNote(t.Context(), &client.PutNoteInput{Note: client.Note{Text: "a", CreatedAt: "yesterday"}})
	if !errors.Is(err, lexrt.ErrInvalidRequest) || !strings.Contains(err.Error(), "/note/createdAt") {
		t.Error(err)
	}
}

// next is the next message of a subscription.
func next(t *testing.T, sub *lexclient.Subscription[client.SubscribeNotesMessage]) client.SubscribeNotesMessage {
	t.Helper()
	m, err := sub.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return m.Data
}

func TestFollow(t *testing.T) {
	t.Parallel()
	c := serve(t)
	first := put(t, c, nil, "one")
	zero := int64(0)
	sub := c.SubscribeNotes(&client.SubscribeNotesParams{Cursor: &zero})
	defer sub.Close()
	if m, ok := next(t, sub).(*client.SubscribeNotesPut); !ok || m.Seq != 1 || m.View.CID != first.CID {
		t.Errorf("%+v", m)
	}
	// It has all that is there, so what follows happens while it waits.
	if _, err := c.DeleteNote(t.Context(), &client.DeleteNoteInput{Key: first.Key}); err != nil {
		t.Fatal(err)
	}
	if m, ok := next(t, sub).(*client.SubscribeNotesDeleted); !ok || m.Seq != 2 || m.Key != first.Key {
		t.Errorf("%+v", m)
	}
	future := int64(3)
	early := c.SubscribeNotes(&client.SubscribeNotesParams{Cursor: &future})
	defer early.Close()
	if _, err := early.Next(t.Context()); !errors.Is(err, client.ErrFutureCursor) {
		t.Error(err)
	}
}

// TestOutdatedCursor: who asks for what is gone is told, and gets what is left.
func TestOutdatedCursor(t *testing.T) {
	t.Parallel()
	c := serve(t)
	for range notebook.MaxEvents + 2 {
		put(t, c, nil, "note")
	}
	zero := int64(0)
	sub := c.SubscribeNotes(&client.SubscribeNotesParams{Cursor: &zero})
	defer sub.Close()
	if m, ok := next(t, sub).(*client.SubscribeNotesInfo); !ok || m.Name != client.SubscribeNotesInfoNameOutdatedCursor {
		t.Errorf("%+v", m)
	}
	if m, ok := next(t, sub).(*client.SubscribeNotesPut); !ok || m.Seq != 3 {
		t.Errorf("%+v", m)
	}
}

// reader reads a subscription so slowly that more happens while it takes the first message than can
// be read again.
type reader struct {
	lexrt.Subscribed

	notes *notebook.Notebook
	got   int
}

func (r *reader) Send(string, lexrt.Response) error {
	if r.got++; r.got > 1 {
		return errors.New("a message after some that are gone")
	}
	return add(r.notes, notebook.MaxEvents+1)
}

func add(notes *notebook.Notebook, n int) error {
	for range n {
		if _, err := notes.Add(api.Note{Text: "note", CreatedAt: "2026-11-27T10:00:00Z"}); err != nil {
			return err
		}
	}
	return nil
}

// TestTooSlow: who cannot keep up is told so instead of missing something.
func TestTooSlow(t *testing.T) {
	t.Parallel()
	notes, cursor := notebook.New(), int64(0)
	if err := add(notes, 1); err != nil {
		t.Fatal(err)
	}
	slow, h := &reader{notes: notes}, &handlers.Handlers{Notebook: notes}
	err := h.SubscribeNotes(t.Context(), lexrt.Caller{}, &api.SubscribeNotesParams{Cursor: &cursor}, api.NewSubscribeNotesStream(slow))
	if !errors.Is(err, api.ErrConsumerTooSlow) || slow.got != 1 {
		t.Errorf("%v after %d messages", err, slow.got)
	}
}

func TestFull(t *testing.T) {
	t.Parallel()
	notes := notebook.New()
	if err := add(notes, notebook.MaxNotes); err != nil {
		t.Fatal(err)
	}
	h := &handlers.Handlers{Notebook: notes}
	if _, err := h.PutNote(t.Context(), lexrt.Caller{}, &api.PutNoteInput{Note: api.Note{Text: "one more"}}); !errors.Is(err, api.ErrNotebookFull) {
		t.Error(err)
	}
	page, _ := notes.List("", 1)
	key := page[0].Key
	if _, err := h.PutNote(t.Context(), lexrt.Caller{}, &api.PutNoteInput{Key: &key, Note: api.Note{Text: "another"}}); err != nil {
		t.Errorf("a note is not replaced: %v", err)
	}
}
