package blocks

import (
	"context"
	"errors"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"mls-server/internal/store"
)

// errNoTime says that an event cannot be put in order with others.
var errNoTime = errors.New("blocks: an account event of no plausible time")

// tellAccount passes on what an account's host says of it. Statuses that say nothing about the
// account itself, such as throttled, are passed over, and so is one that the host gives no reason
// for.
func (f *Feed) tellAccount(ctx context.Context, e *event) error {
	user, err := syntax.ParseDID(e.DID)
	if err != nil || f.cfg.Account == nil || e.Account.Active == nil {
		return nil //nolint:nilerr // it is not an event of an account
	}
	status := store.HostActive
	if !*e.Account.Active {
		switch s := store.HostStatus(e.Account.Status); s {
		case store.HostTakendown, store.HostSuspended, store.HostDeactivated, store.HostDeleted:
			status = s
		default:
			return nil
		}
	}
	// What is told of an account holds in the order of these times: one that lies in the future
	// would keep out all that is true, one that lies far back is of no stream that still remembers
	// it.
	at, now := time.UnixMicro(e.TimeUS), f.cfg.Clock.Now()
	if e.TimeUS <= 0 || at.Before(now.Add(-maxBehind)) {
		return errNoTime
	}
	if at.After(now) {
		at = now
	}
	f.cfg.Observe("account")
	return f.cfg.Account(ctx, user, status, at)
}
