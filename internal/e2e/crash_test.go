package e2e_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/authtest"
	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
	"mls-server/internal/pgtest"
	"mls-server/lexrt"
)

var crashTime = flag.Duration("crash.time", 15*time.Second, "how long the crash test keeps up its load")

// done is a request with its final answer.
type done struct {
	user   *e2e.User
	method *lexrt.Method
	body   []byte
	answer e2e.Answer
}

// load is what the writers have done.
type load struct {
	t     *testing.T
	chats []*loadChat
	users []*e2e.User
	stop  atomic.Bool

	mu       sync.Mutex
	keyed    []done // writes that may be repeated
	sent     map[string]int64
	refused  map[string]bool // messages that were finally not accepted
	packages map[string]int
	// reusable are the last-resort packages of the guests.
	reusable map[mls.DID][]mlsapi.DefsKeyPackageRef
	tries    int
	broken   int // tries that got no answer, or a failure
}

type loadChat struct {
	*e2e.Chat
	epoch   atomic.Int64
	commits atomic.Int64
}

// persist repeats a request until it gets a final answer: a crash or a cut
// connection leaves the client in doubt, and the same request settles it.
func (l *load) persist(u *e2e.User, m *lexrt.Method, body []byte) e2e.Answer {
	for {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(l.t.Context()), 10*time.Second)
		a, err := u.Try(ctx, m, e2e.Request{Body: body})
		cancel()
		l.mu.Lock()
		l.tries++
		// A server that has just started takes no token of before its start.
		final := err == nil && a.Status < 500 && a.Error != "IdempotencyInProgress" && a.Error != "JwtExpired"
		if !final {
			l.broken++
		}
		l.mu.Unlock()
		if final {
			return a
		}
		time.Sleep(time.Duration(5+rand.IntN(20)) * time.Millisecond)
	}
}

func (l *load) keep(u *e2e.User, m *lexrt.Method, body []byte) e2e.Answer {
	a := l.persist(u, m, body)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.keyed = append(l.keyed, done{u, m, body, a})
	return a
}

func (l *load) send(u *e2e.User, c *loadChat, commit bool) {
	group := c.Group.At(mls.Epoch(c.epoch.Load()))
	raw := group.Application(200)
	if commit {
		raw = group.PrivateCommit()
	}
	in := (&e2e.Chat{ID: c.ID, Group: group}).Message()
	in.Ciphertext = mlstest.PadDirect(raw, 0)
	in.PaddedSize = int64(len(in.Ciphertext))
	body := in.AppendJSON(nil)
	a := l.keep(u, mlsapi.MethodSendMessage, body)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch a.Error {
	case "":
		var out mlsapi.SendMessageOutput
		if err := out.UnmarshalJSON(a.Body); err != nil {
			l.t.Error(err)
		}
		l.sent[c.ID+" "+in.MsgID] = out.Seq
		if commit {
			c.commits.Add(1)
			c.epoch.CompareAndSwap(int64(group.Epoch), int64(group.Epoch)+1)
		}
	case "EpochMismatch":
		l.refused[c.ID+" "+in.MsgID] = true
		c.catchUp(a.Message)
	default:
		l.t.Errorf("send: %d %s %s", a.Status, a.Error, a.Message)
	}
}

// catchUp reads the current epoch out of an EpochMismatch.
func (c *loadChat) catchUp(message string) {
	for _, word := range strings.FieldsFunc(message, func(r rune) bool { return r < '0' || r > '9' }) {
		var n int64
		if _, err := fmt.Sscan(word, &n); err == nil && n > c.epoch.Load() {
			c.epoch.Store(n)
		}
	}
}

