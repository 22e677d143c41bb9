package e2e_test

import (
	"slices"
	"time"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
)

// The model: what a server that follows the contract holds and answers, without
// database, concurrency or cryptography. It is written from the contract's text
// and shares no code with the server. Its methods return the name of the error
// that is due, "" for success, and change the model only then.

type modelDevice struct {
	*e2e.Device
	owner *modelUser
	live  []string // references of unclaimed packages, in the order they were published
}

type modelUser struct {
	*e2e.User
	devices []*modelDevice
	lost    []*modelDevice             // that it has deleted
	bag     []mlsapi.DefsKeyPackageRef // what this user has claimed and may use
}

type modelMessage struct {
	id     string
	kind   string
	epoch  int64
	bytes  string
	sender *modelUser // of commits only
}

type modelSeat struct{ seq, epoch int64 } // of the commit that added the device

type modelRequest struct {
	id, kind string
	ref      string // of the package that a rejoin has brought, "" for none
}

// modelDebt is a leaf that is to be removed.
type modelDebt struct {
	id       string
	withheld bool  // its user had not accepted: nobody is told which device it is
	proposed int64 // the epoch of the leaver's own proposal, -1 for none
	// claimed is the committer who is said to have made the removal, nil for nobody.
	claimed *modelUser
	said    map[*modelUser]bool // that the leaf is gone
	denied  map[*modelUser]bool // that it is; each once until it is closed
	spent   map[*modelUser]bool // who has said so and was contradicted, until another claim
}

func (d *modelDebt) claim(by *modelUser) {
	d.claimed, d.said, d.denied, d.spent = by, map[*modelUser]bool{}, map[*modelUser]bool{}, map[*modelUser]bool{}
}

type modelConvo struct {
	*e2e.Chat
	epoch       int64
	log         []modelMessage // seq 1 is at 0
	seats       map[*modelDevice]modelSeat
	kept        map[*modelUser]modelSeat // of users whose last device was deleted
	gone        map[*modelUser]string    // how who is not here has gone: "left" or "removed"
	last        map[*modelUser]modelReads
	admins      map[*modelUser]bool
	demotedBy   map[*modelUser]*modelUser
	welcomes    map[*modelDevice]string
	confirmed   map[*modelDevice]time.Time
	failed      map[*modelDevice]bool
	requests    map[*modelDevice]*modelRequest
	debts       map[*modelDevice]*modelDebt
	closed      map[*modelDevice]*modelDebt // by the members' word
	rejoins     map[*modelUser]int          // and failures
	joins       map[*modelDevice]int        // by itself
	cursors     map[*modelUser]int64
	keys        modelKeys
	invited     map[*modelUser]*modelUser      // by whom
	invitations map[modelPair]modelInvitations // of all conversations
}

func newModelConvo(chat *e2e.Chat, epoch int64) *modelConvo {
	return &modelConvo{
		Chat: chat, epoch: epoch, seats: map[*modelDevice]modelSeat{}, kept: map[*modelUser]modelSeat{}, gone: map[*modelUser]string{}, last: map[*modelUser]modelReads{}, admins: map[*modelUser]bool{},
		demotedBy: map[*modelUser]*modelUser{}, welcomes: map[*modelDevice]string{}, confirmed: map[*modelDevice]time.Time{},
		failed: map[*modelDevice]bool{}, requests: map[*modelDevice]*modelRequest{}, debts: map[*modelDevice]*modelDebt{}, closed: map[*modelDevice]*modelDebt{},
		rejoins: map[*modelUser]int{}, joins: map[*modelDevice]int{}, cursors: map[*modelUser]int64{},
		invited: map[*modelUser]*modelUser{},
	}
}

func (c *modelConvo) lastSeq() int64 { return int64(len(c.log)) }

// seated are the user's devices in the group.
func (c *modelConvo) seated(u *modelUser) []*modelDevice {
	return slices.DeleteFunc(slices.Clone(u.devices), func(d *modelDevice) bool { _, ok := c.seats[d]; return !ok })
}

// here says how a user stands: "" for a member.
func (c *modelConvo) here(u *modelUser) string {
	if c.invited[u] != nil {
		return "NotMember"
	}
	return c.on(u)
}

func (c *modelConvo) admin(u *modelUser) string {
	if e := c.here(u); e != "" {
		return e
	}
	if !c.admins[u] {
		return "NotAdmin"
	}
	return ""
}

func (c *modelConvo) members() []*modelUser {
	var users []*modelUser
	for d := range c.seats {
		if c.invited[d.owner] == nil && !slices.Contains(users, d.owner) {
			users = append(users, d.owner)
		}
	}
	for u := range c.kept {
		if c.invited[u] == nil && !slices.Contains(users, u) {
			users = append(users, u)
		}
	}
	return users
}

