package e2e_test

import (
	"fmt"
	"slices"

	"mls-server/internal/gen/mlsapi"
)

// modelPair is an inviter and a user.
type modelPair struct{ inviter, user *modelUser }

// modelInvitations is what one user's invitations of another have come to.
type modelInvitations struct {
	counted  int // open, or taken back
	declined bool
}

// on says how a user stands to the roster: "" for who is a member or invited.
func (c *modelConvo) on(u *modelUser) string {
	if _, kept := c.kept[u]; kept || len(c.seated(u)) > 0 {
		return ""
	}
	if c.gone[u] != "" {
		return "NotMember"
	}
	return "ConvoNotFound"
}

// acquainted reports whether two users share a conversation that both have accepted.
func (w *world) acquainted(a, b *modelUser) bool {
	return slices.ContainsFunc(w.convos, func(c *modelConvo) bool { return c.here(a) == "" && c.here(b) == "" })
}

// invitees are those whom a user would invite by adding them, and the error that is due.
func (w *world) invitees(c *modelConvo, u *modelUser, users []*modelUser) (invited []*modelUser, err string) {
	for _, target := range users {
		if c.on(target) != "" && !w.acquainted(u, target) {
			invited = append(invited, target)
			if i := w.invitations[modelPair{u, target}]; i.declined || i.counted >= 3 {
				err = "TooManyInvitations"
			}
		}
	}
	if len(invited) > 0 && w.invites[u]+len(invited) > 100 {
		err = "TooManyInvitations"
	}
	return invited, err
}

func (w *world) invite(c *modelConvo, u *modelUser, invited []*modelUser) {
	for _, target := range invited {
		c.invited[target] = u
		w.invites[u]++
		i := w.invitations[modelPair{u, target}]
		i.counted++
		w.invitations[modelPair{u, target}] = i
	}
}

// uninvite ends an invitation of a user who goes.
func (c *modelConvo) uninvite(u *modelUser, how string) {
	inviter := c.invited[u]
	if inviter == nil {
		return
	}
	delete(c.invited, u)
	i := c.invitations[modelPair{inviter, u}]
	if how == "left" {
		i.counted--
		i.declined = true
	}
	c.invitations[modelPair{inviter, u}] = i
}

// accept makes an invited user a member; its devices ask for what they have been waiting for.
func (c *modelConvo) accept(u *modelUser) string {
	if err := c.on(u); err != "" || c.invited[u] == nil {
		return err
	}
	pair := modelPair{c.invited[u], u}
	i := c.invitations[pair]
	i.counted--
	c.invitations[pair] = i
	delete(c.invited, u)
	for _, d := range u.ever() {
		if debt := c.debts[d]; debt != nil {
			debt.withheld = false
		}
	}
	for _, d := range u.devices {
		_, seated := c.seats[d]
		switch {
		case c.requests[d] != nil:
		case !seated:
			c.requests[d] = &modelRequest{kind: "device"}
		case c.failed[d] && c.rejoins[u] < 3:
			c.requests[d] = &modelRequest{kind: "rejoin"}
			c.rejoins[u]++
		}
	}
	return ""
}

// acceptInvitation has an invited user accept, if there is one.
func (w *world) acceptInvitation(c *modelConvo, u *modelUser) {
	if !w.chance(4) {
		for _, other := range w.users {
			if c.invited[other] != nil {
				u = other
			}
		}
	}
	w.expect(u.Accept(w.t, c.Chat), c.accept(u))
}

// rows are what a member sees of the roster, and of what is owed.
func (c *modelConvo) rows() (members, pending []string) {
	for d := range c.seats {
		if c.invited[d.owner] == nil {
			members = append(members, fmt.Sprint(d.ID, d.DID, c.admins[d.owner]))
		}
	}
	for u := range c.kept {
		if c.invited[u] == nil && len(c.seated(u)) == 0 {
			members = append(members, fmt.Sprint("", u.DID, c.admins[u]))
		}
	}
	for u := range c.invited {
		members = append(members, fmt.Sprint("invited", u.DID))
	}
	for d, r := range c.requests {
		pending = append(pending, fmt.Sprint(r.kind, d.DID, d.ID))
	}
	for d, debt := range c.debts {
		id := d.ID
		if debt.withheld {
			id = ""
		}
		pending = append(pending, fmt.Sprint("removal", d.DID, id, debt.claimed != nil))
	}
	return members, pending
}

// compareInvitations compares what a user is invited to: nothing is told of it but its users.
func (w *world) compareInvitations(u *modelUser) {
	w.t.Helper()
	type seen struct {
		ID, InvitedBy string
		Users         []string
	}
	var got, want []seen
	for _, v := range u.Invitations(w.t) {
		s := seen{ID: v.ID, InvitedBy: string(*v.InvitedBy)}
		for i := range v.Members {
			m := &v.Members[i]
			s.Users = append(s.Users, fmt.Sprint(m.UserDID, m.DeviceID != nil, m.State != nil))
		}
		slices.Sort(s.Users)
		w.same("what is withheld", v.PendingRequests, []mlsapi.GetConvosPendingRequest(nil))
		got = append(got, s)
	}
	for _, c := range w.convos {
		if c.invited[u] == nil {
			continue
		}
		users := map[*modelUser]bool{}
		for d := range c.seats {
			users[d.owner] = true
		}
		for other := range c.kept {
			users[other] = true
		}
		s := seen{ID: c.ID, InvitedBy: string(c.invited[u].DID)}
		for other := range users {
			s.Users = append(s.Users, fmt.Sprint(other.DID, false, c.invited[other] != nil))
		}
		slices.Sort(s.Users)
		want = append(want, s)
	}
	byID := func(a, b seen) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	}
	slices.SortFunc(got, byID)
	slices.SortFunc(want, byID)
	w.same("invitations", got, want)
}
