package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"mls-server/internal/clock"
)

const (
	pageConvos   = 200 // conversations that pages are read of
	pageMessages = 200 // messages in each
	pageBucket   = 2048
	pageSize     = 50
	pageReaders  = 16 // pages that are read at once
)

// seedPages fills the conversations that pages are read of, if they are empty.
func (m *machine) seedPages(ctx context.Context) error {
	if m.pagesFilled {
		return nil
	}
	m.pagesFilled = true
	conn, err := m.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	for _, c := range m.pages {
		if err := fillHistory(ctx, conn, c.id, pageMessages, pageBucket, clock.Bucket(time.Now())); err != nil {
			return err
		}
	}
	if _, err := conn.Exec(ctx, "VACUUM ANALYZE messages"); err != nil {
		return fmt.Errorf("seed pages: %w", err)
	}
	return m.tell(ctx, "bench_pages", m.pages)
}

// pageScript reads the rows of a page of getMessages by the index that it uses.
const pageScript = `\set n random(0, %d)
\set after random(0, %d)
SELECT convo_id, seq, msg_id, kind, epoch, ciphertext, received_bucket_ts FROM messages
 WHERE convo_id = (SELECT id FROM bench_pages WHERE n = :n) AND seq > :after ORDER BY seq LIMIT %d;
`

// measurePages reads pages with the server and with pgbench by turns.
func measurePages(ctx context.Context, m *machine, r *report) error {
	if err := m.seedPages(ctx); err != nil {
		return err
	}
	script := fmt.Sprintf(pageScript, len(m.pages)-1, pageMessages-pageSize, pageSize)
	for range turns {
		tps, err := m.runPgbench(ctx, pageReaders, r.options.measure/turns, script)
		if err != nil {
			return err
		}
		r.pagesByPgbench = append(r.pagesByPgbench, tps)
		if err := m.turnOf(ctx, r, r.options, kind{"page of 50 × 2 KiB, 16 in flight", pageReaders, m.pageRequest}); err != nil {
			return err
		}
	}
	return nil
}

func (m *machine) pageRequest(i int) ([]byte, error) {
	c := m.pages[i%len(m.pages)]
	after := rand.IntN(pageMessages - pageSize + 1) //nolint:gosec // a load
	return m.readRequest("getMessages", fmt.Sprintf("limit=%d&convoId=%s&sinceSeq=%d", pageSize, c.id, after), c.users[i%2])
}
