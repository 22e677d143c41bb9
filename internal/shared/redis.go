package shared

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// RedisTimeout is how long a decision waits for Redis before it is taken without.
const RedisTimeout = 250 * time.Millisecond

// Redis is a Redis that all servers share. It is safe for concurrent use.
type Redis struct {
	client  redis.UniversalClient
	timeout time.Duration
}

// NewRedis returns a Redis that gives each call at most timeout to answer.
func NewRedis(client redis.UniversalClient, timeout time.Duration) *Redis {
	return &Redis{client: client, timeout: timeout}
}

// Run runs a script that returns integers.
func (r *Redis) Run(ctx context.Context, script *redis.Script, keys []string, args ...any) ([]int64, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	reply, err := script.Run(ctx, r.client, keys, args...).Int64Slice()
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	return reply, nil
}

// SetNew sets key until expires unless it is set, and reports whether it did. Of
// any number of concurrent calls with one key, one gets true.
func (r *Redis) SetNew(ctx context.Context, key string, expires time.Time) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	err := r.client.Do(ctx, "SET", key, "", "NX", "PXAT", expires.UnixMilli()).Err()
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, redis.Nil):
		return false, nil
	}
	return false, fmt.Errorf("redis: %w", err)
}
