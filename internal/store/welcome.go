package store

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"time"

	"mls-server/internal/gen/db"
	"mls-server/internal/mls"
)

// WelcomeLifetime is how long an unconfirmed Welcome is handed out.
const WelcomeLifetime = 30 * 24 * time.Hour

// WelcomeRoute leads a Welcome to a device, by a reference inside of it.
type WelcomeRoute struct {
	Device        Device
	KeyPackageRef mls.KeyPackageRef
}

// NewWelcome is a Welcome to keep and route.
type NewWelcome struct {
	ConvoID mls.ConvoID
	// Place is that of the commit that made it.
	Place
	Bytes  []byte
	Routes []WelcomeRoute
}

// RouteWelcome stores a Welcome once, routes it to devices, and supersedes
// what waited for them in the conversation.
func (tx *Tx) RouteWelcome(ctx context.Context, w NewWelcome) error {
	id, err := tx.q.InsertWelcome(ctx, db.InsertWelcomeParams{
		ConvoID: w.ConvoID, Generation: w.Generation, Epoch: w.Epoch, CommitSeq: int64(w.Seq), Welcome: w.Bytes, CreatedAt: bucket(w.At),
	})
	if err != nil {
		return fail("insert Welcome", err)
	}
	arg := db.RouteWelcomeParams{ConvoID: string(w.ConvoID), WelcomeID: id, Now: bucket(w.At)}
	for _, route := range w.Routes {
		arg.UserDids = append(arg.UserDids, string(route.Device.User))
		arg.DeviceIds = append(arg.DeviceIds, string(route.Device.ID))
		arg.KeyPackageRefs = append(arg.KeyPackageRefs, []byte(route.KeyPackageRef))
	}
	return fail("route Welcome", tx.q.RouteWelcome(ctx, arg))
}

// WaitingWelcome is a Welcome that a device has not confirmed.
type WaitingWelcome struct {
	// FirstGroup is what clients call its conversation; ListWaitingWelcomes sets it.
	FirstGroup mls.GroupID
	// Device is the one that it is routed to.
	Device mls.DeviceID
	Epoch  mls.Epoch
	Bytes  []byte
}

// FindWelcome is the newest Welcome that waits for a device of the user, or
// for any of them when device is nil. The error is mls.ErrWelcomeNotFound.
func (r *reader) FindWelcome(ctx context.Context, convo mls.ConvoID, user mls.DID, device *mls.DeviceID, now time.Time) (WaitingWelcome, error) {
	arg := db.FindWaitingWelcomeParams{ConvoID: convo, UserDID: user, AnyDevice: device == nil, NotBefore: now.Add(-WelcomeLifetime)}
	if device != nil {
		arg.DeviceID = *device
	}
	row, err := r.q.FindWaitingWelcome(ctx, arg)
	if isNotFound(err) {
		return WaitingWelcome{}, mls.ErrWelcomeNotFound
	}
	return WaitingWelcome{Device: row.DeviceID, Epoch: row.Epoch, Bytes: row.Welcome}, fail("find Welcome", err)
}

// ListWaitingWelcomes is the Welcomes that wait for a device, oldest first, as many as go on a
// page.
func (r *reader) ListWaitingWelcomes(ctx context.Context, device Device, now time.Time) ([]WaitingWelcome, error) {
	rows, err := r.q.ListWaitingWelcomes(ctx, db.ListWaitingWelcomesParams{UserDID: device.User, DeviceID: device.ID, NotBefore: now.Add(-WelcomeLifetime), MaxBytes: PageBytes})
	if err != nil {
		return nil, fail("list Welcomes", err)
	}
	waiting := make([]WaitingWelcome, len(rows))
	for i, row := range rows {
		waiting[i] = WaitingWelcome{FirstGroup: mls.GroupID(row.FirstGroupID), Device: device.ID, Bytes: row.Welcome}
	}
	return waiting, nil
}

// ConfirmWelcome confirms what waits for a device and closes what it asked
// for. It is false when nothing waited.
func (tx *Tx) ConfirmWelcome(ctx context.Context, convo mls.ConvoID, device Device, at time.Time) (bool, error) {
	n, err := tx.q.ConfirmWelcome(ctx, db.ConfirmWelcomeParams{ConvoID: convo, UserDID: device.User, DeviceID: device.ID, ConfirmedAt: bucket(at)})
	if err != nil || n == 0 {
		return false, fail("confirm Welcome", err)
	}
	if err := tx.closeRequests(ctx, convo, device, "confirmed", at); err != nil {
		return false, err
	}
	return true, tx.SetNeedsRejoin(ctx, convo, device, false)
}

