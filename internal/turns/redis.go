package turns

import (
	"context"
	"encoding/base64"
	"errors"

	"github.com/redis/go-redis/v9"

	"mls-server/internal/shared"
)

// A line is a hash of Redis, on Redis' own clock: a field for each user, whose value is the order
// of its place, when the place is given up and when its turn began (0 before), in microseconds.

// lostScript is memory.lost. ARGV: [1] user, [2] pace, [3] hold, both in microseconds, [4] places.
// It returns how many places are before the user's.
var lostScript = redis.NewScript(`
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local pace, hold, most = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local all = redis.call('HGETALL', KEYS[1])
local orders, mine, called, last = {}, nil, 0, 0
for i = 1, #all, 2 do
  local order, ends, began = string.match(all[i + 1], '^(%d+) (%d+) (%d+)$')
  order = tonumber(order)
  if tonumber(ends) <= now then
    redis.call('HDEL', KEYS[1], all[i])
  else
    orders[#orders + 1] = order
    if order > last then last = order end
    if all[i] == ARGV[1] then mine, called = order, tonumber(began) end
  end
end
if not mine then
  if #orders >= most then return {most} end
  mine = last + 1
end
local ahead = 0
for _, order in ipairs(orders) do
  if order < mine then ahead = ahead + 1 end
end
if ahead == 0 and called == 0 then called = now end
local wait = ahead * pace + hold
redis.call('HSET', KEYS[1], ARGV[1], string.format('%d %.0f %.0f', mine, now + wait, called))
if redis.call('PTTL', KEYS[1]) * 1000 < wait then redis.call('PEXPIRE', KEYS[1], math.ceil(wait / 1000)) end
return {ahead}
`)

// wonScript is memory.won. ARGV: [1] user. It returns how long the turn took in microseconds, -1
// when it was not the user's turn.
var wonScript = redis.NewScript(`
local place = redis.call('HGET', KEYS[1], ARGV[1])
if not place then return {-1} end
redis.call('HDEL', KEYS[1], ARGV[1])
local t = redis.call('TIME')
local began = tonumber(string.match(place, '(%d+)$'))
if began == 0 then return {-1} end
return {t[1] * 1000000 + t[2] - began}
`)

var errReply = errors.New("turns: redis: unexpected reply")

// ask runs a script on a line. The error is shared.ErrAway without Redis.
func (t *Turns) ask(ctx context.Context, script *redis.Script, line, user shared.Key, args ...any) (answer int64, err error) {
	if t.redis == nil {
		return 0, shared.ErrAway
	}
	err = t.prefer.Ask(ctx, func() error {
		name := base64.RawURLEncoding.EncodeToString(user[:])
		reply, err := t.redis.Run(ctx, script, []string{"mls:turns:{" + base64.RawURLEncoding.EncodeToString(line[:]) + "}"}, append([]any{name}, args...)...)
		switch {
		case err != nil:
			return err
		case len(reply) != 1:
			return errReply
		}
		answer = reply[0]
		return nil
	})
	return answer, err
}
