package e2e_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"mls-server/internal/authtest"
	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/pgtest"
	"mls-server/internal/redistest"
)

// cluster is several servers on one PostgreSQL and one Redis.
type cluster struct {
	servers []*e2e.Server
	redis   *redistest.Server
}

func newCluster(t *testing.T, n int, env e2e.Env) *cluster {
	t.Helper()
	c := &cluster{redis: redistest.Start(t)}
	dir, db := authtest.NewDirectory(t, nil), pgtest.New(t)
	shared := e2e.Env{"REDIS_URL": c.redis.URL(), "HASH_KEY": "the same on all servers"}
	for range n {
		c.servers = append(c.servers, e2e.StartOn(t, db, dir, shared, env))
	}
	return c
}

// at is the user as a client of the server number i, counted around.
func (c *cluster) at(u *e2e.User, i int) *e2e.User {
	return &e2e.User{Identity: u.Identity, Server: c.servers[i%len(c.servers)]}
}

// sizes are the clusters that every test of this file runs.
var sizes = []int{2, 3}

func inClusters(t *testing.T, env e2e.Env, run func(t *testing.T, c *cluster)) {
	t.Helper()
	for _, n := range sizes {
		t.Run(fmt.Sprintf("%d servers", n), func(t *testing.T) {
			t.Parallel()
			run(t, newCluster(t, n, env))
		})
	}
}

// refill is how many more requests a bucket of 20, and one a minute, may let through while a test
// runs, on a machine that is busy with other things.
const refill = 3

// All servers together count one allowance, of a user and of an address.
func TestClusterSharesLimits(t *testing.T) {
	t.Parallel()
	inClusters(t, e2e.Env{"RATE_LIMIT_SEND_MESSAGE": "1/20", "RATE_LIMIT_IP": "1/20"}, func(t *testing.T, c *cluster) {
		t.Helper()
		users := c.servers[0].Users(2)
		alice := users[0].Register(t, 1)
		users[1].Register(t, 1)
		chat := alice.Create(t)
		var sent, refused int
		for i := range 45 {
			a := c.at(alice.User, i).Post(t, mlsapi.MethodSendMessage, chat.Message(), nil)
			switch a.Status {
			case http.StatusOK:
				sent++
			case http.StatusTooManyRequests:
				refused++
				if a.Header.Get("Retry-After") == "" || a.Header.Get("RateLimit-Remaining") != "0" || a.Error != "RateLimitExceeded" {
					t.Errorf("429 with %v", a.Header)
				}
			default:
				t.Errorf("%d %s", a.Status, a.Error)
			}
		}
		if sent < 20 || sent > 20+refill {
			t.Errorf("%d sent and %d refused by all servers together, the limit is 20", sent, refused)
		}
		c.at(users[1], 1).Convos(t) // nobody else is disturbed

		sent = 0
		for i := range 45 {
			a := c.at(alice.User, i).Get(t, mlsapi.MethodGetEpoch, nil, "convoId", chat.ID)
			a.OK(t) // other classes neither
			if resp, _ := fetch(t, c.servers[i%len(c.servers)].URL+"/xrpc/"+mlsapi.MethodGetEpoch.NSID); resp.StatusCode == http.StatusUnauthorized {
				sent++
			}
		}
		if sent < 20 || sent > 20+refill {
			t.Errorf("%d calls without a token were looked at, the limit is 20", sent)
		}
	})
}

