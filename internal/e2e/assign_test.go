package e2e_test

import (
	"testing"
	"time"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
)

// assignee is the one of the devices to which its user is told that the only request is assigned,
// nil for none. Two may not be.
func assignee(t *testing.T, chat *e2e.Chat, devices ...*e2e.Device) *e2e.Device {
	t.Helper()
	var found *e2e.Device
	told := map[string]bool{}
	for _, d := range devices {
		pending := d.Pending(t, chat)
		if len(pending) != 1 || pending[0].AssignedUntil == nil {
			t.Fatalf("pending: %+v", pending)
		}
		r := pending[0]
		until := r.AssignedUntil.Time()
		if wait := time.Until(until); wait < -2*time.Second || wait > 30*time.Second {
			t.Errorf("assigned for %v more", wait)
		}
		if r.AssignedTo == nil || told[string(d.DID)] {
			continue
		}
		told[string(d.DID)] = true
		if found != nil {
			t.Errorf("%s and another user are both told that it is their turn", d.DID)
		}
		found = d
	}
	return found
}

// A request is assigned to one device at a time: the user's own first, then one of those who were
// here lately. Nobody is told of another user's device.
func TestRequestsAreAssigned(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	u, chat := gathering(t, s, 5)
	change(t, s, "INSERT INTO user_days (user_did, seen_on) VALUES ($1, date_bin('1 day', now(), '2000-01-01 00:00:00+00')) ON CONFLICT (user_did) DO UPDATE SET seen_on = excluded.seen_on", u[3].DID)
	change(t, s, "DELETE FROM user_days WHERE user_did <> $1 AND user_did <> ''", u[3].DID)
	u[1].Register(t, 2) // its sister should add it
	if got := assignee(t, chat, u...); got == nil || got.DID != u[1].DID {
		t.Fatal("the user's own device is not the first to be named")
	}
	turn := func() { change(t, s, "UPDATE pending_welcomes SET created_at = created_at - interval '30 seconds'") }
	turn()
	if got := assignee(t, chat, u...); got == nil || got.DID != u[3].DID {
		t.Error("the only other one who was here lately is not named next")
	}
	turn()
	if got := assignee(t, chat, u...); got == nil || got.DID != u[1].DID {
		t.Error("it does not begin anew")
	}
	// It is advice: whoever commits does what is asked.
	in := u[4].Pending(t, chat)[0]
	u[4].AddPackages(t, chat, u[4].ClaimDevice(t, &e2e.Device{User: u[1].User, ID: *in.DeviceID}), u[1].DID)
	if n := len(u[0].Pending(t, chat)); n != 0 {
		t.Errorf("%d requests are left", n)
	}
	// Where nobody was here lately, each request has somebody too, and not always the same.
	change(t, s, "DELETE FROM user_days WHERE user_did <> ''")
	named := map[string]bool{}
	for range 8 {
		lost := u[0]
		change(t, s, "DELETE FROM pending_welcomes")
		backdateConfirmations(t, s)
		var out mlsapi.RequestRejoinOutput
		lost.Post(t, mlsapi.MethodRequestRejoin, lost.RejoinInput(chat), &out).OK(t)
		if got := assignee(t, chat, u[1:]...); got == nil {
			t.Error("nobody is named")
		} else {
			named[string(got.DID)] = true
		}
	}
	if len(named) < 2 {
		t.Errorf("always the same of four: %v", named)
	}
}
