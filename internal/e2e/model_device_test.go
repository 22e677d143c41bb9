package e2e_test

import (
	"cmp"
	"encoding/hex"
	"maps"
	"slices"
	"time"

	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mlstest"
)

// Devices come, go, and are replaced.

// ever is all devices that a user has had.
func (u *modelUser) ever() []*modelDevice { return append(slices.Clone(u.devices), u.lost...) }

// vacant says that only a place is kept of a member.
func (c *modelConvo) vacant(u *modelUser) bool { return len(c.seated(u)) == 0 }

// withDevice are those of some members who have a device here.
func (c *modelConvo) withDevice(users map[*modelUser]bool) []*modelUser {
	return slices.DeleteFunc(slices.Collect(maps.Keys(users)), c.vacant)
}

// succeed finds an admin where none is left who has a device: who was here longest, of those with
// devices if there are any.
func (c *modelConvo) succeed() {
	if len(c.withDevice(c.admins)) > 0 {
		return
	}
	heirs := slices.DeleteFunc(c.members(), c.vacant)
	since := func(u *modelUser) int64 {
		first := int64(1 << 60)
		for _, d := range c.seated(u) {
			first = min(first, c.seats[d].seq)
		}
		return first
	}
	if len(heirs) == 0 {
		if heirs, since = c.members(), func(u *modelUser) int64 { return c.kept[u].seq }; len(c.admins) > 0 {
			return
		}
	}
	slices.SortFunc(heirs, func(a, b *modelUser) int {
		return cmp.Or(cmp.Compare(since(a), since(b)), cmp.Compare(a.DID, b.DID))
	})
	c.admins[heirs[0]] = true
}

// deleted is what becomes of a device that its user has deleted: nobody can use its packages, its
// leaves are owed, and the user stays in its conversations.
func (w *world) deleted(d *modelDevice) {
	u := d.owner
	for _, c := range w.convos {
		if seat, seated := c.seats[d]; seated {
			if _, kept := c.kept[u]; !kept && len(c.seated(u)) == 1 {
				c.kept[u] = seat
			}
			c.keys = modelKeys{}
			delete(c.seats, d)
			if c.debts[d] == nil {
				c.debts[d] = &modelDebt{proposed: -1, withheld: c.invited[u] != nil}
				c.debts[d].claim(nil)
				delete(c.closed, d)
			}
		}
		delete(c.welcomes, d)
		delete(c.requests, d)
		delete(c.failed, d)
	}
	u.devices = slices.DeleteFunc(u.devices, func(o *modelDevice) bool { return o == d })
	u.lost, d.live = append(u.lost, d), nil
}

// deleteDevice deletes a device, perhaps once more, or somebody else's.
func (w *world) deleteDevice(u *modelUser) {
	if len(u.lost) > 0 && w.chance(4) {
		w.expect(u.Delete(w.t, pick(w, u.lost).Device, nil), "")
		return
	}
	of := u
	if w.chance(4) {
		of = w.user()
	}
	if len(of.devices) == 0 {
		return
	}
	d := pick(w, of.devices)
	// It may be protected by a registration of today; its own signature is as old as itself.
	want := ""
	if of != u {
		want = "DeviceNotFound"
	}
	if w.expect(u.Delete(w.t, d.Device, d.Prove(d.Device, nil)), want) {
		w.deleted(d)
	}
}

// replaceDevice registers a device in the place of one that the user has, or of none.
func (w *world) replaceDevice(u *modelUser) {
	if len(u.devices) == 0 {
		return
	}
	old := pick(w, u.devices)
	fresh := u.NewDevice()
	in := fresh.RegistrationInput(1)
	in.ReplaceDeviceID, in.Proof = &old.ID, old.Prove(old.Device, fresh)
	want := ""
	if len(u.lost) > 0 && w.chance(4) {
		in.ReplaceDeviceID, want = &pick(w, u.lost).ID, "DeviceNotFound"
	}
	var out mlsapi.RegisterDeviceOutput
	if !w.expect(u.Post(w.t, mlsapi.MethodRegisterDevice, in, &out), want) {
		return
	}
	fresh.ID = out.DeviceID
	d := &modelDevice{Device: fresh, owner: u}
	var waits []string
	for _, c := range w.convos {
		if c.here(u) == "" {
			waits = append(waits, c.ID)
		}
	}
	w.same("conversations to be added to", sorted(out.AutoJoinedConvos...), sorted(waits...))
	w.deleted(old)
	w.registered(d)
	w.pending(d)
}

