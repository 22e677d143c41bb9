package store

import (
	"strings"
	"testing"
)

// What retention finds old, and is made new while it waits for the row, stays: it is judged once
// more by what it has become.
func TestRetentionSparesWhatIsMadeNew(t *testing.T) {
	t.Parallel()
	s := open(t, 4)
	convo := newConvo(t, s, alice)
	const old, fresh = "timestamptz '2000-01-01 00:00:00+00'", "timestamptz '2026-03-01 00:00:00+00'"
	const hash = "sha256('x')"
	for _, c := range []struct{ step, table, columns, row, change string }{
		{"account_states", "account_states", "user_did, host_at, changed", "'did:plc:a', " + old + ", 1", "suspended = true"},
		{"account_states", "account_states", "user_did, host_at, changed", "'did:plc:b', " + old + ", 1", "host_status = 'takendown', host_at = " + fresh},
		{"used_jtis", "used_jtis", "hash, expires_at", hash + ", " + old, "expires_at = timestamptz '2026-03-02 00:00:00+00'"},
		{"idempotency_keys", "idempotency_keys", "key_hash, body_hash, status, response, created_at", hash + ", " + hash + ", 200, '', " + old, "created_at = " + fresh},
		{"user_days", "user_days", "user_did, seen_on", "'did:plc:a', " + old, "seen_on = " + fresh},
		{"did_documents", "did_documents", "account_did, signing_key, pds, fetched_at", "'did:plc:a', '', '', " + old, "fetched_at = " + fresh},
		{"block_checks", "block_checks", "blocker_did, blocked_did, checked_at", "'did:plc:a', '', " + old, "checked_at = " + fresh},
		{"ended_conflicts", "ended_conflicts", "convo_id, blocker_did, rkey, ended_at", "$1, 'did:plc:a', '', " + old, "ended_at = " + fresh},
		{
			"requests", "pending_welcomes", "id, convo_id, user_did, kind, status, created_at, approved_at, closed_at, epoch, commit_seq",
			"'r', $1, 'did:plc:a', 'rejoin', 'fulfilled', " + old + ", " + old + ", " + old + ", 1, 1", "status = 'open', approved_at = NULL, closed_at = NULL, epoch = NULL, commit_seq = NULL",
		},
		{
			"removal_debts", "removal_debts", "id, convo_id, user_did, created_at, settled_epoch, settled_at", "'d', $1, 'did:plc:a', " + old + ", 1, " + old,
			"settled_epoch = NULL, settled_at = NULL",
		},
		{
			"group_states", "group_states",
			"convo_id, generation, epoch, group_info, proven, depositor_did, leaf_indexes, leaf_users, leaf_devices, created_at, superseded_at, superseded_by",
			"$1, 0, e, '', false, 'did:plc:a', '{}', '{}', '{}', " + old + ", " + old + ", 'did:plc:a' FROM generate_series(1, 2) e",
			"superseded_at = NULL, superseded_by = NULL",
		},
	} {
		exec(t, s, "DELETE FROM "+c.table, "INSERT INTO "+c.table+" ("+c.columns+") SELECT "+strings.ReplaceAll(c.row, "$1", "'"+string(convo)+"'"))
		rows := one[int64](t, s, "SELECT count(*) FROM "+c.table)
		removed := make(chan int64, 1)
		inTx(t, s, func(tx *Tx) error {
			if _, err := tx.tx.Exec(t.Context(), "UPDATE "+c.table+" SET "+c.change); err != nil {
				return err
			}
			for _, step := range retentionSteps(noon, DefaultRetention()) {
				if step.name == c.step {
					go func() {
						n, _, err := s.retainBatch(t.Context(), step.run)
						if err != nil {
							t.Error(c.step, err)
						}
						removed <- n
					}()
				}
			}
			awaitWaiters(t, s, 1)
			return nil
		})
		if n, left := <-removed, one[int64](t, s, "SELECT count(*) FROM "+c.table); n != 0 || left != rows {
			t.Errorf("%s: %d removed, %d left of %d that were made new", c.table, n, left, rows)
		}
	}
}
