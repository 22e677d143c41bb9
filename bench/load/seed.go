package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"mls-server/client/sealed"
	"mls-server/internal/clock"
	"mls-server/internal/mls"
)

const (
	conversations = 1000
	users         = 100
	bucketSize    = 1024
	epoch         = 1
	claimPackages = 400_000
	claimOwners   = 4000
)

// convo is a conversation and the users who send in it.
type convo struct {
	id    mls.ConvoID
	group [16]byte
	users []*identity
	// sendKey is that of sealed sends.
	sendKey [sealed.KeySize]byte
}

// seed writes people, conversations of two users, and those of particular
// sizes that flatness is measured on.
func seed(ctx context.Context, m *machine, r *report) error {
	for n := range users {
		i, err := m.directory.newIdentity(n)
		if err != nil {
			return err
		}
		m.people = append(m.people, i)
	}
	conn, err := m.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	now := clock.Bucket(time.Now())
	var all []convo
	for n := range conversations {
		// The first user is in all of them: getConvos has 1,000 to show.
		c := newConvo(m.people[0], m.people[1+n%(users-1)])
		m.convos, all = append(m.convos, c), append(all, c)
	}
	for n := range pageConvos {
		c := newConvo(m.people[1+n%(users-1)], m.people[1+(n+1)%(users-1)])
		m.pages, all = append(m.pages, c), append(all, c)
	}
	for _, name := range []string{"thousand", "million", "crowd"} {
		c := newConvo(m.people[1], m.people[2])
		m.flat[name], all = c, append(all, c)
	}
	var rows, members [][]any
	for _, c := range all {
		rows = append(rows, []any{c.id, hex.EncodeToString(c.group[:]), c.users[0].did, 1, epoch, now, now})
		for _, u := range c.users {
			members = append(members, []any{c.id, u.did, u.did, now, epoch, 0, true})
		}
	}
	for n := range 1998 {
		did := fmt.Sprintf("did:plc:crowd%d", n)
		members = append(members, []any{m.flat["crowd"].id, did, did, now, epoch, 0, false})
	}
	if _, err := conn.CopyFrom(ctx, pgx.Identifier{"conversations"}, []string{"id", "group_id", "creator_did", "cipher_suite", "epoch", "created_at", "last_activity_at"}, pgx.CopyFromRows(rows)); err != nil {
		return fmt.Errorf("seed conversations: %w", err)
	}
	if _, err := conn.CopyFrom(ctx, pgx.Identifier{"members"}, []string{"convo_id", "user_did", "mls_did", "joined_at", "join_epoch", "join_seq", "is_admin"}, pgx.CopyFromRows(members)); err != nil {
		return fmt.Errorf("seed members: %w", err)
	}
	for name, n := range map[string]int{"thousand": 1000, "million": r.options.history} {
		if err := fillHistory(ctx, conn, m.flat[name].id, n, bucketSize, now); err != nil {
			return err
		}
	}
	if err := seedSendKeys(ctx, conn, m.convos); err != nil {
		return err
	}
	_, err = conn.Exec(ctx, `INSERT INTO key_packages (owner_did, ref, sha256, cipher_suite, key_package, expires_at, created_at)
		SELECT 'did:plc:owner' || i % $1::int, sha256(i::text::bytea), sha256(i::text::bytea), 1, sha256(i::text::bytea), now() + interval '30 days', now() FROM generate_series(1, $2::int) i`,
		claimOwners, claimPackages)
	if err != nil {
		return fmt.Errorf("seed key packages: %w", err)
	}
	for _, statement := range []string{"VACUUM ANALYZE", "CHECKPOINT"} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

func newConvo(people ...*identity) convo {
	c := convo{users: people}
	_, _ = rand.Read(c.group[:]) // never fails
	c.id = mls.NewConvoID(time.Now(), mls.GroupIDFromBytes(c.group[:]))
	return c
}

// fillHistory writes n messages of a size.
func fillHistory(ctx context.Context, conn *pgx.Conn, id mls.ConvoID, n, size int, now time.Time) error {
	_, err := conn.Exec(ctx, `INSERT INTO messages (convo_id, seq, msg_id, kind, epoch, ciphertext, padded_size, received_bucket_ts)
		SELECT $1, i, lpad(i::text, 26, '0'), 1, 1, decode(repeat(md5(i::text), $4::int / 16), 'hex'), $4, $3 FROM generate_series(1, $2) i`, id, n, now, size)
	if err != nil {
		return fmt.Errorf("seed messages: %w", err)
	}
	if _, err := conn.Exec(ctx, "UPDATE conversations SET last_seq = $2 WHERE id = $1", id, n); err != nil {
		return fmt.Errorf("seed messages: %w", err)
	}
	return nil
}

// ciphertext is an MLSMessage with a PrivateMessage of the group (RFC 9420,
// sections 6 and 6.3), of size bytes: a power of two from 512 to 16 KiB, or a multiple of 4 above.
func (c *convo) ciphertext(size int) []byte {
	b := append([]byte{0, 1, 0, 2, 16}, c.group[:]...)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, epoch, 1, 0) // epoch, application, no authenticated data
	b = append(b, 28)
	secret := make([]byte, size-len(b))
	_, _ = rand.Read(secret) // never fails
	// The length of the ciphertext: two bytes up to 16 KiB, four above.
	if n := len(secret) - 28 - 2; n < 1<<14 {
		binary.BigEndian.PutUint16(secret[28:], 1<<14|uint16(n))
	} else {
		binary.BigEndian.PutUint32(secret[28:], 2<<30|uint32(n-2)) //nolint:gosec // at most 10 MiB
	}
	return append(b, secret...)
}

const prefix = "blue.catbird.mls."

// sendRequest is a whole HTTP request that sends a message of bucketSize.
func (m *machine) sendRequest(c convo, sender *identity) ([]byte, error) {
	return m.sendSized(c, sender, bucketSize)
}

// sendSized sends a message of size bytes.
func (m *machine) sendSized(c convo, sender *identity, size int) ([]byte, error) {
	token, err := sender.token(prefix + "sendMessage")
	if err != nil {
		return nil, err
	}
	id := mls.NewMessageID(time.Now())
	body := fmt.Sprintf(`{"convoId":%q,"msgId":%q,"idempotencyKey":%q,"ciphertext":{"$bytes":%q},"epoch":%d,"paddedSize":%d}`,
		c.id, id, id, base64.RawStdEncoding.EncodeToString(c.ciphertext(size)), epoch, size)
	return fmt.Appendf(nil, "POST /xrpc/%ssendMessage HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		prefix, m.address, token, len(body), body), nil
}

// readRequest is a whole HTTP request of a query.
func (m *machine) readRequest(method, query string, caller *identity) ([]byte, error) {
	token, err := caller.token(prefix + method)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "GET /xrpc/%s%s?%s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n", prefix, method, query, m.address, token), nil
}

// prepare makes n requests on all processors.
func prepare(n int, request func(i int) ([]byte, error)) ([][]byte, error) {
	requests := make([][]byte, n)
	errs := make([]error, runtime.NumCPU())
	var work sync.WaitGroup
	for w := range errs {
		work.Go(func() {
			for i := w; i < n && errs[w] == nil; i += len(errs) {
				requests[i], errs[w] = request(i)
			}
		})
	}
	work.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return requests, nil
}