// sync withdraws what a device says it has no keys for.
func (w *world) sync(u *modelUser) {
	if len(u.devices) == 0 {
		return
	}
	d := pick(w, u.devices)
	in := &mlsapi.SyncKeyPackagesInput{DeviceID: d.ID, LocalHashes: []string{}}
	var keys, orphans []string
	for _, ref := range d.live {
		if w.chance(4) {
			orphans = append(orphans, ref)
		} else {
			keys = append(keys, ref)
		}
	}
	in.LocalHashes = append(in.LocalHashes, keys...)
	if len(keys) == 0 && w.chance(2) {
		in.LocalHashes = append(in.LocalHashes, hex.EncodeToString(make([]byte, 32)))
	}
	withdrawn := orphans
	if len(keys) == 0 && len(in.LocalHashes) > 0 {
		withdrawn = nil // it looks like a mistake
	}
	var out mlsapi.SyncKeyPackagesOutput
	if !w.expect(u.Post(w.t, mlsapi.MethodSyncKeyPackages, in, &out), "") {
		return
	}
	w.same("packages", sorted(out.ServerHashes...), sorted(slices.Clone(d.live)...))
	w.same("orphans", sorted(out.OrphanedHashes...), sorted(orphans...))
	w.same("withdrawn", out.DeletedCount, len(withdrawn))
	d.live = slices.DeleteFunc(d.live, func(ref string) bool { return slices.Contains(withdrawn, ref) })
}

// publishSeveral publishes two packages and one that nobody can use.
func (w *world) publishSeveral(u *modelUser) {
	if len(u.devices) == 0 {
		return
	}
	d, now := pick(w, u.devices), time.Now()
	good := []*mlstest.KeyPackage{d.Client.KeyPackage(now), d.Client.KeyPackage(now)}
	var out mlsapi.PublishKeyPackagesOutput
	if !w.expect(u.Post(w.t, mlsapi.MethodPublishKeyPackages, batchOf(good[0], d.Client.KeyPackage(now, mlstest.BadSignature), good[1]), &out), "") {
		return
	}
	w.same("published", out.Succeeded, 2)
	for _, k := range good {
		d.live = append(d.live, hexRef(k))
	}
}

// listDevices compares a user's devices.
func (w *world) listDevices(u *modelUser) {
	var got, want []string
	counts := map[string]int64{}
	for _, d := range u.Devices(w.t) {
		got = append(got, d.DeviceID)
		counts[d.DeviceID] = d.KeyPackageCount
	}
	w.outcomes[w.did+" "]++
	for _, d := range u.devices {
		want = append(want, d.ID)
		w.same("packages of a device", counts[d.ID], len(d.live))
	}
	w.same("devices", sorted(got...), sorted(want...))
}

// judge is reportCommit about a removal; open says whether it is open again.
func (c *modelConvo) judge(u *modelUser, d *modelDevice, debt *modelDebt, gone bool) (open bool, err string) {
	if err := c.here(u); err != "" {
		return false, err
	}
	settled := c.debts[d] != debt
	if !gone {
		_, back := c.seats[d]
		switch {
		case !settled && debt.claimed == nil:
			return true, ""
		case debt.denied[u] || settled && (back || c.closed[d] != debt || c.debts[d] != nil):
			return false, ""
		}
		delete(c.closed, d)
		c.debts[d] = debt
		maps.Copy(debt.spent, debt.said)
		debt.claimed, debt.said = nil, map[*modelUser]bool{}
		debt.denied[u], c.keys = true, modelKeys{}
		return true, ""
	}
	heard := slices.DeleteFunc(c.members(), func(m *modelUser) bool { return m == debt.claimed || m == d.owner })
	if settled || debt.spent[u] || len(heard) > 0 && !slices.Contains(heard, u) {
		return false, ""
	}
	debt.said[u] = true
	n := 0
	for m := range debt.said {
		if m == u || slices.Contains(heard, m) {
			n++
		}
	}
	if c.admins[u] || n >= min(2, len(heard)) {
		delete(c.debts, d)
		c.closed[d], debt.denied = debt, map[*modelUser]bool{}
	}
	return false, ""
}
