package ratelimit

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"hash/maphash"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"mls-server/internal/clock"
	"mls-server/internal/shared"
)

const placesPrefix = "mls:open:"

// placesScript notes how many places a server holds, and adds up what the others do.
// KEYS[1] a subject's places in a window; ARGV: [1] the server's name, [2] how many it
// holds, [3] for how long the key lives, in milliseconds.
// It returns how many the other servers hold.
var placesScript = redis.NewScript(`
if tonumber(ARGV[2]) > 0 then
	redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
	redis.call('PEXPIRE', KEYS[1], ARGV[3])
else
	redis.call('HDEL', KEYS[1], ARGV[1])
end
local others, held = 0, redis.call('HGETALL', KEYS[1])
for i = 1, #held, 2 do
	if held[i] ~= ARGV[1] then others = others + tonumber(held[i + 1]) end
end
return {others}
`)

// PlacesConfig configures Places. All fields are required.
type PlacesConfig struct {
	Redis *shared.Redis
	// Hasher makes the keys; its secret is the same on all servers.
	Hasher *shared.Hasher
	// OnAway is called for each count that Redis did not make, with what it said, or
	// with shared.ErrAway when it was not asked.
	OnAway func(error)
	Clock  clock.Clock
}

// Places counts over all servers what subjects hold open for long, as streams. While
// Redis is away each server knows of its own places only.
//
// A subject's key changes every minute, so that no pseudonym outlives its window (I7).
// Servers note what they hold in each: a server that died is forgotten within two.
// It is safe for concurrent use.
type Places struct {
	cfg    PlacesConfig
	prefer *shared.Prefer
	name   string
	seed   maphash.Seed
	// Notes of one subject follow each other, or an older one could come last.
	turns [64]sync.Mutex
}

// NewPlaces returns the places of one server.
func NewPlaces(cfg PlacesConfig) *Places {
	return &Places{cfg: cfg, prefer: shared.NewPrefer(cfg.Clock, cfg.OnAway), name: rand.Text(), seed: maphash.MakeSeed()}
}

// Note tells the other servers how many places a subject holds on this one, and returns
// how many it holds on them, 0 when Redis does not say. held is called when it is this
// note's turn. Of two servers that note a place each at the same time, one at least hears
// of the other's. Every server has to note what it holds once a minute.
func (p *Places) Note(ctx context.Context, subject string, held func() int) (elsewhere int) {
	turn := &p.turns[maphash.String(p.seed, subject)%uint64(len(p.turns))]
	turn.Lock()
	defer turn.Unlock()
	_ = p.prefer.Ask(ctx, func() error { // counted by OnAway
		var err error
		elsewhere, err = p.note(ctx, subject, held())
		return err
	})
	return elsewhere
}

// note writes to this window and to the one before: early in a window not every server
// has noted what it holds.
func (p *Places) note(ctx context.Context, subject string, held int) (elsewhere int, err error) {
	now := p.cfg.Clock.Now()
	current := now.Unix() / int64(window/time.Second)
	left := 2*window - now.Sub(now.Truncate(window)) + windowSlack
	for i := range int64(2) {
		reply, err := p.cfg.Redis.Run(ctx, placesScript, []string{p.key(subject, current-i)},
			p.name, held, (left - time.Duration(i)*window).Milliseconds())
		switch {
		case err != nil:
			return 0, err
		case len(reply) != 1:
			return 0, errors.New("ratelimit: redis: unexpected reply")
		}
		elsewhere = max(elsewhere, int(reply[0]))
	}
	return elsewhere, nil
}

// key is one per subject and window, with a hash tag of its own.
func (p *Places) key(subject string, at int64) string {
	sum := p.cfg.Hasher.Sum(shared.PurposePlaces, subject, strconv.FormatInt(at, 10))
	return placesPrefix + "{" + base64.RawURLEncoding.EncodeToString(sum[:18]) + "}"
}
