package store

import (
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"mls-server/internal/mls"
	"mls-server/internal/pgtest"
	"mls-server/migrations"
)

// state is a proven state whose GroupInfo says what it is.
func state(text string, leaves ...Leaf) *GroupState {
	return &GroupState{GroupInfo: []byte(text), Proven: true, Depositor: alice, Leaves: leaves, At: noon}
}

// newVerified makes a verified conversation at epoch 1.
func newVerified(tb testing.TB, s *Store, users ...mls.DID) NewConvo {
	tb.Helper()
	c := NewConvo{
		GroupID: mls.GroupID(hex.EncodeToString([]byte(rand.Text()))), Creator: users[0], CipherSuite: 1, Epoch: 1,
		Verified: true, At: noon,
	}
	c.ID = mls.NewConvoID(noon, c.GroupID)
	first := state("epoch 1", Leaf{0, Device{alice, ""}}, Leaf{2, Device{bob, ""}})
	inTx(tb, s, func(tx *Tx) error {
		if err := tx.CreateConvo(tb.Context(), c); err != nil {
			return err
		}
		if err := tx.PutGroupState(tb.Context(), &Convo{ID: c.ID, Epoch: c.Epoch}, *first); err != nil {
			return err
		}
		members := make([]NewMember, len(users))
		for i, u := range users {
			members[i] = NewMember{User: u, MLSDID: string(u)}
		}
		if err := tx.UpsertMembers(tb.Context(), c.ID, members, Place{Epoch: 1, At: noon}); err != nil {
			return err
		}
		return tx.SetLeaves(tb.Context(), c.ID, first.Leaves)
	})
	return c
}

func find(tb testing.TB, s *Store, convo mls.ConvoID) Convo {
	tb.Helper()
	standing, err := s.FindStanding(tb.Context(), key(convo), alice)
	must(tb, err)
	return standing.Convo
}

// accept accepts a commit of alice's and returns its seq.
func accept(tb testing.TB, s *Store, h Handshake) (seq mls.Seq) {
	tb.Helper()
	inTx(tb, s, func(tx *Tx) (err error) {
		seq, err = tx.AcceptCommit(tb.Context(), h)
		return err
	})
	return seq
}

// takeBack marks a commit as void, as of the next seq.
func takeBack(tb testing.TB, s *Store, convo mls.ConvoID, seq mls.Seq) {
	tb.Helper()
	for _, statement := range []string{
		`UPDATE conversations SET last_seq = last_seq + 1, epoch = epoch - 1, verified_epoch = verified_epoch - 1, commit_id = NULL, roster_version = roster_version + 1 WHERE id = $1`,
		`INSERT INTO messages (convo_id, seq, msg_id, kind, epoch, ciphertext, padded_size, received_bucket_ts)
			SELECT id, last_seq, 'notice' || last_seq, 4, epoch, '', 0, created_at FROM conversations WHERE id = $1`,
	} {
		_, err := s.pool.Exec(tb.Context(), statement, convo)
		must(tb, err)
	}
	_, err := s.pool.Exec(tb.Context(), `UPDATE commits k SET void_seq = c.last_seq FROM conversations c WHERE c.id = k.convo_id AND k.convo_id = $1 AND k.seq = $2`, convo, seq)
	must(tb, err)
}

