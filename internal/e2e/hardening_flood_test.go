package e2e_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
)

// bombSize is how many zero bytes a bomb holds, made of pieces.
const (
	bombSize  = 1 << 30
	bombPiece = 1 << 20
)

// gzipBomb is a gigabyte of zeros in gzip. Members may follow each other, so that one is enough to
// be made: compressing a gigabyte takes a minute under the race detector.
func gzipBomb(t *testing.T) []byte {
	t.Helper()
	return bytes.Repeat(zip(t, make([]byte, bombPiece)), bombSize/bombPiece)
}

// zlibBomb is a gigabyte of zeros in one stream of zlib: a block that refers to nothing before it,
// again and again, then the last block and the checksum.
func zlibBomb(t *testing.T) []byte {
	t.Helper()
	var block, last bytes.Buffer
	w, err := flate.NewWriter(&block, flate.DefaultCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, bombPiece)); err != nil || w.Flush() != nil {
		t.Fatal("cannot compress")
	}
	w.Reset(&last)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	out := append([]byte{0x78, 0x9c}, bytes.Repeat(block.Bytes(), bombSize/bombPiece)...)
	out = append(out, last.Bytes()...)
	const modAdler = 65521 // RFC 1950: of zeros, the sum is 1 and the sum of sums their number
	return binary.BigEndian.AppendUint32(out, bombSize%modAdler<<16|1)
}

// zip is data in gzip.
func zip(t *testing.T, data []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	if _, err := z.Write(data); err != nil || z.Close() != nil {
		t.Fatal("cannot compress")
	}
	return buf.Bytes()
}

// maxMemory is how much a process that is attacked may take, in bytes.
const maxMemory = 512 << 20

// memory is the resident memory of a server in a process of its own.
func memory(t *testing.T, s *e2e.Server) float64 {
	t.Helper()
	return scrape(t, s)["process_resident_memory_bytes"]
}

// Bodies that are too large, too deep, too many or compressed to nothing are
// refused at once, with the status that says why, while others are served.
func TestHostileBodies(t *testing.T) {
	t.Parallel()
	s := startProcess(t, nil)
	users := s.Users(2)
	alice := users[0].Register(t, 1)
	other := users[1].Register(t, 1)
	chat := alice.Create(t)
	valid := string(chat.Message().AppendJSON(nil))
	field := func(name, value string) []byte { return []byte(`{"` + name + `":` + value + "," + valid[1:]) }
	const deep, many = 1_000_000, 1_000_000
	once := gzipBomb(t)
	twice := zip(t, once)

	stop := meanwhile(t, caller(t, other.User, mlsapi.MethodGetConvos, nil))
	for _, tc := range []struct {
		name     string
		body     []byte
		encoding string
		statuses []int
	}{
		{"20 MiB", bytes.Repeat([]byte(" "), 20<<20), "", []int{413}},
		{"20 MiB of text", field("msgId", `"`+strings.Repeat("a", 20<<20)+`"`), "", []int{413}},
		{"a gigabyte in gzip", once, "gzip", []int{413}},
		{"a gigabyte in deflate", zlibBomb(t), "deflate", []int{413}},
		{"gzip in gzip", twice, "gzip", []int{400, 413}},
		{"two encodings", twice, "gzip, gzip", []int{415}},
		{"no gzip", []byte(valid), "gzip", []int{400}},
		{"cut gzip", once[:len(once)/2], "gzip", []int{400, 413}},
		{"an unknown encoding", []byte(valid), "br", []int{415}},
		{"deep arrays", bytes.Repeat([]byte("["), deep), "", []int{400}},
		{"deep objects", bytes.Repeat([]byte(`{"a":`), deep), "", []int{400}},
		{"a deep unknown field", field("unknown", strings.Repeat("[", deep)+strings.Repeat("]", deep)), "", []int{400}},
		{"a deep known field", field("ciphertext", strings.Repeat(`{"$bytes":`, deep)+"0"+strings.Repeat("}", deep)), "", []int{400}},
		{"many fields", field("x", strings.Repeat(`0,"y`+`":`, many)+"0"), "", []int{400, 413}},
		{"a long number", field("epoch", strings.Repeat("9", many)), "", []int{400}},
		{"a large exponent", field("epoch", "1e999999999"), "", []int{400}},
		{"many elements", field("unknown", "["+strings.Repeat("0,", many)+"0]"), "", []int{200, 400}},
		{"a long escape", field("unknown", `"`+strings.Repeat(`\u0000`, many)+`"`), "", []int{200, 400}},
		{"nothing", nil, "", []int{400}},
	} {
		begin := time.Now()
		header := http.Header{}
		if tc.encoding != "" {
			header.Set("Content-Encoding", tc.encoding)
		}
		a, err := alice.Try(t.Context(), mlsapi.MethodSendMessage, e2e.Request{Body: tc.body, Header: header})
		took := time.Since(begin)
		// A server that answers before it has read everything may be seen as a broken connection.
		if err == nil && !slices.Contains(tc.statuses, a.Status) {
			t.Errorf("%s: %d %s %s, want one of %v", tc.name, a.Status, a.Error, a.Message, tc.statuses)
		}
		if err != nil && !slices.Contains(tc.statuses, http.StatusRequestEntityTooLarge) {
			t.Errorf("%s: %v", tc.name, err)
		}
		if took > 10*time.Second {
			t.Errorf("%s took %v", tc.name, took)
		}
	}
	// Many at once.
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			_, _ = alice.Try(t.Context(), mlsapi.MethodSendMessage, e2e.Request{Body: once, Header: http.Header{"Content-Encoding": {"gzip"}}})
		})
	}
	wg.Wait()
	stop()
	if m := memory(t, s); m > maxMemory {
		t.Errorf("the process takes %.0f MiB", m/(1<<20))
	}
	alice.Send(t, chat)
}

