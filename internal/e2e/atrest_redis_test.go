package e2e_test

import (
	"encoding/base64"
	"encoding/hex"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/config"
	"mls-server/internal/e2e"
	"mls-server/internal/redistest"
)

// redisForms are all that the server keeps in Redis: by the form of a key, that of its value.
var redisForms = map[*regexp.Regexp]*regexp.Regexp{
	// A used token: a keyed hash, and nothing.
	regexp.MustCompile(`^mls:jti:[A-Za-z0-9_-]{43}$`): regexp.MustCompile(`^$`),
	// A bucket of a rate limit: a keyed hash, and when it is full, in microseconds.
	regexp.MustCompile(`^mls:rl:\{[A-Za-z0-9_-]{24}\}$`): regexp.MustCompile(`^\d{16}$`),
}

// What the server writes to Redis, for ever or for a moment, names nobody and no
// message, and nothing of it is about one message; so does the table that takes
// over when Redis is away (I7, I9).
func TestNoLinksInRedis(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	monitor := redis.Monitor(t)
	env := e2e.Env{"REDIS_URL": redis.URL(), "HASH_KEY": "a key that the test does not search for"}
	for _, v := range config.Variables() {
		if strings.HasPrefix(v.Name, "RATE_LIMIT_") {
			// a bucket lasts a minute for each request, so that it is there to be seen
			env[v.Name] = "1/100000"
		}
	}
	s, source := watched(t, env)
	tr := everything(t, s, source)

	const more = 10
	before := redisKeys(monitor.Commands(t, redis))
	for range more {
		tr.say()
	}
	text := monitor.Commands(t, redis)
	after := redisKeys(text)
	assert.Greater(t, before["jti"], 100)
	assert.Equal(t, before["jti"]+more, after["jti"], "a message has more than its token")
	assert.Greater(t, before["rl"], 5)
	assert.Equal(t, before["rl"], after["rl"], "a message has a bucket of its own")
	require.Contains(t, text, `"publish" "mls:hints"`)
	entries := redis.Entries(t)
	require.NotEmpty(t, entries)
	for _, e := range entries {
		if !hasForm(e) || e.TTL <= 0 {
			t.Errorf("Redis has the %s %q with the value %q for %v", e.Type, e.Key, e.Value, e.TTL)
		}
		text += e.Key + " " + e.Value + "\n"
	}
	assert.Empty(t, s.Canary().Find(text), "in Redis")
	for _, d := range tr.sends {
		key := d.key()
		for _, form := range []string{hex.EncodeToString(key[:]), base64.RawURLEncoding.EncodeToString(key[:]), base64.RawStdEncoding.EncodeToString(key[:])} {
			assert.NotContains(t, text, form, "the key of a send")
		}
	}

	redis.Kill()
	require.Empty(t, rowsOf(t, s, "SELECT 1 FROM used_jtis"))
	for range more {
		tr.say()
	}
	require.Len(t, rowsOf(t, s, "SELECT 1 FROM used_jtis"), more)
	noLinks(t, s, tr)
}

// A user's open streams, under a key of one minute: a server's random name, and how many.
var redisPlaces = regexp.MustCompile(`^mls:open:\{[A-Za-z0-9_-]{24}\}$`)

func hasForm(e redistest.Entry) bool {
	if e.Type == "hash" {
		return redisPlaces.MatchString(e.Key)
	}
	for key, value := range redisForms {
		if e.Type == "string" && key.MatchString(e.Key) && value.MatchString(e.Value) {
			return true
		}
	}
	return false
}

var redisKey = regexp.MustCompile(`"mls:(jti|rl):[^"]*"`)

// redisKeys counts the keys that commands name, by their prefix.
func redisKeys(commands string) map[string]int {
	seen, counts := map[string]bool{}, map[string]int{}
	for _, found := range redisKey.FindAllStringSubmatch(commands, -1) {
		if !seen[found[0]] {
			counts[found[1]]++
		}
		seen[found[0]] = true
	}
	return counts
}
