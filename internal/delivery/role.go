package delivery

import (
	"context"
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

// Promote makes a member an admin, over all of its devices, and returns since when it is one. A repeat
// is answered as the first time. Errors: those of LockAsAdmin, mls.ErrNotMember when the target is
// not in the conversation, mls.ErrAlreadyAdmin.
func (s *Service) Promote(ctx context.Context, c RoleChange) (since time.Time, err error) {
	err = s.store.InTx(ctx, func(tx *store.Tx) error {
		standing, err := tx.LockAsAdmin(ctx, c.Key, c.Actor)
		if err != nil {
			return err
		}
		last, err := tx.LastRoleChange(ctx, standing.ID, c.Target)
		if since = last.At; err != nil || c.made(last, store.ActionPromote) {
			return err
		}
		since = c.At
		if err := requireActive(ctx, tx, standing.ID, c.Target); err != nil {
			return err
		}
		if err := tx.Promote(ctx, standing.ID, c.Target, c.Actor, c.At); err != nil {
			return err
		}
		return adminChanged(ctx, tx, c.action(standing.ID, store.ActionPromote))
	})
	return since, err
}

// made reports whether the latest change of the target's role is this one: the request is repeated.
func (c *RoleChange) made(last store.RoleChange, kind store.AdminActionKind) bool {
	return last.Kind == kind && last.Actor == c.Actor
}

// Demote takes the admin role from a member or from the actor. Under the conversation's lock, of two
// admins who demote each other one is the last. Errors: those of LockAsAdmin, mls.ErrNotMember when
// the target is not in the conversation, mls.ErrNotAdminTarget, mls.ErrLastAdmin. A repeat succeeds,
// also that of an admin who has laid down the own role.
func (s *Service) Demote(ctx context.Context, c RoleChange) error {
	return s.store.InTx(ctx, func(tx *store.Tx) error {
		standing, err := tx.LockAsMember(ctx, c.Key, c.Actor)
		if err != nil {
			return err
		}
		last, err := tx.LastRoleChange(ctx, standing.ID, c.Target)
		switch {
		case err != nil || c.made(last, store.ActionDemote):
			return err
		case !standing.Admin:
			return explainCrossedDemotion(ctx, tx, c)
		}
		if err := requireActive(ctx, tx, standing.ID, c.Target); err != nil {
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

// explainCrossedDemotion says what is wrong with the demotion of an admin by someone who is not one.
// When the target has just demoted the actor, the two requests have crossed, and the target is the
// last admin: that is what the actor has to learn.
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
	case len(admins) == 1 && admins[0] == c.Target:
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