// FailWelcome records that a device could not use what waits for it, and flags
// the device for rejoin. A request of the device that is open stays open, so
// that a failure told twice is one request. It is false when nothing waited.
// details must not be logged.
func (tx *Tx) FailWelcome(ctx context.Context, convo mls.ConvoID, device Device, details string, at time.Time) (bool, error) {
	n, err := tx.q.FailWelcome(ctx, db.FailWelcomeParams{ConvoID: convo, UserDID: device.User, DeviceID: device.ID, ErrorDetails: ptrIf(details), FailedAt: bucket(at)})
	if err != nil || n == 0 {
		return false, fail("fail Welcome", err)
	}
	open, err := tx.FindOpenRequest(ctx, convo, device)
	if err != nil {
		return false, err
	}
	// What is open was asked for after this Welcome was made, or because of it.
	if open == nil {
		if err := tx.closeRequests(ctx, convo, device, "failed", at); err != nil {
			return false, err
		}
	}
	return true, tx.SetNeedsRejoin(ctx, convo, device, true)
}

func (tx *Tx) closeRequests(ctx context.Context, convo mls.ConvoID, device Device, status string, at time.Time) error {
	_, err := tx.q.CloseRequests(ctx, db.CloseRequestsParams{ConvoID: convo, UserDID: device.User, DeviceID: device.ID, Status: status, Now: bucket(at)})
	return fail("close requests", err)
}

// LastConfirmation is when a device last confirmed a Welcome of a
// conversation, floored to 2 seconds; zero when it never did.
func (r *reader) LastConfirmation(ctx context.Context, convo mls.ConvoID, device Device) (time.Time, error) {
	at, err := r.q.FindLastConfirmation(ctx, db.FindLastConfirmationParams{ConvoID: convo, UserDID: device.User, DeviceID: device.ID})
	if isNotFound(err) || (err == nil && at == nil) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fail("find confirmation", err)
	}
	return *at, nil
}

// RequestID identifies a request of the members: a device or a rejoin to add,
// a removal to commit.
type RequestID string

// NewRequestID returns a random id, which says nothing of when it was made (I8).
func NewRequestID() RequestID { return RequestID(rand.Text()) }

// RequestKind says what is owed.
type RequestKind string

// The kinds of requests.
const (
	RequestDevice  RequestKind = "device"
	RequestRejoin  RequestKind = "rejoin"
	RequestRemoval RequestKind = "removal"
)

// Request is what members of a conversation owe.
type Request struct {
	ID        RequestID
	ConvoID   mls.ConvoID
	Device    Device
	Kind      RequestKind
	CreatedAt time.Time
	// ApprovedAt is when a commit fulfilled it, nil while it is open.
	ApprovedAt *time.Time
	// Claimed: a commit that cannot be read is said to have made the removal.
	Claimed bool
	// LeafIndex is the leaf that a removal is about, nil where it is not known.
	LeafIndex *int64
}

// NewRequest is what a device asks the members for.
type NewRequest struct {
	Device Device
	Kind   RequestKind
	// Reason is nil for none.
	Reason *string
	// At is floored to 2 seconds.
	At time.Time
}

// OpenRequest asks the members to add a device, and returns what is open: the
// new request, or with existing true the one that was there.
func (tx *Tx) OpenRequest(ctx context.Context, convo mls.ConvoID, n NewRequest) (q Request, existing bool, err error) {
	id := NewRequestID()
	opened, err := tx.q.OpenRequest(ctx, db.OpenRequestParams{
		ID: string(id), ConvoID: convo, UserDID: n.Device.User, DeviceID: n.Device.ID, Kind: string(n.Kind), Reason: n.Reason, CreatedAt: bucket(n.At),
	})
	if err != nil {
		return Request{}, false, fail("open request", err, requestOpenAlready)
	}
	if opened == 0 {
		found, err := tx.FindOpenRequest(ctx, convo, n.Device)
		if err != nil {
			return Request{}, false, err
		}
		if found == nil {
			// closed between the two statements
			return Request{}, false, fail("open request", mls.ErrBusy)
		}
		return *found, true, nil
	}
	return Request{ID: id, ConvoID: convo, Device: n.Device, Kind: n.Kind, CreatedAt: bucket(n.At)}, false, nil
}

