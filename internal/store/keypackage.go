package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"slices"
	"time"

	"mls-server/internal/gen/db"
	"mls-server/internal/mls"
)

// NewKeyPackage is a verified key package to keep.
type NewKeyPackage struct {
	Ref mls.KeyPackageRef
	// InitKey is its init_key; a hash of it is kept for ever.
	InitKey     []byte
	CipherSuite mls.CipherSuite
	// Bytes are handed out as they came.
	Bytes []byte
	// ExpiresAt is floored to 2 seconds.
	ExpiresAt  time.Time
	LastResort bool
}

// KeyPackage is a stored key package.
type KeyPackage struct {
	// RowID identifies it within this database; clients never see it.
	RowID       int64
	Owner       Device
	Ref         mls.KeyPackageRef
	CipherSuite mls.CipherSuite
	// Bytes are empty where a package is looked up and not handed out.
	Bytes      []byte
	ExpiresAt  time.Time
	LastResort bool
	// Request is the request that reserves it, "" for none.
	Request RequestID
	// SHA256 of Bytes.
	SHA256 []byte
}

// LastResortsKept is how many last-resort packages of a suite a device has at most. The newest are
// kept: whoever was given an older one a moment ago can still add the device by it.
const LastResortsKept = 3

// PublishKeyPackages keeps a device's packages, at most limit live ones that
// are not last resorts. Bytes that are live already are left as they are. The
// errors are mls.ErrTooManyKeyPackages and mls.ErrInvalidKeyPackage with
// the index and CodeInitKeyReused: the bytes were used up, or the init_key was
// seen in other bytes.
func (tx *Tx) PublishKeyPackages(ctx context.Context, owner Device, packages []NewKeyPackage, limit int, now time.Time) error {
	if err := tx.q.LockUser(ctx, string(owner.User)); err != nil {
		return fail("lock user", err)
	}
	fresh, err := tx.unpublished(ctx, owner, packages, now, false)
	if err != nil {
		return err
	}
	return tx.addKeyPackages(ctx, owner, fresh, limit, now)
}

// addKeyPackages keeps packages that were never seen, within the limit.
func (tx *Tx) addKeyPackages(ctx context.Context, owner Device, fresh []indexed, limit int, now time.Time) error {
	if len(fresh) == 0 {
		return nil
	}
	if _, err := tx.insertKeyPackages(ctx, owner, fresh, nil, now); err != nil {
		return err
	}
	list := make([]NewKeyPackage, len(fresh))
	for i, p := range fresh {
		list[i] = p.NewKeyPackage
	}
	if err := tx.dropOldLastResorts(ctx, owner, list); err != nil {
		return err
	}
	live, err := tx.q.CountLiveKeyPackages(ctx, db.CountLiveKeyPackagesParams{OwnerDID: owner.User, DeviceID: owner.ID, Now: now})
	if err != nil {
		return fail("count key packages", err)
	}
	if live > int64(limit) {
		return mls.ErrTooManyKeyPackages
	}
	return nil
}

// dropOldLastResorts withdraws last-resort packages of a device that newer ones among fresh
// replace.
func (tx *Tx) dropOldLastResorts(ctx context.Context, owner Device, fresh []NewKeyPackage) error {
	if !slices.ContainsFunc(fresh, func(p NewKeyPackage) bool { return p.LastResort }) {
		return nil
	}
	_, err := tx.q.DropOldLastResorts(ctx, db.DropOldLastResortsParams{OwnerDID: owner.User, DeviceID: owner.ID, Kept: LastResortsKept})
	return fail("drop last-resort packages", err)
}

// ReserveKeyPackage keeps a package for the request that brought it: claims do
// not see it. Errors as PublishKeyPackages; bytes that were published before
// are taken over when they are live.
func (tx *Tx) ReserveKeyPackage(ctx context.Context, owner Device, p NewKeyPackage, request RequestID, now time.Time) error {
	// Nothing is counted, so the user is not locked: the caller holds a
	// conversation's lock, which comes after a user's.
	fresh, err := tx.unpublished(ctx, owner, []NewKeyPackage{p}, now, false)
	if err != nil {
		return err
	}
	var id int64
	if len(fresh) == 0 {
		hash := sha256.Sum256(p.Bytes)
		if id, err = tx.q.ReserveKeyPackage(ctx, string(request), hash[:]); err != nil {
			return fail("reserve key package", err)
		}
	} else {
		ids, err := tx.insertKeyPackages(ctx, owner, fresh, (*string)(&request), now)
		if err != nil {
			return err
		}
		id = ids[0]
	}
	return fail("attach key package", tx.q.AttachKeyPackage(ctx, &id, string(request)))
}

