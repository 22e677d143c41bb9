package e2e_test

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/authtest"
	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/pgtest"
)

// admins are the users that the roster shows as admins; the test fails when a
// user's devices differ.
func admins(t *testing.T, as *e2e.User, chat *e2e.Chat) []string {
	t.Helper()
	roles := map[string]bool{}
	view := as.Convo(t, chat)
	for i := range view.Members {
		did, admin := string(view.Members[i].UserDID), view.Members[i].IsAdmin
		if known, seen := roles[did]; seen && known != admin {
			t.Errorf("the devices of a user differ in their role")
		}
		roles[did] = admin
	}
	var dids []string
	for did, admin := range roles {
		if admin {
			dids = append(dids, did)
		}
	}
	slices.Sort(dids)
	return dids
}

// audit reads the audit rows of a conversation: "action actor target".
func audit(t *testing.T, s *e2e.Server, chat *e2e.Chat) []string {
	t.Helper()
	rows, err := pgtest.Open(t, s.DatabaseURL).Query(t.Context(),
		"SELECT action || ' ' || actor_did || ' ' || coalesce(target_did, '') FROM admin_actions WHERE convo_id = (SELECT g.convo_id FROM convo_groups g WHERE g.group_id = $1) ORDER BY id", chat.ID)
	require.NoError(t, err)
	defer rows.Close()
	var lines []string
	for rows.Next() {
		var line string
		require.NoError(t, rows.Scan(&line))
		lines = append(lines, line)
	}
	require.NoError(t, rows.Err())
	return lines
}

func line(action string, actor, target *e2e.User) string {
	return fmt.Sprintf("%s %s %s", action, actor.DID, target.DID)
}

// The admin role belongs to the user: all devices have it, also those that come later.
func TestPromotionCoversAllDevices(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	users := s.Users(3)
	alice, bob, carol := users[0], users[1], users[2]
	alice.Register(t, 4)
	carol.Register(t, 1)
	phone, laptop := bob.Register(t, 2), bob.Register(t, 2)
	chat := alice.Create(t, bob, carol)
	require.Equal(t, sorted(phone.ID, laptop.ID), devicesOf(alice.Convo(t, chat), bob))
	stream := carol.Follow(t, "")

	alice.Promote(t, chat, bob).OK(t)
	assert.Equal(t, bob.DID, stream.Await(t, "admin-changed").User)
	assert.Equal(t, sorted(string(alice.DID), string(bob.DID)), admins(t, alice, chat))
	tablet := bob.Register(t, 2)
	alice.AddPackages(t, chat, alice.ClaimDevice(t, tablet), bob.DID)
	assert.Equal(t, sorted(string(alice.DID), string(bob.DID)), admins(t, alice, chat))

	alice.Promote(t, chat, bob).Want(t, http.StatusConflict, "AlreadyAdmin")
	carol.Promote(t, chat, carol).Want(t, http.StatusForbidden, "NotAdmin")
	alice.Promote(t, chat, s.NewUser(authtest.K256)).Want(t, http.StatusForbidden, "NotMember")
	alice.Demote(t, chat, carol).Want(t, http.StatusConflict, "NotAdminTarget")

	bob.Demote(t, chat, bob).OK(t)
	assert.Equal(t, []string{string(alice.DID)}, admins(t, alice, chat))
	alice.Demote(t, chat, alice).Want(t, http.StatusConflict, "LastAdmin")
	assert.Equal(t, []string{line("promote", alice, bob), line("demote", bob, bob)}, audit(t, s, chat))
}

