package delivery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"mls-server/internal/mls"
	"mls-server/internal/store"
)

const (
	// openPerPair is how many open invitations one user may have from another, openPerInviter how
	// many one user may have made, invitesPerHour how many it may make in an hour.
	openPerPair    = 3
	openPerInviter = 300
	invitesPerHour = 100
	// openPerUser is how many open invitations of a user are kept.
	openPerUser = 100
	// trimmedAtOnce is how many users one run of TrimInvitations helps.
	trimmedAtOnce = 100
	// answerTime is when it is worth trying again where others have to answer first.
	answerTime = time.Hour
)

// inviter invites who is added by a request.
type inviter struct {
	user mls.DID
	// list is the pointer of the request's list of users, which are all.
	list string
	all  []mls.DID
	at   time.Time
}

// invite is which of the newcomers to a conversation are invited: those with whom the inviter
// shares no conversation that both have accepted. The error is mls.ErrTooManyInvitations.
func (i *inviter) invite(ctx context.Context, tx *store.Tx, newcomers []mls.DID) ([]mls.DID, error) {
	if len(newcomers) == 0 {
		return nil, nil
	}
	known, err := tx.ListAcquaintances(ctx, i.user, newcomers)
	if err != nil {
		return nil, err
	}
	invited := without(newcomers, known)
	if len(invited) == 0 {
		return nil, nil
	}
	of, all, err := tx.WeighInvitations(ctx, i.user, invited, i.at)
	if err != nil {
		return nil, err
	}
	return invited, i.may(of, all)
}

// may says what stands against further invitations, one of each user.
func (i *inviter) may(of []store.Invitations, all store.Inviter) error {
	for _, to := range of {
		where := fmt.Sprintf("the user at %s/%d", i.list, slices.Index(i.all, to.User))
		if wait := to.DeclinedAt.Add(store.DeclinedFor).Sub(i.at); wait > 0 {
			return mls.TooManyInvitations(where+" has declined one in the last thirty days", wait)
		}
		if to.Open >= openPerPair {
			return mls.TooManyInvitations(fmt.Sprintf("%s has %d from the caller that are open, or were taken back today", where, to.Open), answerTime)
		}
	}
	switch {
	case all.Open+len(of) > openPerInviter:
		return mls.TooManyInvitations(fmt.Sprintf("%d from the caller are open, of %d that may be", all.Open, openPerInviter), answerTime)
	case all.Recent+len(of) > invitesPerHour:
		wait := answerTime
		if all.Recent > 0 {
			wait = all.OldestAt.Add(time.Hour).Sub(i.at)
		}
		return mls.TooManyInvitations(fmt.Sprintf("the caller has made %d in an hour, of %d that may be", all.Recent, invitesPerHour), wait)
	}
	return nil
}

// Accept makes an invited user a member of a conversation: its history is served from where the
// user was added, its events from here on, and the members learn of the user's devices. A repeat
// succeeds. Errors: mls.ErrConvoNotFound, mls.ErrNotMember for who is neither a member nor invited.
func (s *Service) Accept(ctx context.Context, key mls.ConvoKey, user mls.DID, at time.Time) error {
	return s.store.InTx(ctx, func(tx *store.Tx) error {
		devices, err := tx.LockDevices(ctx, user)
		if err != nil {
			return err
		}
		standing, err := tx.LockOnRoster(ctx, key, user)
		if err != nil || standing.Member {
			return err
		}
		return accept(ctx, tx, standing.ID, acceptance{user, devices, at})
	})
}

// acceptance says who accepts, and with which devices. The user's lock is held, so no device is
// registered in the meantime.
type acceptance struct {
	user    mls.DID
	devices []store.UserDevice
	at      time.Time
}

