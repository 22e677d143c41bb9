package store

import (
	"context"
	"time"

	"mls-server/internal/gen/db"
	"mls-server/internal/mls"
)

// DeclinedFor is how long an inviter whose invitation was declined may not invite the user again.
const DeclinedFor = 30 * 24 * time.Hour

const (
	// countedFor is how long invitations count at least after they were made, openFor how long open
	// ones do: who does not answer for so long is not going to.
	countedFor = 24 * time.Hour
	openFor    = 90 * 24 * time.Hour
)

// Invitations is what counts for the next invitations of one user by another.
type Invitations struct {
	User mls.DID
	// Open are those of the user that are open, of the last ninety days, or were taken back within
	// a day.
	Open int
	// DeclinedAt is when the user last declined one, in 1970 for never.
	DeclinedAt time.Time
}

// Inviter is what counts for all next invitations of a user.
type Inviter struct {
	// Open are its open invitations of the last ninety days, Recent those of the last hour,
	// whatever became of them, the first of which was made at OldestAt.
	Open, Recent int
	OldestAt     time.Time
}

// WeighInvitations is what stands against inviting some users. No other transaction makes
// invitations for the inviter until this one ends.
func (tx *Tx) WeighInvitations(ctx context.Context, inviter mls.DID, users []mls.DID, at time.Time) ([]Invitations, Inviter, error) {
	if err := tx.q.LockInviter(ctx, string(inviter)); err != nil {
		return nil, Inviter{}, fail("lock inviter", err)
	}
	rows, err := tx.q.WeighInvitations(ctx, db.WeighInvitationsParams{
		InviterDID: string(inviter), UserDids: texts(users), CountedSince: at.Add(-openFor), DayAgo: at.Add(-countedFor), HourAgo: at.Add(-time.Hour),
	})
	if err != nil {
		return nil, Inviter{}, fail("weigh invitations", err)
	}
	of := make([]Invitations, len(rows))
	var all Inviter
	for i, row := range rows {
		of[i] = Invitations{User: mls.DID(row.UserDID), Open: int(row.PairOpen), DeclinedAt: row.DeclinedAt}
		all = Inviter{Open: int(row.Open), Recent: int(row.Recent), OldestAt: row.OldestAt}
	}
	return of, all, nil
}

// AcceptInvitation makes an invited user a member, with the member-joined events of its devices. It
// returns those of the devices that could not use their Welcomes, or lost their leaves meanwhile.
// The caller holds the conversation's lock.
func (tx *Tx) AcceptInvitation(ctx context.Context, convo mls.ConvoID, user mls.DID, at time.Time) ([]mls.DeviceID, error) {
	rows, err := tx.q.AcceptInvitation(ctx, db.AcceptInvitationParams{ConvoID: string(convo), UserDID: user, AcceptedAt: bucket(at)})
	if err != nil {
		return nil, fail("accept invitation", err)
	}
	var flagged []mls.DeviceID
	for _, row := range rows {
		if row.NeedsRejoin && !row.Vacant {
			flagged = append(flagged, row.DeviceID)
		}
	}
	return flagged, nil
}

// CrowdedUser is a user with more open invitations than are kept.
type CrowdedUser struct {
	User    mls.DID
	Surplus int
}

// ListCrowded is at most limit users with more than kept open invitations.
func (r *reader) ListCrowded(ctx context.Context, kept, limit int) ([]CrowdedUser, error) {
	rows, err := r.q.ListCrowded(ctx, int64(kept), rowLimit(limit))
	if err != nil {
		return nil, fail("list crowded users", err)
	}
	users := make([]CrowdedUser, len(rows))
	for i, row := range rows {
		users[i] = CrowdedUser{row.UserDID, int(row.Surplus)}
	}
	return users, nil
}

// ListSurplus is the conversations of at most limit open invitations of a user, in the order in
// which they go.
func (r *reader) ListSurplus(ctx context.Context, user mls.DID, limit int) ([]mls.ConvoID, error) {
	ids, err := r.q.ListSurplus(ctx, user, rowLimit(limit))
	return ids, fail("list surplus invitations", err)
}
