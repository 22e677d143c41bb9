package operator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"mls-server/internal/clock"
	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// erasureWait is how long servers may write what requests of before had them note: requests end
// within half a minute, and what is noted in memory is written within a minute.
const erasureWait = 2 * time.Minute

var (
	errCutOff = errors.New("the erasure was cut off: the account stays refused; run the command again")
	errOver   = errors.New("another run of erase-user goes on with this account, or has ended it: there is nothing left to do here")
)

// erase takes an account out of the database in two passes. Between them servers learn that the
// account is refused and finish what they are doing.
func (c *Command) erase(ctx context.Context, at Console) error {
	var run store.ErasureRun
	err := at.Store.InTx(ctx, func(tx *store.Tx) (err error) {
		run, err = tx.BeginErasure(ctx, c.user)
		if err != nil || !run.New {
			return err
		}
		a := c.action(store.OperatorErase, at)
		a.User = "" // it is what is being erased
		return tx.AuditOperator(ctx, a)
	})
	if err != nil {
		return err
	}
	at.sayf("%s is refused from now on\n", c.user)
	erased, err := at.Delivery.EraseAccount(ctx, run, at.Clock.Now())
	if err != nil {
		return cutOff(err)
	}
	if c.wait > 0 {
		at.sayf("first pass done; the second one, for what servers still had to write, in %v\n", c.wait)
	}
	if clock.Pause(ctx, c.wait) != nil {
		return errCutOff
	}
	late, err := at.Delivery.EraseAccount(ctx, run, at.Clock.Now())
	if err != nil {
		return cutOff(err)
	}
	erased.Add(late)
	if err := at.Store.InTx(ctx, func(tx *store.Tx) error { return tx.EndErasure(ctx, run) }); err != nil {
		return cutOff(err)
	}
	return c.report(ctx, at, erased)
}

// cutOff says what an error of a run means.
func cutOff(err error) error {
	if errors.Is(err, store.ErrErasureOver) {
		return errOver
	}
	return errors.Join(errCutOff, err)
}

// report says what has gone, what is left, and why.
func (c *Command) report(ctx context.Context, at Console, erased store.Erased) error {
	left, err := at.Store.CountRemains(ctx, c.user)
	if err != nil {
		return err
	}
	lines := tabwriter.NewWriter(at.Out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(lines, "erased, or had the name removed:") // Flush tells of faults
	for _, table := range slices.Sorted(maps.Keys(erased)) {
		_, _ = fmt.Fprintf(lines, "  %s\t%d rows\n", table, erased[table])
	}
	_, _ = fmt.Fprintln(lines, "left:")
	for _, r := range []struct {
		what string
		n    int64
		why  string
	}{
		{"removal_debts, open", left.OpenDebts, "members have to remove these leaves from their groups, and must know whose they are"},
		{"removal_debts, settled", left.SettledDebts, "in case the commit is taken back; gone after 30 days"},
		{"group_states", left.GroupStates, "public states of groups that have its leaves; gone a day after they are removed"},
		{"commit_additions", left.Additions, "in case the commit is taken back; gone within 25 hours"},
		{"event_stream", left.Events, "streams have to tell of the removal; run the command again after a minute"},
	} {
		if r.n > 0 {
			_, _ = fmt.Fprintf(lines, "  %s\t%d rows\t%s\n", r.what, r.n, r.why)
		}
	}
	if left.State {
		_, _ = fmt.Fprintln(lines, "  account_states\t1 row\tthe account is suspended, or taken down by its host, and stays refused")
	}
	_, _ = fmt.Fprintln(lines, "  messages\t\tciphertexts that it sent stay with those who got them; nothing says which those are. Handshakes hold credentials")
	_, _ = fmt.Fprintln(lines, "  idempotency_keys\t\tanswers to others, which may name it; gone within 48 hours")
	_, _ = fmt.Fprintln(lines, "backups and PostgreSQL's write-ahead log are not touched")
	return lines.Flush()
}

// closeConvo ends a conversation.
func (c *Command) closeConvo(ctx context.Context, at Console) error {
	var users int
	id, err := at.Store.FindConvoID(ctx, c.key)
	if err == nil {
		a := c.action(store.OperatorClose, at)
		a.ConvoID = id
		users, err = at.Delivery.CloseConvo(ctx, a)
	}
	switch {
	case errors.Is(err, mls.ErrConvoNotFound):
		return errors.New("there is no such conversation, or it was closed before")
	case err != nil:
		return err
	}
	at.sayf("%s is closed: %d users removed, and all that it held is deleted\n", id, users)
	return nil
}
