package e2e_test

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/authtest"
	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
)

// The search finds what requests and answers held, in each form, and says what it is.
func TestCanaryFinds(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	c := s.Canary()
	users := s.Users(2)
	alice, bob := users[0].Register(t, 1), users[1].Register(t, 1)
	chat := alice.Create(t, users[1])
	bob.Confirm(t, chat, true)
	stream := bob.Follow(t, "")
	in := chat.Message()
	alice.Post(t, mlsapi.MethodSendMessage, in, nil).OK(t)
	seen := stream.Await(t, "message")
	report, a := bob.Report(t, chat, users[0], "spam")
	a.OK(t)
	token := alice.Token(s.DID, mlsapi.MethodGetConvos.NSID, authtest.Claim("jti", "claim-of-a-token"))
	alice.Call(t, mlsapi.MethodGetConvos, e2e.Request{
		Query: url.Values{"cursor": {"no.cursor.at-all"}}, Authorization: "Bearer " + token, Header: http.Header{"X-Forwarded-For": {"203.0.113.9, 203.0.113.44"}},
	}, nil)
	alice.Call(t, mlsapi.MethodUpdateCursor, e2e.Request{Body: []byte(`{"convoId": "a body that is no JSON`)}, nil)
	c.Add("bytes", base64.StdEncoding.EncodeToString([]byte("bytes that are text")))

	did := string(alice.DID)
	for leak, kind := range map[string]string{
		did: "DID", strings.TrimPrefix(did, "did:plc:"): "DID", "did:plc:somebody": "DID", "did:web:somebody.example": "DID",
		strings.ReplaceAll(did, ":", "%3A"): "DID", "Phone of " + did[len(did)-6:]: "deviceName", "127.0.0.1:40312": "client address",
		chat.ID: "", strings.ToUpper(string(chat.Group.GroupID())): "", alice.ID: "", *in.IdempotencyKey: "idempotencyKey",
		in.MsgID: "", strings.ToLower(in.MsgID): "", seen.Cursor: "cursor", report: "", token: "token", strings.Split(token, ".")[2]: "token",
		"claim-of-a-token": "jti", "203.0.113.9": "X-Forwarded-For", "203.0.113.44": "X-Forwarded-For", "no.cursor.at-all": "cursor", `{"convoId": "a body that is no JSON`: "body",
		"bytes that are text": "bytes", hex.EncodeToString(in.Ciphertext[:30]): "", base64.StdEncoding.EncodeToString(in.Ciphertext): "",
		base64.URLEncoding.EncodeToString(in.Ciphertext): "", strings.Trim(fmt.Sprintf("%d", in.Ciphertext[:30]), "[]"): "",
	} {
		found := c.Find("one line\nlevel=info msg=x key=" + leak + " end\nanother line")
		if assert.NotEmpty(t, found, leak) {
			assert.Len(t, found, 1)
			assert.NotContains(t, found[0].Line, leak)
			assert.Contains(t, found[0].Line, "msg=x key=<")
			if kind != "" {
				assert.Contains(t, found[0].Kinds, kind, leak)
			}
		}
	}
	assert.Empty(t, c.Find(`{"time":"2026-01-02T03:04:05Z","level":"INFO","msg":"request","request_id":"0123456789abcdef","method":"blue.catbird.mls.sendMessage"}`))
	assert.Empty(t, c.Find(s.Logs.String()))
}

// The server that is told of nothing is searched for what its twin was told.
func TestCanaryOfManyServers(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	twin := e2e.StartOn(t, s.DatabaseURL, s.Directory)
	alice := s.Users(1)[0].Register(t, 1)
	require.NotEmpty(t, twin.Canary().Find("device="+alice.ID))
	require.Empty(t, e2e.Start(t).Canary().Find("device="+alice.ID))
}

// However much passes, no more than a bounded sample of it is kept.
func TestCanaryIsBounded(t *testing.T) {
	t.Parallel()
	c := e2e.Start(t).Canary()
	before := c.Count()
	var many strings.Builder
	for i := range 100_000 {
		value := fmt.Sprintf("value-%d-of-many", i)
		c.Add("many", value)
		fmt.Fprintln(&many, value)
	}
	kept := c.Count() - before
	assert.LessOrEqual(t, kept, 8192)
	assert.Greater(t, kept, 4096/2)
	assert.NotEmpty(t, c.Find(many.String()))
	for i := range 1000 {
		c.Add(fmt.Sprintf("field-%d", i), fmt.Sprintf("one-%04d", i))
	}
	assert.Equal(t, "other in <other>", c.Find("one-0999")[0].String())
	long := strings.Repeat("x", 1<<20) + "the end of a very long value"
	before = c.Count()
	c.Add("long", long)
	assert.Equal(t, 1, c.Count()-before, "two of three parts are padding")
	assert.NotEmpty(t, c.Find(long[len(long)-40:]))
}
