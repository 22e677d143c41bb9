package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"
)

// largeSize is the largest message, in bytes.
const largeSize = 10 << 20

// largeFigures is what large messages cost the server, in bytes and answers.
type largeFigures struct {
	one                   float64 // resident memory at its peak less that before
	peak                  int64   // resident memory at its peak with largeAtOnce
	accepted, busy, other int
}

// largeAtOnce is how many large messages come at the same time.
const largeAtOnce = 100

// measureLarge sends one large message to a fresh server and then many at once.
func measureLarge(ctx context.Context, m *machine, r *report) error {
	if _, err := m.startServer(ctx); err != nil {
		return err
	}
	send := func(request []byte) (int, error) {
		c, err := dial(m.address)
		if err != nil {
			return 0, err
		}
		defer func() { _ = c.conn.Close() }() // everything was read
		// The answer may come, and be the last word, while the request is still being sent.
		go func() { _, _ = c.conn.Write(request) }()
		return c.answer()
	}
	// A small message first: connections, caches and pools are not the large one's.
	small, err := m.sendRequest(m.convos[0], m.convos[0].users[0])
	if err != nil {
		return err
	}
	if status, err := send(small); err != nil || status != http.StatusOK {
		return fmt.Errorf("a small message: status %d: %w", status, err)
	}
	_, before := rss(m.cmd.Process.Pid)
	first, err := m.sendSized(m.convos[0], m.convos[0].users[0], largeSize)
	if err != nil {
		return err
	}
	if status, err := send(first); err != nil || status != http.StatusOK {
		return fmt.Errorf("a message of 10 MiB: status %d: %w", status, err)
	}
	_, after := rss(m.cmd.Process.Pid)
	r.large.one = float64(after - before)
	requests, err := prepare(largeAtOnce, func(i int) ([]byte, error) {
		c := m.convos[i]
		return m.sendSized(c, c.users[i%2], largeSize)
	})
	if err != nil {
		return err
	}
	var work sync.WaitGroup
	var mu sync.Mutex
	for _, request := range requests {
		work.Go(func() {
			status, err := send(request)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil && status == http.StatusOK:
				r.large.accepted++
			case err == nil && status == http.StatusServiceUnavailable:
				r.large.busy++
			default:
				r.large.other++
				fmt.Println("a large message:", status, err)
			}
		})
	}
	work.Wait()
	_, r.large.peak = rss(m.cmd.Process.Pid)
	return nil
}
