package store

import (
	"crypto/sha256"
	"database/sql"
	"testing"
	"time"

	"mls-server/internal/pgtest"
	"mls-server/migrations"
)

// The migration makes coarse what earlier servers have stored, and forgets who looked for whom.
func TestOldTimesBecomeCoarse(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	s := connect(t, url, 2)
	for _, insert := range []string{
		"INSERT INTO user_devices VALUES ('a', '00000000-0000-4000-8000-000000000000', 'phone', sha256('k'), 'a#d', '2026-03-01 12:34:56.789Z')",
		`INSERT INTO key_packages (owner_did, device_id, ref, sha256, cipher_suite, key_package, expires_at, created_at, claimed_at)
			VALUES ('a', 'd', 'r', sha256('p'), 1, 'p', '2026-05-01', '2026-03-01 12:34:56.789Z', '2026-03-02 12:34:56.789Z')`,
		"INSERT INTO bsky_blocks VALUES ('a', 'b', 'u', 'k', '2026-03-01 12:34:57Z', '2026-03-01 12:34:57.1Z')",
		"INSERT INTO block_checks VALUES ('a', 'b', '2026-03-01 12:34:57.1Z'), ('a', 'c', '2026-03-01 12:34:57.1Z'), ('c', '', '2026-03-01 12:34:57.1Z')",
	} {
		_, err := s.pool.Exec(t.Context(), insert)
		must(t, err)
	}
	db, err := sql.Open("pgx", url)
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	provider, err := migrations.Provider(db, migrations.Files, nil)
	must(t, err)
	_, err = provider.DownTo(t.Context(), 9)
	must(t, err)
	must(t, s.Migrate(t.Context(), nil))
	for query, want := range map[string]string{
		"SELECT created_at::text FROM user_devices":                                                        "2026-03-01 00:00:00+00",
		"SELECT created_at || ' ' || claimed_at FROM key_packages":                                         "2026-03-01 00:00:00+00 2026-03-02 00:00:00+00",
		"SELECT created_at || ' ' || seen_at FROM bsky_blocks":                                             "2026-03-01 12:34:56+00 2026-03-01 12:34:56+00",
		"SELECT string_agg(blocker_did || '>' || blocked_did, ' ' ORDER BY blocker_did) FROM block_checks": "a>b c>",
		"SELECT string_agg(DISTINCT checked_at::text, ' ') FROM block_checks":                              "2026-03-01 12:34:56+00",
	} {
		if got := one[string](t, s, query); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
}

// The moment at which a token was used is not kept: a row is valid for longer than it need be, to
// the minute.
func TestUsesAreKeptToTheMinute(t *testing.T) {
	t.Parallel()
	s := open(t, 2)
	for i, expires := range []time.Time{noon, noon.Add(time.Second), noon.Truncate(time.Minute)} {
		hash := sha256.Sum256([]byte{byte(i)})
		if fresh, err := s.Replays().Use(t.Context(), hash, expires); err != nil || !fresh {
			t.Fatal(fresh, err)
		}
		kept := one[time.Time](t, s, "SELECT expires_at FROM used_jtis WHERE hash = $1", hash[:])
		if kept.Before(expires) || kept.Sub(expires) >= time.Minute || !kept.Equal(kept.Truncate(time.Minute)) {
			t.Errorf("expires at %v, kept until %v", expires, kept)
		}
	}
}
