package delivery

import (
	"context"
	"errors"
	"time"

	"mls-server/internal/mls"
	"mls-server/internal/store"
)

const (
	// rejoinsPerHour is how often a user may ask in a conversation.
	rejoinsPerHour = 3
	// justConfirmed is how long after a confirmed Welcome a rejoin is refused.
	justConfirmed = 30 * time.Second
)

// Rejoin asks the members of a conversation to add a device anew that lost its state.
type Rejoin struct {
	Key  mls.ConvoKey
	User mls.DID
	// Device is the registered device that lost its state, nil when the key package tells.
	Device *string
	// KeyPackage is base64 text.
	KeyPackage string
	Reason     *string
	At         time.Time
}

// RequestRejoin opens a request within the limits, with its key package reserved and the members
// told, or returns the one that is open. Errors: mls.ErrConvoNotFound, for who was removed too,
// mls.ErrInvalidKeyPackage, mls.ErrAlreadyMember, mls.ErrRateLimitExceeded.
func (s *Service) RequestRejoin(ctx context.Context, r Rejoin) (store.Request, error) {
	kp, err := s.KeyPackagePolicy.ReadText(r.KeyPackage, -1, mls.KeyPackageOwner{DID: r.User}, r.At)
	if err != nil {
		return store.Request{}, err
	}
	var request store.Request
	err = s.store.InTx(ctx, func(tx *store.Tx) error {
		standing, err := tx.LockAsMember(ctx, r.Key, r.User)
		switch {
		case errors.Is(err, mls.ErrNotMember):
			return mls.ErrConvoNotFound // removed users learn nothing here
		case err != nil:
			return err
		case standing.CipherSuite != kp.Suite:
			return mls.InvalidKeyPackage(mls.CodeWrongSuite)
		}
		device, err := r.device(ctx, tx, kp)
		if err != nil {
			return err
		}
		before, err := tx.FindRequestOf(ctx, standing.ID, device, kp.Bytes)
		switch {
		case err != nil:
			return err
		case before != nil:
			request = *before // it is repeated; the members may have answered it meanwhile
			return nil
		}
		request, err = r.open(ctx, tx, standing.ID, device)
		if err != nil || request.Kind != store.RequestRejoin {
			return err
		}
		// A client that asks again may have lost the key of the package that it brought first, too.
		return single(tx.ReplaceReserved(ctx, device, newKeyPackage(kp, r.At), request.ID, r.At))
	})
	return request, err
}

// device is the device that the key package belongs to, which is the one that the request names.
func (r *Rejoin) device(ctx context.Context, tx *store.Tx, kp *mls.PublishedKeyPackage) (store.Device, error) {
	devices, err := tx.ListDevices(ctx, r.User)
	if err != nil {
		return store.Device{}, err
	}
	device, err := ownerFor(ctx, tx, r.User, devices, kp)
	if err == nil && r.Device != nil && string(device.ID) != *r.Device {
		err = mls.InvalidKeyPackage(mls.CodeIdentityMismatch)
	}
	return device, err
}

// open returns the open request of the device, or opens one within the limits and tells the
// members.
func (r *Rejoin) open(ctx context.Context, tx *store.Tx, convo mls.ConvoID, device store.Device) (store.Request, error) {
	open, err := tx.FindOpenRequest(ctx, convo, device)
	switch {
	case err != nil:
		return store.Request{}, err
	case open != nil && open.Kind == store.RequestRejoin:
		return *open, nil
	}
	confirmed, err := tx.LastConfirmation(ctx, convo, device)
	switch {
	case err != nil:
		return store.Request{}, err
	case r.At.Sub(confirmed) < justConfirmed:
		return store.Request{}, mls.JustJoined(confirmed.Add(justConfirmed).Sub(r.At))
	}
	return openRejoin(ctx, tx, convo, store.NewRequest{Device: device, Kind: store.RequestRejoin, Reason: r.Reason, At: r.At})
}

// openRejoin returns the open request of a device, or opens one and tells the members. Each costs
// the whole group a commit, so whatever way they come by they are counted together. The error is
// mls.ErrRateLimitExceeded.
func openRejoin(ctx context.Context, tx *store.Tx, convo mls.ConvoID, q store.NewRequest) (store.Request, error) {
	n, first, err := tx.CountRejoins(ctx, convo, q.Device.User, q.At.Add(-time.Hour))
	switch {
	case err != nil:
		return store.Request{}, err
	case n >= rejoinsPerHour:
		return store.Request{}, mls.RateLimited(first.Add(time.Hour).Sub(q.At))
	}
	request, existing, err := tx.OpenRequest(ctx, convo, q)
	if err != nil || existing {
		return request, err
	}
	return request, tx.AppendEvents(ctx, convo, q.At, requestEvent(request))
}

// Confirmation is what a device says of its Welcome.
type Confirmation struct {
	Key  mls.ConvoKey
	User mls.DID
	// Device is nil for any of the user's.
	Device *mls.DeviceID
	// Success is false when the device could not use the Welcome; Details says why, "" for nothing.
	Success bool
	Details string
	// Member: the user speaks as a member, not as one who may only be invited.
	Member bool
	At     time.Time
}

// lock locks the conversation for who may confirm. Where a confirmation accepts, it locks the
// user's devices before that: whether the user is invited is not known until the conversation is
// locked.
func (c *Confirmation) lock(ctx context.Context, tx *store.Tx, accepts bool) (standing store.Standing, devices []store.UserDevice, err error) {
	if c.Member {
		standing, err = tx.LockAsMember(ctx, c.Key, c.User)
		return standing, nil, err
	}
	if accepts {
		if devices, err = tx.LockDevices(ctx, c.User); err != nil {
			return standing, nil, err
		}
	}
	standing, err = tx.LockOnRoster(ctx, c.Key, c.User)
	return standing, devices, err
}

// ConfirmWelcome closes the Welcome that a device got, or asks the members to add the device anew,
// as often as it may ask. An invited user accepts by that where the service takes it so; who has
// not accepted asks nobody. It returns false when no Welcome was waiting. Errors as LockOnRoster.
func (s *Service) ConfirmWelcome(ctx context.Context, c Confirmation) (confirmed bool, err error) {
	err = s.store.InTx(ctx, func(tx *store.Tx) error {
		accepts := c.Success && !c.Member && s.AcceptByWelcome
		standing, devices, err := c.lock(ctx, tx, accepts)
		if err != nil {
			return err
		}
		// The Welcome that getWelcome would have returned is the one that is meant.
		waiting, err := tx.FindWelcome(ctx, standing.ID, c.User, c.Device, c.At)
		switch {
		case errors.Is(err, mls.ErrWelcomeNotFound):
			return nil
		case err != nil:
			return err
		}
		device := store.Device{User: c.User, ID: waiting.Device}
		if c.Success {
			confirmed, err = tx.ConfirmWelcome(ctx, standing.ID, device, c.At)
			if err != nil || !confirmed || !standing.Invited || !accepts {
				return err
			}
			return accept(ctx, tx, standing.ID, acceptance{c.User, devices, c.At})
		}
		confirmed, err = tx.FailWelcome(ctx, standing.ID, device, c.Details, c.At)
		if err != nil || !confirmed || standing.Invited {
			return err
		}
		_, err = openRejoin(ctx, tx, standing.ID, store.NewRequest{Device: device, Kind: store.RequestRejoin, At: c.At})
		if errors.Is(err, mls.ErrRateLimitExceeded) {
			return nil // the failure stands; the device may ask by itself when the hour is over
		}
		return err
	})
	return confirmed, err
}
