package e2e_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"

	"mls-server/internal/authtest"
	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mlstest"
	"mls-server/internal/pgtest"
	"mls-server/lexrt"
)

// TestResetRaces: two admins reset through two servers while others send, commit, report, leave and
// are removed. One reset wins and the other is told; the log has no gap, and everybody goes on in
// the group of the one that won (I3, I14).
func TestResetRaces(t *testing.T) {
	t.Parallel()
	dir, db := authtest.NewDirectory(t, nil), pgtest.New(t)
	servers := []*e2e.Server{e2e.StartOn(t, db, dir), e2e.StartOn(t, db, dir)}
	for range 6 {
		u, chat := gathering(t, servers[0], 6)
		u[0].Promote(t, chat, u[1].User).OK(t)
		u[5].Post(t, mlsapi.MethodSendMessage, garbage(chat), nil).OK(t)
		lost := *chat
		lost.Next()
		inputs, groups := make([]*mlsapi.ResetConvoInput, 2), make([]*mlstest.VerifiedGroup, 2)
		for i := range 2 {
			inputs[i], groups[i] = u[i].ResetInput(t, chat, without(u[i], u[:5]...)...)
		}
		var wg sync.WaitGroup
		answers := make([]e2e.Answer, 2)
		try := func(i int, d *e2e.Device, m *lexrt.Method, in lexrt.Response, into *e2e.Answer) {
			wg.Go(func() {
				at := &e2e.User{Identity: d.Identity, Server: servers[i%2]}
				a, err := at.Try(t.Context(), m, post(in))
				if err != nil || a.Status >= http.StatusInternalServerError {
					t.Errorf("%v %d %s %s", err, a.Status, a.Error, a.Message)
				}
				if into != nil {
					*into = a
				}
			})
		}
		for i := range 2 {
			try(i, u[i], mlsapi.MethodResetConvo, inputs[i], &answers[i])
		}
		for i := range 8 {
			try(i, u[2+i%4], mlsapi.MethodSendMessage, lost.Message(), nil)
		}
		try(0, u[2], mlsapi.MethodSendMessage, garbage(&lost), nil)
		for i := range 4 {
			try(i, u[1+i], mlsapi.MethodReportCommit, &mlsapi.ReportCommitInput{ConvoID: chat.ID, Epoch: 1, Reason: "cannot_process"}, nil)
		}
		try(1, u[5], mlsapi.MethodLeaveConvo, &mlsapi.LeaveConvoInput{ConvoID: chat.ID}, nil)
		wg.Wait()
		for i := range 2 { // a commit or a voiding may have come before both of them
			if answers[0].Status != http.StatusOK && answers[1].Status != http.StatusOK {
				inputs[i], groups[i] = u[i].ResetInput(t, chat, without(u[i], u[:5]...)...)
				answers[i] = u[i].Post(t, mlsapi.MethodResetConvo, inputs[i], nil)
			}
		}
		won := 0
		if answers[0].Status != http.StatusOK {
			won = 1
		}
		answers[won].OK(t)
		if other := answers[1-won]; other.Error != "GroupReset" && other.Error != "EpochMismatch" {
			t.Errorf("the other reset: %d %s", other.Status, other.Error)
		}
		next := &e2e.VerifiedChat{Chat: &e2e.Chat{ID: chat.ID}}
		next.Move(groups[won])
		view := u[2].Convo(t, chat)
		assert.Equal(t, []any{string(next.Tree.GroupID()), int64(1), int64(1)}, []any{view.GroupID, *view.Generation, view.Epoch})
		u[3].Send(t, next.Chat)
		u[4].SendCommit(t, next, mlstest.Draft{})
	}
	for name, query := range broken {
		if !strings.Contains(name, "audit") { // users have left by themselves
			assert.Empty(t, rowsOf(t, servers[0], query), name)
		}
	}
}

// TestResetIsOneTransaction: the connection is lost at each table that a reset writes to. Either
// all of it has happened or nothing, and the same request, sent again, does it (I2, I14).
func TestResetIsOneTransaction(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	u, chat := gathering(t, s, 5)
	laptop := u[1].Register(t, 4) // its request is fulfilled
	u[0].Remove(t, chat, u[4].User, nil).OK(t)
	u[3].Rejoin(t, chat)
	u[2].Post(t, mlsapi.MethodSendMessage, garbage(chat), nil).OK(t)
	reports(t, u[1], chat, 1, "")
	in, group := u[0].ResetInput(t, chat, u[1], laptop, u[2])
	lostAtEachTable(t, s, func() e2e.Answer { return u[0].Post(t, mlsapi.MethodResetConvo, in, nil) },
		"conversations", "convo_groups", "convo_resets", "messages", "event_stream", "group_states", "commit_reports", "welcome_routes", "welcomes",
		"removal_debts", "pending_welcomes", "members", "key_packages", "idempotency_keys", "commit_additions", "invitations", "send_keys")
	next := &e2e.VerifiedChat{Chat: &e2e.Chat{ID: chat.ID}}
	next.Move(group)
	u[2].Send(t, next.Chat)
	assert.Len(t, u[0].Pending(t, chat), 1)
}
