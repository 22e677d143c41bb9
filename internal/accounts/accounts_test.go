package accounts_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/accounts"
	"mls-server/internal/clock/clocktest"
	"mls-server/internal/mls"
	"mls-server/internal/pgtest"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

const (
	alice = mls.DID("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")
	bob   = mls.DID("did:plc:bbbbbbbbbbbbbbbbbbbbbbbb")
	carol = mls.DID("did:plc:cccccccccccccccccccccccc")
)

// noon is when things happen; tokens and news are around it.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// desk is a Watch on a database of its own, and what it has told.
type desk struct {
	*accounts.Watch
	store *store.Store
	clock *clocktest.Manual
	url   string
	told  []string
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{url: pgtest.New(t), clock: clocktest.New()}
	s, err := store.New(t.Context(), store.Config{URL: d.url})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	d.store = s
	d.Watch = accounts.New(s, func(users []mls.DID) {
		slices.Sort(users)
		d.told = append(d.told, fmt.Sprint(users))
	}, d.clock)
	return d
}

func (d *desk) look(t *testing.T) {
	t.Helper()
	require.NoError(t, d.Look(t.Context()))
}

func (d *desk) suspend(t *testing.T, user mls.DID) {
	t.Helper()
	require.NoError(t, d.store.InTx(t.Context(), func(tx *store.Tx) error {
		_, err := tx.SuspendAccount(t.Context(), user)
		return err
	}))
}

func (d *desk) restore(t *testing.T, user mls.DID, at time.Time) {
	t.Helper()
	require.NoError(t, d.store.InTx(t.Context(), func(tx *store.Tx) error {
		_, err := tx.RestoreAccount(t.Context(), user, at)
		return err
	}))
}

func (d *desk) host(t *testing.T, user mls.DID, status store.HostStatus, at time.Time) {
	t.Helper()
	require.NoError(t, d.store.SetHostStatus(t.Context(), user, status, at))
}

// want asks for an account whose token was made at a time.
func (d *desk) want(t *testing.T, user mls.DID, issued time.Time, name string) {
	t.Helper()
	got := ""
	if err := d.Admit(t.Context(), user, issued); err != nil {
		named, ok := errors.AsType[*lexrt.Error](err)
		require.True(t, ok, err)
		got = named.Name
	}
	assert.Equal(t, name, got)
	assert.Equal(t, name != "", d.Refused(user))
}

// Nobody is served before it is known who is not to be.
func TestUnknown(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.suspend(t, alice)
	err := d.Admit(t.Context(), bob, noon)
	require.ErrorIs(t, err, lexrt.ErrNotEnoughResources)
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	assert.False(t, d.Known(canceled))
	assert.True(t, d.Known(t.Context()))
	d.want(t, alice, noon, "AccountTakedown")
	d.want(t, bob, noon, "")
	assert.Equal(t, []string{"[" + string(alice) + "]"}, d.told)
}

// Whoever asks is told for how long nothing could be learnt, from the start on.
func TestAge(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	pool := pgtest.Open(t, d.url)
	rename := func(from, to string) {
		t.Helper()
		_, err := pool.Exec(t.Context(), "ALTER TABLE "+from+" RENAME TO "+to)
		require.NoError(t, err)
	}
	d.clock.Advance(time.Minute)
	assert.Equal(t, time.Minute, d.Age())
	for _, table := range []string{"account_changes", "account_states"} {
		d.look(t)
		assert.Zero(t, d.Age())
		d.clock.Advance(time.Second)
		d.look(t) // which finds no change
		assert.Zero(t, d.Age())
		d.suspend(t, bob)
		rename(table, "away")
		d.clock.Advance(time.Second)
		require.Error(t, d.Look(t.Context()))
		d.clock.Advance(time.Hour)
		assert.Equal(t, time.Hour+time.Second, d.Age())
		rename("away", table)
		d.look(t)
		d.restore(t, bob, noon)
	}
}

// What an operator does holds from the next look on, and is told once.
func TestOperator(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.look(t)
	d.suspend(t, alice)
	d.suspend(t, bob)
	d.want(t, alice, noon, "")
	d.look(t)
	d.want(t, alice, noon, "AccountTakedown")
	d.suspend(t, alice)
	d.look(t)
	d.look(t)
	d.restore(t, alice, noon)
	d.look(t)
	d.want(t, alice, noon, "")
	d.want(t, bob, noon, "AccountTakedown")
	d.suspend(t, alice)
	d.look(t)
	d.want(t, alice, noon, "AccountTakedown")
	assert.Equal(t, "["+string(alice)+" "+string(bob)+"] ["+string(alice)+"]", strings.Join(d.told, " "))
}

// A restored database may have numbered other changes: all is read anew.
func TestRestoredDatabase(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.suspend(t, alice)
	d.look(t)
	pool := pgtest.Open(t, d.url)
	_, err := pool.Exec(t.Context(), "UPDATE account_states SET user_did = $1", bob)
	require.NoError(t, err)
	d.look(t)
	d.want(t, alice, noon, "AccountTakedown")
	_, err = pool.Exec(t.Context(), "UPDATE event_log SET generation = generation + 1")
	require.NoError(t, err)
	d.look(t)
	d.want(t, alice, noon, "")
	d.want(t, bob, noon, "AccountTakedown")
	// A number that went back within a generation is none of ours either.
	for _, statement := range []string{"DELETE FROM account_states", "UPDATE account_changes SET last = 0"} {
		_, err = pool.Exec(t.Context(), statement)
		require.NoError(t, err)
	}
	d.look(t)
	d.want(t, bob, noon, "")
}

