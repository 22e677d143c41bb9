package operator

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"mls-server/internal/store"
)

func (c *Command) suspend(ctx context.Context, at Console) error {
	return c.change(ctx, at, store.OperatorSuspend, "suspended", "was suspended before", func(tx *store.Tx) (bool, error) {
		return tx.SuspendAccount(ctx, c.user)
	})
}

func (c *Command) restore(ctx context.Context, at Console) error {
	err := c.change(ctx, at, store.OperatorRestore, "served again", "is not suspended", func(tx *store.Tx) (bool, error) {
		return tx.RestoreAccount(ctx, c.user, at.Clock.Now())
	})
	if err != nil {
		return err
	}
	state, err := at.Store.FindAccountState(ctx, c.user)
	if err == nil && state.Erasing {
		_, err = fmt.Fprintf(at.Out, "%s is being erased: it is refused until erase-user has ended\n", c.user)
	}
	return err
}

// change changes an account's state and says what came of it. What changes nothing is not written
// down.
func (c *Command) change(ctx context.Context, at Console, kind store.OperatorActionKind, done, before string, change func(*store.Tx) (bool, error)) error {
	said := before
	err := at.Store.InTx(ctx, func(tx *store.Tx) error {
		said = before
		changed, err := change(tx)
		if err != nil || !changed {
			return err
		}
		said = done
		return tx.AuditOperator(ctx, c.action(kind, at))
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(at.Out, "%s %s\n", c.user, said)
	return err
}

// listedStates is how many states are read at once.
const listedStates = 1000

func (c *Command) list(ctx context.Context, at Console) error {
	lines := tabwriter.NewWriter(at.Out, 0, 0, 2, ' ', 0)
	for after := int64(0); ; {
		page, err := at.Store.ListAccountStates(ctx, after, listedStates)
		if err != nil {
			return err
		}
		for i := range page {
			s := &page[i]
			after = s.Change
			if s.Suspended {
				_, _ = fmt.Fprintf(lines, "%s\tsuspended\n", s.User) // Flush tells of faults
			}
			if s.Erasing {
				_, _ = fmt.Fprintf(lines, "%s\tbeing erased\n", s.User)
			}
			if s.Host != store.HostActive {
				_, _ = fmt.Fprintf(lines, "%s\t%s, says its host\t%s\n", s.User, s.Host, s.HostAt.Format(time.RFC3339))
			}
		}
		if len(page) < listedStates {
			return lines.Flush()
		}
	}
}
