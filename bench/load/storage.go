package main

import (
	"context"
	"fmt"
)

// storage is what the database holds, in bytes, or what a message adds to it.
type storage struct{ heap, indexes, log, logIndexes, wal float64 }

// weigh asks how large the tables of messages and events are, and how much was ever written to the
// log of the database.
func (m *machine) weigh(ctx context.Context) (s storage, err error) {
	conn, err := m.connect(ctx)
	if err != nil {
		return s, err
	}
	defer func() { _ = conn.Close(ctx) }()
	err = conn.QueryRow(ctx, `SELECT pg_table_size('messages'), pg_indexes_size('messages'),
		(SELECT sum(pg_table_size(t)) FROM unnest($1::text[]) t), (SELECT sum(pg_indexes_size(t)) FROM unnest($1::text[]) t),
		pg_current_wal_insert_lsn() - '0/0'::pg_lsn`, []string{"event_stream"}).Scan(&s.heap, &s.indexes, &s.log, &s.logIndexes, &s.wal)
	if err != nil {
		return s, fmt.Errorf("weigh the tables: %w", err)
	}
	return s, nil
}

// each is what each of n messages has added to before.
func (s storage) each(before storage, n int64) storage {
	per := func(after, before float64) float64 { return (after - before) / float64(max(1, n)) }
	return storage{per(s.heap, before.heap), per(s.indexes, before.indexes), per(s.log, before.log), per(s.logIndexes, before.logIndexes), per(s.wal, before.wal)}
}

// beside is what a message of bucketSize takes beside its ciphertext, without the database's log.
func (s storage) beside() float64 { return s.heap + s.indexes + s.log + s.logIndexes - bucketSize }

// measureStorage sends messages and finds what each adds to the tables. A checkpoint before, and
// none while it lasts: the database's log has each page once in full.
func measureStorage(ctx context.Context, m *machine, r *report) error {
	if _, err := m.count(ctx, "SELECT 1 FROM pg_switch_wal()"); err != nil {
		return err
	}
	before, err := m.weigh(ctx)
	if err != nil {
		return err
	}
	o := r.options
	requests, err := prepare(storageMessages, func(i int) ([]byte, error) { c, u := m.turn(i); return m.sendRequest(c, u) })
	if err != nil {
		return err
	}
	o.warm = 0
	result, err := load(ctx, m, "stored", 64, 0, o, requests)
	if err != nil {
		return err
	}
	after, err := m.weigh(ctx)
	if err != nil {
		return err
	}
	r.stored = after.each(before, result.answered)
	return nil
}

// storageMessages is how many messages are weighed.
const storageMessages = 40_000
