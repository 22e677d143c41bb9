package lexsocket

import (
	"encoding/base64"
	"net/http"
	"strings"

	"mls-server/lexrt"
)

// Check says what keeps a request from becoming a WebSocket (RFC 6455, section 4.2.1), or nil. The
// status is 426 where the client asked for something else.
func Check(r *http.Request) *lexrt.Error {
	switch {
	case !r.ProtoAtLeast(1, 1) || r.ProtoMajor != 1 || !lists(r.Header, "Connection", "upgrade") || !lists(r.Header, "Upgrade", "websocket"):
		return &lexrt.Error{Name: lexrt.ErrInvalidRequest.Name, Status: http.StatusUpgradeRequired, Message: "A subscription is followed over a WebSocket, which is opened with HTTP/1.1 and an Upgrade header"}
	case r.Header.Get("Sec-WebSocket-Version") != version:
		return &lexrt.Error{Name: lexrt.ErrInvalidRequest.Name, Status: http.StatusUpgradeRequired, Message: "The version of the WebSocket protocol is " + version}
	}
	keys := r.Header.Values("Sec-WebSocket-Key")
	if len(keys) != 1 {
		return errKey
	}
	if key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(keys[0])); err != nil || len(key) != keyBytes {
		return errKey
	}
	return nil
}

const (
	// version is the one of the protocol that there is.
	version = "13"
	// keyBytes is the size of the key that a client makes up.
	keyBytes = 16
)

var errKey = lexrt.ErrInvalidRequest.WithMessage("The header Sec-WebSocket-Key must hold 16 bytes in base64, once")

// lists reports whether a header has the token in its list, in any case.
func lists(h http.Header, name, token string) bool {
	for _, line := range h.Values(name) {
		for item := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(item), token) {
				return true
			}
		}
	}
	return false
}

// Headers sets what an answer to a refused handshake has to say.
func Headers(h http.Header, e *lexrt.Error) {
	if e.Status == http.StatusUpgradeRequired {
		h.Set("Upgrade", "websocket")
		h.Set("Connection", "Upgrade")
		h.Set("Sec-WebSocket-Version", version)
	}
}
