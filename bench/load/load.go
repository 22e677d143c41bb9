package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// client is one HTTP/1.1 connection. net/http would spend on its comfort what
// the server is to have: they share the processors.
type client struct {
	conn net.Conn
	in   *bufio.Reader
	out  bytes.Buffer
}

func dial(address string) (*client, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return &client{conn: conn, in: bufio.NewReaderSize(conn, 16<<10)}, nil
}

var errAnswer = errors.New("an answer without a length")

// do sends a request and drops the answer's body. It returns the status.
func (c *client) do(request []byte) (int, error) {
	if _, err := c.conn.Write(request); err != nil {
		return 0, fmt.Errorf("send: %w", err)
	}
	return c.answer()
}

// answer reads an answer and drops its body. It returns the status.
func (c *client) answer() (int, error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil || len(line) < 12 {
		return 0, fmt.Errorf("read the status: %w", err)
	}
	status, _ := strconv.Atoi(string(line[9:12]))
	length, chunked := -1, false
	for {
		line, err = c.in.ReadSlice('\n')
		if err != nil {
			return 0, fmt.Errorf("read the headers: %w", err)
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch string(bytes.ToLower(name)) {
		case "content-length":
			length, _ = strconv.Atoi(string(bytes.TrimSpace(value)))
		case "transfer-encoding":
			chunked = true
		}
	}
	switch {
	case chunked:
		return status, c.dropChunks()
	case length < 0:
		return 0, errAnswer
	case status >= 400:
		c.out.Reset()
		_, err = io.CopyN(&c.out, c.in, int64(length))
	default:
		_, err = c.in.Discard(length)
	}
	if err != nil {
		return 0, fmt.Errorf("read the body: %w", err)
	}
	return status, nil
}

func (c *client) dropChunks() error {
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return fmt.Errorf("read a chunk: %w", err)
		}
		n, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 16, 64)
		if err != nil {
			return fmt.Errorf("read a chunk: %w", err)
		}
		if _, err := c.in.Discard(int(n) + 2); err != nil {
			return fmt.Errorf("read a chunk: %w", err)
		}
		if n == 0 {
			return nil
		}
	}
}

// outcome is what a load measured, without its warm-up.
type outcome struct {
	name      string
	inFlight  int
	offered   float64 // requests a second that were offered; 0: a closed loop
	rate      float64 // answers with 200 a second
	answered  int64   // answers with 200, those of the warm-up included
	failures  int64
	late      int64 // requests that were sent later than planned by more than 1 ms (open loop)
	latency   *hdr.Histogram
	seconds   []int64 // answers in each second
	serverCPU time.Duration
	database  time.Duration // CPU of PostgreSQL
	dropped   bool          // the signed requests ran out
}

func newHistogram() *hdr.Histogram { return hdr.New(1, 60_000_000, 3) } // microseconds

// load drives the server with requests, each used once. With offered > 0 each
// request has its planned moment, and its latency counts from that moment even
// when no connection was free to send it: that is what a user would have waited
// (coordinated omission).
func load(ctx context.Context, m *machine, name string, inFlight int, offered float64, o options, requests [][]byte) (*outcome, error) {
	clients := make([]*client, inFlight)
	for i := range clients {
		c, err := dial(m.address)
		if err != nil {
			return nil, err
		}
		defer func() { _ = c.conn.Close() }() // everything was read
		clients[i] = c
	}
	result := &outcome{name: name, inFlight: inFlight, offered: offered, latency: newHistogram(), seconds: make([]int64, int(o.measure/time.Second)+1)}
	var next, good, answered, bad, late atomic.Int64
	var mu sync.Mutex
	var firstErr error
	begin := time.Now()
	from, until := begin.Add(o.warm), begin.Add(o.warm+o.measure)
	var cpuFrom, databaseFrom time.Duration
	timer := time.AfterFunc(o.warm, func() { cpuFrom, databaseFrom = cpu(m.cmd.Process.Pid), m.databaseCPU() })
	defer timer.Stop()
	var work sync.WaitGroup
	for _, c := range clients {
		work.Go(func() {
			local, seconds := newHistogram(), make([]int64, len(result.seconds))
			for ctx.Err() == nil {
				n := next.Add(1) - 1
				start := time.Now()
				if offered > 0 {
					planned := begin.Add(time.Duration(float64(n) / offered * float64(time.Second)))
					if wait := planned.Sub(start); wait > 0 {
						time.Sleep(wait)
					}
					if time.Since(planned) > time.Millisecond && planned.After(from) {
						late.Add(1)
					}
					start = planned
				}
				if start.After(until) || int(n) >= len(requests) {
					break
				}
				status, err := c.do(requests[n])
				end := time.Now()
				if err != nil || status != 200 {
					bad.Add(1)
					mu.Lock()
					if firstErr == nil {
						firstErr = fmt.Errorf("status %d: %s: %w", status, c.out.String(), err)
					}
					mu.Unlock()
					if err != nil {
						break
					}
					continue
				}
				answered.Add(1)
				if start.Before(from) || end.After(until) {
					continue
				}
				good.Add(1)
				seconds[int(end.Sub(from)/time.Second)]++
				// It fails above a minute, and the deadlines are shorter.
				_ = local.RecordValue(end.Sub(start).Microseconds())
			}
			mu.Lock()
			result.latency.Merge(local)
			for i, n := range seconds {
				result.seconds[i] += n
			}
			mu.Unlock()
		})
	}
	work.Wait()
	took := min(time.Since(from), o.measure)
	result.dropped = int(next.Load()) > len(requests)
	result.serverCPU, result.database = cpu(m.cmd.Process.Pid)-cpuFrom, m.databaseCPU()-databaseFrom
	result.rate, result.answered, result.failures, result.late = float64(good.Load())/took.Seconds(), answered.Load(), bad.Load(), late.Load()
	if good.Load() == 0 {
		return nil, fmt.Errorf("%s: nothing succeeded: %w", name, firstErr)
	}
	if firstErr != nil {
		fmt.Println(name, "first failure:", firstErr)
	}
	return result, nil
}

// add joins an earlier part of the same measurement, nil for none.
func (o *outcome) add(earlier *outcome) *outcome {
	if earlier == nil {
		return o
	}
	seconds := func(o *outcome) float64 { return float64(o.latency.TotalCount()) / o.rate }
	took := seconds(o) + seconds(earlier)
	o.latency.Merge(earlier.latency)
	o.rate = float64(o.latency.TotalCount()) / took
	o.failures += earlier.failures
	o.serverCPU += earlier.serverCPU
	o.database += earlier.database
	return o
}

// each is the CPU of a request in microseconds: the server's, and PostgreSQL's.
func (o *outcome) each() (server, database float64) {
	n := float64(max(1, o.latency.TotalCount()))
	return float64(o.serverCPU.Microseconds()) / n, float64(o.database.Microseconds()) / n
}

// quantile returns a quantile of the latencies in milliseconds.
func (o *outcome) quantile(q float64) float64 { return float64(o.latency.ValueAtQuantile(q)) / 1000 }