// indexed is a package with its place in the caller's list.
type indexed struct {
	NewKeyPackage
	index int
}

// unpublished leaves out what is live already, and what comes twice. With usedToo it also leaves
// out what the device published before and others have used since: the request is repeated.
func (tx *Tx) unpublished(ctx context.Context, owner Device, packages []NewKeyPackage, now time.Time, usedToo bool) ([]indexed, error) {
	type hash = [sha256.Size]byte
	hashes := make([][]byte, len(packages))
	for i, p := range packages {
		h := sha256.Sum256(p.Bytes)
		hashes[i] = h[:]
	}
	rows, err := tx.q.FindKeyPackagesByHash(ctx, now, hashes)
	if err != nil {
		return nil, fail("find key packages", err)
	}
	live := make(map[hash]bool, len(rows))
	for _, row := range rows {
		live[hash(row.Sha256)] = (row.Live || usedToo) && row.OwnerDID == owner.User && row.DeviceID == owner.ID
	}
	var fresh []indexed
	for i, p := range packages {
		isLive, known := live[hash(hashes[i])]
		switch {
		case !known:
			live[hash(hashes[i])] = true // once in this list is enough
			fresh = append(fresh, indexed{p, i})
		case !isLive:
			return nil, mls.InvalidKeyPackageAt(i, mls.CodeInitKeyReused)
		}
	}
	return fresh, nil
}

// leaveOutWithdrawn leaves last-resort packages out whose init_key was seen: newer ones have
// replaced them.
func (tx *Tx) leaveOutWithdrawn(ctx context.Context, packages []indexed) ([]indexed, error) {
	var hashes [][]byte
	for _, p := range packages {
		if p.LastResort {
			h := sha256.Sum256(p.InitKey)
			hashes = append(hashes, h[:])
		}
	}
	if len(hashes) == 0 {
		return packages, nil
	}
	seen, err := tx.q.FindInitKeys(ctx, hashes)
	return slices.DeleteFunc(packages, func(p indexed) bool {
		h := sha256.Sum256(p.InitKey)
		return p.LastResort && slices.ContainsFunc(seen, func(s []byte) bool { return bytes.Equal(s, h[:]) })
	}), fail("find init keys", err)
}

func (tx *Tx) insertKeyPackages(ctx context.Context, owner Device, packages []indexed, request *string, now time.Time) ([]int64, error) {
	initKeys := make([][]byte, len(packages))
	list := make([]NewKeyPackage, len(packages))
	for i, p := range packages {
		initHash := sha256.Sum256(p.InitKey)
		initKeys[i], list[i] = initHash[:], p.NewKeyPackage
	}
	unseen, err := tx.q.InsertInitKeys(ctx, initKeys)
	if err != nil {
		return nil, fail("keep init keys", err)
	}
	if len(unseen) < len(packages) {
		return nil, mls.InvalidKeyPackageAt(packages[firstSeen(initKeys, unseen)].index, mls.CodeInitKeyReused)
	}
	arg := keyPackageRows(owner, list, now)
	arg.ReservedRequestID = request
	ids, err := tx.q.InsertKeyPackages(ctx, arg)
	return ids, fail("insert key packages", err, keyPackageSeen)
}

// keyPackageRows is the rows of a device's packages.
func keyPackageRows(owner Device, packages []NewKeyPackage, now time.Time) db.InsertKeyPackagesParams {
	arg := db.InsertKeyPackagesParams{OwnerDID: owner.User, DeviceID: owner.ID, CreatedAt: day(now)}
	for _, p := range packages {
		byteHash := sha256.Sum256(p.Bytes)
		arg.Refs = append(arg.Refs, []byte(p.Ref))
		arg.Sha256s = append(arg.Sha256s, byteHash[:])
		arg.CipherSuites = append(arg.CipherSuites, int32(p.CipherSuite))
		arg.KeyPackages = append(arg.KeyPackages, p.Bytes)
		arg.ExpiresAts = append(arg.ExpiresAts, bucket(p.ExpiresAt))
		arg.LastResorts = append(arg.LastResorts, p.LastResort)
	}
	return arg
}

