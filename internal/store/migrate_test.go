package store

import (
	"database/sql"
	"strings"
	"testing"

	"mls-server/internal/pgtest"
	"mls-server/migrations"
)

// columns is the whole schema as text.
const columns = `
SELECT coalesce(string_agg(line, E'\n' ORDER BY line), '') FROM (
    SELECT table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable AS line
    FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'goose_db_version'
    UNION ALL SELECT conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND conname NOT LIKE 'goose%'
    UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'goose_db_version'
) x`

func TestMigrations(t *testing.T) {
	t.Parallel()
	url := pgtest.NewEmpty(t)
	s := connect(t, url, 4)
	status, err := s.MigrationStatus(t.Context())
	must(t, err)
	if status.Current != 0 || status.Target == 0 || status.Ready() {
		t.Errorf("empty: %+v", status)
	}
	// Several servers that start at once.
	for _, err := range race(3, func(int) error { return s.Migrate(t.Context(), nil) }) {
		must(t, err)
	}
	status, err = s.MigrationStatus(t.Context())
	must(t, err)
	if status.Current != status.Target || !status.Ready() {
		t.Errorf("migrated: %+v", status)
	}
	up := one[string](t, s, columns)
	db, err := sql.Open("pgx", url)
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	provider, err := migrations.Provider(db, migrations.Files, nil)
	must(t, err)
	if _, err := provider.DownTo(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if left := one[string](t, s, columns); left != "" {
		t.Errorf("down leaves:\n%s", left)
	}
	must(t, s.Migrate(t.Context(), nil))
	if again := one[string](t, s, columns); again != up {
		t.Errorf("up, down, up is another schema:\n%s\n%s", up, again)
	}
	must(t, s.Ping(t.Context()))
}

// Constraints are named by hand, so that their names can be relied upon.
func TestConstraintsAreNamed(t *testing.T) {
	t.Parallel()
	s := open(t, 2)
	names := one[string](t, s, `SELECT coalesce(string_agg(conname, ' '), '') FROM pg_constraint
		WHERE connamespace = 'public'::regnamespace AND conrelid <> 'goose_db_version'::regclass AND conname ~ '_check[0-9]*$'`)
	if names != "" {
		t.Errorf("named by PostgreSQL: %s", names)
	}
}

// I7: no column of any table but the ones listed here can hold a person
// beside a message.
func TestNoColumnLinksAPersonToAMessage(t *testing.T) {
	t.Parallel()
	s := open(t, 2)
	suspects := one[string](t, s, `
		SELECT coalesce(string_agg(DISTINCT a.table_name, ' '), '')
		FROM information_schema.columns a JOIN information_schema.columns b USING (table_schema, table_name)
		WHERE table_schema = 'public'
		  AND a.column_name IN ('msg_id', 'message_id', 'message_ids', 'ciphertext')
		  AND b.column_name ~ '(_did|^did|device_id)$'`)
	// messages has sender_did with a CHECK, event_stream a CHECK for kind 1.
	if suspects != "event_stream messages" {
		t.Errorf("tables with both: %s", suspects)
	}
	_, err := s.pool.Exec(t.Context(), `INSERT INTO messages (convo_id, seq, msg_id, kind, epoch, ciphertext, padded_size, received_bucket_ts, sender_did)
		VALUES ('c', 1, 'm', 1, 1, 'x', 512, 'epoch', 'did:plc:alice')`)
	if err == nil || !strings.Contains(err.Error(), "messages_sender_did_is_null") {
		t.Errorf("a sender was stored: %v", err)
	}
	for _, column := range []string{"user_did", "device_id", "audience_did", "request_id"} {
		_, err := s.pool.Exec(t.Context(), `INSERT INTO event_stream (generation, log_xid, kind, audience, convo_id, seq, message_id, bucket_ts, `+column+`)
			VALUES (1, 1, 1, 1, 'c', 1, 'm', 'epoch', 'x')`)
		if err == nil || !strings.Contains(err.Error(), "event_stream_message_names_nobody") {
			t.Errorf("%s beside a message: %v", column, err)
		}
	}
}

// I8: the database refuses a time that is finer than the bucket.
func TestFineTimesAreRefused(t *testing.T) {
	t.Parallel()
	s := open(t, 2)
	_, err := s.pool.Exec(t.Context(), `INSERT INTO messages (convo_id, seq, msg_id, kind, epoch, ciphertext, padded_size, received_bucket_ts)
		VALUES ('c', 1, 'm', 1, 1, 'x', 512, '2026-01-01 00:00:01Z')`)
	if err == nil || !strings.Contains(err.Error(), "messages_received_bucketed") {
		t.Errorf("an odd second was stored: %v", err)
	}
}
