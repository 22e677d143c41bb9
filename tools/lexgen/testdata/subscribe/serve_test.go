package subs

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"mls-server/lexrt"
	"mls-server/lexrt/lexclient"
	"mls-server/lexrt/lexhttp"

	comatproto "github.com/bluesky-social/indigo/api/atproto"
	"github.com/bluesky-social/indigo/events"
	"github.com/bluesky-social/indigo/events/schedulers/sequential"
	"github.com/gorilla/websocket"

	"subs/api"
	"subs/client"
)

const (
	did  = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
	rev  = "3jzfcijpj2z2a"
	link = lexrt.CID("bafyreihffx5a2e7k5uwrmmgofbvzujc5cmw5h4espouwuxt3liqoflx3ee")
	when = "2026-11-27T10:00:00Z"
)

type service struct{ connections atomic.Int64 }

// SubscribeNotes sends two notes on each connection and breaks it, in one of several ways.
func (s *service) SubscribeNotes(ctx context.Context, _ lexrt.Caller, p *api.SubscribeNotesParams, out *api.SubscribeNotesStream) error {
	n := s.connections.Add(1)
	if out.Send(nil) == nil {
		return errors.New("nothing was sent")
	}
	at := int64(0)
	if p.Cursor != nil {
		at = *p.Cursor
	}
	if at > 100 {
		return api.ErrFutureCursor.WithMessage("the stream ends before it")
	}
	do := ""
	if p.Do != nil {
		do = *p.Do
	}
	switch do {
	case "unknown":
		if err := out.Raw().Send("com.example.subscribeNotes#later", &api.SubscribeNotesInfo{Name: "later"}); err != nil {
			return err
		}
	case "large":
		cid := link
		return errors.Join(out.Send(&api.SubscribeNotesNote{Seq: 1, Text: "large", Picture: bytes.Repeat([]byte{7}, 1000000), Link: &cid}))
	case "secret":
		return errors.New("the password is swordfish")
	}
	for i := at + 1; i <= at+2; i++ {
		if err := out.Send(&api.SubscribeNotesNote{Seq: i, Text: "note"}); err != nil {
			return err
		}
	}
	switch n % 3 {
	case 0:
		return nil
	case 1:
		return api.ErrConsumerTooSlow
	}
	return &lexrt.CloseError{Code: 1012, Reason: "restart"}
}

func (*service) ComAtprotoSyncSubscribeRepos(_ context.Context, _ lexrt.Caller, p *api.ComAtprotoSyncSubscribeReposParams, out *api.ComAtprotoSyncSubscribeReposStream) error {
	if p.Cursor != nil {
		return api.ErrFutureCursor.WithMessage("too far")
	}
	handle := lexrt.Handle("alice.example.com")
	return errors.Join(
		out.Send(&api.ComAtprotoSyncSubscribeReposInfo{Name: "OutdatedCursor"}),
		out.Send(&api.ComAtprotoSyncSubscribeReposCommit{
			Seq: 1, Repo: did, Commit: link, Rev: rev, Blocks: []byte{1, 2, 3}, Time: when, Blobs: []lexrt.CID{},
			Ops: []api.ComAtprotoSyncSubscribeReposRepoOp{{Action: "create", Path: "com.example.note/" + rev, CID: &[]lexrt.CID{link}[0]}},
		}),
		out.Send(&api.ComAtprotoSyncSubscribeReposSync{Seq: 2, DID: did, Blocks: []byte{4}, Rev: rev, Time: when}),
		out.Send(&api.ComAtprotoSyncSubscribeReposIdentity{Seq: 3, DID: did, Time: when, Handle: &handle}),
		out.Send(&api.ComAtprotoSyncSubscribeReposAccount{Seq: 4, DID: did, Time: when, Active: true}),
	)
}

func (*service) ComAtprotoLabelSubscribeLabels(_ context.Context, _ lexrt.Caller, _ *api.ComAtprotoLabelSubscribeLabelsParams, out *api.ComAtprotoLabelSubscribeLabelsStream) error {
	return out.Send(&api.ComAtprotoLabelSubscribeLabelsLabels{Seq: 5, Labels: []api.ComAtprotoLabelDefsLabel{{
		Src: did, URI: lexrt.URI("at://" + did), Val: "spam", Cts: when, Sig: []byte{9},
	}}})
}

func serve(t *testing.T) (*service, string) {
	t.Helper()
	s := &service{}
	mux := lexhttp.New(lexhttp.Options{Authenticate: lexhttp.Anyone})
	api.Mount(mux, s)
	web := httptest.NewServer(mux)
	t.Cleanup(web.Close)
	return s, web.URL
}

