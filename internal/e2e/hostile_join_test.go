package e2e_test

import (
	"slices"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
)

// Those of TestHostileMembers who join by themselves, and the GroupInfos that they join by.

// door is the GroupInfo of an epoch. Nobody but its maker can see whether its external_pub is
// right.
type door struct {
	by       *groupUser
	right    bool
	info     []byte       // nil for that of the commit
	replaced []*groupUser // by whom, in this epoch
	retired  bool
}

// join is a user's commit from outside, which replaces its leaf. Where the GroupInfo is false
// nobody else can follow it, and a hostile joiner may see to that by itself.
func (c *groupConvo) join(u *groupUser) {
	w, v := c.w, c.view()
	if _, in := leafOf(v.Tree, u); !in {
		return
	}
	d := c.top().door
	info, a := u.Entrance(w.t, c.chat)
	if d.retired {
		w.expect("no door", a, "GroupInfoUnavailable")
		return
	}
	if d.info != nil && !slices.Equal(info, d.info) {
		w.t.Fatal("the GroupInfo that is handed out is not the newest that was deposited")
	}
	want := c.waits(u)
	if c.joined[u] == 5 {
		want = "RateLimitExceeded"
	}
	request, next := u.Joining(w.t, v, mlstest.Draft{})
	var out mlsapi.ProcessExternalCommitOutput
	if !w.expect("join", u.Post(w.t, mlsapi.MethodProcessExternalCommit, request, &out), want) {
		return
	}
	c.joined[u]++
	if !d.right && !u.hostile {
		w.counts["led astray"]++
	}
	c.accept(&groupState{
		tree: next, good: d.right && (!u.hostile || w.rng.IntN(2) == 0), by: u, id: out.MessageID, seq: out.Seq, added: []*groupUser{u},
		joins: true, lured: d.by,
	})
	c.seats[u].origin = c.top() // the joiner itself holds it in any case
}

// deposit replaces the GroupInfo of the epoch. An honest member does so where none is handed out,
// a hostile one to lead the next joiner astray.
func (c *groupConvo) deposit(u *groupUser) {
	leaf, in := leafOf(c.top().tree, u)
	if !in || !u.hostile && (!c.holds(u) || !c.top().door.retired) {
		return
	}
	c.replace(u, leaf)
	if u.hostile { // and again, which is once too often
		c.replace(u, leaf)
	}
}

func (c *groupConvo) replace(u *groupUser, leaf uint32) {
	v, d := c.view(), &c.top().door
	updated := !slices.Contains(d.replaced, u) && (!d.retired || d.by != u)
	info := v.Tree.GroupInfo(leaf)
	var out mlsapi.UpdateGroupInfoOutput
	if c.w.expect("deposit", u.Post(c.w.t, mlsapi.MethodUpdateGroupInfo, v.Deposit(info), &out), "") && out.Updated != updated {
		c.w.t.Fatalf("deposited: %v, the model says %v", out.Updated, updated)
	}
	if updated {
		*d = door{by: u, right: !u.hostile, info: info, replaced: append(slices.Clone(d.replaced), u)}
	}
}

// blame says against whom a commit counts that is taken back, and shuts the door that it came by.
// The first join of a user counts against whoever led it.
func (c *groupConvo) blame(k *groupState) {
	if !k.joins {
		c.blamed[k.by] = true
		return
	}
	c.w.counts["joins taken back"]++
	c.top().door.retired = true
	if c.astray[k.by] {
		c.blamed[k.by] = true
	} else {
		c.blamed[k.lured] = true
	}
	c.astray[k.by] = true
}

// lieFromOutside is a join that is refused.
func (c *groupConvo) lieFromOutside(u *groupUser) {
	w, v := c.w, c.view()
	leaf, in := leafOf(v.Tree, u)
	if !in {
		return
	}
	d, want, info := mlstest.Draft{External: true, Remove: []uint32{leaf}}, commitFault, (func(*mlstest.VerifiedGroup) []byte)(nil)
	switch w.rng.IntN(6) {
	case 0:
		d.BadSignature = true
	case 1:
		d.BadParentHash = true
	case 2: // beside its leaf
		d.Remove = nil
	case 3: // in another's place
		at, in := leafOf(v.Tree, c.admin)
		if !in || c.admin == u {
			return
		}
		d.Remove = []uint32{at} // its own stays, with the same key
	case 4: // into the epoch that it comes from
		info, want = func(*mlstest.VerifiedGroup) []byte { return v.Tree.GroupInfo(leaf) }, infoFault
	case 5: // under another's name
		others := allBut(c.members(), u)
		if len(others) == 0 {
			return
		}
		other := others[w.rng.IntN(len(others))]
		at, in := leafOf(v.Tree, other)
		if !in {
			return
		}
		d.Remove = []uint32{at}
		commit, next := v.Tree.Commit(0, other.Client, d)
		w.expect("lie from outside", c.enter(u, commit, next.GroupInfo(next.LeafOf(other.Client))), commitFault)
		return
	}
	commit, next := v.Tree.Commit(0, u.Client, d)
	shown := v.Tree.GroupInfo(leaf)
	if info == nil {
		shown = next.GroupInfo(next.LeafOf(u.Client))
	}
	w.expect("lie from outside", c.enter(u, commit, shown), want)
}

func (c *groupConvo) enter(u *groupUser, commit, info []byte) e2e.Answer {
	return u.Post(c.w.t, mlsapi.MethodProcessExternalCommit, &mlsapi.ProcessExternalCommitInput{
		ConvoID: c.chat.ID, ExternalCommit: mls.EncodeText(commit), GroupInfo: e2e.Text(info),
	}, nil)
}
