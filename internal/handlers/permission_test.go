package handlers_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"mls-server/internal/gen/mlsapi"
)

// TestPermissionSets: authFull grants every method, so that whoever signs in with it can call each
// that takes a token, through a PDS also those that take none. One that refuses tokens is nobody's
// to grant. authBasic grants all of them but
// those of admins; a new method has to be put into one of the two lists.
func TestPermissionSets(t *testing.T) {
	t.Parallel()
	administration := []string{"demoteAdmin", "getAdminStats", "getBlockStatus", "getReports", "promoteAdmin", "removeMember", "resolveReport"}
	var all, basic []string
	for _, m := range mlsapi.Methods() {
		if m.Anonymous {
			continue
		}
		all = append(all, m.NSID)
		if !slices.Contains(administration, strings.TrimPrefix(m.NSID, "blue.catbird.mls.")) {
			basic = append(basic, m.NSID)
		}
	}
	assert.ElementsMatch(t, all, mlsapi.AuthFullLXM, "lexicons/blue/catbird/mls/authFull.json has to name every method")
	assert.ElementsMatch(t, basic, mlsapi.AuthBasicLXM, "authBasic.json has to name every method but those of admins")
	assert.Len(t, basic, len(all)-len(administration), "a method of administration is gone")
}