// accept makes an invited user a member, and asks the members for what the user's devices have been
// waiting for: those that were not added with it, and those that could not use their Welcomes.
func accept(ctx context.Context, tx *store.Tx, convo mls.ConvoID, a acceptance) error {
	user, at := a.user, a.at
	flagged, err := tx.AcceptInvitation(ctx, convo, user, at)
	if err != nil {
		return err
	}
	if err := lead(ctx, tx, convo, user, at); err != nil {
		return err
	}
	active, err := tx.FindActive(ctx, convo, user)
	if err != nil {
		return err
	}
	own := Addition{Users: []mls.DID{user}, at: at}
	if err := own.requestMissing(ctx, tx, convo, a.devices, active); err != nil {
		return err
	}
	for _, id := range flagged {
		_, err := openRejoin(ctx, tx, convo, store.NewRequest{Device: store.Device{User: user, ID: id}, Kind: store.RequestRejoin, At: at})
		if err != nil && !errors.Is(err, mls.ErrRateLimitExceeded) {
			return err
		}
	}
	return nil
}

// lead makes a user who comes into a conversation that everybody else has left its admin.
func lead(ctx context.Context, tx *store.Tx, convo mls.ConvoID, user mls.DID, at time.Time) error {
	admins, err := tx.ListAdmins(ctx, convo)
	if err != nil || len(admins) > 0 {
		return err
	}
	if err := tx.AppointAdmin(ctx, convo, user, user, at); err != nil {
		return err
	}
	return adminChanged(ctx, tx, store.AdminAction{ConvoID: convo, Actor: user, Kind: store.ActionSucceed, Target: user, At: at})
}

// TrimInvitations ends invitations of users who have more open ones than are kept: of the inviter
// with most open ones the newest goes first. It returns how many have ended. One that cannot be
// ended holds up no others.
func (s *Service) TrimInvitations(ctx context.Context, at time.Time) (ended int64, err error) {
	crowded, err := s.store.ListCrowded(ctx, openPerUser, trimmedAtOnce)
	if err != nil {
		return 0, err
	}
	var faults []error
	for _, c := range crowded {
		n, err := s.trim(ctx, c, at)
		ended += n
		if ctx.Err() != nil || errors.Is(err, mls.ErrBusy) {
			return ended, err // nor would the next one go
		}
		faults = append(faults, err)
	}
	return ended, errors.Join(faults...)
}

// trim ends the surplus of a user's invitations, one after the other: with each, another inviter
// may be the one with most.
func (s *Service) trim(ctx context.Context, c store.CrowdedUser, at time.Time) (ended int64, err error) {
	var faults []error
	stuck := map[mls.ConvoID]bool{}
	for range c.Surplus {
		convos, err := s.store.ListSurplus(ctx, c.User, len(stuck)+1)
		if err != nil {
			return ended, err
		}
		next := slices.IndexFunc(convos, func(convo mls.ConvoID) bool { return !stuck[convo] })
		if next < 0 {
			break
		}
		gone, err := s.displace(ctx, convos[next], c.User, at)
		switch {
		case gone && err == nil:
			ended++
		case ctx.Err() != nil || errors.Is(err, mls.ErrBusy):
			return ended, err
		default:
			stuck[convos[next]] = true
			faults = append(faults, err)
		}
	}
	return ended, errors.Join(faults...)
}

// displace ends an invitation to make room, unless it was answered meanwhile, which it reports.
func (s *Service) displace(ctx context.Context, convo mls.ConvoID, user mls.DID, at time.Time) (gone bool, err error) {
	err = s.store.InTx(ctx, func(tx *store.Tx) error {
		gone = false
		locked, err := tx.LockConvo(ctx, mls.ConvoKey{ConvoID: convo})
		if err != nil {
			return err
		}
		active, err := tx.FindActive(ctx, convo, user)
		if err != nil || len(active) == 0 || !active[0].Invited {
			return err
		}
		gone = true
		return endMembership(ctx, tx, &locked, ending{Removal: Removal{Actor: user, Target: user, At: at}, displaced: true})
	})
	return gone, err
}
