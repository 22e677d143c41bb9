package e2e_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
)

func (w *world) addMembers(c *modelConvo, u *modelUser) {
	if len(u.bag) == 0 {
		w.claim(c, u)
		return
	}
	var a addition
	for range 1 + w.rng.IntN(2) {
		p := pick(w, u.bag)
		for range 8 { // most additions shall have a chance
			if w.used[*p.KeyPackageHash] || c.here(w.device(p).owner) == "" {
				p = pick(w, u.bag)
			}
		}
		if !slices.ContainsFunc(a.packages, func(q mlsapi.DefsKeyPackageRef) bool { return *q.KeyPackageHash == *p.KeyPackageHash }) {
			a.packages = append(a.packages, p)
		}
		if owner := w.device(p).owner; !slices.Contains(a.users, owner) {
			a.users = append(a.users, owner)
		}
	}
	if w.chance(16) { // a user whom the Welcome forgets
		if stray := w.user(); !slices.Contains(a.users, stray) {
			a.users = append(a.users, stray)
		}
	}
	w.sendAddition(c, u, a)
}

func (w *world) sendAddition(c *modelConvo, u *modelUser, a addition) {
	var in *mlsapi.AddMembersInput
	chat := *c.Chat
	chat.Group = w.group(c, w.epoch(c))
	var dids []mls.DID
	for _, target := range a.users {
		dids = append(dids, target.DID)
	}
	in = e2e.AdditionOf(&chat, a.packages, dids...)
	raw, err := mls.DecodeText(*in.Commit)
	if err != nil {
		w.t.Fatal(err)
	}
	a.welcome, a.commit = *in.WelcomeMessage, modelMessage{epoch: int64(chat.Group.Epoch), bytes: string(raw)}
	var out mlsapi.AddMembersOutput
	answer := u.Post(w.t, mlsapi.MethodAddMembers, in, &out)
	if w.expect(answer, w.add(c, u, a)) {
		w.same("epoch", out.NewEpoch, c.epoch)
		w.repeat = func() (e2e.Answer, string) { return u.Post(w.t, mlsapi.MethodAddMembers, in, nil), string(answer.Body) }
	}
}

// join lets one of a user's devices join by itself: EXTERNAL_JOIN is open, since nobody knows the
// leaves of an opaque group.
func (w *world) join(c *modelConvo, u *modelUser) {
	if len(u.devices) == 0 {
		return
	}
	d, epoch := pick(w, u.devices), w.epoch(c)
	commit := mlstest.Commit{From: d.Client, Leaf: 90, External: true, Proposals: []mlstest.Proposal{mlstest.ExternalInit()}}
	replaces := w.chance(2)
	if replaces {
		commit.Proposals = append(commit.Proposals, mlstest.Remove(80))
	}
	raw := w.group(c, epoch).Commit(commit)
	in := &mlsapi.ProcessExternalCommitInput{ConvoID: w.name(c), ExternalCommit: mls.EncodeText(raw), IdempotencyKey: e2e.Key()}
	var out mlsapi.ProcessExternalCommitOutput
	answer := u.Post(w.t, mlsapi.MethodProcessExternalCommit, in, &out)
	if w.expect(answer, c.join(d, modelMessage{kind: "commit", epoch: epoch, bytes: string(raw)}, replaces)) {
		w.same("epoch", out.Epoch, c.epoch)
		w.same("seq", out.Seq, c.lastSeq())
		w.repeat = func() (e2e.Answer, string) {
			return u.Post(w.t, mlsapi.MethodProcessExternalCommit, in, nil), string(answer.Body)
		}
	}
}

func (w *world) leave(c *modelConvo, u *modelUser) {
	in := &mlsapi.LeaveConvoInput{ConvoID: w.name(c)}
	var proposal *modelMessage
	if w.chance(2) {
		raw := w.group(c, w.epoch(c)).PrivateProposal()
		m, err := mls.ParseMessage(raw)
		if err != nil {
			w.t.Fatal(err)
		}
		proposal = &modelMessage{kind: "proposal", epoch: int64(m.Framing().Epoch), bytes: string(raw)}
		in.Commit = new(mls.EncodeText(raw))
	}
	var out mlsapi.LeaveConvoOutput
	if w.expect(u.Post(w.t, mlsapi.MethodLeaveConvo, in, &out), c.leave(u, proposal)) {
		w.same("epoch", out.NewEpoch, c.epoch)
	}
}

func (w *world) removeMember(c *modelConvo, u *modelUser) {
	target := w.someone(c)
	in := &mlsapi.RemoveMemberInput{ConvoID: c.ID, TargetDID: target.DID, IdempotencyKey: *e2e.Key()}
	var commit *modelMessage
	if w.chance(2) {
		m, text := w.commit(c)
		commit, in.Commit = &m, text
	}
	var out mlsapi.RemoveMemberOutput
	a := u.Post(w.t, mlsapi.MethodRemoveMember, in, &out)
	if w.expect(a, c.remove(u, target, commit)) {
		w.same("epoch", out.EpochHint, c.epoch)
		w.repeat = func() (e2e.Answer, string) { return u.Post(w.t, mlsapi.MethodRemoveMember, in, nil), string(a.Body) }
	}
}

