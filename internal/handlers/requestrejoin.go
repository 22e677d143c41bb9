package handlers

import (
	"context"
	"errors"
	"time"

	"mls-server/internal/delivery"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

const (
	// rejoinsPerHour is how often a user may ask in a conversation.
	rejoinsPerHour = 3
	// justConfirmed is how long after a confirmed Welcome a rejoin is refused.
	justConfirmed = 30 * time.Second
)

// RequestRejoin asks the members to add a device anew that lost its state.
func (h *Handlers) RequestRejoin(ctx context.Context, caller lexrt.Caller, in *mlsapi.RequestRejoinInput) (*mlsapi.RequestRejoinOutput, error) {
	key, err := mls.ParseConvoKey(in.ConvoID)
	if err != nil {
		return nil, err
	}
	kp, err := h.Config.KeyPackagePolicy.ReadText(in.KeyPackage, -1, mls.KeyPackageOwner{DID: caller.DID}, h.Clock.Now())
	if err != nil {
		return nil, err
	}
	out := &mlsapi.RequestRejoinOutput{Pending: true}
	err = h.Store.InTx(ctx, func(tx *store.Tx) error {
		convo, err := tx.LockAsMember(ctx, key, caller.DID)
		switch {
		case errors.Is(err, mls.ErrNotMember):
			return mls.ErrConvoNotFound // removed users learn nothing here
		case err != nil:
			return err
		case convo.CipherSuite != kp.Suite:
			return mls.InvalidKeyPackage(mls.CodeWrongSuite)
		}
		device, err := rejoiningDevice(ctx, tx, caller.DID, in.DeviceID, kp)
		if err != nil {
			return err
		}
		r, err := h.openRejoin(ctx, tx, convo.ID, device, kp, (*string)(in.Reason))
		out.RequestID, out.ApprovedAt = string(r.ID), datetimePtr(r.ApprovedAt)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// rejoiningDevice is the device that the key package belongs to, or the
// registered one of the caller's that the request names.
func rejoiningDevice(ctx context.Context, tx *store.Tx, did mls.DID, named *string, kp *mls.PublishedKeyPackage) (store.Device, error) {
	device, err := deviceOf(ctx, tx, did, kp)
	if err != nil || named == nil || string(device.ID) == *named {
		return device, err
	}
	devices, err := tx.ListDevices(ctx, did)
	if err != nil {
		return store.Device{}, err
	}
	for _, d := range devices {
		// A device that lost everything has a new signature key, so the key need not be the registered one.
		if string(d.ID) == *named && kp.Device == "" {
			return d.Device, nil
		}
	}
	return store.Device{}, mls.InvalidKeyPackage(mls.CodeIdentityMismatch)
}

// openRejoin returns the open request of the device, or opens one within the
// limits, with its key package reserved and the members told.
func (h *Handlers) openRejoin(ctx context.Context, tx *store.Tx, convo mls.ConvoID, device store.Device, kp *mls.PublishedKeyPackage, reason *string) (store.Request, error) {
	now := h.Clock.Now()
	open, err := tx.FindOpenRequest(ctx, convo, device)
	if err != nil {
		return store.Request{}, err
	}
	if open != nil && open.Kind == store.RequestRejoin {
		// A client that asks again may have lost the first package's key, too.
		return *open, reserve(ctx, tx, device, kp, open.ID, now)
	}
	confirmed, err := tx.LastConfirmation(ctx, convo, device)
	switch {
	case err != nil:
		return store.Request{}, err
	case now.Sub(confirmed) < justConfirmed:
		return store.Request{}, mls.ErrAlreadyMember
	}
	n, first, err := tx.CountRejoins(ctx, convo, device.User, now.Add(-time.Hour))
	switch {
	case err != nil:
		return store.Request{}, err
	case n >= rejoinsPerHour:
		return store.Request{}, mls.RateLimited(max(first.Add(time.Hour).Sub(now), time.Second))
	}
	r, existing, err := tx.OpenRequest(ctx, convo, device, store.RequestRejoin, reason, h.now())
	if err != nil || existing {
		return r, err
	}
	if err := reserve(ctx, tx, device, kp, r.ID, now); err != nil {
		return r, err
	}
	return r, tx.AppendEvents(ctx, convo, h.now(), delivery.RequestEvent(r))
}

func reserve(ctx context.Context, tx *store.Tx, device store.Device, kp *mls.PublishedKeyPackage, id store.RequestID, now time.Time) error {
	return single(tx.ReplaceReserved(ctx, device, newKeyPackage(kp, now), id, now))
}
