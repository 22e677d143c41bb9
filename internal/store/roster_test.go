package store

import (
	"testing"
	"time"

	"mls-server/internal/mls"
)

func TestCreateConvo(t *testing.T) {
	t.Parallel()
	s := open(t, 4)
	id := newConvo(t, s, alice, bob)
	group := one[string](t, s, "SELECT group_id FROM conversations")
	err := s.InTx(t.Context(), func(tx *Tx) error {
		return tx.CreateConvo(t.Context(), NewConvo{ID: mls.NewConvoID(noon, "00"), GroupID: mls.GroupID(group), Creator: carol, CipherSuite: 1, At: noon})
	})
	wantErr(t, err, mls.ErrGroupAlreadyExists)
	entry, err := s.FindConvoEntry(t.Context(), id)
	must(t, err)
	if entry.Epoch != 1 || len(entry.Members) != 2 || !entry.Members[0].Admin || entry.Members[1].Admin ||
		entry.CreatedAt != noon.Truncate(2*time.Second) || entry.LastMessageAt != nil {
		t.Errorf("entry %+v", entry)
	}
	n, err := s.CountUsers(t.Context(), id)
	if err != nil || n != 2 {
		t.Errorf("%d users, %v", n, err)
	}
}

func TestStanding(t *testing.T) {
	t.Parallel()
	s := open(t, 4)
	convo := newConvo(t, s, alice, bob)
	group := mls.GroupID(one[string](t, s, "SELECT group_id FROM conversations"))
	inTx(t, s, func(tx *Tx) error {
		if _, err := tx.LockAsAdmin(t.Context(), key(convo), alice); err != nil {
			return err
		}
		_, err := tx.RemoveUser(t.Context(), convo, bob, LeaveRemoved, noon)
		return err
	})
	standing, err := s.RequireAdmin(t.Context(), mls.ConvoKey{GroupID: group}, alice)
	if err != nil || standing.ID != convo || !standing.Member || standing.JoinEpoch != 1 {
		t.Errorf("by group id: %+v, %v", standing, err)
	}
	_, err = s.RequireMember(t.Context(), key(convo), bob)
	wantErr(t, err, mls.ErrNotMember)
	_, err = s.RequireMember(t.Context(), key(convo), carol)
	wantErr(t, err, mls.ErrConvoNotFound)
	_, err = s.RequireMember(t.Context(), key(mls.NewConvoID(noon, "00")), alice)
	wantErr(t, err, mls.ErrConvoNotFound)
	// A stranger does not wait for the lock that somebody holds.
	inTx(t, s, func(tx *Tx) error {
		if _, err := tx.LockConvo(t.Context(), key(convo)); err != nil {
			return err
		}
		err := s.InTx(t.Context(), func(tx *Tx) error { _, err := tx.LockAsMember(t.Context(), key(convo), carol); return err })
		wantErr(t, err, mls.ErrConvoNotFound)
		return nil
	})
}

func TestRejoinAndReturn(t *testing.T) {
	t.Parallel()
	s := open(t, 4)
	convo := newConvo(t, s, alice)
	seat := func(device mls.DeviceID, epoch mls.Epoch, seq mls.Seq) {
		t.Helper()
		inTx(t, s, func(tx *Tx) error {
			if _, err := tx.LockConvo(t.Context(), key(convo)); err != nil {
				return err
			}
			return tx.UpsertMembers(t.Context(), convo, []NewMember{{User: bob, Device: device, MLSDID: "m"}}, Place{Epoch: epoch, Seq: seq, At: noon.Add(time.Duration(epoch) * time.Hour)})
		})
	}
	joinSeq := func() mls.Seq {
		t.Helper()
		standing, err := s.RequireMember(t.Context(), key(convo), bob)
		must(t, err)
		return standing.JoinSeq
	}
	events := func() int64 {
		return one[int64](t, s, "SELECT count(*) FROM event_stream WHERE kind = 2 AND user_did = $1", string(bob))
	}
	seat("", 2, 10)
	joined := one[time.Time](t, s, "SELECT joined_at FROM members WHERE user_did = $1", string(bob))
	inTx(t, s, func(tx *Tx) error { return tx.SetNeedsRejoin(t.Context(), convo, Device{bob, ""}, true) })
	seat("", 5, 20) // a rejoin: the history stays
	if again := one[time.Time](t, s, "SELECT joined_at FROM members WHERE user_did = $1", string(bob)); !again.Equal(joined) {
		t.Errorf("joined at %s, after a rejoin at %s", joined, again)
	}
	if one[bool](t, s, "SELECT needs_rejoin FROM members WHERE user_did = $1", string(bob)) {
		t.Error("a device that was added anew still has to be")
	}
	if joinSeq() != 10 || events() != 1 {
		t.Errorf("after a rejoin: from seq %d, %d events", joinSeq(), events())
	}
	inTx(t, s, func(tx *Tx) error {
		if err := tx.Promote(t.Context(), convo, bob, alice, noon); err != nil {
			return err
		}
		return tx.UpsertMembers(t.Context(), convo, []NewMember{{User: bob, Device: "d2", MLSDID: "m"}}, Place{Epoch: 6, Seq: 25, At: noon})
	})
	if n := one[int64](t, s, "SELECT count(*) FROM members WHERE user_did = $1 AND is_admin AND promoted_by_did = $2", string(bob), string(alice)); n != 2 {
		t.Errorf("%d of an admin's 2 devices are admin", n)
	}
	inTx(t, s, func(tx *Tx) error {
		gone, err := tx.RemoveUser(t.Context(), convo, bob, LeaveSelf, noon)
		if len(gone) != 2 {
			t.Errorf("%d devices left", len(gone))
		}
		return err
	})
	inTx(t, s, func(tx *Tx) error {
		gone, err := tx.RemoveUser(t.Context(), convo, bob, LeaveSelf, noon)
		if len(gone) != 0 {
			t.Errorf("%d devices left twice", len(gone))
		}
		return err
	})
	seat("", 8, 30)
	standing, err := s.RequireMember(t.Context(), key(convo), bob)
	must(t, err)
	if standing.JoinSeq != 30 || standing.JoinEpoch != 8 || standing.Admin {
		t.Errorf("after the return: %+v", standing)
	}
}