// All servers together count the streams of a user, those of one conversation included: a stream
// too many is refused wherever it is asked for, and another one has its place when it ends.
func TestClusterSharesStreams(t *testing.T) {
	t.Parallel()
	inClusters(t, e2e.Env{"STREAMS_PER_USER": "5"}, func(t *testing.T, c *cluster) {
		t.Helper()
		alice := c.servers[0].Users(1)[0]
		chat := alice.Register(t, 1).Create(t)
		for i := range 4 {
			c.at(alice, i).Follow(t, []string{"", "convoId=" + chat.ID}[i%2])
		}
		refused := func() {
			t.Helper()
			for i := range c.servers {
				a := c.at(alice, i).Get(t, mlsapi.MethodStreamConvoEvents, nil)
				if a.Want(t, http.StatusTooManyRequests, "RateLimitExceeded"); a.Header.Get("Retry-After") == "" {
					t.Errorf("429 with %v", a.Header)
				}
			}
		}
		t.Run("the fifth", func(t *testing.T) {
			c.at(alice, 1).Follow(t, "")
			refused()
		})
		// The server learns of the end when the connection is gone.
		eventually(t, "the place is free again", func() bool {
			free := false
			for i := range c.servers {
				free = free || c.at(alice, i).CanFollow(t)
			}
			return free
		})
		c.redis.Kill()
		// Each server goes on with its own.
		for i := range c.servers {
			c.at(alice, i).Follow(t, "")
		}
	})
}

// A token is accepted once by all servers together, however many race.
func TestClusterRefusesReplays(t *testing.T) {
	t.Parallel()
	inClusters(t, nil, func(t *testing.T, c *cluster) {
		t.Helper()
		c.replays(t, c.servers[0].Users(1)[0])
	})
}

// replays uses tokens many times, all at once and one after the other.
func (c *cluster) replays(t *testing.T, alice *e2e.User) {
	t.Helper()
	for range 3 {
		token := "Bearer " + strings.TrimPrefix(alice.Bearer(c.servers[0].DID, mlsapi.MethodGetConvos.NSID), "Bearer ")
		var mu sync.Mutex
		statuses := map[string]int{}
		var wg sync.WaitGroup
		use := func(i int) {
			a := c.at(alice, i).Peek(t, mlsapi.MethodGetConvos, e2e.Request{Authorization: token})
			mu.Lock()
			defer mu.Unlock()
			statuses[fmt.Sprint(a.Status, a.Error)]++
		}
		for i := range 12 {
			wg.Go(func() { use(i) })
		}
		wg.Wait()
		for i := range c.servers {
			use(i)
		}
		if statuses["200 "]+statuses["200"] != 1 || statuses["401 ReplayedToken"]+statuses["401ReplayedToken"] != 11+len(c.servers) {
			t.Errorf("one token many times: %v", statuses)
		}
	}
}

// What is sent to one server is seen on the streams of all, in one order, at once.
func TestClusterStreams(t *testing.T) {
	t.Parallel()
	inClusters(t, nil, func(t *testing.T, c *cluster) {
		t.Helper()
		alice, chat, streams := c.chat(t)
		for range 3 {
			c.timely(t, alice, chat, streams)
		}
		for i, s := range streams {
			seq := int64(0)
			for _, e := range s.Events() {
				if e.Kind == "message" && e.Seq <= seq {
					t.Errorf("stream %d: %d after %d", i, e.Seq, seq)
				} else if e.Kind == "message" {
					seq = e.Seq
				}
			}
		}
	})
}

// chat makes a conversation of two, and a stream of the second at each server.
func (c *cluster) chat(t *testing.T) (*e2e.Device, *e2e.Chat, []*e2e.Stream) {
	t.Helper()
	users := c.servers[0].Users(2)
	alice, bob := users[0].Register(t, 1), users[1].Register(t, 1)
	chat := alice.Create(t, users[1])
	bob.Confirm(t, chat, true)
	var streams []*e2e.Stream
	for i := range c.servers {
		streams = append(streams, c.at(users[1], i).Follow(t, ""))
	}
	return alice, chat, streams
}

// await waits until every stream has shown the message and says how long after begin that was.
func (c *cluster) await(t *testing.T, streams []*e2e.Stream, id string, begin time.Time) time.Duration {
	t.Helper()
	for _, s := range streams {
		eventually(t, "a stream shows "+id, func() bool {
			for _, e := range s.Events() {
				if e.MessageID == id {
					return true
				}
			}
			return false
		})
	}
	return time.Since(begin)
}

