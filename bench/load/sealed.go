package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"mls-server/client/sealed"
	"mls-server/internal/mls"
)

// seedSendKeys gives each conversation a key for sealed sends of the epoch, as its first user
// would.
func seedSendKeys(ctx context.Context, conn *pgx.Conn, convos []convo) error {
	var rows [][]any
	for n := range convos {
		c := &convos[n]
		noise := make([]byte, 7*sealed.KeySize)
		_, _ = rand.Read(c.sendKey[:]) // never fails
		_, _ = rand.Read(noise)
		present := append(c.sendKey[:], noise[:3*sealed.KeySize]...)
		rows = append(rows, []any{c.id, 0, epoch, n + 1, present, noise[3*sealed.KeySize:], []string{c.users[0].did}, len(c.users)})
	}
	_, err := conn.CopyFrom(ctx, pgx.Identifier{"send_keys"}, []string{"convo_id", "generation", "epoch", "mark", "present", "former", "givers", "users"}, pgx.CopyFromRows(rows))
	if err != nil {
		return fmt.Errorf("seed send keys: %w", err)
	}
	return nil
}

// sealedRequest is a whole HTTP request that sends a message of bucketSize without a token.
func (m *machine) sealedRequest(c convo) []byte {
	id, ciphertext := string(mls.NewMessageID(time.Now())), c.ciphertext(bucketSize)
	proof := sealed.Proof(c.sendKey[:], string(c.id), epoch, id, ciphertext)
	text := base64.RawStdEncoding.EncodeToString
	body := fmt.Sprintf(`{"convoId":%q,"msgId":%q,"ciphertext":{"$bytes":%q},"epoch":%d,"paddedSize":%d,"proof":{"$bytes":%q}}`,
		c.id, id, text(ciphertext), epoch, bucketSize, text(proof))
	return fmt.Appendf(nil, "POST /xrpc/%ssendSealed HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		prefix, m.address, len(body), body)
}

// measureSealed sends with tokens and without by turns, so that both meet the same machine.
func measureSealed(ctx context.Context, m *machine, r *report) error {
	return m.alternate(ctx, r, r.options, []kind{
		{"send, 64 in flight", 64, func(i int) ([]byte, error) { c, u := m.turn(i); return m.sendRequest(c, u) }},
		{"sealed send, 64 in flight", 64, func(i int) ([]byte, error) { c, _ := m.turn(i); return m.sealedRequest(c), nil }},
	})
}
