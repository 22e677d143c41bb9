package e2e_test

import (
	"io"
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/redistest"
)

// TestSealedNamesNobody: while a sealed send is handled, by a server that shares Redis with another
// one, no account is in a statement or one of its arguments, in a command to Redis, in a line of
// the log at its finest, or in a metric; nor is the client's address (I16). The server under test
// is called by nobody else, so that nothing it says is about another request. One authenticated
// send at the end shows that an account would have been found.
func TestSealedNamesNobody(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	env := e2e.Env{"REDIS_URL": redis.URL(), "HASH_KEY": "a key that the test does not search for"}
	first := e2e.Start(t, env)
	users, chat := gathering(t, first, 3)
	require.True(t, users[0].GiveKey(t, chat, chat.SendKey()))
	elsewhere := *chat
	elsewhere.ID = "3zzzzzzzzzzzz"
	other := users[1].Create(t, users[2].User)

	tap := e2e.NewTap(t, first.DatabaseURL)
	s := e2e.StartOn(t, tap.URL, first.Directory, env, e2e.Env{"LOG_LEVEL": "debug"})
	monitor := redis.Monitor(t)
	in := chat.Sealed()
	trySealed(t, s, in).OK(t)
	trySealed(t, s, in).OK(t)
	clash := chat.Sealed()
	clash.MsgID = in.MsgID
	e2e.Prove(clash, chat.SendKey())
	trySealed(t, s, clash).Want(t, conflict, "MessageIdConflict")
	for _, c := range []*e2e.Chat{&elsewhere, other} {
		trySealed(t, s, c.Sealed()).Want(t, missing, "ConvoNotFound")
	}
	late := *chat
	late.Next()
	wrong := late.Sealed()
	e2e.Prove(wrong, chat.SendKey())
	trySealed(t, s, wrong).Want(t, conflict, "EpochMismatch")
	m := mlsapi.MethodSendSealed
	s.Unnamed().Call(t, m, e2e.Request{Body: chat.Sealed().AppendJSON(nil), Authorization: users[1].Bearer(s.DID, m.NSID)}, nil).Want(t, bad, "TokenNotAllowed")
	var all sync.WaitGroup
	for range 30 { // by statements for many
		all.Go(func() { trySealed(t, s, chat.Sealed()).OK(t) })
	}
	all.Wait()

	said, commands, lines, metrics := tap.Said(), monitor.Commands(t, redis), s.Logs.String(), scrapeText(t, s)
	require.Contains(t, said, string(in.Ciphertext), "the tap hears nothing")
	require.Contains(t, commands, "mls:rl:", "the conversation's limit is not counted in Redis")
	require.Contains(t, lines, m.NSID)
	require.Contains(t, metrics, m.NSID)
	for where, text := range map[string]string{"statements": said, "Redis": commands, "the log": lines, "metrics": metrics} {
		assertUnnamed(t, users, where, text)
	}
	var after mlsapi.SendMessageOutput
	(&e2e.User{Identity: users[1].Identity, Server: s}).Post(t, mlsapi.MethodSendMessage, chat.Message(), &after).OK(t)
	assert.Contains(t, tap.Said(), string(users[1].DID), "an account would not have been found")
	assert.EqualValues(t, 32, after.Seq, "the sends of both kinds are in one sequence")
}

// assertUnnamed finds no account of the users in a text, in no form, and not the clients' address.
func assertUnnamed(t *testing.T, users []*e2e.Device, where, text string) {
	t.Helper()
	names := e2e.NewCanary()
	names.Add("address", "127.0.0.1")
	for _, u := range users {
		names.Add("account", string(u.DID), u.ID)
	}
	if leaks := names.Find(text); leaks != nil {
		t.Errorf("%s: %v", where, leaks)
	}
}

// scrapeText is the server's metrics as they are.
func scrapeText(t *testing.T, s *e2e.Server) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.Admin+"/metrics", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
