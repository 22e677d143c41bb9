package handlers_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/handlers"
	"mls-server/internal/mls"
	"mls-server/lexrt"
)

func TestEveryKindHasAName(t *testing.T) {
	t.Parallel()
	for _, k := range mls.Kinds() {
		e := handlers.PublicError(fmt.Errorf("store: select x where did = 'did:plc:secret': %w", k))
		require.NotNil(t, e, k)
		assert.GreaterOrEqual(t, e.Status, 400, k)
		assert.Contains(t, e.Message, k.Error())
		assert.NotContains(t, e.Message, "secret")
	}
	assert.Nil(t, handlers.PublicError(errors.New("a fault")))
	assert.Nil(t, handlers.PublicError(mls.CodeExpired), "a code alone is a fault: who returns it must say of what")
}

func TestPublicErrorKeepsTheHint(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err  error
		want lexrt.Error
	}{
		{mls.RateLimited(90 * time.Second), lexrt.Error{
			Name: "RateLimitExceeded", Status: 429, Message: "rate limit exceeded; try again in 90 s", RetryAfter: 90 * time.Second,
		}},
		{mls.ErrBusy, lexrt.Error{
			Name: "NotEnoughResources", Status: 503, Message: "the server or its database is busy; try again in 1 s", RetryAfter: time.Second,
		}},
		{mls.ErrInvalidConvoID, lexrt.Error{Name: "ConvoNotFound", Status: 404, Message: "conversation not found"}},
		{mls.EpochMismatch(1, 2), lexrt.Error{
			Name: "EpochMismatch", Status: 409, Message: "epoch mismatch: made for epoch 1, the conversation is at epoch 2",
		}},
	} {
		assert.Equal(t, tt.want, *handlers.PublicError(fmt.Errorf("wrapped: %w", tt.err)))
	}
	assert.Empty(t, mlsapi.ErrNotMember.Message, "the shared variables are not written to")
}

// TestGeneralErrorsAreThePolicys: the runtime's general errors are those that the policy has the
// documents of every method list, with the statuses that the policy gives them.
func TestGeneralErrorsAreThePolicys(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../lexicons/policy.json")
	require.NoError(t, err)
	var policy struct {
		Statuses map[string]int `json:"statuses"`
		Common   []struct {
			Name string `json:"name"`
		} `json:"common"`
	}
	require.NoError(t, json.Unmarshal(data, &policy))
	// is about methods that are not there
	documented := []string{lexrt.ErrMethodNotImplemented.Name}
	for _, c := range policy.Common {
		documented = append(documented, c.Name)
	}
	var general []string
	for _, e := range lexrt.GeneralErrors() {
		general = append(general, e.Name)
		assert.Equal(t, policy.Statuses[e.Name], e.Status, e.Name)
		assert.True(t, lexrt.General(e.Name))
	}
	assert.ElementsMatch(t, documented, general)
	assert.False(t, lexrt.General("NotMember"))
}
