package blocks_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"mls-server/internal/auth"
	"mls-server/internal/authtest"
	"mls-server/internal/blocks"
	"mls-server/internal/blocks/blockstest"
	"mls-server/internal/clock/clocktest"
	"mls-server/internal/egress"
	"mls-server/internal/mls"
	"mls-server/internal/pgtest"
	"mls-server/internal/store"
)

// env is a network of servers, and what asks them.
type env struct {
	clock   *clocktest.Manual
	dir     *authtest.Directory
	network *blockstest.Server
	client  *egress.Client
	store   *store.Store
	exec    func(t *testing.T, statement string, args ...any)
	rows    func(t *testing.T, query string) []string
	pds     *blocks.PDS
	appview *blocks.AppView
}

func newEnv(t *testing.T) *env {
	t.Helper()
	clk := clocktest.New()
	dir, network := authtest.NewDirectory(t, clk), blockstest.New(t, clk)
	client, err := egress.New(egress.Config{Allow: append(dir.HostPorts(), network.HostPort())})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdle)
	url := pgtest.New(t)
	s, err := store.New(t.Context(), store.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	pool := pgtest.Open(t, url)
	pds := blocks.NewPDS(client, auth.NewResolver(auth.ResolverConfig{Client: client, PLCURL: dir.URL(), Clock: clk}), clk)
	return &env{
		clock: clk, dir: dir, network: network, client: client, store: s, pds: pds,
		appview: blocks.NewAppView(client, network.URL()+"/", pds, clk),
		exec: func(t *testing.T, statement string, args ...any) {
			t.Helper()
			if _, err := pool.Exec(t.Context(), statement, args...); err != nil {
				t.Fatal(err)
			}
		},
		rows: func(t *testing.T, query string) []string {
			t.Helper()
			var out []string
			if err := pool.QueryRow(t.Context(), "SELECT array_agg(q.text) FROM ("+query+") AS q (text)").Scan(&out); err != nil {
				t.Fatal(err)
			}
			return out
		},
	}
}

// resolver finds the accounts' servers.
func (e *env) resolver(client *egress.Client) *auth.Resolver {
	return auth.NewResolver(auth.ResolverConfig{Client: client, PLCURL: e.dir.URL(), Clock: e.clock})
}

// service asks the accounts' servers and, if given, an AppView.
func (e *env) service(view *blocks.AppView, failClosed bool) *blocks.Service {
	return blocks.New(blocks.Config{
		Cache: e.store, PDS: e.pds, AppView: view, FailClosed: failClosed, Observe: func(string) {}, Clock: e.clock,
	})
}

// users makes accounts with a PDS.
func (e *env) users(n int) []mls.DID {
	out := make([]mls.DID, n)
	for i := range out {
		id := e.dir.NewIdentity(authtest.P256)
		id.SetPDS(e.network.URL())
		e.network.AddAccount(id.DID)
		out[i] = id.DID
	}
	return out
}

// converse puts users into a conversation.
func (e *env) converse(t *testing.T, users ...mls.DID) {
	t.Helper()
	id := mls.NewConvoID(time.Now(), "00")
	e.exec(t, `INSERT INTO conversations (id, group_id, creator_did, cipher_suite, epoch, last_seq, created_at, last_activity_at, last_message_bucket_ts)
		SELECT $1, md5($1), $2, 1, 0, 0, t, t, t FROM date_bin('2 seconds', now(), '2000-01-01 00:00:00+00') t`, string(id), string(users[0]))
	err := e.store.InTx(t.Context(), func(tx *store.Tx) error {
		members := make([]store.NewMember, len(users))
		for i, u := range users {
			members[i] = store.NewMember{User: u, MLSDID: string(u)}
		}
		return tx.UpsertMembers(t.Context(), id, members, store.Place{At: e.clock.Now()})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// lists is how often lists of blocks were asked for, one page each in these tests.
func (e *env) lists() int { return e.network.Requests(blockstest.ListRecords) }

// calls is how often the AppView was asked.
func (e *env) calls() int { return e.network.Requests(blockstest.GetRelationships) }

func between(t *testing.T, s *blocks.Service, caller mls.DID, dids []mls.DID) blocks.Answer {
	t.Helper()
	a, err := s.Between(t.Context(), caller, dids)
	if err != nil {
		t.Fatalf("between: %v", err)
	}
	return a
}

func pairsOf(a blocks.Answer) string {
	var b strings.Builder
	for _, x := range a.Blocks {
		fmt.Fprintf(&b, "%s>%s ", x.Blocker, x.Blocked)
	}
	return b.String()
}