// Requests with too many or too long headers, or too long a URL, are refused.
func TestHostileHeaders(t *testing.T) {
	t.Parallel()
	s := startProcess(t, nil)
	stop := meanwhile(t, caller(t, s.Users(1)[0], mlsapi.MethodGetConvos, nil))
	const head = "GET /xrpc/blue.catbird.mls.getConvos HTTP/1.1\r\nHost: mls.test\r\n"
	for name, request := range map[string]string{
		"a long header":      head + "X-Long: " + strings.Repeat("x", 1<<20) + "\r\n\r\n",
		"many headers":       head + strings.Repeat("X-Many: x\r\n", 100_000) + "\r\n",
		"a long URL":         "GET /xrpc/blue.catbird.mls.getConvos?" + strings.Repeat("a=b&", 1<<18) + " HTTP/1.1\r\nHost: mls.test\r\n\r\n",
		"a long token":       head + "Authorization: Bearer " + strings.Repeat("x", 60<<10) + "\r\n\r\n",
		"a header's many":    head + "Cookie: " + strings.Repeat("a=b; ", 10_000) + "\r\n\r\n",
		"no host":            "GET /health HTTP/1.1\r\n\r\n",
		"two lengths":        "POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
		"a chunked smuggler": "POST /health HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, x\r\n\r\n",
		"no HTTP":            strings.Repeat("\x00", 1<<20),
	} {
		for range 20 {
			conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.URL, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.SetDeadline(time.Now().Add(15 * time.Second))
			_, _ = io.WriteString(conn, request) // the server may hang up before the end
			answer := make([]byte, 12)
			n, _ := io.ReadFull(conn, answer)
			if got := string(answer[:n]); n > 0 && !strings.HasPrefix(got, "HTTP/1.1 4") && !strings.HasPrefix(got, "HTTP/1.1 5") {
				t.Errorf("%s: %q", name, got)
			}
			if got := string(answer[:n]); strings.HasPrefix(got, "HTTP/1.1 500") {
				t.Errorf("%s: %q", name, got)
			}
			_ = conn.Close()
		}
	}
	stop()
	if m := memory(t, s); m > maxMemory {
		t.Errorf("the process takes %.0f MiB", m/(1<<20))
	}
}

// floodVariable is how many connections TestConnectionFlood opens, when it is set.
const floodVariable = "MLS_FLOOD_CONNECTIONS"

// Thousands of connections that do nothing, half of them after a request, take
// bounded memory and no time of others, and are gone when they are closed.
func TestConnectionFlood(t *testing.T) {
	t.Parallel()
	connections := 2000
	if v := os.Getenv(floodVariable); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			t.Fatalf("%s is not a number", floodVariable)
		}
		connections = n
	}
	s := startProcess(t, nil)
	users := s.Users(2)
	alice := users[0].Register(t, 1)
	users[1].Register(t, 1)
	chat := alice.Create(t, users[1])
	idle := scrape(t, s)["go_goroutines"]
	address := strings.TrimPrefix(s.URL, "http://")
	stop := meanwhile(t, caller(t, alice.User, mlsapi.MethodSendMessage, func() []byte { return chat.Message().AppendJSON(nil) }))

	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	conns := make([]net.Conn, connections)
	var failed atomic.Int64
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < connections; i = int(next.Add(1)) - 1 {
				conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
				if err != nil {
					failed.Add(1)
					continue
				}
				conns[i] = conn
				if i%2 == 0 {
					continue
				}
				_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
				if _, err := io.WriteString(conn, "GET /health HTTP/1.1\r\nHost: mls.test\r\n\r\n"); err != nil {
					failed.Add(1)
				} else if n, _ := conn.Read(make([]byte, 512)); n == 0 {
					failed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n := failed.Load(); n > 0 {
		t.Errorf("%d of %d connections failed (open files: raise ulimit -n above %d)", n, connections, connections+1000)
	}
	m := memory(t, s)
	if m > maxMemory {
		t.Errorf("the process takes %.0f MiB", m/(1<<20))
	}
	t.Logf("%d connections: %.0f MiB", connections, m/(1<<20))
	stop()
	for _, conn := range conns {
		if conn != nil {
			_ = conn.Close()
		}
	}
	eventually(t, "the connections are forgotten", func() bool { return scrape(t, s)["go_goroutines"] < idle+100 })
	alice.Send(t, chat)
}
