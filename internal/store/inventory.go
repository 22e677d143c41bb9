package store

import (
	"context"
	"crypto/sha256"
	"maps"
	"slices"
	"time"

	"mls-server/internal/gen/db"
	"mls-server/internal/mls"
)

// OwnedKeyPackage is a verified key package with the device that it belongs to.
type OwnedKeyPackage struct {
	Owner mls.DeviceID
	NewKeyPackage
}

// PublishEach keeps those of a user's packages that can be kept, and says of each of the others why
// it cannot: mls.ErrTooManyKeyPackages, or mls.ErrInvalidKeyPackage with CodeInitKeyReused. Bytes
// that its device has published before are passed over, whatever has become of them.
func (tx *Tx) PublishEach(ctx context.Context, user mls.DID, packages []OwnedKeyPackage, limit int, now time.Time) ([]*mls.Error, error) {
	if err := tx.q.LockUser(ctx, string(user)); err != nil {
		return nil, fail("lock user", err)
	}
	b := publishing{tx: tx, user: user, packages: packages, faults: make([]*mls.Error, len(packages)), now: now}
	for _, step := range []func(context.Context) error{
		b.leaveOutPublished, func(ctx context.Context) error { return b.leaveOutBeyond(ctx, limit) }, b.leaveOutReused, b.insert,
	} {
		if err := step(ctx); err != nil {
			return nil, err
		}
		if len(b.fresh) == 0 {
			break
		}
	}
	return b.faults, nil
}

// publishing is a batch of packages on their way into the database.
type publishing struct {
	tx       *Tx
	user     mls.DID
	packages []OwnedKeyPackage
	faults   []*mls.Error
	// fresh are the places of those that are still to be kept.
	fresh []int
	now   time.Time
}

// leaveOutPublished leaves out what was published before, which is a fault of what somebody else
// has published.
func (b *publishing) leaveOutPublished(ctx context.Context) error {
	type hash = [sha256.Size]byte
	hashes := make([][]byte, len(b.packages))
	for i, p := range b.packages {
		h := sha256.Sum256(p.Bytes)
		hashes[i] = h[:]
	}
	rows, err := b.tx.q.FindKeyPackagesByHash(ctx, b.now, hashes)
	if err != nil {
		return fail("find key packages", err)
	}
	owners := make(map[hash]Device, len(rows))
	for _, row := range rows {
		owners[hash(row.Sha256)] = Device{row.OwnerDID, row.DeviceID}
	}
	for i, p := range b.packages {
		owner, known := owners[hash(hashes[i])]
		own := Device{b.user, p.Owner}
		switch {
		case !known:
			owners[hash(hashes[i])] = own // once in this list is enough
			b.fresh = append(b.fresh, i)
		case owner != own:
			b.faults[i] = reused()
		}
	}
	return nil
}

func reused() *mls.Error { return mls.AsError(mls.InvalidKeyPackage(mls.CodeInitKeyReused)) }

// keep keeps those of the fresh packages for which ok returns true; it notes the fault of the
// others.
func (b *publishing) keep(ok func(i int) bool) {
	b.fresh = slices.DeleteFunc(b.fresh, func(i int) bool { return !ok(i) })
}

// leaveOutBeyond leaves out the packages that a device may not have besides those that it has.
func (b *publishing) leaveOutBeyond(ctx context.Context, limit int) error {
	rows, err := b.tx.q.CountLiveByDevice(ctx, b.user, b.now)
	if err != nil {
		return fail("count key packages", err)
	}
	live := make(map[mls.DeviceID]int64, len(rows))
	for _, row := range rows {
		live[row.DeviceID] = row.Live
	}
	b.keep(func(i int) bool {
		p := &b.packages[i]
		switch {
		case p.LastResort:
			return true
		case live[p.Owner] >= int64(limit):
			b.faults[i] = mls.AsError(mls.ErrTooManyKeyPackages)
			return false
		}
		live[p.Owner]++
		return true
	})
	return nil
}

// leaveOutReused keeps the packages' init keys for ever, and leaves out the packages whose init key
// was seen before.
func (b *publishing) leaveOutReused(ctx context.Context) error {
	keys := make(map[int]string, len(b.fresh))
	var list [][]byte
	for _, i := range b.fresh {
		h := sha256.Sum256(b.packages[i].InitKey)
		keys[i] = string(h[:])
		list = append(list, h[:])
	}
	rows, err := b.tx.q.InsertInitKeys(ctx, list)
	if err != nil {
		return fail("keep init keys", err)
	}
	unseen := make(map[string]bool, len(rows))
	for _, key := range rows {
		unseen[string(key)] = true
	}
	b.keep(func(i int) bool {
		if !unseen[keys[i]] {
			b.faults[i] = reused()
			return false
		}
		delete(unseen, keys[i])
		return true
	})
	return nil
}

func (b *publishing) insert(ctx context.Context) error {
	byDevice := map[mls.DeviceID][]NewKeyPackage{}
	for _, i := range b.fresh {
		byDevice[b.packages[i].Owner] = append(byDevice[b.packages[i].Owner], b.packages[i].NewKeyPackage)
	}
	for _, device := range slices.Sorted(maps.Keys(byDevice)) { // locks are taken in one order
		owner, list := Device{b.user, device}, byDevice[device]
		if _, err := b.tx.q.InsertKeyPackages(ctx, keyPackageRows(owner, list, b.now)); err != nil {
			return fail("insert key packages", err)
		}
		if err := b.tx.dropOldLastResorts(ctx, owner, list); err != nil {
			return err
		}
	}
	return nil
}

