package handlers

import (
	"context"
	"errors"

	"mls-server/internal/delivery"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

// ConfirmWelcome closes a device's Welcome, or asks the members to add the device anew.
func (h *Handlers) ConfirmWelcome(ctx context.Context, caller lexrt.Caller, in *mlsapi.ConfirmWelcomeInput) (*mlsapi.ConfirmWelcomeOutput, error) {
	key, err := mls.ParseConvoKey(in.ConvoID)
	if err != nil {
		return nil, err
	}
	out := &mlsapi.ConfirmWelcomeOutput{}
	err = h.Store.InTx(ctx, func(tx *store.Tx) error {
		convo, err := tx.LockAsMember(ctx, key, caller.DID)
		if err != nil {
			return err
		}
		// The Welcome that getWelcome would have returned is the one that is meant.
		waiting, err := tx.FindWelcome(ctx, convo.ID, caller.DID, (*mls.DeviceID)(in.DeviceID), h.Clock.Now())
		switch {
		case errors.Is(err, mls.ErrWelcomeNotFound):
			return nil
		case err != nil:
			return err
		}
		device := store.Device{User: caller.DID, ID: waiting.Device}
		if in.Success {
			out.Confirmed, err = tx.ConfirmWelcome(ctx, convo.ID, device, h.now())
			return err
		}
		out.Confirmed, err = h.failWelcome(ctx, tx, convo.ID, device, in.ErrorDetails)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// failWelcome records that a device could not read its Welcome, and asks for a rejoin.
func (h *Handlers) failWelcome(ctx context.Context, tx *store.Tx, convo mls.ConvoID, device store.Device, details *string) (bool, error) {
	at := h.now()
	var text string
	if details != nil {
		text = *details
	}
	failed, err := tx.FailWelcome(ctx, convo, device, text, at)
	if err != nil || !failed {
		return failed, err
	}
	request, existing, err := tx.OpenRequest(ctx, convo, device, store.RequestRejoin, nil, at)
	if err != nil || existing {
		return true, err
	}
	return true, tx.AppendEvents(ctx, convo, at, delivery.RequestEvent(request))
}