// firstSeen is the index of the first of keys that is not among unseen, or
// that an earlier one equals.
func firstSeen(keys, unseen [][]byte) int {
	left := make(map[string]bool, len(unseen))
	for _, key := range unseen {
		left[string(key)] = true
	}
	for i, key := range keys {
		if !left[string(key)] {
			return i
		}
		delete(left, string(key))
	}
	return 0
}

// ClaimParams says whose packages to hand out.
type ClaimParams struct {
	Owners []mls.DID
	// Devices restricts the claim; empty: every device of the owners.
	Devices []mls.DeviceID
	// Scarce are owners who give their last-resort packages only.
	Scarce []mls.DID
	// CipherSuite is the suite asked for; 0: any.
	CipherSuite mls.CipherSuite
	Now         time.Time
	// Margin is how long a package must stay valid.
	Margin time.Duration
	// Low is how many packages a device should have left; below it the claim
	// writes an EventKeyPackagesLow for the owner. 0: no events.
	Low int
}

// ClaimKeyPackages hands out one package for each device of the owners that
// has one, and no package twice (I4). A device that has only a last-resort
// package left gives that one and keeps it.
func (s *Store) ClaimKeyPackages(ctx context.Context, p ClaimParams) ([]KeyPackage, error) {
	arg := db.ClaimKeyPackagesParams{
		OwnerDids: texts(p.Owners), ScarceDids: texts(p.Scarce), DeviceIds: texts(p.Devices), CipherSuite: int32(p.CipherSuite), ClaimedAt: day(p.Now), UsableUntil: p.Now.Add(p.Margin),
		// The statement counts what was there before the claim.
		Low: int64(p.Low), BucketTs: bucket(p.Now),
	}
	var rows []db.ClaimKeyPackagesRow
	err := s.retry(ctx, func() (err error) {
		rows, err = s.q.ClaimKeyPackages(ctx, arg)
		return err
	})
	if err != nil {
		return nil, fail("claim key packages", err)
	}
	s.committed()
	packages := make([]KeyPackage, len(rows))
	for i, row := range rows {
		packages[i] = KeyPackage{
			RowID: row.ID, Owner: Device{row.OwnerDID, row.DeviceID}, Ref: mls.KeyPackageRef(row.Ref), CipherSuite: row.CipherSuite,
			Bytes: row.KeyPackage, ExpiresAt: row.ExpiresAt, LastResort: row.LastResort,
		}
	}
	return packages, nil
}

// UnclaimKeyPackages gives back packages of a claim that were handed to nobody.
func (s *Store) UnclaimKeyPackages(ctx context.Context, packages []KeyPackage) error {
	ids := make([]int64, len(packages))
	for i := range packages {
		ids[i] = packages[i].RowID
	}
	_, err := s.q.UnclaimKeyPackages(ctx, ids)
	return fail("give key packages back", err)
}

// ReplaceReserved keeps a package for a request in the place of the one that
// it has brought before; the same bytes again change nothing. Errors as ReserveKeyPackage.
func (tx *Tx) ReplaceReserved(ctx context.Context, owner Device, p NewKeyPackage, request RequestID, now time.Time) error {
	hash, err := tx.q.FindReservedHash(ctx, string(request))
	if err != nil && !isNotFound(err) {
		return fail("find reserved key package", err)
	}
	if fresh := sha256.Sum256(p.Bytes); bytes.Equal(hash, fresh[:]) {
		return nil
	}
	if _, err := tx.q.ReleaseKeyPackages(ctx, []string{string(request)}); err != nil {
		return fail("release key package", err)
	}
	return tx.ReserveKeyPackage(ctx, owner, p, request, now)
}

// FindReservedKeyPackage is the package of an open request, for members of its
// conversation; the error is mls.ErrKeyPackageNotFound for anybody else, too.
func (r *reader) FindReservedKeyPackage(ctx context.Context, request RequestID, caller mls.DID) (KeyPackage, error) {
	row, err := r.q.FindReservedKeyPackage(ctx, string(request), string(caller))
	if isNotFound(err) {
		return KeyPackage{}, mls.ErrKeyPackageNotFound
	}
	if err != nil {
		return KeyPackage{}, fail("find reserved key package", err)
	}
	return KeyPackage{
		RowID: row.ID, Owner: Device{row.OwnerDID, row.DeviceID}, Ref: mls.KeyPackageRef(row.Ref), CipherSuite: row.CipherSuite,
		Bytes: row.KeyPackage, ExpiresAt: row.ExpiresAt, LastResort: row.LastResort, Request: request,
	}, nil
}