// DeviceInventory is what can be claimed of a device.
type DeviceInventory struct {
	// Available is packages that go out once.
	Available int64
	// LastResort: it has one that stays.
	LastResort bool
}

// CountDevicePackages counts what can be claimed of each of a user's devices. Those that are not in
// the result have nothing.
func (r *reader) CountDevicePackages(ctx context.Context, user mls.DID, now time.Time) (map[mls.DeviceID]DeviceInventory, error) {
	rows, err := r.q.CountDevicePackages(ctx, user, now)
	if err != nil {
		return nil, fail("count key packages", err)
	}
	counts := make(map[mls.DeviceID]DeviceInventory, len(rows))
	for _, row := range rows {
		counts[row.DeviceID] = DeviceInventory{Available: row.Available, LastResort: row.LastResort}
	}
	return counts, nil
}

// Claimable is of how many devices of a user packages of a suite can be claimed.
type Claimable struct {
	Owner mls.DID
	Suite mls.CipherSuite
	// Once is the devices that have a package which goes out once, LastResort those that have one
	// which stays, Devices those that have either.
	Once, LastResort, Devices int
}

// CountClaimable counts the devices of users of which packages can be claimed that stay valid until
// a time, for each user and suite for which there are any, in the order of both. An empty list of
// devices is all of them; suite 0 is any that is known.
func (r *reader) CountClaimable(ctx context.Context, owners []mls.DID, devices []mls.DeviceID, suite mls.CipherSuite, until time.Time) ([]Claimable, error) {
	arg := db.CountClaimableParams{OwnerDids: texts(owners), DeviceIds: texts(devices), UsableUntil: until}
	for _, s := range mls.CipherSuites() {
		if suite == 0 || s == suite {
			arg.CipherSuites = append(arg.CipherSuites, int32(s))
		}
	}
	rows, err := r.q.CountClaimable(ctx, arg)
	claimable := make([]Claimable, len(rows))
	for i, row := range rows {
		claimable[i] = Claimable{
			Owner: mls.DID(row.OwnerDID), Suite: mls.CipherSuite(row.CipherSuite), //nolint:gosec // one of those that were asked for
			Once: int(row.Once), LastResort: int(row.LastResort), Devices: int(row.Devices),
		}
	}
	return claimable, fail("count key packages", err)
}

// UnusedKeyPackage is a package that can be claimed.
type UnusedKeyPackage struct {
	RowID int64
	Ref   mls.KeyPackageRef
	Bytes []byte
}

// ListUnusedKeyPackages is what can be claimed of a device, oldest first. limit is how many
// packages may be live of it that are no last resorts; more than that, with the last resorts that
// are kept, are not listed.
func (r *reader) ListUnusedKeyPackages(ctx context.Context, d Device, limit int, now time.Time) ([]UnusedKeyPackage, error) {
	rows, err := r.q.ListUnusedKeyPackages(ctx, db.ListUnusedKeyPackagesParams{
		OwnerDID: d.User, DeviceID: d.ID, Now: now, MaxRows: rowLimit(limit + LastResortsKept*len(mls.CipherSuites())),
	})
	if err != nil {
		return nil, fail("list key packages", err)
	}
	packages := make([]UnusedKeyPackage, len(rows))
	for i, row := range rows {
		packages[i] = UnusedKeyPackage{row.ID, mls.KeyPackageRef(row.Ref), row.KeyPackage}
	}
	return packages, nil
}

// WithdrawKeyPackages deletes those of a device's packages that nobody has claimed meanwhile.
func (tx *Tx) WithdrawKeyPackages(ctx context.Context, d Device, packages []UnusedKeyPackage) (int, error) {
	n, err := tx.q.WithdrawKeyPackages(ctx, db.WithdrawKeyPackagesParams{Ids: rowIDs(packages), OwnerDID: d.User, DeviceID: d.ID})
	return int(n), fail("withdraw key packages", err)
}

// maxLoose is how many packages that were published without a device a registration looks at.
const maxLoose = 500

// LoosePackage is a package that its user has published without a device, used or not.
type LoosePackage struct {
	RowID int64
	Bytes []byte
}

// ListLoosePackages is what a user has published without a device and contains a signature key,
// maxLoose of them at most. What could still be used comes first.
func (r *reader) ListLoosePackages(ctx context.Context, user mls.DID, key []byte) ([]LoosePackage, error) {
	rows, err := r.q.ListLoosePackages(ctx, db.ListLoosePackagesParams{OwnerDID: user, SignatureKey: key, MaxRows: maxLoose})
	packages := make([]LoosePackage, len(rows))
	for i, row := range rows {
		packages[i] = LoosePackage{row.ID, row.KeyPackage}
	}
	return packages, fail("list key packages", err)
}

// AdoptKeyPackages gives packages that a user has published without a device to the one that signed
// them.
func (tx *Tx) AdoptKeyPackages(ctx context.Context, d Device, packages []LoosePackage) error {
	if len(packages) == 0 {
		return nil
	}
	arg := db.AdoptKeyPackagesParams{DeviceID: d.ID, OwnerDID: d.User}
	for _, p := range packages {
		arg.Ids = append(arg.Ids, p.RowID)
	}
	return fail("adopt key packages", tx.q.AdoptKeyPackages(ctx, arg))
}

func rowIDs(packages []UnusedKeyPackage) []int64 {
	ids := make([]int64, len(packages))
	for i, p := range packages {
		ids[i] = p.RowID
	}
	return ids
}
