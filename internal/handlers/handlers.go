// Package handlers holds the bodies of the endpoints, one file for each method.
//
// A body does: parse, one verb of delivery or store, reply, in at most 40 lines
// (a test counts them). It returns errors as they are; errors.go gives them their
// names. It must not speak HTTP or SQL, must not log, and must not start anything
// that outlives the request.
package handlers

import (
	"context"
	"time"

	"mls-server/internal/blocks"
	"mls-server/internal/clock"
	"mls-server/internal/delivery"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/internal/stream"
	"mls-server/lexrt"
)

// Blocks answers questions about block records. Package blocks implements it.
type Blocks interface {
	// Between returns the blocks among the users, or mls.ErrBlockSourceUnavailable.
	Between(ctx context.Context, caller mls.DID, dids []mls.DID) (blocks.Answer, error)
	// Verify checks that a block record was made or is gone, or returns mls.ErrBlockNotVerified.
	Verify(ctx context.Context, claim blocks.Claim) error
}

// DeviceDays notes on which day calls named devices. Package seen implements it.
type DeviceDays interface{ Note(d store.Device) }

// Tickets makes tickets for subscriptions. Package auth implements it.
type Tickets interface {
	// Issue makes a ticket for a user, and for one conversation alone where convo is not "". It
	// fails with auth.ErrLongDID.
	Issue(user lexrt.DID, convo string) (ticket string, expires time.Time, err error)
}

// Config is what the operator decides about the rules.
type Config struct {
	RequireIdempotency bool
	// KeyPackageLow is how many packages a user should have left.
	KeyPackageLow  int
	SuperadminDIDs []mls.DID
	// Subscription is the address of subscribeConvoEvents, "" where it is not known.
	Subscription string
}

// Handlers implements every method of the lexicons. All fields are required.
type Handlers struct {
	Store    *store.Store
	Delivery *delivery.Service
	Blocks   Blocks
	Streams  *stream.Hub
	Clock    clock.Clock
	// Devices notes which devices are in use.
	Devices DeviceDays
	Tickets Tickets
	Config  Config
	// Description is what describeServer answers.
	Description *mlsapi.DescribeServerOutput
}

var _ mlsapi.Service = (*Handlers)(nil)

// saw notes that a call has named a device that is the caller's; nil for none.
func (h *Handlers) saw(caller lexrt.Caller, device *string) {
	if device != nil {
		h.Devices.Note(store.Device{User: caller.DID, ID: mls.DeviceID(*device)})
	}
}

// maxAnswer is how many bytes the items of an answer have at most, unless one alone is larger. With
// what stands beside them that is 9 MiB: an atproto proxy passes on 10, and cuts off the rest
// without a word.
const maxAnswer = 9<<20 - 512<<10

// now returns the time that everything of this request is stamped with (I8).
func (h *Handlers) now() time.Time { return clock.Bucket(h.Clock.Now()) }
