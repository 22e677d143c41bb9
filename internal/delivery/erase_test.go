package delivery_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"mls-server/internal/delivery"
	"mls-server/internal/mls"
	"mls-server/internal/pgtest"
	"mls-server/internal/store"
)

// hangUp loses the connection at a write of which the number is set, as a crash would.
const hangUp = `CREATE SEQUENCE writes MINVALUE -1000000;
CREATE FUNCTION hang_up() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF nextval('writes') = 0 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
	RETURN NULL;
END $$;
DO $$ DECLARE name text; BEGIN
	FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
		EXECUTE format('CREATE TRIGGER hang_up BEFORE INSERT OR UPDATE OR DELETE ON %I FOR EACH STATEMENT EXECUTE FUNCTION hang_up()', name);
	END LOOP;
END $$`

// doomed is an account that is in a conversation as its only admin, in one as a member, in one
// alone and in one that it has left; and what the others must find once it is erased.
type doomed struct {
	count func(sql string, args ...any) int
	user  mls.DID
	// told are the conversations in which others stay that the account was in.
	told []mls.ConvoID
	all  []mls.ConvoID
}

// past reaches the database past the store.
type past struct {
	exec  func(sql string, args ...any)
	count func(sql string, args ...any) int
}

func (w *world) past(t *testing.T) past {
	t.Helper()
	db := pgtest.Open(t, w.url)
	return past{
		exec: func(sql string, args ...any) {
			t.Helper()
			if _, err := db.Exec(t.Context(), sql, args...); err != nil {
				t.Fatal(err)
			}
		},
		count: func(sql string, args ...any) (n int) {
			t.Helper()
			if err := db.QueryRow(t.Context(), sql, args...).Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n
		},
	}
}

func (w *world) doom(t *testing.T, db past, user, friend mls.DID) *doomed {
	t.Helper()
	u, f := w.register(t, user), w.register(t, friend)
	own, alone := w.create(t, u, f), w.create(t, u)
	f = w.register(t, friend) // with packages that are not used yet
	u2 := w.register(t, user)
	other := w.create(t, f, u2)
	left := w.create(t, w.register(t, friend), w.register(t, user))
	if _, err := w.Leave(t.Context(), delivery.Departure{Key: left.key(), User: user, At: w.clock.Now()}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*chat{own, other, alone, left} {
		db.exec("INSERT INTO cursors VALUES ($1, $2, 0)", c.id, user)
	}
	return &doomed{db.count, user, []mls.ConvoID{own.id, other.id}, []mls.ConvoID{own.id, other.id, alone.id, left.id}}
}

// gone checks that nothing but debts names the account, and that the others were told once.
func (d *doomed) gone(t *testing.T, at int) {
	t.Helper()
	count := d.count
	var found []string
	for _, table := range []string{
		"conversations", "members", "commits", "cursors", "welcome_routes", "pending_welcomes", "admin_actions", "user_devices", "key_packages",
		"lost_events", "user_days", "event_stream",
	} {
		sql := fmt.Sprintf("SELECT count(*) FROM %s t WHERE position($1 IN t::text) > 0", table)
		if table == "event_stream" {
			sql += " AND kind NOT IN (3, 9)"
		}
		if n := count(sql, d.user); n > 0 {
			found = append(found, fmt.Sprint(n, " in ", table))
		}
	}
	if found != nil {
		t.Errorf("crash %d: left %s", at, strings.Join(found, ", "))
	}
	for _, convo := range d.told {
		if n := count("SELECT count(*) FROM event_stream WHERE convo_id = $1 AND kind = 3", convo); n != 1 {
			t.Errorf("crash %d: told %d times of the departure", at, n)
		}
		if n := count("SELECT count(*) FROM removal_debts WHERE convo_id = $1 AND user_did = $2 AND settled_at IS NULL", convo, d.user); n == 0 || n > 2 {
			t.Errorf("crash %d: %d debts", at, n)
		}
		if n := count("SELECT count(DISTINCT user_did) FROM members WHERE convo_id = $1 AND is_admin AND left_at IS NULL", convo); n != 1 {
			t.Errorf("crash %d: %d admins", at, n)
		}
	}
	if n := count("SELECT count(*) FROM conversations WHERE id = ANY ($1)", d.all); n != 3 {
		t.Errorf("crash %d: %d conversations are left, want those with others", at, n)
	}
}

// An erasure that loses its connection at any of its writes is carried on by the next run, with the
// same outcome as one that was not interrupted.
func TestErasureIsCarriedOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	db := w.past(t)
	db.exec(hangUp)
	arm := func(n int) { db.exec("SELECT setval('writes', $1)", n) }
	arm(1)
	account := func(n int) mls.DID { return mls.DID(fmt.Sprintf("did:plc:%024d", n)) }
	writes := 0
	// All writes in a conversation have been lost by the 30th; of the later ones some are.
	for n := 1; ; n += 1 + n/30 {
		d := w.doom(t, db, account(2*n), account(2*n+1))
		arm(-n)
		_, err := w.EraseAccount(t.Context(), d.user, w.clock.Now())
		arm(1)
		if err == nil {
			d.gone(t, n)
			break
		}
		writes = n
		// Half of the time the last run is weeks later.
		later := w.clock.Now().Add(time.Duration(n%2) * 30 * 24 * time.Hour)
		if _, err := w.EraseAccount(t.Context(), d.user, later); err != nil {
			t.Fatal(n, err)
		}
		d.gone(t, n)
	}
	if writes < 40 {
		t.Errorf("an erasure of %d writes shows nothing", writes)
	}
}

// A conversation that is closed is closed by the next run when the first one was cut off.
func TestClosingIsCarriedOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	db := w.past(t)
	db.exec(hangUp)
	var people []*person
	for i := range 25 {
		people = append(people, w.register(t, mls.DID(fmt.Sprintf("did:plc:%024d", i))))
	}
	convo := w.create(t, people[0], people[1:]...)
	closing := func(ctx context.Context) (int, error) {
		return w.CloseConvo(ctx, store.OperatorAction{Kind: store.OperatorClose, ConvoID: convo.id, At: w.clock.Now()})
	}
	var total int
	for n := 1; ; n += 3 {
		db.exec("SELECT setval('writes', $1)", -n)
		users, err := closing(t.Context())
		total += users
		if err == nil {
			break
		}
	}
	if total != len(people) {
		t.Errorf("%d users removed, of %d", total, len(people))
	}
	if n := db.count("SELECT count(*) FROM operator_actions"); n != 1 {
		t.Errorf("written down %d times", n)
	}
	_, err := closing(t.Context())
	wantKind(t, err, mls.ErrConvoNotFound, 0)
}