// Of two admins who demote each other at the same time one succeeds, and the
// other is told that nobody would be left.
func TestAdminsDemoteEachOther(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	users := s.Users(2)
	alice, bob := users[0], users[1]
	alice.Register(t, 1)
	bob.Register(t, 1)
	chat := alice.Create(t, bob)
	top, other := alice, bob
	for round := range 40 {
		top.Promote(t, chat, other).OK(t)
		answers := make([]e2e.Answer, 2)
		var wg sync.WaitGroup
		wg.Go(func() { answers[0] = top.Demote(t, chat, other) })
		wg.Go(func() { answers[1] = other.Demote(t, chat, top) })
		wg.Wait()
		winner := slices.IndexFunc(answers, func(a e2e.Answer) bool { return a.Status == http.StatusOK })
		require.GreaterOrEqual(t, winner, 0, "round %d: %v", round, answers)
		answers[1-winner].Want(t, http.StatusConflict, "LastAdmin")
		if winner == 1 {
			top, other = other, top
		}
		require.Equal(t, []string{string(top.DID)}, admins(t, top, chat), "round %d", round)
	}
	// Whoever is no longer an admin, and did not cross with anybody, is told just that.
	carol := s.NewUser(authtest.P256)
	carol.Register(t, 1)
	top.Add(t, chat, carol)
	carol.Demote(t, chat, top).Want(t, http.StatusForbidden, "NotAdmin")
}

// When the last admin leaves, the longest-standing member follows, audited.
func TestSuccession(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	users := s.Users(4)
	alice, bob, carol, dave := users[0], users[1], users[2], users[3]
	for _, u := range users {
		u.Register(t, 2)
	}
	chat := alice.Create(t, bob)
	alice.Add(t, chat, carol)
	alice.Add(t, chat, dave)
	alice.Promote(t, chat, carol).OK(t)
	alice.Leave(t, chat, nil).OK(t)
	assert.Equal(t, []string{string(carol.DID)}, admins(t, bob, chat), "an admin is left, so nobody succeeds")
	stream := dave.Follow(t, "")
	carol.Leave(t, chat, nil).OK(t)
	assert.Equal(t, []string{string(bob.DID)}, admins(t, dave, chat))
	stream.AwaitWhere(t, "admin-changed", func(e e2e.Event) bool { return e.User == bob.DID })
	assert.Equal(t, []string{line("promote", alice, carol), line("succeed", carol, bob)}, audit(t, s, chat))
	bob.Promote(t, chat, dave).OK(t)
	// Admins who leave at the same time leave an admin behind.
	carolAgain := carol
	bob.Add(t, chat, carolAgain)
	var wg sync.WaitGroup
	for _, u := range []*e2e.User{bob, dave} {
		wg.Go(func() { u.Leave(t, chat, nil).OK(t) })
	}
	wg.Wait()
	assert.Equal(t, []string{string(carol.DID)}, admins(t, carol, chat))
	carol.Leave(t, chat, nil).Want(t, http.StatusConflict, "LastMember")
}

