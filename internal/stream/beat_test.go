package stream

import (
	"errors"
	"strings"
	"testing"

	"mls-server/internal/store"
	"mls-server/lexrt"
)

// pieces is a client that keeps what it is sent.
type pieces struct {
	lexrt.EventStream
	frames []string
	wrote  func()
}

func (p *pieces) Frames(frames ...[]byte) error {
	for _, f := range frames {
		p.frames = append(p.frames, string(f))
	}
	if p.wrote != nil {
		p.wrote()
	}
	return nil
}

// A heartbeat moves the client's cursor to the end of what was dispatched, but never beyond what
// was sent: what waits in the queue would be lost to a client that resumes there.
func TestHeartbeatsStayBehindTheQueue(t *testing.T) {
	t.Parallel()
	h := NewHub(Options{})
	h.cursors = testCursors(t, 1)
	sent, waiting := store.LogCursor{Generation: 1, Xid: 5}, store.LogCursor{Generation: 1, Xid: 9}
	h.at = waiting
	for name, c := range map[string]struct {
		queued, lost bool
		want         string
	}{
		"caught up":       {want: "id: " + h.cursor(waiting)},
		"events wait":     {queued: true},
		"the log is lost": {lost: true},
	} {
		s := &stream{limit: 10, wake: make(chan struct{}, 1), lost: c.lost}
		if c.queued {
			s.offer(&entry{})
		}
		out := &pieces{}
		w := &writer{h: h, out: eventDoor{out}, at: sent, told: sent}
		if err := h.beat(s, w); err != nil {
			t.Fatal(err)
		}
		got := strings.Join(out.frames, "")
		if c.want == "" && strings.Contains(got, "id:") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// A large frame that was given up ends where it is.
func TestGivenUpFramesEnd(t *testing.T) {
	t.Parallel()
	h := NewHub(Options{})
	out := &pieces{wrote: func() { h.large.begin(largeBudget) }}
	w := &writer{h: h, out: eventDoor{out}}
	if err := w.large(make([]byte, 4*pieceBytes)); !errors.Is(err, errEnded) || len(out.frames) != 1 {
		t.Errorf("%d pieces, %v", len(out.frames), err)
	}
}
