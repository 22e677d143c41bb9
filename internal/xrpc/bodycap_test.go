package xrpc_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

	"mls-server/lexrt"
)

// A client that sends all of its request before it reads gets the answer, and
// not a broken connection, whatever stands against the request; one that keeps
// failing does not.
func TestRefusedBodiesAreRead(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	send := func(token string, size int) (status int, err error) {
		t.Helper()
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", f.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n",
			putPath, token, size)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(make([]byte, size)); err != nil {
			return 0, err
		}
		r := bufio.NewReader(conn)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return 0, err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode, errors.Join(err, resp.Body.Close())
	}
	const large = 24 << 20 // more than the kernel would take for a server that does not read
	for token, want := range map[string]int{"bad": http.StatusUnauthorized, "good": http.StatusRequestEntityTooLarge} {
		if got, err := send(token, large); got != want || err != nil {
			t.Errorf("%s token: %d, %v; want %d", token, got, err, want)
		}
	}
	f.mu.Lock()
	f.ipTokens = 0
	f.mu.Unlock()
	if got, err := send("forged", large); err == nil {
		t.Errorf("all of a request was read of an address that keeps failing: %d", got)
	}
}

func TestBodyCaps(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var got int
	f.endpoint = func(_ context.Context, req *lexrt.Request) (lexrt.Response, error) {
		got = len(req.Body)
		return nil, nil
	}
	zip := func(n int) io.Reader {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write(make([]byte, n))
		_ = z.Close()
		return &b
	}
	for _, c := range []struct {
		name   string
		body   io.Reader
		coding string
		status int
		size   int
	}{
		{"largest", bytes.NewReader(make([]byte, 1<<20)), "", 200, 1 << 20},
		{"one more", bytes.NewReader(make([]byte, 1<<20+1)), "", 413, 0},
		{"chunked", io.MultiReader(bytes.NewReader(make([]byte, 1<<20))), "", 200, 1 << 20},
		{"chunked, one more", io.MultiReader(bytes.NewReader(make([]byte, 1<<20+1))), "", 413, 0},
		{"gzip", zip(100), "gzip", 200, 100},
		{"compression bomb", zip(64 << 20), "gzip", 413, 0},
	} {
		got = 0
		h := []string{"Content-Type", asJSON}
		if c.coding != "" {
			h = append(h, "Content-Encoding", c.coding)
		}
		a := f.do(t, "POST", putPath, c.body, h...)
		if a.status != c.status || got != c.size {
			t.Errorf("%s: status %d, %d bytes; want %d, %d", c.name, a.status, got, c.status, c.size)
		}
	}
}
