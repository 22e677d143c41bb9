package app

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

var (
	errRedisURL     = errors.New("REDIS_URL cannot be parsed")
	errRedisCluster = errors.New("REDIS_URL leads to a node of a Redis Cluster, which is not supported: name a primary that stands alone, or a proxy that speaks for the cluster")
)

// openRedis returns a client that connects when it is first used.
func openRedis(url string) (*redis.Client, error) {
	opt, err := redis.ParseURL(url)
	if err != nil {
		// go-redis' own error repeats parts of the URL, which holds a password
		return nil, errRedisURL
	}
	// Else go-redis waits by its own timeouts, of seconds, whatever the deadline
	// of a call: a Redis that hangs would hold every request.
	opt.ContextTimeoutEnabled = true
	silenceRedis()
	return redis.NewClient(opt), nil
}

// redisStartWait is how long Redis has to answer when the server starts.
const redisStartWait = 2 * time.Second

// checkRedis fails on a node of a Redis Cluster: it would answer most keys with
// a redirection, which the client does not follow, and the server would count
// by itself ever after. A Redis that is away is no reason not to start.
func (a *App) checkRedis(ctx context.Context) error {
	if a.redis == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, redisStartWait)
	defer cancel()
	info, err := a.redis.Info(ctx, "cluster").Result()
	if err != nil {
		a.refusals.note(err) //nolint:contextcheck // what is logged is not the caller's
		return nil
	}
	if strings.Contains(info, "cluster_enabled:1") {
		return errRedisCluster
	}
	return nil
}

// silenceRedis keeps go-redis from logging by itself: its texts hold addresses
// (I9). What fails is counted where it matters, in mls_redis_fallbacks_total.
var silenceRedis = sync.OnceFunc(func() { redis.SetLogger(noLogger{}) })

type noLogger struct{}

// Printf writes nothing.
func (noLogger) Printf(context.Context, string, ...any) {}
