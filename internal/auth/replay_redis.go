package auth

import (
	"context"
	"encoding/base64"
	"time"

	"mls-server/internal/shared"
)

// RedisReplays remembers used tokens in Redis, shared by all servers of a
// deployment. Each token is one key, so it needs no hash tag in a cluster.
type RedisReplays struct{ redis *shared.Redis }

var _ ReplayStore = RedisReplays{}

// replayPrefix starts the keys of used tokens.
const replayPrefix = "mls:jti:"

// NewRedisReplays returns a store of used tokens in Redis.
func NewRedisReplays(r *shared.Redis) RedisReplays { return RedisReplays{r} }

// Use implements ReplayStore.
func (r RedisReplays) Use(ctx context.Context, key [32]byte, expires time.Time) (bool, error) {
	return r.redis.SetNew(ctx, replayPrefix+base64.RawURLEncoding.EncodeToString(key[:]), expires)
}