// News of hosts hold in the order of their times, whatever order they come in and however often.
func TestHosts(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for status, name := range map[store.HostStatus]string{
		store.HostTakendown: "AccountTakedown", store.HostSuspended: "AccountTakedown",
		store.HostDeactivated: "AccountDeactivated", store.HostDeleted: "AccountDeactivated",
	} {
		user := mls.DID("did:plc:" + strings.Repeat(string(status[:3]), 8))
		d.host(t, user, store.HostActive, noon) // of nobody that is known
		d.host(t, user, status, noon)
		d.look(t)
		d.want(t, user, noon, name)
		d.host(t, user, store.HostActive, noon.Add(-2*time.Second)) // older
		d.look(t)
		d.want(t, user, noon, name)
		d.host(t, user, store.HostActive, noon.Add(4*time.Second))
		d.look(t)
		d.want(t, user, noon, "")
		d.host(t, user, status, noon) // told again
		d.look(t)
		d.want(t, user, noon, "")
		d.host(t, user, status, noon.Add(6*time.Second))
		d.look(t)
		d.want(t, user, noon, name)
		d.restore(t, user, noon.Add(time.Minute)) // the host was wrong
		d.host(t, user, status, noon.Add(8*time.Second))
		d.look(t)
		d.want(t, user, noon, "")
		d.host(t, user, status, noon.Add(2*time.Minute))
		d.suspend(t, user)
		d.host(t, user, store.HostActive, noon.Add(3*time.Minute))
		d.look(t)
		d.want(t, user, noon.Add(time.Hour), "AccountTakedown") // that is the operator's
	}
}

// A host has no key left of an account that it has deleted: a newer token says that the account is
// back, when the news of it were lost. Of other states it says nothing: hosts make tokens for
// accounts that they have deactivated or taken down.
func TestTokenSaysThatAnAccountIsBack(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	gone := map[mls.DID]string{alice: "AccountDeactivated", carol: "AccountTakedown"}
	d.host(t, alice, store.HostDeactivated, noon)
	d.host(t, bob, store.HostDeleted, noon)
	d.host(t, carol, store.HostTakendown, noon)
	d.look(t)
	for user, name := range gone {
		d.want(t, user, noon.Add(time.Hour), name)
	}
	d.want(t, bob, time.Time{}, "AccountDeactivated")
	d.want(t, bob, noon.Add(-time.Minute), "AccountDeactivated")
	d.want(t, bob, noon.Add(30*time.Second), "AccountDeactivated")
	d.want(t, bob, noon.Add(31*time.Second), "")
	d.want(t, bob, time.Time{}, "")
	d.look(t)
	for user, name := range gone {
		d.want(t, user, noon.Add(time.Hour), name)
	}
	other := accounts.New(d.store, func([]mls.DID) {}, d.clock)
	require.NoError(t, other.Look(t.Context()))
	assert.False(t, other.Refused(bob), "other servers know it too")
	d.host(t, bob, store.HostDeleted, noon)
	d.look(t)
	d.want(t, bob, noon, "")
	d.host(t, bob, store.HostDeleted, noon.Add(time.Hour))
	d.look(t)
	d.want(t, bob, noon.Add(time.Minute), "AccountDeactivated")
	// What an operator has said, no token ends.
	d.suspend(t, bob)
	d.look(t)
	d.want(t, bob, noon.Add(2*time.Hour), "AccountTakedown")
	// Newer news end what the others were.
	d.host(t, alice, store.HostActive, noon.Add(2*time.Second))
	d.look(t)
	d.want(t, alice, noon, "")
}

// Somebody comes back while a look is on its way that has read the state of before: it does not put
// the refusal back.
func TestLookBesideAReturn(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.host(t, alice, store.HostDeleted, noon)
	late := &lateStore{Store: d.store, read: make(chan struct{}), on: make(chan struct{})}
	w := accounts.New(late, func([]mls.DID) {}, d.clock)
	require.NoError(t, w.Look(t.Context()))
	late.hold.Store(true)
	d.suspend(t, bob) // something to read
	d.host(t, alice, store.HostDeleted, noon.Add(2*time.Second))
	looked, admitted := make(chan error, 1), make(chan error, 1)
	go func() { looked <- w.Look(t.Context()) }()
	<-late.read
	go func() { admitted <- w.Admit(t.Context(), alice, noon.Add(time.Hour)) }()
	for state := store.HostDeleted; state != store.HostActive; {
		s, err := d.store.FindAccountState(t.Context(), alice)
		require.NoError(t, err)
		state = s.Host
	}
	close(late.on)
	require.NoError(t, <-looked)
	require.NoError(t, <-admitted)
	assert.False(t, w.Refused(alice))
}

// lateStore hands a page over when it is told to.
type lateStore struct {
	*store.Store
	hold     atomic.Bool
	read, on chan struct{}
}

func (s *lateStore) ListAccountStates(ctx context.Context, after int64, limit int) ([]store.AccountState, error) {
	page, err := s.Store.ListAccountStates(ctx, after, limit)
	if s.hold.CompareAndSwap(true, false) {
		close(s.read)
		<-s.on
	}
	return page, err
}
