package store

import (
	"errors"
	"testing"
	"time"

	"mls-server/internal/mls"
)

func TestReports(t *testing.T) {
	t.Parallel()
	s := open(t, 8)
	convo := newConvo(t, s, alice, bob, carol)
	var ids []ReportID
	for i, reported := range []mls.DID{bob, alice, bob, bob, carol} {
		r := Report{
			ID: NewReportID(), ConvoID: convo, Reporter: dave, Reported: reported, Category: "spam", Content: []byte("sealed"),
			MessageCount: 2, CreatedAt: noon.Add(time.Duration(i) * time.Hour).Truncate(time.Second),
		}
		ids = append(ids, r.ID)
		inTx(t, s, func(tx *Tx) error { return tx.FileReport(t.Context(), r) })
	}
	err := s.InTx(t.Context(), func(tx *Tx) error {
		return tx.FileReport(t.Context(), Report{ID: NewReportID(), ConvoID: convo, Reporter: bob, Reported: bob, Category: "spam", Content: []byte("x"), CreatedAt: noon})
	})
	wantErr(t, err, mls.ErrCannotReportSelf)
	page, err := s.ListReports(t.Context(), convo, ReportQuery{Reader: alice, Limit: 3})
	must(t, err)
	if len(page.Reports) != 3 || page.Next == nil || page.Reports[0].ID != ids[4] || page.Reports[2].ID != ids[2] {
		t.Fatalf("first page %+v", page)
	}
	page, err = s.ListReports(t.Context(), convo, ReportQuery{Reader: alice, Status: ReportPending, After: *page.Next, Limit: 3})
	must(t, err)
	if len(page.Reports) != 1 || page.Next != nil || page.Reports[0].ID != ids[0] {
		t.Errorf("second page %+v: the one about the reader is not shown", page)
	}
	for _, who := range []mls.DID{bob, carol, dave} {
		_, err := s.FindReport(t.Context(), ids[0], who)
		wantErr(t, err, mls.ErrReportNotFound)
	}
	_, err = s.FindReport(t.Context(), ids[1], alice) // about herself
	wantErr(t, err, mls.ErrReportNotFound)
	found, err := s.FindReport(t.Context(), ids[0], alice)
	if err != nil || found.ConvoID != convo || found.Reported != bob {
		t.Errorf("%+v, %v", found, err)
	}
	errRepeated := errors.New("repeated")
	won := 0
	for _, err := range race(8, func(int) error {
		return s.InTx(t.Context(), func(tx *Tx) error {
			repeated, err := tx.ResolveReport(t.Context(), Resolution{Report: ids[0], Action: "removed_member", By: alice, At: noon.Add(3 * time.Hour)})
			if repeated {
				return errRepeated
			}
			return err
		})
	}) {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, errRepeated):
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("resolved %d times", won)
	}
	inTx(t, s, func(tx *Tx) error {
		if err := tx.Audit(t.Context(), AdminAction{ConvoID: convo, Actor: alice, Kind: ActionRemove, Target: bob, Reason: "spam", At: noon}); err != nil {
			return err
		}
		_, err := tx.ResolveReport(t.Context(), Resolution{Report: ids[2], Action: "dismissed", By: alice, At: noon.Add(3 * time.Hour)})
		return err
	})
	stats, err := s.CountModeration(t.Context(), convo, time.Time{})
	must(t, err)
	if stats.Total != 5 || stats.Pending != 3 || stats.Resolved != 2 || stats.Spam != 5 || stats.Removals != 1 || stats.AverageHours == nil || *stats.AverageHours != 2 {
		t.Errorf("stats %+v", stats)
	}
	stats, err = s.CountModeration(t.Context(), "", noon.Add(24*time.Hour))
	if err != nil || stats.Total != 0 || stats.AverageHours != nil {
		t.Errorf("of tomorrow: %+v, %v", stats, err)
	}
	n, first, err := s.CountReports(t.Context(), dave, bob, noon.Add(time.Hour))
	if err != nil || n != 2 || !first.After(noon.Add(time.Hour)) {
		t.Errorf("%d reports since, first %s, %v", n, first, err)
	}
}

func TestBlocks(t *testing.T) {
	t.Parallel()
	s := open(t, 4)
	record := func(at time.Time, checked []BlockPair, found ...Block) {
		t.Helper()
		inTx(t, s, func(tx *Tx) error {
			return tx.RecordBlocks(t.Context(), BlocksFound{At: at, Checked: checked, Blocks: found})
		})
	}
	expect := func(want ...BlockPair) {
		t.Helper()
		blocks, _, err := s.ListBlocks(t.Context(), []mls.DID{alice, bob, carol}, []mls.DID{alice, bob, carol})
		must(t, err)
		if len(blocks) != len(want) {
			t.Fatalf("%+v, want %+v", blocks, want)
		}
		for i, b := range blocks {
			if b.BlockPair != want[i] {
				t.Errorf("%+v, want %+v", b.BlockPair, want[i])
			}
		}
	}
	ab, ac, cb := BlockPair{alice, bob}, BlockPair{alice, carol}, BlockPair{carol, bob}
	record(noon, []BlockPair{ab, ac, cb}, Block{BlockPair: ab, URI: "at://did:plc:alice/app.bsky.graph.block/1", CreatedAt: noon}, Block{BlockPair: cb, CreatedAt: noon})
	expect(ab, cb)
	record(noon.Add(time.Minute), []BlockPair{cb})
	expect(ab)
	record(noon.Add(time.Hour), []BlockPair{{alice, ""}}, Block{BlockPair: ac, URI: "at://did:plc:alice/app.bsky.graph.block/2", CreatedAt: noon})
	expect(ac)
	// What was seen later stays, and what is seen in the same two seconds counts as seen again.
	record(noon, []BlockPair{{alice, ""}})
	expect(ac)
	record(noon.Add(time.Hour), []BlockPair{ac})
	expect()
	record(noon.Add(time.Hour+time.Second), []BlockPair{ac}, Block{BlockPair: ac, URI: "at://did:plc:alice/app.bsky.graph.block/2", CreatedAt: noon.Add(time.Second)})
	expect(ac)
	_, checks, err := s.ListBlocks(t.Context(), []mls.DID{alice, bob, carol}, []mls.DID{alice, bob, carol})
	// whose list was read, not who was looked for
	if err != nil || len(checks) != 1 || checks[0].Blocker != alice || checks[0].Blocked != "" {
		t.Errorf("%d checks, %v", len(checks), err)
	}
	inTx(t, s, func(tx *Tx) error {
		gone, err := tx.DeleteBlockByKey(t.Context(), alice, "2")
		if gone != carol {
			t.Errorf("deleted the block of %q", gone)
		}
		return err
	})
	expect()
}

