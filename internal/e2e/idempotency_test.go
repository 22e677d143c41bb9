package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"testing"
	"time"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
	"mls-server/internal/pgtest"
	"mls-server/lexrt"
)

// creation is a request for a conversation of the caller alone.
func creation(key *string) *mlsapi.CreateConvoInput {
	return &mlsapi.CreateConvoInput{
		GroupID: hexOf(16), IdempotencyKey: key, CipherSuite: mlsapi.CreateConvoInputCipherSuite(mls.SuiteX25519AES128.String()),
	}
}

// same fails the test unless both answers are equal.
func same(t *testing.T, what string, first, again e2e.Answer) {
	t.Helper()
	if first.Status != again.Status || !bytes.Equal(first.Body, again.Body) {
		t.Errorf("%s: first %d %s, then %d %s", what, first.Status, first.Body, again.Status, again.Body)
	}
}

// keyRows counts the stored answers.
func keyRows(t *testing.T, s *e2e.Server) (n int) {
	t.Helper()
	if err := pgtest.Open(t, s.DatabaseURL).QueryRow(t.Context(), "SELECT count(*) FROM idempotency_keys").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestIdempotencyKeyIsRequired(t *testing.T) {
	t.Parallel()
	for _, required := range []bool{true, false} {
		env := e2e.Env{"REQUIRE_IDEMPOTENCY": map[bool]string{true: "true", false: "false"}[required]}
		alice, bob, chat := couple(t, env)
		carol := alice.Server.Users(1)[0].Register(t, 2)
		add := alice.Addition(t, chat, carol.User)
		add.IdempotencyKey = nil
		send := chat.Message()
		send.IdempotencyKey = nil
		for m, in := range map[*lexrt.Method]lexrt.Response{
			mlsapi.MethodCreateConvo: creation(nil), mlsapi.MethodSendMessage: send, mlsapi.MethodAddMembers: add,
		} {
			if required {
				alice.Post(t, m, in, nil).Want(t, bad, "InvalidRequest")
			} else if m != mlsapi.MethodAddMembers { // moves the epoch on, so it comes last
				alice.Post(t, m, in, nil).OK(t)
			}
		}
		if !required {
			alice.Post(t, mlsapi.MethodAddMembers, add, nil).OK(t)
		}
		body := []byte(`{"convoId":"` + chat.ID + `","targetDid":"` + string(bob.DID) + `"}`)
		alice.Call(t, mlsapi.MethodRemoveMember, e2e.Request{Body: body}, nil).Want(t, bad, "InvalidRequest")
	}
}

// A repeat gets the first answer and changes nothing, whatever has happened since.
func TestIdempotentReplay(t *testing.T) {
	t.Parallel()
	alice, bob, chat := couple(t)
	s := alice.Server
	carol := s.Users(1)[0].Register(t, 4)

	create := creation(e2e.Key())
	created := alice.Post(t, mlsapi.MethodCreateConvo, create, nil).OK(t)
	add := alice.Addition(t, chat, carol.User)
	added := alice.Post(t, mlsapi.MethodAddMembers, add, nil).OK(t)
	remove := &mlsapi.RemoveMemberInput{ConvoID: chat.ID, TargetDID: bob.DID, IdempotencyKey: *e2e.Key()}
	removed := alice.Post(t, mlsapi.MethodRemoveMember, remove, nil).OK(t)
	chat.Next()
	alice.Remove(t, chat, carol.User, chat.Group.PrivateCommit()).OK(t)

	again := func(u *e2e.User) {
		t.Helper()
		same(t, "createConvo", created, u.Post(t, mlsapi.MethodCreateConvo, create, nil))
		same(t, "addMembers", added, u.Post(t, mlsapi.MethodAddMembers, add, nil))
		same(t, "removeMember", removed, u.Post(t, mlsapi.MethodRemoveMember, remove, nil))
	}
	again(alice.User)
	// The body is compared by what it says: order, spaces and unknown fields are nothing.
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(create.AppendJSON(nil), &fields); err != nil {
		t.Fatal(err)
	}
	fields["unknown"] = json.RawMessage(`"field"`)
	loose, err := json.MarshalIndent(fields, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	same(t, "written otherwise", created, alice.Call(t, mlsapi.MethodCreateConvo, e2e.Request{Body: loose}, nil))
	if got, want := alice.Epoch(t, chat), int64(chat.Group.Epoch)+1; got != want {
		t.Errorf("epoch %d, want %d", got, want)
	}
	if n := len(alice.Convos(t)); n != 2 {
		t.Errorf("%d conversations, want 2", n)
	}
	// Another server on the same database knows the answers too.
	twin := e2e.StartOn(t, s.DatabaseURL, s.Directory)
	again(&e2e.User{Identity: alice.Identity, Server: twin})
}

func TestIdempotencyKeyReused(t *testing.T) {
	t.Parallel()
	alice, bob, chat := couple(t)
	carol := alice.Server.Users(1)[0].Register(t, 4)
	key := e2e.Key()
	alice.Post(t, mlsapi.MethodCreateConvo, creation(key), nil).OK(t)
	alice.Post(t, mlsapi.MethodCreateConvo, creation(key), nil).Want(t, http.StatusUnprocessableEntity, "IdempotencyKeyReused")

	// The key belongs to one caller and one method.
	bob.Post(t, mlsapi.MethodCreateConvo, creation(key), nil).OK(t)
	add := alice.Addition(t, chat, carol.User)
	add.IdempotencyKey = key
	alice.Post(t, mlsapi.MethodAddMembers, add, nil).OK(t)
	chat.Next()
	other := *add
	other.WelcomeMessage = nil
	alice.Post(t, mlsapi.MethodAddMembers, &other, nil).Want(t, http.StatusUnprocessableEntity, "IdempotencyKeyReused")
	remove := &mlsapi.RemoveMemberInput{ConvoID: chat.ID, TargetDID: bob.DID, IdempotencyKey: *key}
	alice.Post(t, mlsapi.MethodRemoveMember, remove, nil).OK(t)
	remove.Reason = new("another")
	alice.Post(t, mlsapi.MethodRemoveMember, remove, nil).Want(t, http.StatusUnprocessableEntity, "IdempotencyKeyReused")
}

// Of racing twins one runs; the others get its answer or are told to come back.
func TestIdempotentTwins(t *testing.T) {
	t.Parallel()
	alice, _, chat := couple(t)
	carol := alice.Server.Users(1)[0].Register(t, 1)
	for m, in := range map[*lexrt.Method]lexrt.Response{
		mlsapi.MethodCreateConvo: creation(e2e.Key()), mlsapi.MethodAddMembers: alice.Addition(t, chat, carol.User),
	} {
		var mu sync.Mutex
		var done []e2e.Answer
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				a := alice.Post(t, m, in, nil)
				if a.Error == "IdempotencyInProgress" {
					inProgress(t, a)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				done = append(done, a)
			})
		}
		wg.Wait()
		if len(done) == 0 {
			t.Fatalf("%s: nobody was answered", short(m))
		}
		for _, a := range append(done, alice.Post(t, m, in, nil)) {
			same(t, short(m), done[0].OK(t), a)
		}
	}
	if n := len(alice.Convos(t)); n != 2 {
		t.Errorf("%d conversations, want 2", n)
	}
	if got := alice.Epoch(t, chat); got != int64(chat.Group.Epoch)+1 {
		t.Errorf("epoch %d", got)
	}
}