// A report reaches the admins but never the reported one, is resolved once, and is counted from
// rows.
func TestReportsEndToEnd(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	users := s.Users(5)
	alice, bob, carol, dave, eve := users[0], users[1], users[2], users[3], users[4]
	for _, u := range users {
		u.Register(t, 2)
	}
	chat := alice.Create(t, bob, carol, dave)
	alice.Promote(t, chat, bob).OK(t)
	alice.Promote(t, chat, carol).OK(t)
	streams := map[*e2e.User]*e2e.Stream{}
	for _, u := range []*e2e.User{alice, bob, dave} {
		streams[u] = u.Follow(t, "")
	}

	// dave reports the admin bob: alice and carol see it, bob and dave do not.
	id, a := dave.Report(t, chat, bob, "harassment")
	a.OK(t)
	assert.Equal(t, id, streams[alice].Await(t, "report-received").RequestID)
	require.Len(t, alice.Reports(t, chat).Reports, 1)
	assert.Empty(t, bob.Reports(t, chat).Reports)
	_, a = dave.Report(t, chat, dave, "spam")
	assert.Equal(t, "CannotReportSelf", a.Error)
	_, a = dave.Report(t, chat, eve, "spam")
	assert.Equal(t, "TargetNotMember", a.Error)
	for _, u := range []*e2e.User{bob, dave, eve} {
		u.Resolve(t, id, "dismissed").Want(t, http.StatusNotFound, "ReportNotFound")
		u.Resolve(t, "NOSUCHREPORT", "dismissed").Want(t, http.StatusNotFound, "ReportNotFound")
	}
	dave.Get(t, mlsapi.MethodGetReports, nil, "convoId", chat.ID).Want(t, http.StatusForbidden, "NotAdmin")

	// Of many resolvers at once one succeeds, as often as it asks.
	var mu sync.Mutex
	counts := map[string]int{}
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			a := []*e2e.User{alice, carol}[i%2].Resolve(t, id, "no_action")
			mu.Lock()
			defer mu.Unlock()
			counts[fmt.Sprintf("%d %d %s", i%2, a.Status, a.Error)]++
		})
	}
	wg.Wait()
	winner := min(counts["1 200 "], 1)
	assert.Equal(t, map[string]int{fmt.Sprintf("%d 200 ", winner): 5, fmt.Sprintf("%d 409 AlreadyResolved", 1-winner): 5}, counts)
	streams[alice].Await(t, "report-resolved")

	second, a := bob.Report(t, chat, dave, "spam")
	a.OK(t)
	third, a := bob.Report(t, chat, alice, "other")
	a.OK(t)
	alice.Resolve(t, second, "dismissed").OK(t)
	alice.Resolve(t, third, "dismissed").Want(t, http.StatusNotFound, "ReportNotFound")
	stats := carol.Stats(t, chat)
	assert.Equal(t, int64(3), stats.TotalReports)
	assert.Equal(t, int64(1), stats.PendingReports)
	assert.Equal(t, int64(2), stats.ResolvedReports)
	assert.Equal(t, int64(1), *stats.ReportsByCategory.Harassment)
	assert.Equal(t, int64(1), *stats.ReportsByCategory.Spam)
	assert.Equal(t, int64(1), *stats.ReportsByCategory.OtherCategory)
	assert.Equal(t, int64(0), *stats.ReportsByCategory.Violence)
	assert.Equal(t, int64(0), stats.TotalRemovals)
	carol.Remove(t, chat, dave, nil).OK(t)
	assert.Equal(t, int64(1), carol.Stats(t, chat).TotalRemovals)
	assert.Len(t, carol.Reports(t, chat, "status", "pending").Reports, 1)
	assert.Len(t, carol.Reports(t, chat, "status", "dismissed").Reports, 1)

	// Both kinds of report came and went, and bob's stream showed none that was about bob.
	streams[bob].Await(t, "membership-changed")
	for _, e := range streams[bob].Events() {
		assert.NotEqual(t, id, e.RequestID, "the reported admin was told")
	}
	assert.NotContains(t, streams[dave].Kinds(), "report-received")
}

// Pages of reports are complete and in order, newest first.
func TestReportPages(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	users := s.Users(6)
	for _, u := range users {
		u.Register(t, 1)
	}
	chat := users[0].Create(t, users[1:]...)
	want := map[string]bool{}
	for i := 1; i < 6; i++ {
		for j := 1; j < 6; j++ {
			if i != j {
				id, a := users[i].Report(t, chat, users[j], "spam")
				a.OK(t)
				want[id] = true
			}
		}
	}
	last := ""
	for args := []string{"limit", "7"}; ; {
		page := users[0].Reports(t, chat, args...)
		for i := range page.Reports {
			r := &page.Reports[i]
			assert.True(t, want[r.ID], "a report came twice or is not of here")
			delete(want, r.ID)
			if last != "" {
				assert.LessOrEqual(t, string(r.CreatedAt), last)
			}
			last = string(r.CreatedAt)
		}
		if page.Cursor == nil {
			break
		}
		args = []string{"limit", "7", "cursor", *page.Cursor}
	}
	assert.Empty(t, want)
}