// claim takes a key package of another member.
func (l *load) claim(u, target *e2e.User) {
	body, err := u.Try(context.WithoutCancel(l.t.Context()), mlsapi.MethodGetKeyPackages, e2e.Request{Query: map[string][]string{"dids": {string(target.DID)}}})
	if err != nil || body.Status != http.StatusOK {
		return // what a lost answer has claimed is lost
	}
	var out mlsapi.GetKeyPackagesOutput
	if err := out.UnmarshalJSON(body.Body); err != nil {
		l.t.Error(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range out.KeyPackages {
		l.packages[*p.KeyPackageHash]++
	}
}

// create makes a conversation with a key: repeated, it is one conversation.
func (l *load) create(u *e2e.User) {
	group := mlstest.NewGroup(mls.SuiteX25519AES128)
	in := &mlsapi.CreateConvoInput{
		GroupID: string(group.GroupID()), IdempotencyKey: e2e.Key(), CipherSuite: mlsapi.CreateConvoInputCipherSuite(mls.SuiteX25519AES128.String()),
	}
	if a := l.keep(u, mlsapi.MethodCreateConvo, in.AppendJSON(nil)); a.Status != http.StatusOK {
		l.t.Errorf("create: %d %s %s", a.Status, a.Error, a.Message)
	}
}

// addMember adds a user who comes and goes, by a commit with a key, and takes it out again.
func (l *load) addMember(u, guest *e2e.User, c *loadChat) {
	epoch := c.epoch.Load()
	chat := &e2e.Chat{ID: c.ID, Group: c.Group.At(mls.Epoch(epoch))}
	in := e2e.AdditionOf(chat, l.reusable[guest.DID], guest.DID)
	a := l.keep(u, mlsapi.MethodAddMembers, in.AppendJSON(nil))
	switch a.Error {
	case "":
		c.commits.Add(1)
		c.epoch.CompareAndSwap(epoch, epoch+1)
	case "EpochMismatch":
		c.catchUp(a.Message)
	case "AlreadyMember":
		out := &mlsapi.RemoveMemberInput{ConvoID: c.ID, TargetDID: guest.DID, IdempotencyKey: *e2e.Key()}
		if a := l.keep(l.users[0], mlsapi.MethodRemoveMember, out.AppendJSON(nil)); a.Status != http.StatusOK && a.Error != "NotMember" {
			l.t.Errorf("remove: %d %s %s", a.Status, a.Error, a.Message)
		}
	default:
		l.t.Errorf("add: %d %s %s", a.Status, a.Error, a.Message)
	}
}

func (l *load) run(u, guest *e2e.User) {
	for !l.stop.Load() {
		c := l.chats[rand.IntN(len(l.chats))]
		switch n := rand.IntN(100); {
		case n < 70:
			l.send(u, c, false)
		case n < 80:
			l.send(u, c, true)
		case n < 88:
			l.claim(u, l.users[rand.IntN(len(l.users))])
		case n < 92:
			l.create(u)
		default:
			l.addMember(u, guest, c)
		}
	}
}

// The server is killed under load and the database's connections are cut; what
// was answered stays, what was not is all or nothing, and the same request gets
// the same answer afterwards (I1, I2, I3, I4, I5, I6).
func TestCrash(t *testing.T) {
	t.Parallel()
	p := e2e.StartProcess(t, e2e.Binary(t), pgtest.New(t), authtest.NewDirectory(t, nil))
	db := pgtest.Open(t, p.DatabaseURL)
	l := &load{t: t, sent: map[string]int64{}, refused: map[string]bool{}, packages: map[string]int{}}
	l.users = p.Users(8)
	for _, u := range l.users {
		u.Register(t, 100)
	}
	guests := p.Users(4)
	l.reusable = map[mls.DID][]mlsapi.DefsKeyPackageRef{}
	for _, guest := range guests {
		guest.RegisterLastResort(t)
		l.reusable[guest.DID] = l.users[0].Claim(t, guest.DID)
	}
	for range 3 {
		chat := l.users[0].Create(t, l.users[1:]...)
		c := &loadChat{Chat: chat}
		c.epoch.Store(int64(chat.Group.Epoch))
		l.chats = append(l.chats, c)
	}
	var wg sync.WaitGroup
	for i, u := range l.users {
		wg.Go(func() { l.run(u, guests[i%len(guests)]) })
	}
	kills, cuts := 0, 0
	for end := time.Now().Add(*crashTime); time.Now().Before(end); {
		time.Sleep(time.Duration(20+rand.IntN(600)) * time.Millisecond)
		if rand.IntN(2) == 0 {
			p.Kill()
			p.Restart(t)
			kills++
			continue
		}
		_, err := db.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
		require.NoError(t, err)
		cuts++
	}
	l.stop.Store(true)
	wg.Wait()
	t.Logf("%d kills, %d cuts; %d tries, %d of them without an answer; %d messages kept", kills, cuts, l.tries, l.broken, len(l.sent))
	require.Positive(t, kills)
	require.Positive(t, cuts)

	l.checkMessages(t, p.Server)
	for ref, n := range l.packages {
		assert.Equal(t, 1, n, "I4: package %s was handed out more than once", ref)
	}
	checkInvariants(t, p.Server)
	for _, c := range l.chats {
		assert.Len(t, rowsOf(t, p.Server, "SELECT epoch FROM commits WHERE convo_id = (SELECT g.convo_id FROM convo_groups g WHERE g.group_id = $1)", c.ID), int(c.commits.Load()), "I6: commits that were acknowledged and commits that are there")
	}
	// The same requests again, in another order.
	rand.Shuffle(len(l.keyed), func(i, j int) { l.keyed[i], l.keyed[j] = l.keyed[j], l.keyed[i] })
	repeated := 0
	for _, d := range l.keyed[:min(len(l.keyed), 1500)] {
		// Errors that depend on what may change are judged anew.
		if d.answer.Status != http.StatusOK && d.answer.Error != "EpochMismatch" {
			continue
		}
		again := l.persist(d.user, d.method, d.body)
		repeated++
		if d.answer.Error == "EpochMismatch" { // the epoch and the turn are those of now
			assert.Equal(t, d.answer.Error, again.Error)
			continue
		}
		assert.Equal(t, string(d.answer.Body), string(again.Body), d.method.NSID)
	}
	t.Logf("%d of %d requests repeated", repeated, len(l.keyed))
	checkInvariants(t, p.Server)
}

// checkMessages: what was acknowledged is there at its seq, and nothing else is.
func (l *load) checkMessages(t *testing.T, s *e2e.Server) {
	t.Helper()
	// addMembers and removeMember name their commits by themselves; those are counted elsewhere.
	rows := rowsOf(t, s, `SELECT (SELECT g.group_id FROM convo_groups g WHERE g.convo_id = m.convo_id AND g.generation = 0) || ' ' || msg_id, seq FROM messages m
		WHERE msg_id = ANY ($1) OR NOT EXISTS (SELECT FROM commits c WHERE c.convo_id = m.convo_id AND c.seq = m.seq)`, l.sentIDs())
	stored := map[string]string{}
	for _, row := range rows {
		stored[row[0]] = row[1]
	}
	for name, seq := range l.sent {
		assert.Equal(t, strconv.FormatInt(seq, 10), stored[name], "I6: an acknowledged message is lost or moved")
	}
	for name := range l.refused {
		assert.NotContains(t, stored, name, "a refused message is there")
	}
	assert.Len(t, stored, len(l.sent), "messages that nobody was told of")
}

func (l *load) sentIDs() []string {
	var ids []string
	for name := range l.sent {
		_, id, _ := strings.Cut(name, " ")
		ids = append(ids, id)
	}
	return ids
}

// broken are queries that find nothing while the invariants of docs/invariants.md hold.
var broken = map[string]string{
	"I1: one standing commit for each epoch, and an epoch for each": `
		SELECT c.id FROM conversations c LEFT JOIN commits k ON k.convo_id = c.id AND k.generation = c.generation AND k.void_seq IS NULL
		GROUP BY c.id HAVING count(k.epoch) > 0 AND (max(k.epoch) + 1 <> c.epoch OR max(k.epoch) - min(k.epoch) + 1 <> count(k.epoch))`,
	"I3: seqs without gap": `
		SELECT c.id FROM conversations c LEFT JOIN messages m ON m.convo_id = c.id
		GROUP BY c.id HAVING count(m.seq) <> c.last_seq OR coalesce(max(m.seq), 0) <> c.last_seq OR coalesce(min(m.seq), 1) <> 1`,
	"I3: events in the order of seqs": `
		SELECT convo_id FROM (
			SELECT convo_id, seq, lag(seq) OVER (PARTITION BY convo_id ORDER BY generation, log_xid, position) AS before
			FROM event_stream WHERE kind = 1) e
		WHERE seq <= before`,
	"I5: an event for each message": `
		SELECT m.convo_id FROM messages m LEFT JOIN event_stream e ON e.convo_id = m.convo_id AND e.seq = m.seq AND e.kind = 1
		GROUP BY m.convo_id, m.seq HAVING count(e.position) <> 1`,
	"I5: a message for each event": `
		SELECT e.convo_id FROM event_stream e LEFT JOIN messages m ON m.convo_id = e.convo_id AND m.seq = e.seq AND m.msg_id = e.message_id
		WHERE e.kind = 1 AND m.seq IS NULL`,
	"I5: an event for each epoch": `
		SELECT k.convo_id FROM commits k LEFT JOIN event_stream e ON e.convo_id = k.convo_id AND e.kind = 5 AND e.epoch = k.epoch + 1
		GROUP BY k.convo_id, k.epoch HAVING count(DISTINCT e.position) <> count(DISTINCT k.seq)`,
	"I5: as many joins as leaves, and one more for who is there": `
		SELECT m.convo_id, m.user_did FROM members m JOIN event_stream e ON e.convo_id = m.convo_id AND e.user_did = m.user_did AND e.kind IN (2, 3)
		WHERE NOT EXISTS (SELECT FROM event_stream r WHERE r.kind = 15 AND r.convo_id = m.convo_id AND r.user_did = m.user_did)
		  AND NOT EXISTS (SELECT FROM members o WHERE o.convo_id = m.convo_id AND o.user_did = m.user_did AND o.device_id <> m.device_id)
		GROUP BY m.convo_id, m.user_did, m.left_at
		HAVING count(*) FILTER (WHERE e.kind = 2) - count(*) FILTER (WHERE e.kind = 3) <> CASE WHEN m.left_at IS NULL THEN 1 ELSE 0 END`,
	"I5: the last of a user's joins and leaves says whether it is there": `
		SELECT m.convo_id, m.user_did
		FROM (SELECT convo_id, user_did, bool_or(left_at IS NULL) AS there FROM members GROUP BY convo_id, user_did) m
		CROSS JOIN LATERAL (
			SELECT e.kind FROM event_stream e WHERE e.convo_id = m.convo_id AND e.user_did = m.user_did AND e.kind IN (2, 3)
			ORDER BY e.generation DESC, e.log_xid DESC, e.position DESC LIMIT 1) last
		WHERE (last.kind = 2) <> m.there
		  AND NOT EXISTS (SELECT FROM event_stream r WHERE r.kind = 15 AND r.convo_id = m.convo_id AND r.user_did = m.user_did)`,
	"a deleted device has nothing left": `
		SELECT d.user_did FROM deleted_devices d
		WHERE EXISTS (SELECT FROM members m WHERE m.user_did = d.user_did AND m.device_id = d.device_id AND m.left_at IS NULL)
		   OR EXISTS (SELECT FROM pending_welcomes p WHERE p.user_did = d.user_did AND p.device_id = d.device_id AND p.status = 'open')
		   OR EXISTS (SELECT FROM key_packages k WHERE k.owner_did = d.user_did AND k.device_id = d.device_id AND k.consumed_at IS NULL)
		   OR EXISTS (SELECT FROM user_devices u WHERE u.device_id = d.device_id)`,
	"I5: an audit row for each removal": `
		SELECT e.convo_id FROM event_stream e WHERE e.kind = 3 AND NOT EXISTS (
			SELECT FROM event_stream r WHERE r.kind = 15 AND r.convo_id = e.convo_id AND r.user_did = e.user_did AND r.log_xid = e.log_xid)
		GROUP BY e.convo_id HAVING count(*) <> (SELECT count(*) FROM admin_actions a WHERE a.convo_id = e.convo_id AND a.action = 'remove')`,
	"I4: a package of a Welcome is used": `
		SELECT r.convo_id FROM welcome_routes r LEFT JOIN key_packages k ON k.ref = r.key_package_ref WHERE k.consumed_at IS NULL`,
	"I7: no sender": `SELECT convo_id FROM messages WHERE sender_did IS NOT NULL`,
	"a conversation has an admin": `
		SELECT c.id FROM conversations c WHERE NOT EXISTS (SELECT FROM members m WHERE m.convo_id = c.id AND m.is_admin AND m.left_at IS NULL)`,
}

func checkInvariants(t *testing.T, s *e2e.Server) {
	t.Helper()
	checkInvariantsBut(t, s)
}

// checkInvariantsBut leaves out what cannot hold once something was erased.
func checkInvariantsBut(t *testing.T, s *e2e.Server, names ...string) {
	t.Helper()
	for name, query := range broken {
		if slices.Contains(names, name) {
			continue
		}
		assert.Empty(t, rowsOf(t, s, query), name)
	}
}