func inProgress(t *testing.T, a e2e.Answer) {
	t.Helper()
	a.Want(t, conflict, "IdempotencyInProgress")
	if a.Header.Get("Retry-After") != "1" {
		t.Errorf("Retry-After is %q, want 1", a.Header.Get("Retry-After"))
	}
}

// While the first is being worked on its twin gets 409, and then the answer.
// The test holds the conversation's lock, so that the first cannot end.
func TestIdempotencyInProgress(t *testing.T) {
	t.Parallel()
	alice, _, chat := couple(t)
	carol := alice.Server.Users(1)[0].Register(t, 1)
	in := alice.Addition(t, chat, carol.User)
	pool := pgtest.Open(t, alice.Server.DatabaseURL)
	gate, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = gate.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := gate.Exec(t.Context(), "SELECT FROM conversations WHERE id = (SELECT g.convo_id FROM convo_groups g WHERE g.group_id = $1) FOR UPDATE", chat.ID); err != nil {
		t.Fatal(err)
	}
	var first e2e.Answer
	var wg sync.WaitGroup
	wg.Go(func() { first = alice.Post(t, mlsapi.MethodAddMembers, in, nil).OK(t) })
	awaitLocks(t, alice.Server, 1)
	inProgress(t, alice.Post(t, mlsapi.MethodAddMembers, in, nil))
	if err := gate.Rollback(t.Context()); err != nil {
		t.Error(err)
	}
	wg.Wait()
	same(t, "afterwards", first, alice.Post(t, mlsapi.MethodAddMembers, in, nil))
}

