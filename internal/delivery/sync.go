package delivery

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// Sync is what a device says of the key packages that it has keys for.
type Sync struct {
	Device store.Device
	// Hashes are hex of any case, each of one of the forms of hashForms.
	Hashes []string
	At     time.Time
}

// Synced is what became of it.
type Synced struct {
	// Found are the unused key packages that the server had, Orphans those without keys.
	Found, Orphans []string
	// Deleted is how many were withdrawn, Remaining how many can be claimed now.
	Deleted, Remaining int
}

// hashForms are the names by which clients know a key package: its KeyPackageRef, and SHA-256 of
// the bytes, bare and wrapped in an MLSMessage.
const hashForms = 3

// namesOf is a package in each of the forms, in hex.
func namesOf(p *store.UnusedKeyPackage) [hashForms]string {
	names := [hashForms]string{hex.EncodeToString([]byte(p.Ref))}
	if k, err := mls.ParseKeyPackage(p.Bytes); err == nil {
		bare, wrapped := sha256.Sum256(k.Raw), sha256.Sum256(mls.WrapKeyPackage(k.Raw))
		names[1], names[2] = hex.EncodeToString(bare[:]), hex.EncodeToString(wrapped[:])
	}
	return names
}

// SyncKeyPackages withdraws those of a device's unused key packages that it does not name. A list
// that is not empty and names none of them withdraws nothing: its maker counts in another way. The
// error is mls.ErrDeviceNotFound.
func (s *Service) SyncKeyPackages(ctx context.Context, y Sync) (out Synced, err error) {
	local := make(map[string]bool, len(y.Hashes))
	for _, h := range y.Hashes {
		local[strings.ToLower(h)] = true
	}
	err = s.store.InTx(ctx, func(tx *store.Tx) error {
		devices, err := tx.LockDevices(ctx, y.Device.User)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(devices, func(d store.UserDevice) bool { return d.ID == y.Device.ID }) {
			return mls.ErrDeviceNotFound
		}
		unused, err := tx.ListUnusedKeyPackages(ctx, y.Device, s.MaxKeyPackages, y.At)
		if err != nil {
			return err
		}
		found := compare(unused, local)
		out = Synced{Found: found.names, Orphans: found.orphanNames, Remaining: len(unused)}
		if len(found.orphans) == 0 || len(local) > 0 && len(found.orphans) == len(unused) {
			return nil
		}
		out.Deleted, err = tx.WithdrawKeyPackages(ctx, y.Device, found.orphans)
		out.Remaining = len(unused) - len(found.orphans)
		return err
	})
	return out, err
}

// comparison is what a device's list says of its packages.
type comparison struct {
	names, orphanNames []string
	orphans            []store.UnusedKeyPackage
}

// compare finds the packages that a list does not name, and names all in the form that the list
// uses.
func compare(unused []store.UnusedKeyPackage, local map[string]bool) comparison {
	all := make([][hashForms]string, len(unused))
	form, orphan := 0, make([]bool, len(unused))
	for i := range unused {
		all[i] = namesOf(&unused[i])
		at := slices.IndexFunc(all[i][:], func(name string) bool { return local[name] })
		if orphan[i] = at < 0; !orphan[i] {
			form = at
		}
	}
	var c comparison
	for i := range unused {
		c.names = append(c.names, all[i][form])
		if orphan[i] {
			c.orphanNames, c.orphans = append(c.orphanNames, all[i][form]), append(c.orphans, unused[i])
		}
	}
	return c
}