func TestRetention(t *testing.T) {
	t.Parallel()
	s := open(t, 8)
	convo := newConvo(t, s, alice, bob)
	day := 24 * time.Hour
	at := func(days int) time.Time { return noon.Add(time.Duration(days) * day) }
	send := func(days int) {
		t.Helper()
		p := message(convo, alice, "hello")
		p.At = at(days)
		current, err := s.RequireMember(t.Context(), key(convo), alice)
		must(t, err)
		p.Epoch = current.Epoch
		_, err = s.SendMessage(t.Context(), p)
		must(t, err)
	}
	for epoch, days := range map[mls.Epoch]int{1: 0} {
		inTx(t, s, func(tx *Tx) error {
			h := commit(convo, epoch)
			h.At = at(days)
			_, err := tx.AcceptCommit(t.Context(), h)
			return err
		})
	}
	send(0)
	send(1)
	send(40)
	kinds := func() string {
		return one[string](t, s, "SELECT coalesce(string_agg(seq || ':' || kind, ' ' ORDER BY seq), '') FROM messages")
	}
	retain := func(days int) Removed {
		t.Helper()
		removed, err := s.Retain(t.Context(), at(days), DefaultRetention())
		must(t, err)
		return removed
	}
	if removed := retain(20); removed["messages"] != 0 || kinds() != "1:3 2:1 3:1 4:1" {
		t.Errorf("after 20 days: %v, left %s", removed, kinds())
	}
	// Bob has not read the commit.
	if removed := retain(35); removed["messages"] != 2 || removed["commits"] != 0 || kinds() != "1:3 4:1" {
		t.Errorf("after 35 days: %v, left %s", removed, kinds())
	}
	state, err := s.StreamLog(t.Context(), LogCursor{})
	if err != nil || state.Compacted == (LogCursor{}) {
		t.Errorf("the log begins at %v, %v", state.Compacted, err)
	}
	for _, did := range []mls.DID{alice, bob} {
		inTx(t, s, func(tx *Tx) error {
			standing, err := tx.RequireMember(t.Context(), key(convo), did)
			if err != nil {
				return err
			}
			return tx.SetCursor(t.Context(), standing, did, 4)
		})
	}
	if removed := retain(36); removed["commits"] != 1 || kinds() != "4:1" {
		t.Errorf("when all have read it: %v, left %s", removed, kinds())
	}
	if n := one[int64](t, s, "SELECT count(*) FROM commits"); n != 0 {
		t.Errorf("%d commit rows without a message", n)
	}
	// One server works, the others go home.
	inTx(t, s, func(tx *Tx) error {
		if locked, err := tx.q.TryLockRetention(t.Context()); err != nil || !locked {
			t.Errorf("lock: %t, %v", locked, err)
		}
		if removed := retain(400); removed["messages"] != 0 {
			t.Errorf("removed %v while another works", removed)
		}
		return nil
	})
	if removed := retain(400); removed["messages"] != 1 || kinds() != "" {
		t.Errorf("after a year: %v, left %s", removed, kinds())
	}
}

// The end of a conflict is known by its record, also to who hears of the block late, when another
// server has dropped it from the cache.
func TestEndedConflictsAreNotTold(t *testing.T) {
	t.Parallel()
	s := open(t, 4)
	convo := newConvo(t, s, alice, bob, carol)
	pair := BlockPair{Blocker: bob, Blocked: carol}
	tell := func(key string, seen time.Time) (fresh bool) {
		inTx(t, s, func(tx *Tx) (err error) {
			_, fresh, err = tx.TellBlockConflict(t.Context(), convo, BlockTelling{BlockPair: pair, Key: key, SeenAt: seen, At: seen})
			return err
		})
		return fresh
	}
	if !tell("3kaaaaaaaaaa2", noon) || tell("3kaaaaaaaaaa2", noon) {
		t.Error("a block is told once")
	}
	inTx(t, s, func(tx *Tx) error {
		ended, err := tx.EndBlockConflict(t.Context(), convo, pair, noon.Add(time.Minute))
		if !ended {
			t.Error("the conflict has not ended")
		}
		return err
	})
	if tell("3kaaaaaaaaaa2", noon) {
		t.Error("a block is told that is over")
	}
	if !tell("3kaaaaaaaaaa3", noon.Add(2*time.Minute)) {
		t.Error("a block that is made anew is not told")
	}
}