// send is an application message, or a proposal, or a commit without an effect on the roster.
func (c *modelConvo) send(u *modelUser, m modelMessage) (seq int64, err string) {
	if err := c.here(u); err != "" {
		return 0, err
	}
	for i, twin := range c.log {
		if twin.id == m.id && m.kind != "ephemeral" {
			if twin.bytes == m.bytes {
				return int64(i) + 1, ""
			}
			return 0, "MessageIdConflict"
		}
	}
	if m.epoch != c.epoch {
		return 0, "EpochMismatch"
	}
	if m.kind == "ephemeral" {
		return 0, ""
	}
	if m.kind == "commit" {
		m.sender = u
		c.commit(m)
	} else {
		c.log = append(c.log, m)
	}
	return c.lastSeq(), ""
}

// commit ends the epoch. An opaque one is said to remove those who proposed their
// own removal in it.
func (c *modelConvo) commit(m modelMessage) {
	m.kind = "commit"
	c.log = append(c.log, m)
	for _, debt := range c.debts {
		if debt.proposed == m.epoch {
			debt.claim(m.sender)
		}
	}
	c.epoch++
	c.keys = modelKeys{} // it may have removed somebody
}

// join is a device's own commit from outside. replaces says that it removes a leaf.
func (c *modelConvo) join(d *modelDevice, m modelMessage, replaces bool) string {
	if err := c.here(d.owner); err != "" {
		return err
	}
	switch {
	case m.epoch != c.epoch:
		return "EpochMismatch"
	case c.joins[d] == 5:
		return "RateLimitExceeded"
	}
	m.sender = d.owner
	c.log = append(c.log, m) // it is readable, and contains no proposal that was sent before
	c.epoch++
	if c.keys.pass(); replaces {
		c.keys = modelKeys{}
	}
	c.joins[d]++
	if _, seated := c.seats[d]; !seated {
		c.seats[d] = modelSeat{seq: c.lastSeq(), epoch: c.epoch}
	}
	if replaces {
		delete(c.debts, d)
	}
	delete(c.requests, d)
	delete(c.failed, d)
	delete(c.welcomes, d)
	return ""
}

// addition is an addMembers request.
type addition struct {
	users    []*modelUser
	packages []mlsapi.DefsKeyPackageRef
	welcome  string
	commit   modelMessage
}

func (w *world) add(c *modelConvo, u *modelUser, a addition) string {
	if err := c.here(u); err != "" {
		return err
	}
	if a.commit.epoch != c.epoch {
		return "EpochMismatch"
	}
	var devices []*modelDevice
	for _, p := range a.packages {
		d := w.device(p)
		if w.used[*p.KeyPackageHash] || d == nil || slices.Contains(d.owner.lost, d) || !slices.Contains(a.users, d.owner) {
			return "KeyPackageNotFound"
		}
		if w.reserved[*p.KeyPackageHash] {
			if r := c.requests[d]; r == nil || r.ref != *p.KeyPackageHash {
				return "KeyPackageNotFound"
			}
		}
		devices = append(devices, d)
	}
	for _, target := range a.users {
		if !slices.ContainsFunc(devices, func(d *modelDevice) bool { return d.owner == target }) {
			return "WelcomeMismatch"
		}
	}
	for _, target := range a.users {
		asked := slices.ContainsFunc(target.devices, func(d *modelDevice) bool { return c.requests[d] != nil })
		fresh := slices.ContainsFunc(devices, func(d *modelDevice) bool {
			_, seated := c.seats[d]
			return d.owner == target && (!seated || c.failed[d])
		})
		if c.on(target) == "" && !asked && !fresh {
			return "AlreadyMember"
		}
	}
	invited, err := w.invitees(c, u, a.users)
	if err != "" {
		return err
	}
	w.invite(c, u, invited)
	a.commit.sender = u
	c.commit(a.commit)
	for i, d := range devices {
		w.used[*a.packages[i].KeyPackageHash] = true
		if _, seated := c.seats[d]; !seated {
			c.seats[d] = modelSeat{seq: c.lastSeq(), epoch: c.epoch}
		}
		delete(c.debts, d)
		delete(c.closed, d)
		delete(c.requests, d)
		delete(c.failed, d)
		delete(c.gone, d.owner)
		c.welcomes[d] = a.welcome
	}
	for _, target := range a.users {
		for _, d := range target.devices {
			if _, seated := c.seats[d]; !seated && c.requests[d] == nil && c.invited[target] == nil {
				c.requests[d] = &modelRequest{kind: "device"}
			}
		}
	}
	return ""
}

// part takes a user off the roster; by is the committer who is said to have removed its leaves.
func (c *modelConvo) part(u *modelUser, how string, by *modelUser, proposed int64) {
	c.last[u], c.keys = c.lastReads(u), modelKeys{}
	for _, d := range c.seated(u) {
		delete(c.seats, d)
		if c.debts[d] == nil {
			c.debts[d] = &modelDebt{proposed: proposed, withheld: c.invited[u] != nil}
			c.debts[d].claim(nil)
			delete(c.closed, d)
		}
	}
	if by != nil {
		for _, d := range u.ever() {
			if c.debts[d] != nil {
				c.debts[d].claim(by)
			}
		}
	}
	delete(c.kept, u)
	for _, d := range u.devices {
		delete(c.welcomes, d)
		delete(c.requests, d)
		delete(c.failed, d)
	}
	delete(c.admins, u)
	c.uninvite(u, how)
	c.gone[u] = how
}

