package e2e_test

import (
	"strconv"
	"time"

	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
)

// modelReads is what a user may read: the log from one place to another. The epoch is the
// conversation's at the end.
type modelReads struct {
	from  modelSeat
	until int64
	epoch int64
}

// noReads are those of who was only invited.
var noReads = modelReads{until: -1}

// joined is where the user's history begins: with the first of its devices, or the one whose place
// is kept.
func (c *modelConvo) joined(u *modelUser) modelSeat {
	first := modelSeat{seq: 1 << 60, epoch: 1 << 60}
	seats := []modelSeat{}
	for _, d := range c.seated(u) {
		seats = append(seats, c.seats[d])
	}
	if seat, kept := c.kept[u]; kept {
		seats = append(seats, seat)
	}
	for _, seat := range seats {
		first.seq, first.epoch = min(first.seq, seat.seq), min(first.epoch, seat.epoch)
	}
	return first
}

// lastReads is what a user may read who leaves now.
func (c *modelConvo) lastReads(u *modelUser) modelReads {
	if c.invited[u] != nil {
		return noReads // it never was a member
	}
	return modelReads{c.joined(u), c.lastSeq(), c.epoch}
}

// reads is what a user may read: since it joined, or of its last membership. Who has left and asks
// for what is not there is no member.
func (c *modelConvo) reads(u *modelUser) (reads modelReads, nothing string) {
	switch c.here(u) {
	case "":
		return modelReads{c.joined(u), c.lastSeq(), c.epoch}, ""
	case "NotMember":
		if c.invited[u] != nil {
			return noReads, "NotMember"
		}
		return c.last[u], "NotMember"
	}
	return modelReads{}, ""
}

// read asks for a page.
func (w *world) read(c *modelConvo, u *modelUser) {
	reads, nothing := c.reads(u)
	args, after, want := []string{"convoId", w.name(c), "limit", "10"}, int64(0), ""
	if len(c.log) > 0 && w.chance(2) {
		at := w.rng.IntN(len(c.log))
		if id := c.log[at].id; id != "" {
			args, after = append(args, "sinceMessage", id), int64(at)+1
		}
	} else if w.chance(8) {
		args, after = append(args, "sinceMessage", string(mls.NewMessageID(time.Now()))), c.lastSeq()+1
	}
	from := max(after, reads.from.seq)
	page := c.page(from, min(from+10, reads.until))
	switch {
	case c.here(u) == "ConvoNotFound":
		want = "ConvoNotFound"
	case reads == noReads:
		want = nothing
	case after > reads.until:
		want = "InvalidCursor"
	case len(page) == 0:
		want = nothing
	}
	var out mlsapi.GetMessagesOutput
	if !w.expect(u.Get(w.t, mlsapi.MethodGetMessages, &out, args...), want) {
		return
	}
	w.same("messages", seenMessages(out.Messages), page)
	w.same("last seq", *out.LastSeq, from+int64(len(page)))
	w.same("more", out.Cursor != nil, reads.until > from+10)
}

type seenMessage struct {
	Seq, Epoch int64
	Kind       string
	Bytes      int // a checksum
}

func checksum(s string) int {
	n := 0
	for i := range len(s) {
		n = n*31 + int(s[i])
	}
	return n
}

func seenMessages(list []mlsapi.DefsMessageView) []seenMessage {
	out := []seenMessage{}
	for i := range list {
		m := &list[i]
		out = append(out, seenMessage{m.Seq, m.Epoch, string(*m.MessageType), checksum(string(m.Ciphertext))})
	}
	return out
}

// page is the messages after one place up to another.
func (c *modelConvo) page(after, until int64) []seenMessage {
	out := []seenMessage{}
	for seq := after + 1; seq <= until; seq++ {
		m := c.log[seq-1]
		out = append(out, seenMessage{seq, m.epoch, m.kind, checksum(m.bytes)})
	}
	return out
}

// history compares messages and commits from where the user joined, to where it left if it has.
func (w *world) history(c *modelConvo, u *modelUser) {
	w.t.Helper()
	reads, nothing := c.reads(u)
	got, want := []seenMessage{}, c.page(reads.from.seq, reads.until)
	for args := []string{"limit", "100"}; ; {
		var page mlsapi.GetMessagesOutput
		due := ""
		if len(want) == 0 {
			due = nothing
		}
		if !w.expect(u.Get(w.t, mlsapi.MethodGetMessages, &page, append(args, "convoId", c.ID)...), due) {
			break
		}
		got = append(got, seenMessages(page.Messages)...)
		if page.Cursor == nil {
			break
		}
		args = []string{"limit", "100", "sinceMessage", *page.Cursor}
	}
	w.same("history", got, want)
	w.commits(c, u, reads, nothing)
}

type seenCommit struct {
	Epoch  int64
	Sender string
	Bytes  int
}

func (w *world) commits(c *modelConvo, u *modelUser, reads modelReads, nothing string) {
	w.t.Helper()
	got, want, ever := []seenCommit{}, []seenCommit{}, false
	for _, m := range c.log[:max(reads.until, 0)] {
		if m.kind != "commit" {
			continue
		}
		ever = true
		if m.epoch >= reads.from.epoch {
			want = append(want, seenCommit{m.epoch, string(m.sender.DID), checksum(m.bytes)})
		}
	}
	due, past := "", "InvalidEpochRange"
	if len(want) == 0 {
		due = nothing
	}
	if !ever && nothing != "" {
		past = nothing // nothing says in which epoch it was
	}
	var out mlsapi.GetCommitsOutput
	w.expect(u.Get(w.t, mlsapi.MethodGetCommits, &out, "convoId", c.ID, "fromEpoch", "0"), due)
	for _, m := range out.Commits {
		got = append(got, seenCommit{m.Epoch, string(m.Sender), checksum(string(m.CommitData))})
	}
	w.same("commits", got, want)
	beyond := strconv.FormatInt(reads.epoch+1, 10)
	w.expect(u.Get(w.t, mlsapi.MethodGetCommits, nil, "convoId", c.ID, "fromEpoch", beyond), past)
}
