package auth

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// RedisReplays remembers used tokens in Redis, shared by all servers of a
// deployment. Each token is one key, so it needs no hash tag in a cluster.
type RedisReplays struct {
	client  redis.UniversalClient
	timeout time.Duration
}

var _ ReplayStore = (*RedisReplays)(nil)

// replayPrefix starts the keys of used tokens.
const replayPrefix = "mls:jti:"

// NewRedisReplays returns a store that gives Redis at most timeout to answer, 0
// means 250 ms.
func NewRedisReplays(client redis.UniversalClient, timeout time.Duration) *RedisReplays {
	if timeout <= 0 {
		timeout = 250 * time.Millisecond
	}
	return &RedisReplays{client: client, timeout: timeout}
}

// Use implements ReplayStore.
func (r *RedisReplays) Use(ctx context.Context, key [32]byte, expires time.Time) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	name := replayPrefix + base64.RawURLEncoding.EncodeToString(key[:])
	err := r.client.Do(ctx, "SET", name, "", "NX", "PXAT", expires.UnixMilli()).Err()
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, redis.Nil):
		return false, nil
	}
	return false, fmt.Errorf("auth: redis: %w", err)
}