// Redis is killed and comes back empty while requests run: none fails, limits
// hold in each process, replays are refused, streams go on within a second.
func TestClusterLosesRedis(t *testing.T) {
	t.Parallel()
	inClusters(t, e2e.Env{"RATE_LIMIT_REPORT_MEMBER": "1/20"}, func(t *testing.T, c *cluster) {
		t.Helper()
		alice, chat, streams := c.chat(t)
		bob := c.servers[0].Users(1)[0]

		stop, done := make(chan struct{}), make(chan struct{})
		go func() { // requests all the time
			defer close(done)
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if a := c.at(alice.User, i).Post(t, mlsapi.MethodSendMessage, chat.Message(), nil); a.Status != http.StatusOK {
					t.Errorf("a send: %d %s", a.Status, a.Error)
				}
			}
		}()
		finish := sync.OnceFunc(func() { close(stop); <-done })
		defer finish()

		used := c.spend(t, alice.User, chat, 8) // of 20
		c.redis.Kill()
		// Each process goes on with its own count, which includes what it saw before.
		if n := c.spend(t, alice.User, chat, 25*len(c.servers)); n > 20*len(c.servers)-used+refill*len(c.servers) {
			t.Errorf("%d requests passed without Redis, %d servers with a limit of 20", n, len(c.servers))
		}
		if n := c.spend(t, alice.User, chat, 2*len(c.servers)); n > refill {
			t.Errorf("%d more passed", n)
		}
		replayed := "Bearer " + strings.TrimPrefix(bob.Bearer(c.servers[0].DID, mlsapi.MethodGetConvos.NSID), "Bearer ")
		c.at(bob, 0).Peek(t, mlsapi.MethodGetConvos, e2e.Request{Authorization: replayed}).OK(t)
		c.at(bob, 1).Peek(t, mlsapi.MethodGetConvos, e2e.Request{Authorization: replayed}).Want(t, http.StatusUnauthorized, "ReplayedToken")
		c.replays(t, bob)
		c.timely(t, alice, chat, streams)

		c.redis.Restart(t)
		// Back and empty: what was used up stays used up in each process.
		if n := c.spend(t, alice.User, chat, 2*len(c.servers)); n > refill*len(c.servers) {
			t.Errorf("%d requests passed when Redis came back", n)
		}
		for i := range c.servers {
			c.at(bob, i).Peek(t, mlsapi.MethodGetConvos, e2e.Request{Authorization: replayed}).Want(t, http.StatusUnauthorized, "ReplayedToken")
		}
		c.replays(t, bob)
		c.timely(t, alice, chat, streams)
		finish()
		for _, s := range c.servers {
			if n := observations(scrape(t, s), "mls_redis_fallbacks_total"); n == 0 {
				t.Error("no decision without Redis was counted")
			}
			for series, n := range scrape(t, s) {
				if strings.HasPrefix(series, "mls_requests_total") && (strings.Contains(series, "InternalServerError") || strings.Contains(series, "NotEnoughResources")) && n > 0 {
					t.Errorf("%s: %v", series, n)
				}
			}
			if strings.Contains(s.Logs.String(), c.redis.Socket()) {
				t.Error("the address of Redis was logged")
			}
		}
	})
}

// timely fails the test when the streams show messages later than a second
// after they were acknowledged. The fastest of three counts, since the machine
// may be busy with other things.
func (c *cluster) timely(t *testing.T, alice *e2e.Device, chat *e2e.Chat, streams []*e2e.Stream) {
	t.Helper()
	for i := range c.servers {
		fastest := time.Hour
		for range 3 {
			out := c.at(alice.User, i).Send(t, chat)
			fastest = min(fastest, c.await(t, streams, out.MessageID, time.Now()))
		}
		if fastest > time.Second {
			t.Errorf("messages sent to server %d took %v", i, fastest)
		}
	}
}

// spend makes n calls of a limited class, at all servers in turn, and returns
// how many were not refused.
func (c *cluster) spend(t *testing.T, u *e2e.User, chat *e2e.Chat, n int) (passed int) {
	t.Helper()
	for i := range n {
		_, a := c.at(u, i).Report(t, chat, u, "spam")
		switch {
		case a.Status >= http.StatusInternalServerError:
			t.Errorf("a report: %d %s", a.Status, a.Error)
		case a.Status != http.StatusTooManyRequests:
			passed++
		}
	}
	return passed
}
