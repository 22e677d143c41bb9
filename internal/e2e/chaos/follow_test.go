package chaos_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
)

// silence is how long a stream may say nothing: something comes every 15 s.
const silence = 20 * time.Second

// follower is a client that follows its stream as docs/clients.md says, at one server after the
// other.
type follower struct {
	p      *person
	w      *world
	http   *http.Client
	lastID string

	events   atomic.Int64
	connects atomic.Int64

	mu     sync.Mutex
	seen   map[string]int   // by message id: how often a stream said it
	read   map[string]bool  // by message id: read with getMessages after compacted
	last   map[string]int64 // by conversation: seq of the last message
	unruly int              // messages out of order
	told   int              // compacted
	behind map[string]bool  // conversations to be read with getMessages
}

func (w *world) follow(p *person, server int, chats []*e2e.Chat) *follower {
	f := &follower{
		p: p, w: w, http: &http.Client{Transport: &http.Transport{}},
		seen: map[string]int{}, read: map[string]bool{}, last: map[string]int64{}, behind: map[string]bool{},
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	done := make(chan struct{})
	first := make(chan struct{})
	go func() {
		defer close(done)
		connected := sync.OnceFunc(func() { close(first) })
		for ; ctx.Err() == nil; server = 1 - server {
			f.connect(ctx, p.at[server], connected)
			f.catchUp(ctx, server, chats)
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
	w.t.Cleanup(func() {
		cancel()
		<-done
		f.http.CloseIdleConnections()
	})
	<-first
	return f
}

// connect follows one stream to its end.
func (f *follower) connect(ctx context.Context, u *e2e.User, connected func()) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m := mlsapi.MethodStreamConvoEvents
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.Server.URL+"/xrpc/"+m.NSID, http.NoBody)
	if err != nil {
		return
	}
	req.Header.Set("Authorization", u.Bearer(u.Server.DID, m.NSID))
	req.Header.Set("Last-Event-ID", f.lastID)
	alarm := time.AfterFunc(silence, cancel)
	defer alarm.Stop()
	resp, err := f.http.Do(req)
	if err != nil {
		return
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return
	}
	f.connects.Add(1)
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 16<<20)
	var id, data string
	for lines.Scan() {
		alarm.Reset(silence)
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "id: "):
			id = line[len("id: "):]
		case strings.HasPrefix(line, "data: "):
			data = line[len("data: "):]
		case line == "":
			if id != "" {
				f.lastID = id
				connected()
			}
			if data != "" && f.event(data) {
				return
			}
			id, data = "", ""
		}
	}
}

// event takes one event; it returns true when the client has to read a conversation anew first.
func (f *follower) event(data string) (behind bool) {
	var e struct {
		Event struct {
			Type    string `json:"$type"`
			Kind    string `json:"kind"`
			ConvoID string `json:"convoId"`
			Message struct {
				ID      string `json:"id"`
				ConvoID string `json:"convoId"`
				Seq     int64  `json:"seq"`
			} `json:"message"`
		} `json:"event"`
	}
	if json.Unmarshal([]byte(data), &e) != nil {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch m := e.Event.Message; {
	case strings.HasSuffix(e.Event.Type, "#messageEvent"):
		f.events.Add(1)
		f.seen[m.ID]++
		if m.Seq <= f.last[m.ConvoID] {
			f.unruly++
		}
		f.last[m.ConvoID] = m.Seq
	case e.Event.Kind == "compacted":
		f.told++
		f.behind[e.Event.ConvoID] = true
		return true
	}
	return false
}

// catchUp reads conversations whose events are gone.
func (f *follower) catchUp(ctx context.Context, server int, chats []*e2e.Chat) {
	f.mu.Lock()
	behind := f.behind
	f.behind = map[string]bool{}
	f.mu.Unlock()
	for _, chat := range chats {
		if !behind[chat.ID] && !behind[""] {
			continue
		}
		cursor := ""
		for ctx.Err() == nil {
			query := url.Values{"convoId": {chat.ID}, "limit": {"100"}}
			if cursor != "" {
				query.Set("sinceMessage", cursor)
			}
			var page mlsapi.GetMessagesOutput
			a, err := f.p.at[server].Try(ctx, mlsapi.MethodGetMessages, e2e.Request{Query: query})
			if err != nil || a.Status != http.StatusOK || page.UnmarshalJSON(a.Body) != nil {
				server = 1 - server
				select {
				case <-ctx.Done():
				case <-time.After(50 * time.Millisecond):
				}
				continue
			}
			f.mu.Lock()
			for _, m := range page.Messages {
				f.read[m.ID] = true
			}
			f.mu.Unlock()
			if page.Cursor == nil || len(page.Messages) == 0 {
				break
			}
			cursor = *page.Cursor
		}
	}
}

// has reports whether the client knows a message.
func (f *follower) has(id string) bool { return f.seen[id] > 0 || f.read[id] }

// anew forgets the order: a restore took the sequence back.
func (f *follower) anew() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last = map[string]int64{}
}