func (w *world) takeOut(c *modelConvo, u *modelUser) {
	target := w.user()
	if target == u {
		return
	}
	in := &mlsapi.LeaveConvoInput{ConvoID: c.ID, TargetDID: &target.DID}
	var commit *modelMessage
	if !w.chance(6) {
		m, text := w.commit(c)
		commit, in.Commit = &m, text
	}
	var out mlsapi.LeaveConvoOutput
	if w.expect(u.Post(w.t, mlsapi.MethodLeaveConvo, in, &out), c.takeOut(u, target, commit)) {
		w.same("epoch", out.NewEpoch, c.epoch)
	}
}

// judgeRemoval says of a removal whether it was made; each word may be a lie.
func (w *world) judgeRemoval(c *modelConvo, u *modelUser) {
	w.learnDebts(c)
	var known []*modelDevice
	for _, of := range w.users {
		for _, d := range of.ever() {
			if debt := c.debts[d]; debt != nil && debt.id != "" || c.closed[d] != nil {
				known = append(known, d)
			}
		}
	}
	if len(known) == 0 {
		return
	}
	d := pick(w, known)
	debt := c.debts[d]
	if debt == nil {
		debt = c.closed[d]
	}
	in := &mlsapi.ReportCommitInput{ConvoID: c.ID, Reason: "removed", RequestID: &debt.id}
	if w.chance(3) {
		in.Reason = "not_removed"
	}
	open, err := c.judge(u, d, debt, in.Reason == "removed")
	var out mlsapi.ReportCommitOutput
	if w.expect(u.Post(w.t, mlsapi.MethodReportCommit, in, &out), err) {
		w.same("open", out.Reopened, open)
	}
}

// learnDebts learns the ids of what is owed.
func (w *world) learnDebts(c *modelConvo) {
	members := slices.DeleteFunc(slices.Clone(w.users), func(u *modelUser) bool { return c.here(u) != "" })
	for _, p := range members[0].Pending(w.t, c.Chat) {
		if p.Kind != "removal" || p.DeviceID == nil {
			continue // of who never accepted, nobody learns the device
		}
		if d := w.devices[*p.DeviceID]; c.debts[d] != nil {
			c.debts[d].id = p.RequestID
		}
	}
}

func (w *world) promote(c *modelConvo, u *modelUser) {
	target := w.someone(c)
	w.expect(u.Promote(w.t, c.Chat, target.User), c.promote(u, target))
}

func (w *world) demote(c *modelConvo, u *modelUser) {
	target := w.someone(c)
	err, or := c.demote(u, target)
	if or == "" {
		or = err
	}
	w.expect(u.Demote(w.t, c.Chat, target.User), err, or)
}

func (w *world) requestRejoin(c *modelConvo, u *modelUser) {
	if len(u.devices) == 0 {
		return
	}
	d := pick(w, u.devices)
	k := d.Client.KeyPackage(time.Now())
	in := d.RejoinInput(c.Chat)
	in.KeyPackage = k.Text()
	err, or := c.rejoin(d, time.Now())
	var out mlsapi.RequestRejoinOutput
	if !w.expect(d.Post(w.t, mlsapi.MethodRequestRejoin, in, &out), err, or) {
		return
	}
	r := c.requests[d]
	switch {
	case r == nil:
		r = &modelRequest{kind: "rejoin", id: out.RequestID}
		c.requests[d] = r
		c.rejoins[u]++
	case r.id != "" && r.id != out.RequestID:
		w.t.Errorf("%s: an open request got another id", w.did)
	}
	r.id = out.RequestID
	if r.kind == "rejoin" {
		r.ref = hex.EncodeToString([]byte(k.Ref))
		w.reserved[r.ref] = true
	}
}

// answerRejoin fetches the package of an open request and perhaps commits it.
func (w *world) answerRejoin(c *modelConvo, u *modelUser) {
	var waiting []*modelDevice
	for _, m := range w.users { // in a fixed order, so that a seed repeats
		for _, d := range m.devices {
			if r := c.requests[d]; r != nil && r.id != "" {
				waiting = append(waiting, d)
			}
		}
	}
	if len(waiting) == 0 {
		return
	}
	d := pick(w, waiting)
	r := c.requests[d]
	var out mlsapi.GetKeyPackagesOutput
	w.expect(u.Get(w.t, mlsapi.MethodGetKeyPackages, &out, "dids", string(d.DID), "requestId", r.id), "")
	want := []string{}
	if c.here(u) == "" && r.ref != "" {
		want = append(want, r.ref)
	}
	got := []string{}
	for _, p := range out.KeyPackages {
		got = append(got, *p.KeyPackageHash)
	}
	w.same("reserved package", got, want)
	if len(got) == 1 {
		u.bag = append(u.bag, out.KeyPackages...)
		w.sendAddition(c, u, addition{users: []*modelUser{d.owner}, packages: out.KeyPackages})
	}
}

