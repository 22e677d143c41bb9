package egress

import (
	"context"
	"net/http"
	"strings"

	"github.com/coder/websocket"
)

// maxFrame is how long a message of a WebSocket may be, in bytes.
const maxFrame = 64 << 10

// WebSocket opens a WebSocket under the rules of Get: wss only, public addresses
// only, no redirects; ws and other addresses for hosts on the allow-list. The
// opening handshake has the client's timeout; the connection lives until it is
// closed. Errors match the package's variables and hold nothing of the URL.
func (c *Client) WebSocket(ctx context.Context, link string) (*websocket.Conn, error) {
	web := link
	for from, to := range map[string]string{"wss://": "https://", "ws://": "http://"} {
		if rest, ok := strings.CutPrefix(link, from); ok {
			web = to + rest
		}
	}
	if web == link {
		return nil, ErrForbidden
	}
	if err := c.checkURL(web); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	header := http.Header{}
	if c.userAgent != "" {
		header.Set("User-Agent", c.userAgent)
	}
	//nolint:bodyclose // Dial hands the body over to the connection, or closes it
	conn, resp, err := websocket.Dial(ctx, link, &websocket.DialOptions{HTTPClient: c.upgrade, HTTPHeader: header})
	switch {
	case err == nil:
		conn.SetReadLimit(maxFrame)
		return conn, nil
	case resp != nil && resp.StatusCode >= 300 && resp.StatusCode < 400:
		return nil, ErrRedirect
	}
	return nil, classify(err)
}

// upgradeClient returns a client for opening handshakes, which exist in HTTP/1.1
// only, over the same dialers.
func upgradeClient(t *http.Transport) *http.Client {
	t = t.Clone()
	t.ForceAttemptHTTP2 = false
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	t.TLSClientConfig.NextProtos = nil
	return &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
