package egress

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

func TestWebSocketObeysTheRules(t *testing.T) {
	t.Parallel()
	port := silentListener(t)
	c := mustNew(t, Config{Resolver: newFakeDNS(t, map[string][][]string{"loop.example.com": {{"127.0.0.1"}}})})
	for _, link := range []string{
		"wss://127.0.0.1:" + port, "ws://127.0.0.1:" + port, "wss://[::1]:" + port, "wss://localhost:" + port, "wss://2130706433:" + port,
		"wss://loop.example.com:" + port, "ws://example.com/", "https://example.com/", "http://example.com", "", "wss://", "wss:example.com",
	} {
		if conn, err := c.WebSocket(t.Context(), link); conn != nil || !errors.Is(err, ErrForbidden) {
			t.Errorf("%s: %v, want ErrForbidden", link, err)
		}
	}
}

func TestWebSocket(t *testing.T) {
	t.Parallel()
	port := silentListener(t)
	_, hostPort := allowServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "http://127.0.0.1:"+port+"/", http.StatusFound)
			return
		case "/plain":
			return
		}
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer func() { _ = conn.CloseNow() }()
		size := 5
		if r.URL.Path == "/large" {
			size = maxFrame + 1
		}
		_ = conn.Write(r.Context(), websocket.MessageText, []byte(strings.Repeat("x", size)))
		<-conn.CloseRead(r.Context()).Done()
	}))
	c := mustNew(t, Config{Allow: []string{hostPort}})
	for path, want := range map[string]error{"/moved": ErrRedirect, "/plain": ErrUnreachable} {
		if _, err := c.WebSocket(t.Context(), "ws://"+hostPort+path); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
	for path, fits := range map[string]bool{"/": true, "/large": false} {
		conn, err := c.WebSocket(t.Context(), "ws://"+hostPort+path)
		if err != nil {
			t.Fatal(err)
		}
		_, message, err := conn.Read(t.Context())
		if (err == nil) != fits || (fits && string(message) != "xxxxx") {
			t.Errorf("%s: %d bytes, %v", path, len(message), err)
		}
		_ = conn.CloseNow()
	}
}