// Two admins that demote each other: one is the last. Users count, not devices.
func TestLastAdmin(t *testing.T) {
	t.Parallel()
	s := open(t, 8)
	convo := newConvo(t, s, alice, bob)
	inTx(t, s, func(tx *Tx) error {
		if err := tx.Promote(t.Context(), convo, bob, alice, noon); err != nil {
			return err
		}
		wantErr(t, tx.Promote(t.Context(), convo, bob, alice, noon), mls.ErrAlreadyAdmin)
		return tx.UpsertMembers(t.Context(), convo, []NewMember{{User: bob, Device: "d2", MLSDID: "m"}, {User: alice, Device: "d1", MLSDID: "m"}}, Place{Epoch: 1, At: noon})
	})
	targets := []mls.DID{alice, bob}
	var refused int
	for _, err := range race(2, func(i int) error {
		return s.InTx(t.Context(), func(tx *Tx) error {
			if _, err := tx.LockAsMember(t.Context(), key(convo), targets[1-i]); err != nil {
				return err
			}
			return tx.Demote(t.Context(), convo, targets[i])
		})
	}) {
		if err != nil {
			wantErr(t, err, mls.ErrLastAdmin)
			refused++
		}
	}
	if refused != 1 {
		t.Errorf("%d refused, want 1", refused)
	}
	inTx(t, s, func(tx *Tx) error {
		wantErr(t, tx.Demote(t.Context(), convo, carol), mls.ErrNotAdminTarget)
		return nil
	})
	if n := one[int64](t, s, "SELECT count(*) FROM members WHERE NOT is_admin AND (promoted_at IS NOT NULL OR promoted_by_did IS NOT NULL)"); n != 0 {
		t.Errorf("%d devices without the role know who gave it to them", n)
	}
	next, err := s.FindSuccessor(t.Context(), convo, alice)
	if err != nil || next.User != bob {
		t.Errorf("successor %v, %v", next, err)
	}
	late := newConvo(t, s, dave, carol)
	inTx(t, s, func(tx *Tx) error {
		if _, err := tx.LockConvo(t.Context(), key(late)); err != nil {
			return err
		}
		return tx.UpsertMembers(t.Context(), late, []NewMember{{User: bob, MLSDID: "m"}}, Place{Epoch: 2, Seq: 10, At: noon})
	})
	if next, err := s.FindSuccessor(t.Context(), late, dave); err != nil || next.User != carol {
		t.Errorf("the member of longest standing is carol: %v, %v", next, err)
	}
	alone := newConvo(t, s, alice)
	_, err = s.FindSuccessor(t.Context(), alone, alice)
	wantErr(t, err, mls.ErrLastMember)
}

func TestSharedConvosAndFormerMembers(t *testing.T) {
	t.Parallel()
	s := open(t, 4)
	both := newConvo(t, s, alice, bob)
	left := newConvo(t, s, alice, bob)
	_ = newConvo(t, s, alice)
	inTx(t, s, func(tx *Tx) error { _, err := tx.RemoveUser(t.Context(), left, bob, LeaveSelf, noon); return err })
	shared, err := s.ListSharedConvos(t.Context(), alice, bob)
	if err != nil || len(shared) != 1 || shared[0] != both {
		t.Errorf("shared %v, %v", shared, err)
	}
	for since, want := range map[time.Time]bool{noon.Add(-time.Hour): true, noon.Add(time.Hour): false} {
		was, err := s.WasMemberSince(t.Context(), left, bob, since)
		if err != nil || was != want {
			t.Errorf("member since %s: %t, %v", since, was, err)
		}
	}
	users, err := s.ListUsers(t.Context())
	if err != nil || len(users) != 2 || users[0] != alice || users[1] != bob {
		t.Errorf("users %v, %v", users, err)
	}
	active, err := s.FindActive(t.Context(), both, alice, bob, carol)
	if err != nil || len(active) != 2 {
		t.Errorf("%d active devices, %v", len(active), err)
	}
}
