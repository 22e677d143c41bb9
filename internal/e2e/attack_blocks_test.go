package e2e_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
)

// Whoever looks for somebody leaves no trace of the two in the database, unless they come into one
// conversation: not by asking for blocks, nor by claiming a key package, nor by an attempt to
// create a conversation that a block forbids. Blocks are public records; that they were looked for
// is not.
func TestLookingForSomebodyLeavesNoTrace(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	users := s.Users(6)
	for _, u := range users {
		u.Register(t, 3)
	}
	carol, dave, eve, frank, grace, heidi := users[0], users[1], users[2], users[3], users[4], users[5]
	carol.Claim(t, dave.DID)
	eve.Get(t, mlsapi.MethodCheckBlocks, nil, "dids", string(eve.DID), "dids", string(frank.DID)).OK(t)
	eve.Get(t, mlsapi.MethodCheckBlocks, nil, "dids", string(carol.DID), "dids", string(frank.DID)).OK(t)
	s.Blocks.Block(heidi.DID, dave.DID) // somebody among them must be blocked
	grace.Post(t, mlsapi.MethodCreateConvo, &mlsapi.CreateConvoInput{
		GroupID: hexOf(16), IdempotencyKey: e2e.Key(), InitialMembers: []mls.DID{heidi.DID, dave.DID},
		CipherSuite: mlsapi.CreateConvoInputCipherSuite(mls.SuiteX25519AES128.String()),
	}, nil).Want(t, forbidden, "MutualBlockDetected")

	rows := 0
	for _, table := range rowsOf(t, s, tablesQuery) {
		for _, row := range rowsOf(t, s, "SELECT to_jsonb(t)::text, t::text FROM "+table[0]+" t") {
			text := row[0] + unhex(row[1])
			rows++
			for i, a := range users {
				for _, b := range users[:i] {
					// a public record, if it is kept
					public := a == heidi && b == dave && strings.Contains(table[0], "block")
					if strings.Contains(text, string(a.DID)) && strings.Contains(text, string(b.DID)) && !public {
						t.Errorf("a row of %s tells that somebody looked for a user", table[0])
					}
				}
			}
		}
	}
	require.Greater(t, rows, 20)
}