// A verified conversation moves with the state of its group, and only so; an opaque one never with
// a proven state. The database says so too (I13).
func TestStateMovesWithTheEpoch(t *testing.T) {
	t.Parallel()
	s := open(t, 4)
	c := newVerified(t, s, alice, bob)
	opaque := newConvo(t, s, alice, bob)
	if got := find(t, s, c.ID); !got.Verified || find(t, s, opaque).Verified || got.CommitID != "" {
		t.Fatalf("%+v", got)
	}
	for name, h := range map[string]Handshake{
		"without a state": commit(c.ID, 1),
		"with an unproven state": func() Handshake {
			h := commit(c.ID, 1)
			h.State = &GroupState{GroupInfo: []byte("x"), At: noon}
			return h
		}(),
		"of an opaque one": func() Handshake { h := commit(opaque, 1); h.State = state("x"); return h }(),
	} {
		err := s.InTx(t.Context(), func(tx *Tx) error {
			_, err := tx.AcceptCommit(t.Context(), h)
			return err
		})
		if err == nil || errors.Is(err, mls.ErrEpochMismatch) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What a server of before would do.
	for convo, want := range map[mls.ConvoID]bool{c.ID: false, opaque: true} {
		_, err := s.pool.Exec(t.Context(), "UPDATE conversations SET epoch = epoch + 1 WHERE id = $1", convo)
		if (err == nil) != want || err != nil && !strings.Contains(err.Error(), "conversations_state_is_current") {
			t.Errorf("%v, want success %t", err, want)
		}
	}
	h := commit(c.ID, 1)
	h.State = state("epoch 2", Leaf{0, Device{alice, ""}}, Leaf{1, Device{carol, "phone"}})
	h.Successor = &Successor{"abcd", 3}
	accept(t, s, h)
	got := find(t, s, c.ID)
	if !got.Verified || got.Epoch != 2 || got.CommitID != h.ID || *got.Successor != *h.Successor {
		t.Errorf("%+v", got)
	}
	now, err := s.FindGroupState(t.Context(), &got)
	must(t, err)
	if string(now.GroupInfo) != "epoch 2" || !now.Proven || now.Depositor != alice || len(now.Leaves) != 2 || now.Leaves[1] != h.State.Leaves[1] {
		t.Errorf("%+v", now)
	}
	before, err := s.FindGroupStateAt(t.Context(), c.ID, 0, 1)
	must(t, err)
	if string(before.GroupInfo) != "epoch 1" {
		t.Errorf("%+v", before)
	}
	if none, err := s.FindGroupStateAt(t.Context(), c.ID, 1, 1); err != nil || none != nil {
		t.Errorf("%+v, %v", none, err)
	}
	// A group that has ended takes nothing more.
	if err := s.InTx(t.Context(), func(tx *Tx) error {
		h := commit(c.ID, 2)
		h.State = state("epoch 3")
		_, err := tx.AcceptCommit(t.Context(), h)
		return err
	}); err == nil {
		t.Error("a commit after a ReInit was accepted")
	}
}

// The roster shows the leaves of the group and no others.
func TestLeavesOfTheRoster(t *testing.T) {
	t.Parallel()
	s := open(t, 4)
	c := newVerified(t, s, alice, bob)
	leaves := func() map[mls.DID]int64 {
		members, err := s.ListMembers(t.Context(), c.ID)
		must(t, err)
		found := map[mls.DID]int64{}
		for _, m := range members {
			if m.LeafIndex != nil {
				found[m.User] = *m.LeafIndex
			}
		}
		return found
	}
	if got := leaves(); len(got) != 2 || got[bob] != 2 {
		t.Errorf("%v", got)
	}
	inTx(t, s, func(tx *Tx) error { return tx.SetLeaves(t.Context(), c.ID, []Leaf{{5, Device{alice, ""}}}) })
	if got := leaves(); len(got) != 1 || got[alice] != 5 {
		t.Errorf("%v", got)
	}
	inTx(t, s, func(tx *Tx) error { return tx.SetLeaves(t.Context(), c.ID, nil) })
	if got := leaves(); len(got) != 0 {
		t.Errorf("%v", got)
	}
}

// A commit that was taken back stays in the log, with what was sent in its epoch, marked as void;
// another one takes its place (I1).
func TestVoidCommits(t *testing.T) {
	t.Parallel()
	s := open(t, 4)
	convo := newConvo(t, s, alice, bob)
	before, err := s.SendMessage(t.Context(), message(convo, bob, "of epoch 1"))
	must(t, err)
	h := commit(convo, 1)
	first := accept(t, s, h)
	next := message(convo, bob, "of epoch 2")
	next.Epoch = 2
	_, err = s.SendMessage(t.Context(), next)
	must(t, err)
	late := message(convo, bob, "of epoch 1, late")
	late.Grace = 1
	_, err = s.SendMessage(t.Context(), late)
	must(t, err)
	proposal := Handshake{ConvoID: convo, ID: mls.NewMessageID(noon), Epoch: 2, Bytes: []byte("proposal"), ProposalRef: "ref", At: noon}
	inTx(t, s, func(tx *Tx) error { _, err := tx.AcceptProposal(t.Context(), proposal); return err })
	takeBack(t, s, convo, first)
	other := commit(convo, 1)
	second := accept(t, s, other)

	page, err := s.ReadMessages(t.Context(), ReadParams{Key: key(convo), Reader: bob, Limit: 100})
	must(t, err)
	refs := make([]MessageRef, len(page.Messages))
	for i, m := range page.Messages {
		want := m.Seq == first || m.ID == next.ID || m.ID == proposal.ID
		if m.Void != want {
			t.Errorf("message %d, kind %d: void %t, want %t", m.Seq, m.Kind, m.Void, want)
		}
		refs[i] = MessageRef{convo, m.Seq}
	}
	if len(refs) != 7 || before.Seq != 1 || page.Messages[5].Kind != KindNotice {
		t.Errorf("%d messages", len(refs))
	}
	streamed, err := s.StreamMessages(t.Context(), refs, 1<<20, true)
	must(t, err)
	for i, m := range streamed {
		if m.Void != page.Messages[i].Void {
			t.Errorf("streamed message %d: void %t", m.Seq, m.Void)
		}
	}
	commits, err := s.ListCommits(t.Context(), key(convo), bob, CommitRange{Limit: 10})
	must(t, err)
	if len(commits.Commits) != 1 || string(commits.Commits[0].Bytes) != string(other.Bytes) || second <= first {
		t.Errorf("%+v", commits)
	}
	c := find(t, s, convo)
	for text, want := range map[string]bool{string(h.Message): true, string(other.Message): false} {
		if void, err := s.IsVoidCommit(t.Context(), &c, []byte(text)); err != nil || void != want {
			t.Errorf("void %t, %v; want %t", void, err, want)
		}
	}
	if c.CommitID != other.ID {
		t.Errorf("commit %q stands", c.CommitID)
	}
	inTx(t, s, func(tx *Tx) error {
		repeat, err := tx.FindRepeat(t.Context(), convo, h.ID, h.Bytes)
		if err == nil && !repeat.Void {
			t.Error("the repeat of a void commit is not told so")
		}
		found, _, err2 := tx.FindProposals(t.Context(), &c, []mls.ProposalRef{"ref"})
		if len(found) != 0 {
			t.Error("a proposal of the epoch that was taken back is one of its successor")
		}
		return errors.Join(err, err2)
	})
	// Of one epoch no second commit stands, whatever the code does.
	_, err = s.pool.Exec(t.Context(), "UPDATE commits SET void_seq = NULL WHERE convo_id = $1", convo)
	if err == nil || !strings.Contains(err.Error(), "commits_standing_key") {
		t.Errorf("%v", err)
	}
}

// A send that names another commit than the one that stands is refused, alone and in a batch; so is
// one that is framed for no group once the server follows one.
func TestSendsNameTheirCommit(t *testing.T) {
	t.Parallel()
	s := open(t, 4)
	convo := newConvo(t, s, alice, bob)
	h := commit(convo, 1)
	accept(t, s, h)
	send := func(commit mls.MessageID, group mls.GroupID, to mls.ConvoID, epoch mls.Epoch) SendParams {
		m := message(to, alice, rand.Text())
		m.CommitID, m.GroupID, m.Epoch = commit, group, epoch
		return m
	}
	c := newVerified(t, s, alice, bob)
	for name, p := range map[string]struct {
		SendParams
		want error
	}{
		"none":                    {send("", "", convo, 2), nil},
		"the one":                 {send(h.ID, "", convo, 2), nil},
		"another":                 {send("another", "", convo, 2), mls.ErrEpochMismatch},
		"before the first":        {send("another", c.GroupID, c.ID, 1), nil},
		"unframed in a verified":  {send("", "", c.ID, 1), mls.ErrInvalidAsset},
		"another group's message": {send("", "ff", c.ID, 1), mls.ErrInvalidAsset},
	} {
		alone, twin := p.SendParams, p.SendParams
		twin.ID = mls.NewMessageID(noon)
		_, err := s.SendMessage(t.Context(), alone)
		batch := s.SendMessages(t.Context(), []SendParams{twin, send("", "", convo, 2)})
		for _, err := range []error{err, batch[0].Err} {
			if !errors.Is(err, p.want) {
				t.Errorf("%s: %v, want %v", name, err, p.want)
			}
		}
		must(t, batch[1].Err)
	}
}

// A group id names its conversation for ever, also when the conversation has another group, and no
// other conversation gets it.
func TestGroupIDsAreNeverReused(t *testing.T) {
	t.Parallel()
	s := open(t, 4)
	c := newVerified(t, s, alice, bob)
	_, err := s.pool.Exec(t.Context(), "UPDATE conversations SET group_id = 'feed', generation = 1, roster_version = roster_version + 1 WHERE id = $1", c.ID)
	must(t, err)
	for id, generation := range map[mls.GroupID]mls.Generation{c.GroupID: 0, "feed": 1} {
		use, err := s.FindGroup(t.Context(), id)
		must(t, err)
		if use == nil || use.ConvoID != c.ID || use.Generation != generation {
			t.Errorf("%s: %+v", id, use)
		}
		if found, err := s.FindConvoID(t.Context(), mls.ConvoKey{GroupID: id}); err != nil || found != c.ID {
			t.Errorf("%s: %s, %v", id, found, err)
		}
		err = s.InTx(t.Context(), func(tx *Tx) error {
			return tx.CreateConvo(t.Context(), NewConvo{ID: mls.NewConvoID(noon, id), GroupID: id, Creator: bob, CipherSuite: 1, At: noon})
		})
		wantErr(t, err, mls.ErrGroupAlreadyExists)
	}
	if use, err := s.FindGroup(t.Context(), "aa"); err != nil || use != nil {
		t.Errorf("%+v, %v", use, err)
	}
	// Commits are counted anew, and those of the old group are not among them.
	h := commit(c.ID, 1)
	h.Generation, h.State = 1, state("epoch 2")
	accept(t, s, h)
	commits, err := s.ListCommits(t.Context(), key(c.ID), bob, CommitRange{Limit: 10})
	must(t, err)
	if len(commits.Commits) != 1 {
		t.Errorf("%d commits", len(commits.Commits))
	}
	old := commit(c.ID, 2)
	old.State = state("of the old group")
	err = s.InTx(t.Context(), func(tx *Tx) error { _, err := tx.AcceptCommit(t.Context(), old); return err })
	wantErr(t, err, mls.ErrEpochMismatch)
}

// What a commit does to the roster is kept as it was, for as long as the commit may be taken back.
func TestAdditionsAreKept(t *testing.T) {
	t.Parallel()
	s := open(t, 4)
	convo := newConvo(t, s, alice, bob, carol)
	inTx(t, s, func(tx *Tx) error {
		_, err := tx.RemoveUser(t.Context(), convo, carol, LeaveSelf, noon)
		return err
	})
	seq := accept(t, s, commit(convo, 1))
	inTx(t, s, func(tx *Tx) error {
		return tx.UpsertMembers(t.Context(), convo, []NewMember{{User: bob, MLSDID: "b"}, {User: carol, MLSDID: "c"}, {User: dave, MLSDID: "d"}}, Place{Epoch: 2, Seq: seq, At: noon})
	})
	added, err := s.ListAdditions(t.Context(), convo, seq)
	must(t, err)
	want := []AddedDevice{{Device{bob, ""}, true, true}, {Device{carol, ""}, true, false}, {Device{dave, ""}, false, false}}
	if len(added) != 3 || added[0] != want[0] || added[1] != want[1] || added[2] != want[2] {
		t.Errorf("%+v", added)
	}
	before := one[string](t, s, "SELECT (jsonb_populate_record(NULL::members, before)).left_reason FROM commit_additions WHERE user_did = $1", carol)
	if before != "left" {
		t.Errorf("carol's row was kept as %q", before)
	}
	for _, c := range []struct {
		at   time.Time
		left int
	}{{noon.Add(VoidingTime), 3}, {noon.Add(VoidingTime + 2*time.Hour), 0}} {
		_, err := s.Retain(t.Context(), c.at, DefaultRetention())
		must(t, err)
		added, err := s.ListAdditions(t.Context(), convo, seq)
		must(t, err)
		if len(added) != c.left {
			t.Errorf("%v: %d additions, want %d", c.at, len(added), c.left)
		}
	}
}

// The newest state stays, those that ended within a day, and the one before them until somebody
// else has gone on from there.
func TestRetentionOfStates(t *testing.T) {
	t.Parallel()
	s := open(t, 4)
	c := newVerified(t, s, alice, bob)
	advance := func(from mls.Epoch, by mls.DID, at time.Time) {
		h := commit(c.ID, from)
		h.Sender, h.State, h.At = by, state("x"), at
		accept(t, s, h)
	}
	left := func(now time.Time) (epochs string) {
		_, err := s.Retain(t.Context(), now, DefaultRetention())
		must(t, err)
		return one[string](t, s, "SELECT string_agg(epoch::text, ' ' ORDER BY epoch) FROM group_states WHERE convo_id = $1", c.ID)
	}
	advance(1, alice, noon)
	advance(2, alice, noon.Add(time.Minute))
	if got := left(noon.Add(23 * time.Hour)); got != "1 2 3" {
		t.Errorf("within a day: %s", got)
	}
	if got := left(noon.Add(25*time.Hour + 30*time.Minute)); got != "2 3" {
		t.Errorf("alice alone has gone on: %s", got)
	}
	advance(3, bob, noon.Add(25*time.Hour))
	if got := left(noon.Add(26 * time.Hour)); got != "3 4" {
		t.Errorf("bob has gone on: %s", got)
	}
}

// What was there before the migration is of generation 0, and its group ids are noted.
func TestGenerationsOfOldRows(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	s := connect(t, url, 2)
	db, err := sql.Open("pgx", url)
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	provider, err := migrations.Provider(db, migrations.Files, nil)
	must(t, err)
	_, err = provider.DownTo(t.Context(), 20)
	must(t, err)
	for _, insert := range []string{
		`INSERT INTO conversations (id, group_id, creator_did, cipher_suite, epoch, created_at, last_activity_at, last_seq) VALUES ('2222222222222', 'ab', 'a', 1, 2, 'epoch', 'epoch', 1)`,
		`INSERT INTO messages (convo_id, seq, msg_id, kind, epoch, ciphertext, padded_size, received_bucket_ts, ciphertext_hash) VALUES ('2222222222222', 1, 'm', 3, 1, 'x', 1, 'epoch', sha256('x'))`,
		`INSERT INTO commits (convo_id, epoch, seq, sender_did, created_at) VALUES ('2222222222222', 1, 1, 'a', 'epoch')`,
	} {
		_, err := db.ExecContext(t.Context(), insert)
		must(t, err)
	}
	must(t, s.Migrate(t.Context(), nil))
	// A server of before that is still at work.
	_, err = db.ExecContext(t.Context(), `INSERT INTO conversations (id, group_id, creator_did, cipher_suite, epoch, created_at, last_activity_at) VALUES ('3333333333333', 'cd', 'a', 1, 2, 'epoch', 'epoch')`)
	must(t, err)
	for group, id := range map[mls.GroupID]mls.ConvoID{"ab": "2222222222222", "cd": "3333333333333"} {
		use, err := s.FindGroup(t.Context(), group)
		must(t, err)
		if use == nil || use.ConvoID != id || use.Generation != 0 {
			t.Errorf("%s: %+v", group, use)
		}
	}
	if n := one[int64](t, s, "SELECT count(*) FROM commits WHERE generation = 0 AND void_seq IS NULL"); n != 1 {
		t.Errorf("%d commits stand", n)
	}
}
