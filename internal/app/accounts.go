package app

import (
	"context"
	"time"

	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/internal/xrpc"
)

// accountStates reads states of accounts over a connection of their own, and writes over the
// others.
type accountStates struct {
	*store.Store
	writes *store.Store
}

// SetHostStatus implements accounts.Store.
func (s accountStates) SetHostStatus(ctx context.Context, user mls.DID, status store.HostStatus, at time.Time) error {
	return s.writes.SetHostStatus(ctx, user, status, at)
}

// admit refuses accounts that are suspended, taken down or deactivated.
func (a *App) admit(ctx context.Context, c xrpc.Credential) error {
	return a.accounts.Admit(ctx, c.Caller.DID, c.Issued)
}

// firstLook is how long the start waits to know which accounts are refused. Requests are refused as
// long as nobody knows.
const firstLook = 2 * time.Second

func (a *App) lookAtAccounts(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, firstLook)
	defer cancel()
	_ = a.accounts.Look(ctx) // Run looks again
}
