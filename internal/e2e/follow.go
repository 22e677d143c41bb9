package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
)

// Event is an event of a stream, as a client reads it.
type Event struct {
	// Cursor is where a stream goes on after it.
	Cursor string
	// Kind is that of an infoEvent, "message" for a messageEvent.
	Kind                         string
	ConvoID, DeviceID, RequestID string
	User                         mls.DID
	// MessageID and Seq are those of a messageEvent.
	MessageID string
	Seq       int64
}

// Stream collects the events of a user's connection.
type Stream struct {
	mu     sync.Mutex
	events []Event
}

// Follow opens a stream that lasts as long as the test. query is the query
// string, "" for what happens from now on.
func (u *User) Follow(tb testing.TB, query string) *Stream {
	tb.Helper()
	ctx, cancel := context.WithCancel(tb.Context())
	m := mlsapi.MethodStreamConvoEvents
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.Server.URL+"/xrpc/"+m.NSID+"?"+query, http.NoBody)
	if err != nil {
		tb.Fatal(err)
	}
	if u.Through != nil {
		u.Through(req)
	} else {
		req.Header.Set("Authorization", u.Bearer(u.Server.DID, m.NSID))
	}
	// The common client's deadline would end the stream.
	resp, err := (&http.Client{Transport: u.Server.client.Transport}).Do(req) //nolint:bodyclose // closed by the cleanup below
	if err != nil {
		tb.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		tb.Fatalf("the stream was answered with %d", resp.StatusCode)
	}
	s, done := &Stream{}, make(chan struct{})
	go func() {
		defer close(done)
		s.read(bufio.NewScanner(resp.Body), func(data []byte) {
			if u.Server.Heard != nil {
				u.Server.Heard(m, data)
			}
		})
	}()
	tb.Cleanup(func() {
		cancel()
		_ = resp.Body.Close()
		<-done
	})
	return s
}

// CanFollow says whether a stream may be opened now. It is closed again.
func (u *User) CanFollow(tb testing.TB) bool {
	tb.Helper()
	ctx, cancel := context.WithCancel(tb.Context())
	defer cancel()
	m := mlsapi.MethodStreamConvoEvents
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.Server.URL+"/xrpc/"+m.NSID, http.NoBody)
	if err != nil {
		tb.Fatal(err)
	}
	req.Header.Set("Authorization", u.Bearer(u.Server.DID, m.NSID))
	resp, err := u.Server.client.Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	_ = resp.Body.Close() // what it holds is of no interest
	return resp.StatusCode == http.StatusOK
}

// frame is the data of an event.
type frame struct {
	Event struct {
		Type      string  `json:"$type"`
		Cursor    string  `json:"cursor"`
		Kind      string  `json:"kind"`
		ConvoID   string  `json:"convoId"`
		DeviceID  string  `json:"deviceId"`
		RequestID string  `json:"requestId"`
		UserDID   mls.DID `json:"userDid"`
		Message   struct {
			ID      string `json:"id"`
			ConvoID string `json:"convoId"`
			Seq     int64  `json:"seq"`
		} `json:"message"`
	} `json:"event"`
}

func (s *Stream) read(lines *bufio.Scanner, heard func(data []byte)) {
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		var frame frame
		if json.Unmarshal([]byte(data), &frame) != nil {
			continue
		}
		heard([]byte(data))
		e := Event{
			Cursor: frame.Event.Cursor, Kind: frame.Event.Kind, ConvoID: frame.Event.ConvoID, DeviceID: frame.Event.DeviceID,
			RequestID: frame.Event.RequestID, User: frame.Event.UserDID,
		}
		if strings.HasSuffix(frame.Event.Type, "#messageEvent") {
			e.Kind, e.MessageID, e.Seq, e.ConvoID = "message", frame.Event.Message.ID, frame.Event.Message.Seq, frame.Event.Message.ConvoID
		}
		s.mu.Lock()
		s.events = append(s.events, e)
		s.mu.Unlock()
	}
}

// Events is what has come so far.
func (s *Stream) Events() []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Event(nil), s.events...)
}

// Kinds is the kinds of the events that have come so far.
func (s *Stream) Kinds() []string {
	var kinds []string
	for _, e := range s.Events() {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

// Await waits for an event of a kind and returns the first.
func (s *Stream) Await(tb testing.TB, kind string) Event {
	tb.Helper()
	return s.AwaitWhere(tb, kind, func(Event) bool { return true })
}

// AwaitWhere waits up to a minute for an event of a kind that fits.
func (s *Stream) AwaitWhere(tb testing.TB, kind string, fits func(Event) bool) Event {
	tb.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		for _, e := range s.Events() {
			if e.Kind == kind && fits(e) {
				return e
			}
		}
	}
	tb.Fatalf("no %s came; only %v", kind, s.Kinds())
	return Event{}
}
