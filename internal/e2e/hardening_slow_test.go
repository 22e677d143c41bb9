package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mlstest"
	"mls-server/lexrt"
)

// meanwhile calls the server as somebody else until the returned function is
// called, which fails the test when a call failed or none was answered.
func meanwhile(t *testing.T, call func() error) (stop func()) {
	t.Helper()
	done, ended := make(chan struct{}), make(chan struct{})
	var calls int
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			default:
			}
			if err := call(); err != nil {
				t.Errorf("meanwhile: %v", err)
				return
			}
			calls++
		}
	}()
	return sync.OnceFunc(func() {
		close(done)
		<-ended
		if calls == 0 {
			t.Error("no other call was answered meanwhile")
		}
	})
}

// caller returns a call of a method that has to succeed.
func caller(t *testing.T, u *e2e.User, m *lexrt.Method, body func() []byte) func() error {
	t.Helper()
	return func() error {
		var r e2e.Request
		if body != nil {
			r.Body = body()
		}
		a, err := u.Try(t.Context(), m, r)
		if err == nil && a.Status != http.StatusOK {
			err = errors.New(a.Error + " " + a.Message)
		}
		return err
	}
}

// raw opens a connection and writes text to it.
func raw(t *testing.T, s *e2e.Server, text string) net.Conn {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	write(t, s, conn, text)
	return conn
}

// write writes text to a connection. What it holds is searched for when it is a whole request.
func write(t *testing.T, s *e2e.Server, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	if r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text))); err == nil {
		s.Canary().AddRequest(r)
	}
}

// Connections whose headers never end are closed after ten seconds.
func TestSlowHeaders(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	stop := meanwhile(t, caller(t, s.Users(1)[0], mlsapi.MethodGetConvos, nil))
	defer stop()
	// Without the limit of ten seconds the server's limit for whole requests, two minutes, would
	// end them.
	patience := time.Now().Add(time.Minute)
	var wg sync.WaitGroup
	for range 200 {
		conn := raw(t, s, "GET /health HTTP/1.1\r\nHost: mls.test\r\nX-Slow: ")
		wg.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() {
				for ctx.Err() == nil {
					if _, err := io.WriteString(conn, "x"); err != nil {
						return
					}
					time.Sleep(200 * time.Millisecond)
				}
			}()
			_ = conn.SetReadDeadline(patience)
			_, err := io.Copy(io.Discard, conn) // what the server says before it hangs up
			var late net.Error
			if errors.As(err, &late) && late.Timeout() {
				t.Error("a connection was not closed")
			}
		})
	}
	wg.Wait()
}

// Clients that announce large bodies and send nothing of them do not keep others from sending
// theirs.
func TestSlowBodies(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t, e2e.Env{"BODY_MEMORY_MB": "16"})
	users := s.Users(3)
	alice := users[0].Register(t, 1)
	chat := alice.Create(t)
	m := mlsapi.MethodSendMessage
	for i := range 100 {
		slow := users[1+i%2] // one account alone is given a quarter of the memory only
		conn := raw(t, s, "POST /xrpc/"+m.NSID+" HTTP/1.1\r\nHost: mls.test\r\nContent-Type: application/json\r\nContent-Length: 8000000\r\n"+
			"Expect: 100-continue\r\nAuthorization: "+slow.Bearer(s.DID, m.NSID)+"\r\n\r\n")
		// The server says so when it begins to read the body.
		if status, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.Contains(status, "100 Continue") {
			t.Fatalf("%q, %v", status, err)
		}
		write(t, s, conn, "{\"convoId\":")
	}
	send := caller(t, alice.User, m, func() []byte {
		in := chat.Message()
		in.Ciphertext = mlstest.PadDirect(chat.Group.Application(200), 1<<20)
		in.PaddedSize = int64(len(in.Ciphertext))
		return in.AppendJSON(nil)
	})
	for range 20 {
		if err := send(); err != nil {
			t.Errorf("beside slow bodies: %v", err)
		}
	}
}

// Four uploads that announce 45 MB and stall hold no more memory than has arrived: large bodies and
// answers of others go on. The first version held all of its 256 MiB for them.
func TestStalledUploads(t *testing.T) {
	t.Parallel()
	s := startProcess(t, e2e.Env{"BODY_MEMORY_MB": "256"})
	users := s.Users(3)
	mallory, alice, bob := users[0], users[1].Register(t, 1), users[2].Register(t, 1)
	chat := alice.Create(t, bob.User)
	m := mlsapi.MethodSendMessage
	for _, announced := range []string{"14000000", "14000000", "14000000", "2739000"} {
		conn := raw(t, s, "POST /xrpc/"+m.NSID+" HTTP/1.1\r\nHost: mls.test\r\nContent-Type: application/json\r\nContent-Length: "+announced+"\r\n"+
			"Expect: 100-continue\r\nAuthorization: "+mallory.Bearer(s.DID, m.NSID)+"\r\n\r\n")
		if status, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.Contains(status, "100 Continue") {
			t.Fatalf("%q, %v", status, err)
		}
		// What has been written is read, but for what fits into the buffers in between.
		write(t, s, conn, `{"ciphertext":"`+strings.Repeat("A", 2400<<10))
	}
	busy, took := 0, time.Duration(0)
	for range 10 {
		in := chat.Message()
		in.Ciphertext = mlstest.PadDirect(chat.Group.Application(200), 5<<20)
		in.PaddedSize = int64(len(in.Ciphertext))
		start := time.Now()
		for _, a := range []e2e.Answer{alice.Post(t, m, in, nil), bob.Get(t, mlsapi.MethodGetMessages, nil, "convoId", chat.ID, "limit", "1")} {
			if a.Status != http.StatusOK {
				busy++
			}
		}
		took = max(took, time.Since(start))
	}
	t.Logf("four stalled uploads: of 20 large requests of others %d are refused; two take %v at most", busy, took)
	if busy > 0 {
		t.Errorf("%d of 20 large requests of others are refused", busy)
	}
}