func connect(t *testing.T, url string) *client.Client {
	t.Helper()
	c, err := client.New(url, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func ptr[T any](v T) *T { return &v }

// TestTyped follows the notes over connections that end in order, with a restart, and with an error.
func TestTyped(t *testing.T) {
	s, url := serve(t)
	sub := connect(t, url).SubscribeNotes(&client.SubscribeNotesParams{Do: ptr("unknown")})
	defer sub.Close()
	for want := range int64(6) {
		m, err := sub.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		note, ok := m.Data.(*client.SubscribeNotesNote)
		if !ok || note.Seq != want+1 || m.Type != "com.example.subscribeNotes#note" {
			t.Fatalf("message %d: %+v", want, m)
		}
	}
	if got := s.connections.Load(); got != 3 || sub.Position() != "6" {
		t.Errorf("%d connections, at %s", got, sub.Position())
	}
}

func TestLarge(t *testing.T) {
	_, url := serve(t)
	sub := connect(t, url).SubscribeNotes(&client.SubscribeNotesParams{Do: ptr("large")})
	defer sub.Close()
	m, err := sub.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if note, ok := m.Data.(*client.SubscribeNotesNote); !ok || len(note.Picture) != 1000000 || note.Picture[999999] != 7 || *note.Link != link {
		t.Errorf("%T", m.Data)
	}
}

// TestErrors are those of frames and of answers to the handshake; what is no *lexrt.Error stays inside.
func TestErrors(t *testing.T) {
	_, url := serve(t)
	c := connect(t, url)
	for _, test := range []struct {
		params *client.SubscribeNotesParams
		want   error
		text   string
	}{
		{&client.SubscribeNotesParams{Cursor: ptr(int64(101))}, client.ErrFutureCursor, "the stream ends before it"},
		{&client.SubscribeNotesParams{Cursor: ptr(int64(-1))}, lexrt.ErrInvalidRequest, "cursor"},
	} {
		sub := c.SubscribeNotes(test.params)
		if _, err := sub.Next(t.Context()); !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%v", err)
		}
		sub.Close()
		if _, err := sub.Next(t.Context()); !errors.Is(err, lexclient.ErrClosed) {
			t.Error(err)
		}
	}
	conn, _, err := websocket.DefaultDialer.DialContext(t.Context(), "ws"+strings.TrimPrefix(url, "http")+"/xrpc/com.example.subscribeNotes?do=secret", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, frame, err := conn.ReadMessage()
	if err != nil || bytes.Contains(frame, []byte("swordfish")) || !bytes.Contains(frame, []byte("InternalServerError")) {
		t.Errorf("%v: %q", err, frame)
	}
	if _, _, err := conn.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseInternalServerErr) {
		t.Error(err)
	}
}

// TestIndigo lets indigo's own client read what official lexicons become.
func TestIndigo(t *testing.T) {
	_, url := serve(t)
	var got []string
	note := func(s string) error { got = append(got, s); return nil }
	calls := &events.RepoStreamCallbacks{}
	sched := func() events.Scheduler { return sequential.NewScheduler("test", calls.EventHandler) }
	calls.RepoInfo = func(e *comatproto.SyncSubscribeRepos_Info) error { return note("info " + e.Name) }
	calls.RepoCommit = func(e *comatproto.SyncSubscribeRepos_Commit) error {
		return note("commit " + e.Repo + " " + e.Commit.String() + " " + string(e.Blocks) + " " + e.Ops[0].Action + " " + e.Ops[0].Cid.String())
	}
	calls.RepoSync = func(e *comatproto.SyncSubscribeRepos_Sync) error { return note("sync " + e.Did) }
	calls.RepoIdentity = func(e *comatproto.SyncSubscribeRepos_Identity) error { return note("identity " + *e.Handle) }
	calls.RepoAccount = func(e *comatproto.SyncSubscribeRepos_Account) error { return note("account " + e.Did) }
	calls.LabelLabels = func(e *comatproto.LabelSubscribeLabels_Labels) error {
		return note("label " + e.Labels[0].Val + string(e.Labels[0].Sig))
	}
	calls.Error = func(e *events.ErrorFrame) error { return note("error " + e.Error + " " + e.Message) }
	for _, path := range []string{"com.atproto.sync.subscribeRepos", "com.atproto.label.subscribeLabels", "com.atproto.sync.subscribeRepos?cursor=5"} {
		conn, _, err := websocket.DefaultDialer.DialContext(t.Context(), "ws"+strings.TrimPrefix(url, "http")+"/xrpc/"+path, nil)
		if err != nil {
			t.Fatal(path, err)
		}
		if err := events.HandleRepoStream(t.Context(), conn, sched(), slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "close 10") {
			t.Error(path, err)
		}
	}
	want := []string{
		"info OutdatedCursor", "commit " + did + " " + string(link) + " \x01\x02\x03 create " + string(link), "sync " + did, "identity alice.example.com", "account " + did,
		"label spam\t", "error FutureCursor too far",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%q", got)
	}
}
