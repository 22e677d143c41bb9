package lexclient

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"strings"
	"time"
)

// connection reads the frames of one response (WHATWG HTML, section 9.2.6).
type connection struct {
	body   io.ReadCloser
	cancel context.CancelFunc
	r      *bufio.Reader
	// silent runs while a frame is waited for, and begins anew with whatever comes.
	silent *time.Timer
	// lastID is the position after the last complete frame, pendingID that of the present one.
	lastID, pendingID string

	limit int
	idle  time.Duration
	// skipLF is true after a CR, which may be the first half of a line break.
	skipLF bool
	began  bool
}

func newConnection(body io.ReadCloser, cancel context.CancelFunc, lastID string, limit int, idle time.Duration) *connection {
	c := &connection{body: body, cancel: cancel, lastID: lastID, pendingID: lastID, limit: limit, idle: idle}
	c.r = bufio.NewReaderSize(c, 16<<10)
	return c
}

// Read implements io.Reader: part of a long event is a sign of life, too.
func (c *connection) Read(p []byte) (int, error) {
	n, err := c.body.Read(p)
	if n > 0 {
		c.silent.Reset(c.idle)
	}
	return n, err //nolint:wrapcheck // it is passed on
}

func (c *connection) position() string { return c.lastID }

func (c *connection) close() {
	c.cancel()
	c.body.Close()
}

// next returns the next frame with data. When the context ends, the connection does too.
func (c *connection) next(ctx context.Context) (*frame, error) {
	stop := context.AfterFunc(ctx, c.cancel)
	defer stop()
	c.silent = time.AfterFunc(c.idle, c.cancel)
	defer c.silent.Stop()
	f := frame{name: "message"}
	has := false
	size := 0
	for {
		line, err := c.line(c.limit - size)
		if err != nil {
			if !c.silent.Stop() && ctx.Err() == nil {
				return nil, errIdle
			}
			return nil, err
		}
		if len(line) == 0 {
			// A frame without data is not an event, but its position counts.
			c.lastID = c.pendingID
			if !has {
				f = frame{name: "message"}
				size = 0
				continue
			}
			f.id = c.lastID
			return &f, nil
		}
		size += len(line)
		name, value, _ := strings.Cut(string(line), ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "event":
			f.name = value
		case "data":
			if has {
				f.data = append(f.data, '\n')
			}
			f.data = append(f.data, value...)
			has = true
		case "id":
			if !strings.Contains(value, "\x00") {
				c.pendingID = value
			}
		}
	}
}

// line returns the next line without its end, which is LF, CR or both.
func (c *connection) line(limit int) ([]byte, error) {
	var out []byte
	for {
		b, err := c.r.ReadByte()
		if err != nil {
			return nil, err
		}
		if c.skipLF {
			c.skipLF = false
			if b == '\n' {
				continue
			}
		}
		switch b {
		case '\r', '\n':
			c.skipLF = b == '\r'
			if !c.began {
				c.began = true
				out = bytes.TrimPrefix(out, []byte("\xef\xbb\xbf"))
			}
			return out, nil
		}
		if len(out) >= limit {
			return nil, errEventSize
		}
		out = append(out, b)
	}
}
