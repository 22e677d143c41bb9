package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	streamsEach   = 10   // streams of each user
	streamedSends = 4000 // sends that go to them
)

// streamFigures are what streams cost the server.
type streamFigures struct {
	memory   float64 // resident memory of one that is open, in bytes
	delivery float64 // CPU of one event on one stream, in microseconds
}

var errNoStream = errors.New("a stream was refused")

// measureStreams opens streams of all users, and sends into conversations of two: with the streams
// open and without, by turns. What a send costs more goes for its deliveries.
func measureStreams(ctx context.Context, m *machine, r *report) error {
	if _, err := m.startServer(ctx); err != nil {
		return err
	}
	o := r.options
	o.warm, o.measure = 0, time.Minute
	send := func(name string) (cpu float64, err error) {
		requests, err := prepare(streamedSends, func(i int) ([]byte, error) { c, u := m.turn(i); return m.sendRequest(c, u) })
		if err != nil {
			return 0, err
		}
		result, err := load(ctx, m, name, 16, 0, o, requests)
		if err != nil {
			return 0, err
		}
		cpu, _ = result.each()
		return cpu, nil
	}
	if _, err := send("before streams"); err != nil { // connections and caches
		return err
	}
	without, err := send("without streams")
	if err != nil {
		return err
	}
	idle, _ := rss(m.cmd.Process.Pid)
	var open []*client
	defer func() {
		for _, c := range open {
			_ = c.conn.Close() // it ends with the run
		}
	}()
	for n := range users * streamsEach {
		c, err := m.follow(m.people[n%users])
		if err != nil {
			return err
		}
		open = append(open, c)
	}
	held, _ := rss(m.cmd.Process.Pid)
	r.streams.memory = float64(held-idle) / float64(len(open))
	for _, c := range open {
		go c.drain()
	}
	with, err := send("with streams")
	if err != nil {
		return err
	}
	// Each message goes to both users of its conversation.
	r.streams.delivery = max(0, with-without) / (2 * streamsEach)
	return nil
}

// follow opens an event stream of a user over a connection of its own.
func (m *machine) follow(i *identity) (*client, error) {
	token, err := i.token(prefix + "streamConvoEvents")
	if err != nil {
		return nil, err
	}
	c, err := dial(m.address)
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintf(c.conn, "GET /xrpc/%sstreamConvoEvents HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nAccept: text/event-stream\r\n\r\n", prefix, m.address, token); err != nil {
		return nil, fmt.Errorf("open a stream: %w", err)
	}
	line, err := c.in.ReadSlice('\n')
	if err != nil || len(line) < 12 || string(line[9:12]) != "200" {
		return nil, fmt.Errorf("%w: %q: %w", errNoStream, line, err)
	}
	return c, nil
}

// drain reads what a stream brings, until it is closed.
func (c *client) drain() {
	var buffer [64 << 10]byte
	for {
		if _, err := c.in.Read(buffer[:]); err != nil {
			return
		}
	}
}
