package xrpc_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"

	"mls-server/lexrt"
)

// ask makes a request that the transport leaves as it is: encoded answers stay encoded.
func ask(t *testing.T, f *fixture, path, encoding string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.URL+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer good")
	if encoding != "" {
		r.Header.Set("Accept-Encoding", encoding)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableCompression: true}}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

// A stream in gzip gives each frame to its reader before the next one is written, so that it goes
// through proxies that would encode it, and hold it back.
func TestStreamsInGzip(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	read := make(chan struct{})
	frames := [][]byte{[]byte("data: a\n\n"), bytes.Repeat([]byte("data: "+strings.Repeat("b", 993)+"\n"), 200), []byte("data: c\n\n")}
	f.stream = func(ctx context.Context, _ *lexrt.Request, out lexrt.EventStream) error {
		for _, frame := range frames {
			if err := out.Frames(frame[:1], frame[1:]); err != nil {
				return err
			}
			select {
			case <-read:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	}
	resp := ask(t, f, "/xrpc/test.example.stream", "br, gzip;q=0.5") //nolint:bodyclose // at the end of the test
	for header, want := range map[string]string{"Content-Encoding": "gzip", "Cache-Control": "no-store, no-transform", "Vary": "Accept-Encoding"} {
		if got := resp.Header.Get(header); got != want {
			t.Errorf("%s: %q, want %q", header, got, want)
		}
	}
	z, err := gzip.NewReader(bufio.NewReader(resp.Body))
	if err != nil {
		t.Fatal(err)
	}
	for i, frame := range frames {
		got := make([]byte, len(frame))
		if _, err := io.ReadFull(z, got); err != nil || !bytes.Equal(got, frame) {
			t.Fatalf("frame %d: %d bytes, %v", i, len(got), err)
		}
		read <- struct{}{}
	}
	if rest, err := io.ReadAll(z); err != nil || len(rest) > 0 {
		t.Errorf("at the end: %q, %v; length and checksum are part of it", rest, err)
	}
}

func TestWhoAsksForGzip(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.stream = func(_ context.Context, _ *lexrt.Request, out lexrt.EventStream) error { return out.Comment("x") }
	for encoding, want := range map[string]string{
		"": "", "identity": "", "gzip;q=0": "", "deflate, br": "", "gzip;q=x": "", "gzip": "gzip", "deflate, GZIP": "gzip", "gzip ; q=1.0, identity": "gzip",
	} {
		resp := ask(t, f, "/xrpc/test.example.stream", encoding) //nolint:bodyclose // at the end of the test
		if got := resp.Header.Get("Content-Encoding"); got != want {
			t.Errorf("%q: %q, want %q", encoding, got, want)
		}
	}
}

// random is the base64 of random bytes.
func random(n int) text {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return text(base64.StdEncoding.EncodeToString(b))
}

// What is too large for an atproto proxy as it is, and would pass compressed, is compressed for who
// asks for it; nothing else is.
func TestLargeAnswersInGzip(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, c := range []struct {
		size              int // of what is in the base64
		encoding, encoded string
	}{{9 << 20, "gzip", "gzip"}, {9 << 20, "", ""}, {9 << 20, "br", ""}, {5 << 20, "gzip", ""}, {100, "gzip", ""}} {
		value := random(c.size)
		f.endpoint = func(context.Context, *lexrt.Request) (lexrt.Response, error) { return value, nil }
		resp := ask(t, f, "/xrpc/test.example.getThing", c.encoding) //nolint:bodyclose // at the end of the test
		if got := resp.Header.Get("Content-Encoding"); got != c.encoded {
			t.Errorf("%d bytes, asked for %q: %q", c.size, c.encoding, got)
		}
		wire, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if c.encoded != "" {
			if len(wire) > 10<<20 {
				t.Errorf("%d bytes are %d when compressed", c.size, len(wire))
			}
			z, err := gzip.NewReader(bytes.NewReader(wire))
			if err != nil {
				t.Fatal(err)
			}
			if wire, err = io.ReadAll(z); err != nil {
				t.Fatal(err)
			}
		}
		if want := value.AppendJSON(nil); !bytes.Equal(wire, want) {
			t.Errorf("%d bytes, asked for %q: another answer of %d bytes", c.size, c.encoding, len(wire))
		}
	}
}