// ResolveKeyPackages finds packages by KeyPackageRef or by the SHA-256 of
// their bytes, and locks them until they are consumed. What a Welcome has used
// up is not found. Hashes that find nothing have no package in the result.
func (tx *Tx) ResolveKeyPackages(ctx context.Context, hashes [][]byte) ([]KeyPackage, error) {
	rows, err := tx.q.ResolveKeyPackages(ctx, hashes)
	if err != nil {
		return nil, fail("resolve key packages", err)
	}
	packages := make([]KeyPackage, len(rows))
	for i, row := range rows {
		packages[i] = KeyPackage{
			RowID: row.ID, Owner: Device{row.OwnerDID, row.DeviceID}, Ref: mls.KeyPackageRef(row.Ref), SHA256: row.Sha256, CipherSuite: row.CipherSuite,
			Bytes: row.KeyPackage, ExpiresAt: row.ExpiresAt, LastResort: row.LastResort, Request: RequestID(orEmpty(row.ReservedRequestID)),
		}
	}
	return packages, nil
}

// Named says whether hash is the package's reference or the SHA-256 of its bytes.
func (p KeyPackage) Named(hash []byte) bool {
	return string(p.Ref) == string(hash) || bytes.Equal(p.SHA256, hash)
}

// ConsumeKeyPackages marks packages as used by a Welcome. They were resolved, and so
// locked, in the same transaction.
func (tx *Tx) ConsumeKeyPackages(ctx context.Context, packages []KeyPackage, at time.Time) error {
	if len(packages) == 0 {
		return nil
	}
	ids := make([]int64, len(packages))
	for i, p := range packages {
		ids[i] = p.RowID
	}
	return fail("consume key packages", tx.q.ConsumeKeyPackages(ctx, day(at), ids))
}

// SuiteInventory is a user's packages of one suite.
type SuiteInventory struct {
	CipherSuite mls.CipherSuite
	// Available can be claimed, Consumed were claimed or used: ConsumedLately today or yesterday,
	// ConsumedLastWeek today or on the seven days before (UTC).
	Available, Consumed, ConsumedLately, ConsumedLastWeek int64
	// LastResortUsed: a live last-resort package was handed out.
	LastResortUsed bool
	// FirstExpiry is when the first available one expires, zero without any.
	FirstExpiry time.Time
}

// Add adds the figures of another suite.
func (s *SuiteInventory) Add(o *SuiteInventory) {
	s.Available += o.Available
	s.Consumed += o.Consumed
	s.ConsumedLately += o.ConsumedLately
	s.ConsumedLastWeek += o.ConsumedLastWeek
	s.LastResortUsed = s.LastResortUsed || o.LastResortUsed
	if !o.FirstExpiry.IsZero() && (s.FirstExpiry.IsZero() || o.FirstExpiry.Before(s.FirstExpiry)) {
		s.FirstExpiry = o.FirstExpiry
	}
}

// CountKeyPackages counts a user's packages by suite; device "" counts all
// devices, suite 0 all suites.
func (r *reader) CountKeyPackages(ctx context.Context, owner Device, suite mls.CipherSuite, now time.Time) ([]SuiteInventory, error) {
	rows, err := r.q.CountKeyPackages(ctx, db.CountKeyPackagesParams{
		OwnerDID: owner.User, DeviceID: string(owner.ID), CipherSuite: int32(suite), Now: now,
		Lately: day(now.AddDate(0, 0, -1)), LastWeek: day(now.AddDate(0, 0, -7)),
	})
	if err != nil {
		return nil, fail("count key packages", err)
	}
	counts := make([]SuiteInventory, len(rows))
	for i, row := range rows {
		counts[i] = SuiteInventory{
			CipherSuite: row.CipherSuite, Available: row.Available, Consumed: row.Consumed,
			ConsumedLately: row.ConsumedLately, ConsumedLastWeek: row.ConsumedLastWeek, LastResortUsed: row.LastResortUsed,
		}
		if row.Available > 0 {
			counts[i].FirstExpiry = row.OldestExpiresAt
		}
	}
	return counts, nil
}
