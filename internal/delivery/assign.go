package delivery

import (
	"bytes"
	"crypto/sha256"
	"slices"
	"time"

	"mls-server/internal/mls"
	"mls-server/internal/store"
)

const (
	// assignedFor is how long a device has to do what is asked for, before the next one is named.
	assignedFor = 30 * time.Second
	// seenLately is how many days before today (UTC) a user may have been here last to be named.
	seenLately = 24 * time.Hour
)

// Assignment names the device that should do what a request asks for, and until when, so that one
// commits and the others wait. It is advice: whoever commits does what is asked.
type Assignment struct {
	To    *store.Member
	Until time.Time
}

// Assign names one of the conversation's devices for each stretch of time since the request: those
// of the request's own user first, then the others of users who were here lately, in an order that
// differs from request to request. To is nil where there is nobody to name.
func Assign(q *store.Request, roster []store.Member, at time.Time) Assignment {
	slot := max(at.Sub(q.CreatedAt), 0) / assignedFor
	a := Assignment{Until: q.CreatedAt.Add((slot + 1) * assignedFor)}
	if names := candidates(q, roster, dayOf(at.Add(-seenLately))); len(names) > 0 {
		a.To = names[int(slot)%len(names)]
	}
	return a
}

// candidates is the devices that a request may be assigned to, in their order.
func candidates(q *store.Request, roster []store.Member, since time.Time) []*store.Member {
	var own, here, away []*store.Member
	order := map[*store.Member][]byte{}
	for i := range roster {
		m := &roster[i]
		if m.NeedsRejoin || m.Vacant || m.InvitedBy != "" || (store.Device{User: m.User, ID: m.Device}) == q.Device {
			continue // it has no state to commit from, or no say
		}
		sum := sha256.Sum256([]byte(string(q.ID) + "\n" + string(m.User) + "\n" + string(m.Device)))
		order[m] = sum[:]
		switch {
		case m.User == q.Device.User:
			own = append(own, m)
		case !m.SeenOn.Before(since):
			here = append(here, m)
		default:
			away = append(away, m)
		}
	}
	byHash := func(a, b *store.Member) int { return bytes.Compare(order[a], order[b]) }
	for _, list := range [][]*store.Member{own, here, away} {
		slices.SortFunc(list, byHash)
	}
	if len(here) == 0 {
		here = away
	}
	return append(own, here...)
}

// AssignedTo is the assignment as one user sees it: the device is named to its own user only.
func (a *Assignment) AssignedTo(user mls.DID) string {
	if a.To == nil || a.To.User != user {
		return ""
	}
	return a.To.MLSDID
}
