package delivery

import (
	"context"
	"errors"
	"time"

	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// RoleChange gives or takes the admin role.
type RoleChange struct {
	Key           mls.ConvoKey
	Actor, Target mls.DID
	At            time.Time
}

// Promote makes a member an admin, over all of its devices. Errors: those of LockAsAdmin,
// mls.ErrNotMember when the target is not in the conversation, mls.ErrAlreadyAdmin.
func (s *Service) Promote(ctx context.Context, c RoleChange) error {
	return s.store.InTx(ctx, func(tx *store.Tx) error {
		standing, err := tx.LockAsAdmin(ctx, c.Key, c.Actor)
		if err != nil {
			return err
		}
		if err := requireMember(ctx, tx, standing.ID, c.Target); err != nil {
			return err
		}
		if err := tx.Promote(ctx, standing.ID, c.Target, c.Actor, c.At); err != nil {
			return err
		}
		return adminChanged(ctx, tx, c.action(standing.ID, store.ActionPromote))
	})
}

// Demote takes the admin role from a member or from the actor. Under the conversation's lock, of
// two admins who demote each other one is the last. Errors: those of LockAsAdmin, mls.ErrNotMember
// when the target is not in the conversation, mls.ErrNotAdminTarget, mls.ErrLastAdmin.
func (s *Service) Demote(ctx context.Context, c RoleChange) error {
	return s.store.InTx(ctx, func(tx *store.Tx) error {
		standing, err := tx.LockAsAdmin(ctx, c.Key, c.Actor)
		switch {
		case errors.Is(err, mls.ErrNotAdmin):
			return explainCrossedDemotion(ctx, tx, c)
		case err != nil:
			return err
		}
		if err := requireMember(ctx, tx, standing.ID, c.Target); err != nil {
			return err
		}
		if err := tx.Demote(ctx, standing.ID, c.Target); err != nil {
			return err
		}
		return adminChanged(ctx, tx, c.action(standing.ID, store.ActionDemote))
	})
}

// crossing is within which time two demotions count as made at the same time: a round trip, and the
// two seconds that times are floored to.
const crossing = 5 * time.Second

// explainCrossedDemotion says what is wrong with the demotion of an admin by someone who is not
// one. When the target has just demoted the actor, the two requests have crossed, and the target is
// the last admin: that is what the actor has to learn.
func explainCrossedDemotion(ctx context.Context, tx *store.Tx, c RoleChange) error {
	standing, err := tx.RequireMember(ctx, c.Key, c.Actor)
	if err != nil {
		return err
	}
	demoted, err := tx.WasDemotedBy(ctx, standing.ID, c.Actor, c.Target, c.At.Add(-crossing))
	switch {
	case err != nil:
		return err
	case !demoted:
		return mls.ErrNotAdmin
	}
	admins, err := tx.ListAdmins(ctx, standing.ID)
	switch {
	case err != nil:
		return err
	case len(admins) == 1 && admins[0].User == c.Target:
		return mls.ErrLastAdmin
	}
	return mls.ErrNotAdmin
}

func (c *RoleChange) action(convo mls.ConvoID, kind store.AdminActionKind) store.AdminAction {
	return store.AdminAction{ConvoID: convo, Actor: c.Actor, Kind: kind, Target: c.Target, At: c.At}
}

// adminChanged writes the audit row of a change of role, and tells the members.
func adminChanged(ctx context.Context, tx *store.Tx, a store.AdminAction) error {
	if err := tx.Audit(ctx, a); err != nil {
		return err
	}
	return tx.AppendEvents(ctx, a.ConvoID, a.At, store.NewEvent{Kind: store.EventAdminChanged, Audience: store.ToMembers, User: a.Target})
}
