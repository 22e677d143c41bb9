package e2e_test

import (
	"net/http"
	"testing"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/pgtest"
)

// A lost connection to the database is told as such: repeat, nothing was wrong with the request.
func TestLostConnectionsAreTold(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t, e2e.Env{"DATABASE_MAX_CONNS": "2"})
	alice := s.Users(1)[0]
	alice.Register(t, 1)
	chat := alice.Create(t)
	admin := pgtest.Open(t, s.DatabaseURL)
	told := 0
	for range 20 {
		if _, err := admin.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'mls-server'`); err != nil {
			t.Fatal(err)
		}
		switch a := alice.Get(t, mlsapi.MethodGetEpoch, nil, "convoId", chat.ID); {
		case a.Status == http.StatusOK:
		case a.Status == http.StatusServiceUnavailable && a.Error == "NotEnoughResources" && a.Header.Get("Retry-After") != "":
			told++
		default:
			t.Fatalf("got %d %s", a.Status, a.Error)
		}
	}
	if told == 0 {
		t.Error("no request met a lost connection")
	}
	alice.Get(t, mlsapi.MethodGetEpoch, nil, "convoId", chat.ID)
	alice.Send(t, chat)
}