// FindOpenRequest is the open request of a device, nil for none.
func (r *reader) FindOpenRequest(ctx context.Context, convo mls.ConvoID, device Device) (*Request, error) {
	row, err := r.q.FindOpenRequest(ctx, db.FindOpenRequestParams{ConvoID: convo, UserDID: device.User, DeviceID: device.ID})
	if isNotFound(err) {
		return nil, nil //nolint:nilnil // absence is an ordinary answer here
	}
	if err != nil {
		return nil, fail("find request", err)
	}
	return &Request{
		ID: RequestID(row.ID), ConvoID: row.ConvoID, Device: device, Kind: RequestKind(row.Kind),
		CreatedAt: row.CreatedAt, ApprovedAt: row.ApprovedAt,
	}, nil
}

// FindRequestOf is the request of a device that brought a key package, whatever has become of it,
// nil when there is none.
func (r *reader) FindRequestOf(ctx context.Context, convo mls.ConvoID, device Device, keyPackage []byte) (*Request, error) {
	hash := sha256.Sum256(keyPackage)
	id, err := r.q.FindReservation(ctx, db.FindReservationParams{Sha256: hash[:], OwnerDID: device.User, DeviceID: device.ID})
	if isNotFound(err) {
		return nil, nil //nolint:nilnil // absence is an ordinary answer here
	}
	if err != nil {
		return nil, fail("find reservation", err)
	}
	row, err := r.q.FindRequestOf(ctx, db.FindRequestOfParams{ID: id, ConvoID: convo, UserDID: device.User, DeviceID: device.ID})
	if isNotFound(err) {
		return nil, nil //nolint:nilnil // the package was brought for another conversation
	}
	if err != nil {
		return nil, fail("find request", err)
	}
	return &Request{
		ID: RequestID(id), ConvoID: convo, Device: device, Kind: RequestKind(row.Kind), CreatedAt: row.CreatedAt, ApprovedAt: row.ApprovedAt,
	}, nil
}

// ListRequests is what the members of conversations owe, oldest first within each.
func (r *reader) ListRequests(ctx context.Context, convos ...mls.ConvoID) ([]Request, error) {
	rows, err := r.q.ListOpenRequests(ctx, texts(convos))
	if err != nil {
		return nil, fail("list requests", err)
	}
	requests := make([]Request, len(rows))
	for i, row := range rows {
		requests[i] = Request{
			ID: RequestID(row.ID), ConvoID: row.ConvoID, Device: Device{row.UserDID, row.DeviceID},
			Kind: RequestKind(row.Kind), CreatedAt: row.CreatedAt, Claimed: row.Claimed, LeafIndex: row.LeafIndex,
		}
	}
	return requests, nil
}

// CountRejoins counts a user's rejoin requests in a conversation since a time,
// and says when the first of them was made.
func (r *reader) CountRejoins(ctx context.Context, convo mls.ConvoID, user mls.DID, since time.Time) (n int, first time.Time, err error) {
	row, err := r.q.CountRecentRejoins(ctx, db.CountRecentRejoinsParams{ConvoID: convo, UserDID: user, Since: since})
	return int(row.Requests), row.OldestAt, fail("count rejoins", err)
}

// FulfilRequests closes the open requests of devices that a commit has added,
// and returns them.
func (tx *Tx) FulfilRequests(ctx context.Context, convo mls.ConvoID, devices []Device, by Place) ([]Request, error) {
	arg := db.FulfilRequestsParams{ConvoID: convo, Generation: int64(by.Generation), Epoch: int64(by.Epoch), CommitSeq: int64(by.Seq), Now: bucket(by.At)}
	for _, d := range devices {
		arg.UserDids = append(arg.UserDids, string(d.User))
		arg.DeviceIds = append(arg.DeviceIds, string(d.ID))
	}
	rows, err := tx.q.FulfilRequests(ctx, arg)
	if err != nil {
		return nil, fail("fulfil requests", err)
	}
	requests := make([]Request, len(rows))
	for i, row := range rows {
		requests[i] = Request{ID: RequestID(row.ID), ConvoID: convo, Device: Device{row.UserDID, row.DeviceID}, Kind: RequestKind(row.Kind)}
	}
	return requests, nil
}
