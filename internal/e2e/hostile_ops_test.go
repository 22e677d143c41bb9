package e2e_test

import (
	"slices"
	"time"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
)

// What the users of TestHostileMembers do, each with what the model says that the server answers.

// update is a commit of a member's that renews its own keys. A hostile one may give the others
// secrets that lead nowhere.
func (c *groupConvo) update(u *groupUser) {
	good := !u.hostile || c.w.rng.IntN(3) == 0
	if !u.hostile && !c.holds(u) {
		return
	}
	v := c.view()
	commit, info, next := v.Commit(c.w.t, u.Device, mlstest.Draft{})
	var out mlsapi.SendMessageOutput
	if c.w.expect("update", u.Post(c.w.t, mlsapi.MethodSendMessage, v.Handshake(commit, info), &out), c.waits(u)) {
		c.accept(&groupState{tree: next, good: good, by: u, id: out.MessageID, seq: out.Seq})
	}
}

// add brings a user in. A leaf that it still has, since its removal was taken back, is removed.
func (c *groupConvo) add(u *groupUser, who *groupUser) {
	good := !u.hostile || c.w.rng.IntN(3) == 0
	if !u.hostile && !c.holds(u) || c.seats[who] != nil {
		return
	}
	var d mlstest.Draft
	if leaf, in := leafOf(c.top().tree, who); in {
		d.Remove = []uint32{leaf}
	}
	v := c.view()
	in, next := u.VerifiedAddition(c.w.t, v, d, who.Device)
	var out mlsapi.AddMembersOutput
	if c.w.expect("add", u.Post(c.w.t, mlsapi.MethodAddMembers, in, &out), c.waits(u)) {
		who.Accept(c.w.t, c.chat).OK(c.w.t)
		c.accept(&groupState{tree: next, good: good, by: u, id: *out.MessageID, seq: *out.Seq, added: []*groupUser{who}})
	}
}

// remove is the admin's.
func (c *groupConvo) remove(who *groupUser) {
	u := c.admin
	leaf, in := leafOf(c.top().tree, who)
	if !in || !c.holds(u) || u == who {
		return
	}
	commit, info, next := c.view().Commit(c.w.t, u.Device, mlstest.Draft{Remove: []uint32{leaf}})
	var out mlsapi.RemoveMemberOutput
	if c.w.expect("remove", u.Post(c.w.t, mlsapi.MethodRemoveMember, &mlsapi.RemoveMemberInput{
		ConvoID: c.chat.ID, TargetDID: who.DID, IdempotencyKey: *e2e.Key(), Commit: e2e.Text(commit), GroupInfo: e2e.Text(info),
	}, &out), "") {
		delete(c.seats, who)
		c.accept(&groupState{tree: next, good: true, by: u, id: *out.MessageID, seq: *out.Seq})
	}
}

// lie is a commit whose fault can be seen: it is refused, whoever makes it and however.
func (c *groupConvo) lie(u *groupUser) {
	w, v := c.w, c.view()
	leaf, _ := leafOf(v.Tree, u)
	others := allBut(c.members(), u)
	d, want := mlstest.Draft{}, commitFault
	info := func(next *mlstest.VerifiedGroup) []byte { return next.GroupInfo(leaf) }
	switch w.rng.IntN(7) {
	case 0:
		d.BadSignature = true
	case 1:
		d.BadParentHash = true
	case 2:
		d.BadSecrets = true
	case 3: // in a group of one nobody else can sign
		if len(others) == 0 {
			return
		}
		other, in := leafOf(v.Tree, others[0])
		if !in {
			return
		}
		info, want = func(next *mlstest.VerifiedGroup) []byte { return next.GroupInfo(other) }, infoFault
	case 4:
		info, want = func(*mlstest.VerifiedGroup) []byte { return v.Tree.GroupInfo(leaf) }, infoFault
	case 5:
		d.Refs = []mlstest.Sent{v.Tree.ProposeUpdate(leaf)}
	case 6:
		at, in := leafOf(v.Tree, c.admin)
		if !in || u == c.admin {
			return
		}
		d.Remove, want = []uint32{at}, "NotAdmin"
	}
	commit, next := v.Tree.Commit(leaf, nil, d)
	w.expect("lie", u.Post(w.t, mlsapi.MethodSendMessage, v.Handshake(commit, info(next)), nil), want)
}

func allBut(all []*groupUser, u *groupUser) []*groupUser {
	return slices.DeleteFunc(slices.Clone(all), func(o *groupUser) bool { return o == u })
}

