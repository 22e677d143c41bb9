//go:build pds

package pds_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/lexrt"
)

// founding is a request to make a conversation with a user of whom no key package is claimed, since
// one who is kept apart by a block gets none.
func founding(tb testing.TB, by, with *account) *mlsapi.CreateConvoInput {
	tb.Helper()
	_, in := by.Invitation(tb)
	in.InitialMembers = []mls.DID{with.DID}
	return in
}

// Blocks are records in repositories; without an AppView they are read where their authors are.
func TestBlocks(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, n *network) {
		s := serve(t, n, didPLC)
		alice, bob, carol := signUp(t, n, s), signUp(t, n, s), signUp(t, n, s)
		for _, a := range []*account{alice, bob, carol} {
			a.Register(t, 5)
		}
		create := mlsapi.MethodCreateConvo

		uri := bob.block(t, alice.DID)
		alice.Post(t, create, founding(t, alice, bob), nil).Want(t, http.StatusForbidden, "MutualBlockDetected")
		bob.Post(t, create, founding(t, bob, alice), nil).Want(t, http.StatusForbidden, "MutualBlockDetected")
		var claimed mlsapi.GetKeyPackagesOutput
		alice.Get(t, mlsapi.MethodGetKeyPackages, &claimed, "dids", string(bob.DID), "dids", string(carol.DID)).OK(t)
		assert.Equal(t, []mls.DID{bob.DID}, claimed.Missing)
		assert.Len(t, claimed.KeyPackages, 1)

		// What its author says of a block is looked up.
		change := func(by *account, action mlsapi.HandleBlockChangeInputAction, uri string) e2e.Answer {
			return by.Post(t, mlsapi.MethodHandleBlockChange, &mlsapi.HandleBlockChangeInput{
				BlockerDID: bob.DID, BlockedDID: alice.DID, Action: action, BlockURI: new(lexrt.ATURI(uri)),
			}, nil)
		}
		change(bob, "removed", uri)
		alice.Post(t, create, founding(t, alice, bob), nil).Want(t, http.StatusForbidden, "MutualBlockDetected")
		bob.remove(t, uri)
		change(bob, "removed", uri).OK(t)
		// What alice was told a moment ago holds for her for some minutes; carol has not asked yet.
		chat := carol.Create(t, alice.User, bob.User)

		again := bob.block(t, alice.DID)
		change(alice, "created", again).Want(t, http.StatusForbidden, "NotAuthorized")
		change(bob, "created", uri).Want(t, http.StatusBadRequest, "BlockNotVerified")
		change(bob, "created", again).OK(t)
		var status mlsapi.GetBlockStatusOutput
		carol.Get(t, mlsapi.MethodGetBlockStatus, &status, "convoId", chat.ID).OK(t)
		assert.True(t, status.HasConflicts)
	})
}

// The Jetstream tells within seconds what is written into a repository, and that it is gone again.
func TestJetstreamBlocks(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, n *network) {
		// Which users are known to a server is read with the first block that it hears of.
		alice, bob, carol := newAccount(t, n), newAccount(t, n), newAccount(t, n)
		s := serve(t, n, didWeb, e2e.Env{"JETSTREAM_URL": n.Jetstream + "?wantedDids=" + string(alice.DID) + "&wantedDids=" + string(bob.DID)})
		for _, a := range []*account{alice, bob, carol} {
			a.use(s)
			a.Register(t, 5)
		}
		chat := carol.Create(t, alice.User, bob.User)
		stream := carol.direct(t).Follow(t, "")
		conflicts := func() bool {
			var status mlsapi.GetBlockStatusOutput
			carol.Get(t, mlsapi.MethodGetBlockStatus, &status, "convoId", chat.ID).OK(t)
			return status.HasConflicts
		}
		assert.False(t, conflicts())
		uri := bob.block(t, alice.DID)
		assert.Equal(t, chat.ID, stream.Await(t, "block-conflict").ConvoID)
		assert.True(t, conflicts())
		bob.remove(t, uri)
		eventually(t, "the conflict is over", func() bool { return !conflicts() })
		carol.Create(t, alice.User, bob.User)
	})
}

// eventually waits up to a minute for something that others bring about.
func eventually(tb testing.TB, what string, is func() bool) {
	tb.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatalf("not after a minute: %s", what)
		}
	}
}