// awaitLocks waits until n statements of the server's wait for a lock.
func awaitLocks(t *testing.T, s *e2e.Server, n int) {
	t.Helper()
	pool := pgtest.Open(t, s.DatabaseURL)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		var got int
		err := pool.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'").Scan(&got)
		switch {
		case err != nil:
			t.Fatal(err)
		case got == n:
			return
		case time.Now().After(deadline):
			t.Fatalf("%d requests wait for a lock, want %d", got, n)
		}
	}
}

// An error that depends on the request alone stays its answer; one that may
// pass does not.
func TestIdempotentErrors(t *testing.T) {
	t.Parallel()
	alice, _, chat := couple(t)
	carol := alice.Server.Users(1)[0]
	carol.Register(t, 4)
	m := mlsapi.MethodAddMembers
	ahead := *chat
	ahead.Next()
	early := alice.Addition(t, &ahead, carol)
	for range 2 {
		alice.Post(t, m, early, nil).Want(t, conflict, "EpochMismatch")
	}

	alice.Add(t, chat, carol)
	// Epochs come, and come back when commits are taken back: the early request is judged anew.
	alice.Post(t, m, early, nil).Want(t, conflict, "AlreadyMember")
	if got := alice.Epoch(t, chat); got != int64(chat.Group.Epoch) {
		t.Errorf("epoch %d, want %d", got, chat.Group.Epoch)
	}
	passing := alice.Addition(t, chat, carol)
	alice.Post(t, m, passing, nil).Want(t, conflict, "AlreadyMember")
	alice.Remove(t, chat, carol, nil).OK(t)
	alice.Post(t, m, passing, nil).OK(t)
	in := creation(e2e.Key())
	in.GroupID = string(chat.Group.GroupID())
	taken := alice.Post(t, mlsapi.MethodCreateConvo, in, nil).Want(t, conflict, "GroupAlreadyExists")
	// The answer is kept: it stays the same when the reason for it is gone.
	change(t, alice.Server, "DELETE FROM conversations WHERE id = (SELECT g.convo_id FROM convo_groups g WHERE g.group_id = $1)", chat.ID)
	change(t, alice.Server, "DELETE FROM convo_groups WHERE group_id = $1", chat.ID)
	same(t, "GroupAlreadyExists", taken, alice.Post(t, mlsapi.MethodCreateConvo, in, nil))
	in.IdempotencyKey = e2e.Key()
	alice.Post(t, mlsapi.MethodCreateConvo, in, nil).OK(t)
}

// sendMessage has no row that could tell who sent what (I7): a repeat is known
// by conversation, message id and ciphertext, whoever sends it.
func TestSendLeavesNoIdempotencyRow(t *testing.T) {
	t.Parallel()
	alice, bob, chat := couple(t)
	m := mlsapi.MethodSendMessage
	before := keyRows(t, alice.Server)
	in := chat.Message()
	first := alice.Post(t, m, in, nil).OK(t)
	same(t, "repeat", first, alice.Post(t, m, in, nil))
	in.IdempotencyKey = e2e.Key()
	same(t, "with another key", first, alice.Post(t, m, in, nil))
	same(t, "by another member", first, bob.Post(t, m, in, nil))
	next := chat.Message()
	next.IdempotencyKey = in.IdempotencyKey
	alice.Post(t, m, next, nil).OK(t) // the key is not remembered
	alice.SendBytes(t, chat, chat.Group.PrivateProposal()).OK(t)
	if n := len(bob.Messages(t, chat).Messages); n != 3 {
		t.Errorf("%d messages, want 3", n)
	}
	if after := keyRows(t, alice.Server); after != before {
		t.Errorf("%d idempotency rows, %d before the sends", after, before)
	}
	conflicting := *in
	conflicting.Ciphertext = mlstest.PadDirect(chat.Group.Application(100), 512)
	alice.Post(t, m, &conflicting, nil).Want(t, conflict, "MessageIdConflict")
}