// report says that a user cannot follow a commit: true of the honest, at will of the hostile.
func (c *groupConvo) report(u *groupUser, k *groupState) {
	seat := c.seats[u]
	want := ""
	if k.seq <= seat.seq {
		want = "CommitNotFound"
	}
	var out mlsapi.ReportCommitOutput
	in := &mlsapi.ReportCommitInput{ConvoID: c.chat.ID, Epoch: int64(k.tree.Epoch) - 1, MessageID: &k.id, Reason: "cannot_process", DeviceID: &u.ID}
	if !c.w.expect("report", u.Post(c.w.t, mlsapi.MethodReportCommit, in, &out), want) {
		return
	}
	if from, ok := c.reports[u]; !ok || k.seq < from {
		c.reports[u] = k.seq
	}
	if reopened := c.takeBack() && c.top().tree.Epoch < k.tree.Epoch; reopened != out.Reopened {
		c.w.t.Fatalf("reopened %v, the model says %v", out.Reopened, reopened)
	}
	if out.Reopened {
		c.w.counts["taken back"]++
	}
}

// takeBack takes the newest commits back for as long as each has its quorum.
func (c *groupConvo) takeBack() bool {
	took := map[*groupUser]bool{}
	for c.top().id != "" && c.quorum(c.top(), took) {
		k := c.top()
		c.chain = c.chain[:len(c.chain)-1]
		took[k.by] = true
		c.blame(k)
		for _, u := range k.added {
			switch before := k.before[u]; {
			case c.seats[u] == nil: // who has left since stays away
			case before == nil:
				delete(c.seats, u)
			default:
				c.seats[u] = before
			}
		}
		for u, from := range c.reports {
			if from >= k.seq {
				delete(c.reports, u)
			}
		}
	}
	for u := range took {
		c.undone[u] = true
	}
	return len(took) > 0
}

// quorum counts as ADR 28 says; everybody was here today.
func (c *groupConvo) quorum(k *groupState, took map[*groupUser]bool) bool {
	electors, said, admin := 0, 0, false
	for u, seat := range c.seats {
		if u == k.by || seat.seq >= k.seq || slices.Contains(k.added, u) {
			continue
		}
		electors++
		if from, ok := c.reports[u]; ok && from <= k.seq {
			said++
			admin = admin || u == c.admin
		}
	}
	if electors == 1 {
		return said == 1 && !took[k.by] && !c.undone[k.by]
	}
	return 2*said > electors && (4*said >= electors || admin)
}

// reset begins a new group, for the admin.
func (c *groupConvo) reset() {
	w, u := c.w, c.admin
	var others []*e2e.Device
	for _, o := range allBut(c.members(), u) {
		others = append(others, o.Device)
	}
	in, group := u.ResetInput(w.t, c.chat, others...)
	w.expect("reset", u.Post(w.t, mlsapi.MethodResetConvo, in, nil), "")
	c.generation++
	state := &groupState{tree: group, good: true, by: u, door: door{by: u, right: true}}
	c.chain, c.reports = []*groupState{state}, map[*groupUser]int64{}
	for _, seat := range c.seats {
		seat.origin = state
	}
}

// rejoin asks for a new leaf, which the admin gives.
func (c *groupConvo) rejoin(u *groupUser) {
	w := c.w
	lost := u.Client.KeyPackage(time.Now())
	c.asked[u]++
	w.expect("rejoin", u.Post(w.t, mlsapi.MethodRequestRejoin, &mlsapi.RequestRejoinInput{ConvoID: c.chat.ID, KeyPackage: lost.Text(), DeviceID: &u.ID}, nil), "")
	d := mlstest.Draft{Add: []mlstest.Addition{{Client: u.Client, Package: lost}}}
	if leaf, in := leafOf(c.top().tree, u); in {
		d.Remove = []uint32{leaf}
	}
	commit, info, next := c.view().Commit(w.t, c.admin.Device, d)
	var out mlsapi.AddMembersOutput
	w.expect("add anew", c.admin.Post(w.t, mlsapi.MethodAddMembers, &mlsapi.AddMembersInput{
		ConvoID: c.chat.ID, IdempotencyKey: e2e.Key(), DIDList: []mls.DID{u.DID}, Commit: e2e.Text(commit), GroupInfo: e2e.Text(info),
		WelcomeMessage: e2e.Text(next.Welcome(lost.Ref)),
	}, &out), "")
	c.accept(&groupState{tree: next, good: true, by: c.admin, id: *out.MessageID, seq: *out.Seq, added: []*groupUser{u}})
}