func (w *world) welcome(c *modelConvo, u *modelUser) {
	if len(u.devices) == 0 {
		return
	}
	d := pick(w, u.devices)
	want := c.on(u)
	if want == "" && c.welcomes[d] == "" {
		want = "WelcomeNotFound"
	}
	out, a := u.Welcome(w.t, c.Chat, d.ID)
	if w.expect(a, want) {
		w.same("Welcome", out.Welcome, c.welcomes[d])
	}
}

func (w *world) confirmWelcome(c *modelConvo, u *modelUser) {
	if len(u.devices) == 0 {
		return
	}
	d, success := pick(w, u.devices), !w.chance(3)
	in := &mlsapi.ConfirmWelcomeInput{ConvoID: c.ID, Success: success, DeviceID: &d.ID}
	var out mlsapi.ConfirmWelcomeOutput
	a := u.Post(w.t, mlsapi.MethodConfirmWelcome, in, &out)
	confirmed, err := c.confirm(d, success, time.Now())
	if w.expect(a, err) {
		w.same("confirmed", out.Confirmed, confirmed)
	}
}

func (w *world) getEpoch(c *modelConvo, u *modelUser) {
	var out mlsapi.GetEpochOutput
	if w.expect(u.Get(w.t, mlsapi.MethodGetEpoch, &out, "convoId", w.name(c)), c.on(u)) {
		w.same("epoch", out.CurrentEpoch, c.epoch)
	}
}

// read reads a page from somewhere in the conversation, or of another one's cursor.
// mark sets the reading position, which never moves back.
func (w *world) mark(c *modelConvo, u *modelUser) {
	if len(c.log) == 0 {
		return
	}
	at := w.rng.IntN(len(c.log))
	id := c.log[at].id
	if id == "" {
		return
	}
	if w.expect(u.Post(w.t, mlsapi.MethodUpdateCursor, &mlsapi.UpdateCursorInput{ConvoID: c.ID, Cursor: id}, nil), c.here(u)) {
		c.cursors[u] = max(c.cursors[u], int64(at)+1)
	}
}

func (w *world) count(u *modelUser) {
	var out mlsapi.GetKeyPackageStatsOutput
	want := 0
	for _, d := range u.devices {
		want += len(d.live)
	}
	if w.expect(u.Get(w.t, mlsapi.MethodGetKeyPackageStats, &out), "") {
		w.same("packages", out.Available, want)
	}
}

type seenConvo struct {
	ID      string
	Epoch   int64
	Members []string // device, user, role
	Pending []string // kind, user, device
}

// compare compares all that a user can see.
func (w *world) compare(u *modelUser) {
	w.t.Helper()
	before := w.did
	w.did = "comparison"
	defer func() { w.did = before }()
	var got, want []seenConvo
	w.compareInvitations(u)
	for _, v := range u.Convos(w.t) {
		if *v.State == "invited" {
			continue
		}
		s := seenConvo{ID: v.ID, Epoch: v.Epoch}
		for i := range v.Members {
			if v.Members[i].State != nil {
				s.Members = append(s.Members, fmt.Sprint("invited", v.Members[i].UserDID))
				continue
			}
			device := ""
			if v.Members[i].DeviceID != nil {
				device = *v.Members[i].DeviceID
			}
			s.Members = append(s.Members, fmt.Sprint(device, v.Members[i].UserDID, v.Members[i].IsAdmin))
		}
		for _, r := range v.PendingRequests {
			id := ""
			if r.DeviceID != nil {
				id = *r.DeviceID
			}
			what := fmt.Sprint(r.Kind, r.UserDID, id)
			if r.Kind == "removal" {
				what = fmt.Sprint(r.Kind, r.UserDID, id, r.Claimed != nil)
			}
			s.Pending = append(s.Pending, what)
		}
		got = append(got, s)
	}
	for _, c := range w.convos {
		switch c.here(u) {
		case "":
		case "NotMember":
			w.history(c, u)
			continue
		default:
			continue
		}
		s := seenConvo{ID: c.ID, Epoch: c.epoch}
		s.Members, s.Pending = c.rows()
		want = append(want, s)
		w.history(c, u)
	}
	for _, list := range [][]seenConvo{got, want} {
		slices.SortFunc(list, func(a, b seenConvo) int { return strings.Compare(a.ID, b.ID) })
		for i := range list {
			slices.Sort(list[i].Members)
			slices.Sort(list[i].Pending)
		}
	}
	w.same("conversations", got, want)
}

func dump(v any) string {
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err.Error()
	}
	if string(b) == "null" {
		return "[]" // a list that nothing was put in
	}
	return string(b)
}
