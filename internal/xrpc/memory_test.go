package xrpc_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mls-server/internal/clock"
	"mls-server/lexrt"
)

// past is a clock that is behind by a while.
type past time.Duration

func (p past) Now() time.Time { return time.Now().Add(-time.Duration(p)) }

// A refused request whose rest never comes is answered after the time that its
// rest has, also by a server without a deadline of its own.
func TestLingeringHasAnEnd(t *testing.T) {
	t.Parallel()
	const lingerWait = 10 * time.Second
	server := httptest.NewServer(newFixture(t).handler(t, past(lingerWait), 0))
	t.Cleanup(server.Close)
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer bad\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{", putPath)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(lingerWait / 2)); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("answered with %d", resp.StatusCode)
	}
}

// kept is an answer that remembers the memory in which it was encoded.
type kept struct {
	text string
	at   *[]byte
}

func (k kept) AppendJSON(dst []byte) []byte {
	dst = append(dst, k.text...)
	*k.at = dst
	return dst
}

// Memory that encoded one answer goes to the next one empty: what one user was
// told stays nowhere.
func TestAnswersAreForgotten(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var at []byte
	f.endpoint = func(context.Context, *lexrt.Request) (lexrt.Response, error) {
		return kept{`"for one user only"`, &at}, nil
	}
	f.do(t, "GET", getPath, nil).want(t, 200, "for one user only")
	f.Close() // waits for the request
	if left := strings.Trim(string(at), "\x00"); left != "" {
		t.Errorf("the buffer still holds %q", left)
	}
}

// unread is an answer whose client reads nothing until it is released.
type unread struct {
	header  http.Header
	release chan struct{}
}

func (u *unread) Header() http.Header { return u.header }
func (u *unread) WriteHeader(int)     {}
func (u *unread) Write(p []byte) (int, error) {
	<-u.release
	return len(p), nil
}

// Large answers count as memory until their clients have read them: one that
// finds no room waits, and is told to come back when it waits in vain.
func TestLargeAnswersCountAsMemory(t *testing.T) {
	t.Parallel()
	const size = 100 << 10
	synctest.Test(t, func(t *testing.T) {
		f := &fixture{ipTokens: 1000, endpoint: func(context.Context, *lexrt.Request) (lexrt.Response, error) {
			return text(strings.Repeat("x", size)), nil
		}}
		h := f.handler(t, clock.System, 4*(size+size/2)) // answers have a quarter
		ask := func(w http.ResponseWriter) {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, getPath, http.NoBody)
			r.Header.Set("Authorization", "Bearer good")
			h.ServeHTTP(w, r)
		}
		slow := &unread{http.Header{}, make(chan struct{})}
		done := make(chan struct{})
		go func() {
			defer close(done)
			ask(slow)
		}()
		synctest.Wait()
		refused := httptest.NewRecorder()
		ask(refused)
		if refused.Code != http.StatusServiceUnavailable || !strings.Contains(refused.Body.String(), "NotEnoughResources") {
			t.Errorf("a second answer: %d %.80s", refused.Code, refused.Body)
		}
		close(slow.release)
		<-done
		again := httptest.NewRecorder()
		if ask(again); again.Code != http.StatusOK || again.Body.Len() != size+2 {
			t.Errorf("once there is room: %d, %d bytes", again.Code, again.Body.Len())
		}
	})
}