// Clients that do not read their streams are cut off, and take nothing from those who do.
func TestStreamsThatNobodyReads(t *testing.T) {
	t.Parallel()
	s := startProcess(t, e2e.Env{"STREAMS_PER_USER": "20"})
	users := s.Users(2)
	alice, bob := users[0].Register(t, 1), users[1].Register(t, 1)
	chat := alice.Create(t, users[1])
	bob.Confirm(t, chat, true)
	m := mlsapi.MethodStreamConvoEvents
	open := func() float64 { return scrape(t, s)[`mls_streams{door="sse"}`] }
	const deaf = 15
	for range deaf {
		conn := raw(t, s, "")
		tcp, ok := conn.(*net.TCPConn)
		if !ok || tcp.SetReadBuffer(4096) != nil {
			t.Fatal("no small buffer")
		}
		write(t, s, conn, "GET /xrpc/"+m.NSID+" HTTP/1.1\r\nHost: mls.test\r\nOrigin: https://app.test\r\nAuthorization: "+bob.Bearer(s.DID, m.NSID)+"\r\n\r\n")
	}
	stream := bob.Follow(t, "")
	eventually(t, "all streams are open", func() bool { return open() == deaf+1 })
	before := scrape(t, s)["go_memstats_heap_inuse_bytes"]
	var last string
	for range 40 {
		in := chat.Message()
		in.Ciphertext = mlstest.PadDirect(chat.Group.Application(200), 512<<10)
		in.PaddedSize = int64(len(in.Ciphertext))
		alice.Post(t, mlsapi.MethodSendMessage, in, nil).OK(t)
		last = in.MsgID
	}
	eventually(t, "who reads gets everything, as far as one stream through a proxy goes", func() bool {
		for _, e := range stream.Events() {
			if e.MessageID == last || e.Kind == "rollover" {
				return true
			}
		}
		return false
	})
	// 15 streams with 20 MiB each are not in memory: messages are shared and queues bounded.
	if grown := scrape(t, s)["go_memstats_heap_inuse_bytes"] - before; grown > 300<<20 {
		t.Errorf("the heap grew by %.0f MiB", grown/(1<<20))
	}
	for end := time.Now().Add(60 * time.Second); open() > 0; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%v streams are still open", open())
		}
	}
	ends := scrape(t, s)
	if stalled := ends[`mls_stream_ends_total{door="sse",reason="stalled"}`]; stalled != deaf {
		t.Errorf("%v of %d streams ended because nobody read them: %v", stalled, deaf, ends)
	}
}

// A client that does not read its answer is cut off.
func TestAnswersThatNobodyReads(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t, e2e.Env{"BODY_MEMORY_MB": "256"})
	alice, bob, carol, chat := trio(t, s)
	for range 12 {
		in := chat.Message()
		in.Ciphertext = mlstest.PadDirect(chat.Group.Application(200), 1<<20)
		in.PaddedSize = int64(len(in.Ciphertext))
		alice.Post(t, mlsapi.MethodSendMessage, in, nil).OK(t)
	}
	m := mlsapi.MethodGetMessages
	var conns []net.Conn
	for _, u := range []*e2e.Device{alice, bob, carol} { // 16 MiB each
		conns = append(conns, raw(t, s, "GET /xrpc/"+m.NSID+"?convoId="+chat.ID+" HTTP/1.1\r\nHost: mls.test\r\nAuthorization: "+u.Bearer(s.DID, m.NSID)+"\r\n\r\n"))
	}
	stop := meanwhile(t, caller(t, alice.User, mlsapi.MethodGetConvos, nil))
	cut := func() (n float64) {
		for series, v := range scrape(t, s) {
			if strings.HasPrefix(series, "mls_requests_total") && strings.Contains(series, m.NSID) {
				n += v
			}
		}
		return n
	}
	for end := time.Now().Add(2 * time.Minute); cut() < float64(len(conns)); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%v of %d answers that nobody reads have ended", cut(), len(conns))
		}
	}
	stop()
	for _, conn := range conns {
		_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
		got, _ := io.ReadAll(conn)
		if !bytes.HasPrefix(got, []byte("HTTP/1.1 200 ")) || bytes.HasSuffix(got, []byte("}")) {
			t.Errorf("a client that slept got %d bytes, want the beginning of an answer: %.100q", len(got), got)
		}
	}
	alice.Messages(t, chat) // one that reads gets all
}
