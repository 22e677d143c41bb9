package e2e

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"mls-server/lexrt"
	"mls-server/lexrt/lexcbor"
)

// upgrade makes the handshake of a WebSocket of a request.
func upgrade(h http.Header) {
	h.Set("Connection", "Upgrade")
	h.Set("Upgrade", "websocket")
	h.Set("Sec-Websocket-Version", "13")
	h.Set("Sec-Websocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==")
}

// Socket reads the messages of a WebSocket, and says nothing itself.
type Socket struct {
	m    *lexrt.Method
	conn io.ReadCloser
	r    *bufio.Reader
}

// Dial opens the WebSocket of a subscription. A refusal is nil and the answer.
func (u *User) Dial(ctx context.Context, m *lexrt.Method, r Request) (*Socket, Answer, error) {
	resp, err := u.Open(ctx, m, r)
	if err != nil {
		return nil, Answer{}, err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		defer func() { _ = resp.Body.Close() }()
		a, err := read(m, resp)
		return nil, a, err
	}
	return &Socket{m, resp.Body, bufio.NewReader(resp.Body)}, Answer{Status: resp.StatusCode, Header: resp.Header}, nil
}

// Close ends the connection without a word.
func (s *Socket) Close() { _ = s.conn.Close() } // nothing is left to lose

// ClosedError is the close frame of a server.
type ClosedError struct {
	Code   int
	Reason string
}

// Error implements error.
func (c *ClosedError) Error() string { return fmt.Sprintf("closed with %d %s", c.Code, c.Reason) }

// Next returns the next frame of the event stream, or *ClosedError. It leaves pings unanswered.
func (s *Socket) Next() (lexcbor.Frame, error) {
	var message []byte
	for {
		opcode, payload, err := s.part()
		switch {
		case err != nil:
			return lexcbor.Frame{}, err
		case opcode&0x0f == 8 && len(payload) >= 2:
			return lexcbor.Frame{}, &ClosedError{int(binary.BigEndian.Uint16(payload)), string(payload[2:])}
		case opcode&0x0f > 2:
			continue
		}
		if message = append(message, payload...); opcode&0x80 != 0 {
			return s.read(message)
		}
	}
}

// read reads a frame of the event stream, and records an error.
func (s *Socket) read(message []byte) (lexcbor.Frame, error) {
	f, err := lexcbor.ReadFrame(s.m.NSID, message)
	if err == nil && f.Op == lexcbor.OpError {
		var e struct {
			Error string `json:"error"`
		}
		err = json.Unmarshal(f.Body, &e)
		record(s.m.NSID, e.Error)
	}
	return f, err
}

// part reads one frame of the WebSocket protocol (RFC 6455, section 5.2), as servers send them.
func (s *Socket) part() (opcode byte, payload []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(s.r, head[:]); err != nil {
		return 0, nil, err
	}
	size := uint64(head[1])
	for mark, width := range map[uint64]int{126: 2, 127: 8} {
		if uint64(head[1]) != mark {
			continue
		}
		long := make([]byte, 8)
		if _, err := io.ReadFull(s.r, long[8-width:]); err != nil {
			return 0, nil, err
		}
		size = binary.BigEndian.Uint64(long)
	}
	if size > 64<<20 {
		return 0, nil, errors.New("a frame of a WebSocket is masked or too long")
	}
	payload = make([]byte, size)
	_, err = io.ReadFull(s.r, payload)
	return head[0], payload, err
}

// answer reads what a subscription begins with: 200, or the error of its error frame.
func (s *Socket) answer(h http.Header) (Answer, error) {
	f, err := s.Next()
	if err != nil {
		return Answer{}, err
	}
	a := Answer{Status: http.StatusOK, Header: h, Body: f.Body}
	if f.Op != lexcbor.OpError {
		return a, nil
	}
	var e struct {
		Error   string `json:"error"`
		Message string `json:"message"`
	}
	if err := json.Unmarshal(f.Body, &e); err != nil {
		return a, err
	}
	a.Error, a.Message = e.Error, e.Message
	known := append(lexrt.GeneralErrors(), s.m.Errors...)
	i := slices.IndexFunc(known, func(k *lexrt.Error) bool { return k.Name == e.Error })
	if i < 0 {
		return a, errors.New("the lexicon does not have the error " + e.Error)
	}
	a.Status = known[i].Status
	return a, nil
}
