package store

import (
	"context"
	"time"

	"mls-server/internal/gen/db"
)

// Join is a device that has joined a group by a commit of its own.
type Join struct {
	Device Device
	By     Place
}

// RecordJoin notes that a commit was a join: what asked for the device is fulfilled by it, and no
// Welcome waits for it any more. The caller holds the conversation's lock.
func (tx *Tx) RecordJoin(ctx context.Context, c *Convo, j Join) error {
	if err := tx.q.RecordJoin(ctx, db.RecordJoinParams{ConvoID: c.ID, Seq: j.By.Seq, DeviceID: string(j.Device.ID)}); err != nil {
		return fail("record join", err)
	}
	if _, err := tx.FulfilRequests(ctx, c.ID, []Device{j.Device}, j.By); err != nil {
		return err
	}
	_, err := tx.q.DropDeviceWelcomes(ctx, db.DropDeviceWelcomesParams{
		ConvoID: c.ID, UserDID: j.Device.User, DeviceID: j.Device.ID, Now: bucket(j.By.At),
	})
	return fail("drop welcomes", err)
}

// CountJoins counts how often a device has joined the conversation by itself since a time, and says
// when the first of these was.
func (r *reader) CountJoins(ctx context.Context, c *Convo, d Device, since time.Time) (n int, first time.Time, err error) {
	row, err := r.q.CountJoins(ctx, db.CountJoinsParams{ConvoID: c.ID, UserDID: d.User, DeviceID: string(d.ID), Since: since})
	return int(row.Joins), row.OldestAt, fail("count joins", err)
}