func (c *modelConvo) leave(u *modelUser, proposal *modelMessage) string {
	switch {
	case c.on(u) == "ConvoNotFound":
		return "ConvoNotFound"
	case c.on(u) == "NotMember" && c.gone[u] == "left":
		return ""
	case c.on(u) == "NotMember":
		return "NotMember"
	case c.invited[u] == nil && len(c.members()) == 1:
		return "LastMember"
	}
	proposed := int64(-1)
	if proposal != nil {
		if proposal.epoch != c.epoch {
			return "EpochMismatch"
		}
		c.log = append(c.log, *proposal)
		proposed = c.epoch
	}
	c.part(u, "left", nil, proposed)
	c.succeed()
	return ""
}

func (c *modelConvo) remove(u, target *modelUser, commit *modelMessage) string {
	if err := c.admin(u); err != "" {
		return err
	}
	switch {
	case u == target:
		return "CannotRemoveSelf"
	case commit != nil && commit.epoch != c.epoch:
		return "EpochMismatch"
	case c.on(target) != "":
		return "NotMember"
	}
	if commit == nil {
		c.part(target, "removed", nil, -1)
		return ""
	}
	commit.sender = u
	c.commit(*commit)
	c.part(target, "removed", u, -1)
	return ""
}

// takeOut is leaveConvo for another user.
func (c *modelConvo) takeOut(u, target *modelUser, commit *modelMessage) string {
	if err := c.here(u); err != "" {
		return err
	}
	owed := false
	for _, d := range target.ever() {
		if _, ok := c.debts[d]; ok && c.on(target) != "" {
			owed = true
		}
	}
	switch {
	case !c.admins[u] && !owed:
		return "NotAdmin"
	case commit == nil:
		return "InvalidCommit"
	case commit.epoch != c.epoch:
		return "EpochMismatch"
	case !owed && c.on(target) != "":
		return "NotMember"
	}
	commit.sender = u
	c.commit(*commit)
	if !owed {
		c.part(target, "removed", u, -1)
		return ""
	}
	for _, d := range target.ever() {
		if c.debts[d] != nil {
			c.debts[d].claim(u)
		}
	}
	return ""
}

func (c *modelConvo) promote(u, target *modelUser) string {
	if err := c.admin(u); err != "" {
		return err
	}
	switch {
	case c.here(target) != "":
		return "NotMember"
	case c.admins[target]:
		return "AlreadyAdmin"
	}
	c.admins[target] = true
	return ""
}

// demote: the second error is as good as the first, "" for none. When a demotion
// crosses another, the clock decides which of the two it is.
func (c *modelConvo) demote(u, target *modelUser) (err, or string) {
	if err := c.admin(u); err != "" {
		if err == "NotAdmin" && c.demotedBy[u] == target && len(c.admins) == 1 && c.admins[target] {
			return err, "LastAdmin"
		}
		return err, ""
	}
	switch {
	case c.here(target) != "":
		return "NotMember", ""
	case !c.admins[target]:
		return "NotAdminTarget", ""
	case len(c.admins) == 1 || !c.vacant(target) && len(c.withDevice(c.admins)) == 1:
		return "LastAdmin", ""
	}
	delete(c.admins, target)
	c.demotedBy[target] = u
	return "", ""
}

// confirm is confirmWelcome; it returns what the answer says.
func (c *modelConvo) confirm(d *modelDevice, success bool, at time.Time) (confirmed bool, err string) {
	if err := c.on(d.owner); err != "" {
		return false, err
	}
	if c.welcomes[d] == "" {
		return false, ""
	}
	if success {
		delete(c.welcomes, d)
		delete(c.requests, d)
		delete(c.failed, d)
		c.confirmed[d] = at
		return true, c.accept(d.owner)
	}
	c.failed[d] = true
	if c.invited[d.owner] == nil && c.requests[d] == nil && c.rejoins[d.owner] < 3 {
		c.requests[d] = &modelRequest{kind: "rejoin"}
		c.rejoins[d.owner]++
	}
	return true, ""
}

// rejoin: as demote, the clock may leave two answers.
func (c *modelConvo) rejoin(d *modelDevice, at time.Time) (err, or string) {
	if c.here(d.owner) != "" {
		return "ConvoNotFound", ""
	}
	if r := c.requests[d]; r != nil && r.kind == "rejoin" {
		return "", ""
	}
	full := ""
	if c.rejoins[d.owner] >= 3 {
		full = "RateLimitExceeded"
	}
	// Stored times are floored to two seconds, and requests take time.
	switch since := at.Sub(c.confirmed[d]); {
	case since < 26*time.Second:
		return "AlreadyMember", ""
	case since < 34*time.Second:
		return "AlreadyMember", full
	}
	return full, full
}
