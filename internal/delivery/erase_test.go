package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"mls-server/internal/clock"
	"mls-server/internal/clock/clocktest"
	"mls-server/internal/delivery"
	"mls-server/internal/mls"
	"mls-server/internal/operator"
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
	text  func(sql string, args ...any) string
}

func (w *world) past(t *testing.T) past {
	t.Helper()
	db := pgtest.Open(t, w.url)
	return past{
		text: func(sql string, args ...any) (text string) {
			t.Helper()
			if err := db.QueryRow(t.Context(), sql, args...).Scan(&text); err != nil {
				t.Fatal(err)
			}
			return text
		},
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

// erase runs the operator's command.
func (w *world) erase(ctx context.Context, out io.Writer, user mls.DID, at clock.Clock) error {
	c, err := operator.Parse([]string{"erase-user", "--wait", "1ns", string(user)})
	if err != nil {
		return err
	}
	return c.Run(ctx, operator.Console{Store: w.store, Delivery: w.Service, Out: out, Clock: at})
}

// begin begins a run of an erasure.
func (w *world) begin(t *testing.T, user mls.DID) (run store.ErasureRun) {
	t.Helper()
	if err := w.store.InTx(t.Context(), func(tx *store.Tx) (err error) {
		run, err = tx.BeginErasure(t.Context(), user)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return run
}

// An erasure that loses its connection at any of its writes, from the first to the one that ends
// the refusal, is carried on by the next run, with the same outcome as one that was not
// interrupted.
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
	for n := 1; ; n += 1 + n/15 {
		d := w.doom(t, db, account(2*n), account(2*n+1))
		arm(-n)
		err := w.erase(t.Context(), io.Discard, d.user, w.clock)
		arm(1)
		if err == nil {
			d.gone(t, n)
			break
		}
		writes = n
		later := clocktest.New()
		if n%2 == 1 {
			// The last run is weeks later, when the log has forgotten what happened in some of
			// them.
			db.exec("DELETE FROM event_stream WHERE convo_id = ANY ($1)", d.all[2:])
			later.Advance(31 * 24 * time.Hour)
		}
		if err := w.erase(t.Context(), io.Discard, d.user, later); err != nil {
			t.Fatal(n, err)
		}
		d.gone(t, n)
		if rows := db.count("SELECT count(*) FROM account_states"); rows > 0 {
			t.Errorf("crash %d: the account is refused still", n)
		}
		if rows := db.count("DELETE FROM operator_actions WHERE user_did IS NULL RETURNING (SELECT count(*) FROM operator_actions)"); rows != 1 {
			t.Errorf("crash %d: written down %d times", n, rows)
		}
	}
	if writes < 60 {
		t.Errorf("an erasure of %d writes shows nothing", writes)
	}
}

// One name stands in all places of a conversation in which an account was named, whichever pass has
// put it there; in another conversation, and after another erasure, it is another one.
func TestTombstones(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	db := w.past(t)
	const user, friend = mls.DID("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"), mls.DID("did:plc:bbbbbbbbbbbbbbbbbbbbbbbb")
	seen := map[string]bool{}
	for range 2 {
		u := w.register(t, user)
		chats := []*chat{w.create(t, u, w.register(t, friend)), w.create(t, u, w.register(t, friend))}
		run := w.begin(t, user)
		if _, err := w.EraseAccount(t.Context(), run, w.clock.Now()); err != nil {
			t.Fatal(err)
		}
		// What a request of before the refusal still wrote.
		for _, c := range chats {
			db.exec("INSERT INTO convo_resets (convo_id, generation, user_did, by_admin, seq, created_at) SELECT id, 1, $2, false, 1, created_at FROM conversations WHERE id = $1", c.id, user)
		}
		w.clock.Advance(2 * time.Minute)
		run = w.begin(t, user) // the first run was cut off
		if _, err := w.EraseAccount(t.Context(), run, w.clock.Now()); err != nil {
			t.Fatal(err)
		}
		if err := w.store.InTx(t.Context(), func(tx *store.Tx) error { return tx.EndErasure(t.Context(), run) }); err != nil {
			t.Fatal(err)
		}
		for _, c := range chats {
			var names []string
			for _, column := range []string{"conversations.creator_did", "convo_resets.user_did", "event_stream.user_did"} {
				table, name, _ := strings.Cut(column, ".")
				of := "convo_id"
				if table == "conversations" {
					of = "id"
				}
				names = append(names, db.text(fmt.Sprintf("SELECT max(%s) FROM %s WHERE %s = $1 AND %s LIKE '%%.erased.invalid'", name, table, of, name), c.id))
			}
			if names[0] == "" || slices.ContainsFunc(names, func(name string) bool { return name != names[0] }) {
				t.Errorf("an erased account is called %q", names)
			}
			if seen[names[0]] {
				t.Error("a name leads from one conversation to another")
			}
			seen[names[0]] = true
		}
	}
}

// Of two runs at once the later one ends the erasure. The earlier one says so, and touches nothing
// of the account that has come back since.
func TestErasureByTwo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const user = mls.DID("did:plc:cccccccccccccccccccccccc")
	w.create(t, w.register(t, user), w.register(t, "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb"))
	run := w.begin(t, user)
	second := w.begin(t, user)
	if _, err := w.EraseAccount(t.Context(), run, w.clock.Now()); !errors.Is(err, store.ErrErasureOver) {
		t.Errorf("the first run goes on beside the second: %v", err)
	}
	if _, err := w.EraseAccount(t.Context(), second, w.clock.Now()); err != nil {
		t.Fatal(err)
	}
	w.create(t, w.register(t, user), w.register(t, "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb"))
	db := w.past(t)
	rest := func() int {
		return db.count("SELECT count(*) FROM members WHERE user_did = $1", user) + db.count("SELECT count(*) FROM key_packages WHERE owner_did = $1", user)
	}
	var said strings.Builder
	var after int
	err := w.erase(t.Context(), hook{&said, func() {
		if err := w.erase(t.Context(), io.Discard, user, w.clock); err != nil {
			t.Error(err)
		}
		if n := rest(); n != 0 {
			t.Errorf("%d rows are left", n)
		}
		w.create(t, w.register(t, user), w.register(t, "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb"))
		after = rest()
	}}, user, w.clock)
	if err == nil || !strings.Contains(err.Error(), "another run of erase-user") {
		t.Errorf("the first run ends with %v", err)
	}
	if n := rest(); n != after || n == 0 {
		t.Errorf("of %d new rows %d are left", after, n)
	}
}

// hook calls back when the first pass is done.
type hook struct {
	*strings.Builder
	between func()
}

func (h hook) Write(p []byte) (int, error) {
	if strings.HasPrefix(string(p), "first pass done") {
		h.between()
	}
	return h.Builder.Write(p)
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
