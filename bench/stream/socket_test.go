package streambench

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"mls-server/internal/authtest"
	"mls-server/lexrt/lexcbor"
)

const socketNSID = "blue.catbird.mls.subscribeConvoEvents"

// subscribe opens the stream over a WebSocket, on a connection of its own.
func (p *process) subscribe(user *authtest.Identity, cursor string) (*events, error) {
	conn, err := net.DialTimeout("tcp", p.public, 10*time.Second) //nolint:noctx // bounded by its timeout
	if err != nil {
		return nil, err
	}
	request := "GET /xrpc/" + socketNSID + "?cursor=" + cursor + " HTTP/1.1\r\nHost: mls.test\r\nAuthorization: " + user.Bearer(serviceDID, socketNSID) +
		"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
	e := &events{conn: conn, body: bufio.NewReaderSize(conn, 4096), id: cursor, socket: true}
	if _, err = io.WriteString(conn, request); err == nil {
		var resp *http.Response
		if resp, err = http.ReadResponse(e.body, nil); err == nil && resp.StatusCode != http.StatusSwitchingProtocols { //nolint:bodyclose // it ends with its connection
			text, _ := io.ReadAll(resp.Body)
			err = fmt.Errorf("subscribeConvoEvents: %d %s", resp.StatusCode, text)
		}
	}
	if err == nil {
		_, err = e.message(nil) // the first one has the position, and no event
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return e, nil
}

// message returns the body of the next message as the data of an event, and moves the position
// behind it. Pings are answered.
func (e *events) message(data []byte) ([]byte, error) {
	var head [2]byte
	for whole := data[:0]; ; {
		if _, err := io.ReadFull(e.body, head[:]); err != nil {
			return nil, err
		}
		size := uint64(head[1])
		if width := map[byte]int{126: 2, 127: 8}[head[1]]; width > 0 {
			var long [8]byte
			if _, err := io.ReadFull(e.body, long[8-width:]); err != nil {
				return nil, err
			}
			size = binary.BigEndian.Uint64(long[:])
		}
		at := len(whole)
		whole = append(whole, make([]byte, size)...)
		if _, err := io.ReadFull(e.body, whole[at:]); err != nil {
			return nil, err
		}
		switch opcode := head[0] & 0x0f; {
		case opcode == 8:
			return nil, io.EOF
		case opcode == 9: // a pong has what the ping had, masked with zeros
			pong := append([]byte{0x8a, 0x80 | byte(size), 0, 0, 0, 0}, whole[at:]...)
			if _, err := e.conn.Write(pong); err != nil {
				return nil, err
			}
			whole = whole[:at]
		case opcode > 2:
			whole = whole[:at]
		case head[0]&0x80 != 0:
			return e.event(whole)
		}
	}
}

// event reads a frame, and writes it as the other door would.
func (e *events) event(frame []byte) ([]byte, error) {
	f, err := lexcbor.ReadFrame(socketNSID, frame)
	if err != nil {
		return nil, err
	}
	if f.Op != lexcbor.OpMessage {
		return nil, io.EOF
	}
	var body map[string]json.RawMessage
	if err := json.Unmarshal(f.Body, &body); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(body["cursor"], &e.id); err != nil {
		return nil, err
	}
	if strings.HasSuffix(f.Type, "#membershipChangeEvent") {
		body["kind"], body["userDid"] = json.RawMessage(`"membership-changed"`), body["did"]
	}
	body["$type"], err = json.Marshal(f.Type)
	if err != nil {
		return nil, err
	}
	return json.Marshal(map[string]any{"event": body})
}
