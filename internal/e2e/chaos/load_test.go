package chaos_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mls-server/internal/authtest"
	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
)

// person is an account that calls either server.
type person struct{ at [2]*e2e.User }

func (w *world) person() *person {
	u := w.servers[0].NewUser(authtest.P256)
	return &person{[2]*e2e.User{u, {Identity: u.Identity, Server: w.servers[1].Server}}}
}

// sent is a message that a server acknowledged.
type sent struct {
	convo, id string
	seq       int64
	at        time.Time
}

// load is clients at work: each sends one message after the other, and repeats it with its id
// at the other server until it is acknowledged.
type load struct {
	t      *testing.T
	stop   chan struct{}
	group  sync.WaitGroup
	pause  time.Duration
	acks   atomic.Int64
	failed atomic.Int64 // tries that have to be repeated

	mu      sync.Mutex
	sent    []sent
	gap     time.Duration // the longest time without any acknowledgement
	last    time.Time
	refused map[string]int // answers that no good client should get
}

func (w *world) startLoad(chats []*e2e.Chat, people []*person) *load {
	l := &load{t: w.t, stop: make(chan struct{}), pause: 20 * time.Millisecond, last: time.Now(), refused: map[string]int{}}
	for i, chat := range chats {
		for j, p := range people {
			l.group.Go(func() { l.work(p, chat, (i+j)%2) })
		}
	}
	return l
}

func (l *load) work(p *person, chat *e2e.Chat, server int) {
	for {
		select {
		case <-l.stop:
			return
		case <-time.After(l.pause):
		}
		in := (&e2e.Chat{ID: chat.ID, Group: chat.Group.At(chat.Group.Epoch)}).Message()
		body := in.AppendJSON(nil)
		for !l.try(p.at[server], in, body) {
			l.failed.Add(1)
			server = 1 - server
			select {
			case <-l.stop:
				return
			case <-time.After(l.pause):
			}
		}
	}
}

// try sends a message once. It returns false when the client cannot know what became of it.
func (l *load) try(u *e2e.User, in *mlsapi.SendMessageInput, body []byte) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.t.Context()), 10*time.Second)
	defer cancel()
	a, err := u.Try(ctx, mlsapi.MethodSendMessage, e2e.Request{Body: body})
	if err != nil || a.Status == http.StatusServiceUnavailable {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var out mlsapi.SendMessageOutput
	if a.Status != http.StatusOK || out.UnmarshalJSON(a.Body) != nil {
		l.refused[fmt.Sprintf("%d %s", a.Status, a.Error)]++
		return a.Status < 500
	}
	now := time.Now()
	l.gap, l.last = max(l.gap, now.Sub(l.last)), now
	l.sent = append(l.sent, sent{in.ConvoID, in.MsgID, out.Seq, now})
	l.acks.Add(1)
	return true
}

// acknowledged returns all messages so far.
func (l *load) acknowledged() []sent {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]sent(nil), l.sent...)
}

// keep drops messages from what is expected to be there: those that a restore took back.
func (l *load) keep(there func(sent) bool) (dropped int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var kept []sent
	for _, m := range l.sent {
		if there(m) {
			kept = append(kept, m)
		}
	}
	dropped = len(l.sent) - len(kept)
	l.sent = kept
	return dropped
}

// lap returns the figures since the last lap.
func (l *load) lap() (acks, failed int64, gap time.Duration, refused map[string]int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	gap, refused = l.gap, l.refused
	l.gap, l.refused = 0, map[string]int{}
	return l.acks.Swap(0), l.failed.Swap(0), gap, refused
}

// goesOn waits until n more messages are acknowledged.
func (w *world) goesOn(l *load, n int64) {
	w.t.Helper()
	want := l.acks.Load() + n
	w.await("messages are acknowledged again", func() bool { return l.acks.Load() >= want })
}
