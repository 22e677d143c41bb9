package store

import (
	"errors"
	"testing"

	"mls-server/internal/mls"
)

// A sealed send that was judged by keys which are gone by the time it may be stored is not stored,
// whatever has ended them while it waited (I16).
func TestSealedSendsOfGoneKeys(t *testing.T) {
	t.Parallel()
	phone := Device{User: bob, ID: "00000000-0000-4000-8000-000000000001"}
	owed := func(tx *Tx, convo mls.ConvoID) (RequestID, error) {
		ids, err := tx.OweRemovals(t.Context(), convo, carol, []LeftDevice{{Device: "gone"}}, Owing{Epoch: 1, At: noon})
		if err != nil {
			return "", err
		}
		return ids[0], tx.ClaimDebts(t.Context(), convo, []mls.DID{carol}, bob, Place{Epoch: 1, At: noon})
	}
	for name, c := range map[string]struct {
		before func(tx *Tx, convo mls.ConvoID) (RequestID, error)
		end    func(tx *Tx, convo mls.ConvoID, request RequestID) error
	}{
		"a device is deleted": {
			func(tx *Tx, convo mls.ConvoID) (RequestID, error) {
				_, err := tx.RegisterDevice(t.Context(), Registration{Device: UserDevice{Device: phone, SignatureKey: []byte("key"), MLSDID: string(bob)}, MaxDevices: 9, At: noon})
				if err != nil {
					return "", err
				}
				return "", tx.UpsertMembers(t.Context(), convo, []NewMember{{User: bob, Device: phone.ID, MLSDID: string(bob)}}, Place{Epoch: 1, At: noon})
			},
			func(tx *Tx, _ mls.ConvoID, _ RequestID) error {
				_, err := tx.DeleteDevice(t.Context(), phone, noon)
				return err
			},
		},
		"a removal is disputed": {owed, func(tx *Tx, convo mls.ConvoID, request RequestID) error {
			return tx.DisputeDebt(t.Context(), convo, request, alice)
		}},
		"a user leaves": {
			func(*Tx, mls.ConvoID) (RequestID, error) { return "", nil },
			func(tx *Tx, convo mls.ConvoID, _ RequestID) error {
				_, err := tx.RemoveUser(t.Context(), convo, bob, LeaveSelf, noon)
				return err
			},
		},
		"a device is taken off the roster": {
			func(tx *Tx, convo mls.ConvoID) (RequestID, error) {
				return "", tx.UpsertMembers(t.Context(), convo, []NewMember{{User: bob, Device: phone.ID, MLSDID: string(bob)}}, Place{Epoch: 1, At: noon})
			},
			func(tx *Tx, convo mls.ConvoID, _ RequestID) error {
				return tx.RemoveDevices(t.Context(), convo, bob, []mls.DeviceID{phone.ID}, Place{Epoch: 1, At: noon})
			},
		},
	} {
		for way, send := range map[string]func(s *Store, p SendParams) error{
			"alone": func(s *Store, p SendParams) error {
				_, err := s.SendMessage(t.Context(), p)
				return err
			},
			"in a batch": func(s *Store, p SendParams) error { return s.SendMessages(t.Context(), []SendParams{p})[0].Err },
		} {
			t.Run(name+", "+way, func(t *testing.T) {
				t.Parallel()
				s := open(t, 4)
				convo := newConvo(t, s, alice, bob)
				var request RequestID
				inTx(t, s, func(tx *Tx) (err error) {
					standing, err := tx.LockAsMember(t.Context(), key(convo), alice)
					if err != nil {
						return err
					}
					if request, err = c.before(tx, convo); err != nil {
						return err
					}
					_, err = tx.GiveSendKey(t.Context(), &standing.Convo, alice, &mls.SendKey{1})
					return err
				})
				keys, err := s.FindSendKeys(t.Context(), key(convo))
				must(t, err)
				p := message(convo, "", "judged by the keys")
				p.Seal = keys.Seal
				done := make(chan error, 1)
				inTx(t, s, func(tx *Tx) error {
					if _, err := tx.LockConvo(t.Context(), key(convo)); err != nil {
						return err
					}
					go func() { done <- send(s, p) }()
					awaitWaiters(t, s, 1)
					return c.end(tx, convo, request)
				})
				if err := <-done; !errors.Is(err, mls.ErrConvoNotFound) && !errors.Is(err, mls.ErrNotMember) {
					t.Errorf("got %v", err)
				}
				if n := one[int64](t, s, "SELECT count(*) FROM messages"); n != 0 {
					t.Error("it was stored")
				}
			})
		}
	}
}
