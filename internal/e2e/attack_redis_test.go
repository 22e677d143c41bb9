package e2e_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/redistest"
)

// rateTouch is a command that counts a request for a rate limit.
var rateTouch = regexp.MustCompile(`"evalsha"[^\n]*"(mls:rl:[^"]*)"`)

// An attacker who watches Redis' commands and has a copy of the database pairs the i-th message
// with the i-th count of a rate limit. Who counts under one key is one user, who is in the rosters
// of all conversations whose messages go with the key: that used to name four of five senders. It
// may name no more than guessing does (I7), where one server runs: it counts sends by itself.
// Several servers have to count together, under keys that live for a minute.
func TestRedisNamesNoSender(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	s := e2e.Start(t, e2e.Env{"REDIS_URL": redis.URL(), "RATE_LIMIT_SEND_MESSAGE": "10000"})
	users := s.Users(12)
	for _, u := range users {
		u.Register(t, 8)
	}
	const size, messages = 4, 120
	var chats []*e2e.Chat
	rosters := map[*e2e.Chat][]*e2e.User{}
	for i := range 10 {
		var roster []*e2e.User
		for n := range size {
			roster = append(roster, users[(i+n*(1+i%4))%len(users)])
		}
		chat := roster[0].Create(t, roster[1:]...)
		chats = append(chats, chat)
		rosters[chat] = roster
	}
	monitor := redis.Monitor(t)
	eventually(t, "the server knows that it is alone, and counts sends by itself", func() bool {
		before := len(rateTouch.FindAllString(monitor.Commands(t, redis), -1))
		users[0].Post(t, mlsapi.MethodSendMessage, chats[0].Message(), nil).OK(t)
		return len(rateTouch.FindAllString(monitor.Commands(t, redis), -1)) == before
	})
	skip := len(monitor.Commands(t, redis))
	type message struct {
		chat   *e2e.Chat
		sender mls.DID
	}
	var sent []message
	for i := range messages {
		chat := chats[i*7%len(chats)]
		sender := rosters[chat][(i*i+i/3)%size]
		sender.Post(t, mlsapi.MethodSendMessage, chat.Message(), nil).OK(t)
		sent = append(sent, message{chat, sender.DID})
	}

	var touches []string
	commands := monitor.Commands(t, redis)[skip:]
	require.Greater(t, strings.Count(commands, `"publish"`), messages/2, "messages have hints; those that fall together share one")
	for _, found := range rateTouch.FindAllStringSubmatch(commands, -1) {
		touches = append(touches, found[1])
	}
	named := 0
	// Of the counts that each message has, any may be the sender's own.
	for each, which := len(touches)/messages, 0; which < each; which++ {
		suspects := map[string]map[mls.DID]bool{}
		for i, m := range sent {
			key := touches[i*each+which]
			roster := map[mls.DID]bool{}
			for _, u := range rosters[m.chat] {
				if suspects[key] == nil || suspects[key][u.DID] {
					roster[u.DID] = true
				}
			}
			suspects[key] = roster
		}
		right := 0
		for i, m := range sent {
			if who := suspects[touches[i*each+which]]; len(who) == 1 && who[m.sender] {
				right++
			}
		}
		named = max(named, right)
	}
	t.Logf("%d of %d senders are named; %d counts", named, messages, len(touches))
	assert.LessOrEqual(t, named, messages/size)
}
