package e2e_test

import (
	"math"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/redistest"
)

// sealedProbes is how often each kind of refusal is looked at.
const sealedProbes = 500

// I16: a conversation that is unknown, one without keys and a wrong proof cost the same: as many
// statements, as many bytes to the database and back, as many commands to Redis (none), as many
// bytes to the client. The server under test is called by nobody else; what it asks by itself now
// and then is left out by the least of many rounds.
func TestSealedRefusalsCostTheSame(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	env := e2e.Env{"REDIS_URL": redis.URL(), "HASH_KEY": "a key that the test does not search for"}
	first := e2e.Start(t, env)
	users, chat := gathering(t, first, 2)
	require.True(t, users[0].GiveKey(t, chat, chat.SendKey()))
	bare := users[0].Create(t, users[1].User)
	unknown := *chat
	unknown.ID = "00112233445566778899aabbccddeeff"

	tap := e2e.NewTap(t, first.DatabaseURL)
	s := e2e.StartOn(t, tap.URL, first.Directory, env)
	trySealed(t, s, chat.Sealed()).OK(t)
	monitor := redis.Monitor(t)
	type cost struct {
		asked, told int64
		answer      int
	}
	costs := map[string]cost{}
	// The kinds take turns, so that each has its share of whatever else there is.
	for range sealedProbes {
		for kind, c := range map[string]*e2e.Chat{"unknown": &unknown, "no key": bare, "wrong proof": chat} {
			in := c.Sealed()
			in.Proof[0] ^= 1
			asked, told := tap.Bytes()
			a := trySealed(t, s, in).Want(t, missing, "ConvoNotFound")
			now := cost{answer: len(canonical(a))}
			now.asked, now.told = tap.Bytes()
			now.asked, now.told = now.asked-asked, now.told-told
			least, seen := costs[kind]
			if !seen {
				least = cost{math.MaxInt64, math.MaxInt64, now.answer}
			}
			assert.Equal(t, least.answer, now.answer)
			costs[kind] = cost{min(least.asked, now.asked), min(least.told, now.told), now.answer}
		}
	}
	assert.Equal(t, costs["unknown"], costs["no key"])
	assert.Equal(t, costs["unknown"], costs["wrong proof"])
	assert.Positive(t, costs["unknown"].asked)
	assert.NotContains(t, monitor.Commands(t, redis), "mls:rl:")
	for kind, c := range map[string]*e2e.Chat{"unknown": &unknown, "no key": bare, "wrong proof": chat} {
		in := c.Sealed()
		in.Proof[0] ^= 1
		took := statementsOf(t, s, func() { trySealed(t, s, in) })
		assert.Len(t, took, 1, "%s: %v", kind, took)
	}
}

// An address that floods is refused before anything is asked: by its calls, and by its bytes.
// Nothing of another address or of an account is touched by it.
func TestSealedFloods(t *testing.T) {
	t.Parallel()
	flood := func(t *testing.T, env e2e.Env, allowed int) {
		t.Helper()
		s := e2e.Start(t, env, e2e.Env{"TRUSTED_PROXY_CIDRS": "127.0.0.0/8"})
		users, chat := gathering(t, s, 2)
		require.True(t, users[0].GiveKey(t, chat, chat.SendKey()))
		from := func(address string) e2e.Answer {
			return s.Unnamed().Call(t, mlsapi.MethodSendSealed, e2e.Request{Body: chat.Sealed().AppendJSON(nil), Header: header("X-Forwarded-For", address)}, nil)
		}
		for range allowed {
			from("192.0.2.7").OK(t)
		}
		a := from("192.0.2.7").Want(t, http.StatusTooManyRequests, "RateLimitExceeded")
		assert.NotEmpty(t, a.Header.Get("Retry-After"))
		assert.Empty(t, statementsOf(t, s, func() { from("192.0.2.7") }))
		from("192.0.2.8").OK(t)
		users[0].Send(t, chat)
	}
	t.Run("calls", func(t *testing.T) {
		t.Parallel()
		flood(t, e2e.Env{"RATE_LIMIT_SEALED": "1/5"}, 5)
	})
	t.Run("bytes", func(t *testing.T) {
		t.Parallel()
		flood(t, e2e.Env{"RATE_LIMIT_SEALED_BYTES": "1/6"}, 6) // of a KiB each
	})
}

// Members of a conversation share its sends, which are as many as there are members; who cannot
// prove that it is one uses none of them.
func TestSealedSendsOfAConversation(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t, e2e.Env{"RATE_LIMIT_SEALED_CONVO": "1/2"})
	users, chat := gathering(t, s, 3)
	other := users[0].Create(t, users[1].User)
	for _, c := range []*e2e.Chat{chat, other} {
		require.True(t, users[0].GiveKey(t, c, c.SendKey()))
	}
	for range 9 {
		in := chat.Sealed()
		in.Proof[0] ^= 1
		trySealed(t, s, in).Want(t, missing, "ConvoNotFound")
	}
	for range 6 {
		s.SendSealed(t, chat)
	}
	trySealed(t, s, chat.Sealed()).Want(t, http.StatusTooManyRequests, "RateLimitExceeded")
	for range 4 {
		s.SendSealed(t, other)
	}
	trySealed(t, s, other.Sealed()).Want(t, http.StatusTooManyRequests, "RateLimitExceeded")
}

// Who has shown to know a key is not looked up again: what is stored is judged by the seal of the
// keys. Another server that has ended them leaves nothing that is remembered in force.
func TestSealedSendsAreOneStatement(t *testing.T) {
	t.Parallel()
	first := e2e.Start(t)
	second := e2e.StartOn(t, first.DatabaseURL, first.Directory)
	users, chat := gathering(t, first, 2)
	require.True(t, users[0].GiveKey(t, chat, chat.SendKey()))
	first.SendSealed(t, chat)
	took := statementsOf(t, first, func() { first.SendSealed(t, chat) })
	assert.Equal(t, map[string]int{`"SendMessage"}`: 1}, took)
	took = statementsOf(t, first, func() {
		in := chat.Sealed()
		in.Proof[0] ^= 1
		trySealed(t, first, in).Want(t, missing, "ConvoNotFound")
	})
	assert.Equal(t, map[string]int{`"FindSendKeys"}`: 1}, took)

	there := *users[1].User
	there.Server = second
	users[1].User = &there
	users[1].Leave(t, chat, nil).OK(t)
	trySealed(t, first, chat.Sealed()).Want(t, missing, "ConvoNotFound")
	trySealed(t, second, chat.Sealed()).Want(t, missing, "ConvoNotFound")
}
