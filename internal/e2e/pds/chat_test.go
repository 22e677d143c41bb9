//go:build pds

package pds_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"mls-server/internal/authtest"
	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
)

// each runs a test beside each PDS, with a service of each form of DID.
func each(t *testing.T, test func(t *testing.T, n *network, s *e2e.Server)) {
	t.Helper()
	on(t, func(t *testing.T, n *network) {
		for _, form := range []identity{didPLC, didWeb} {
			t.Run(string(form), func(t *testing.T) {
				t.Parallel()
				test(t, n, serve(t, n, form))
			})
		}
	})
}

// A chat of two accounts whose every call goes through their PDS.
func TestChat(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, n *network, s *e2e.Server) {
		alice, bob := signUp(t, n, s), signUp(t, n, s)
		alice.Register(t, 3)
		device := bob.Register(t, 3)
		chat := alice.Invite(t, bob.User)
		invitations := bob.Invitations(t)
		if assert.Len(t, invitations, 1) {
			assert.Equal(t, chat.ID, invitations[0].ID)
			assert.Equal(t, alice.DID, *invitations[0].InvitedBy)
		}
		bob.Accept(t, chat).OK(t)
		var welcome mlsapi.GetWelcomeOutput
		bob.Get(t, mlsapi.MethodGetWelcome, &welcome, "convoId", chat.ID, "deviceId", device.ID).OK(t)
		assert.NotEmpty(t, welcome.Welcome)

		sent := []int64{alice.Send(t, chat).Seq, bob.Send(t, chat).Seq}
		var read []int64
		for _, m := range bob.Messages(t, chat).Messages {
			read = append(read, m.Seq)
		}
		assert.Equal(t, sent, read)
		assert.Equal(t, read, seqs(alice.direct(t).Messages(t, chat)), "and so it is without the PDS, with its tokens")
	})
}

func seqs(page mlsapi.GetMessagesOutput) []int64 {
	var seqs []int64
	for _, m := range page.Messages {
		seqs = append(seqs, m.Seq)
	}
	return seqs
}

// nobodys is the id of no conversation.
const nobodys = "00112233445566778899aabbccddeeff"

// Status, name and message of an error pass through a PDS as they are; the message says what the
// headers say, which do not pass.
func TestErrors(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, n *network) {
		s := serve(t, n, didPLC, e2e.Env{"RATE_LIMIT_DEFAULT": "1/12"})
		alice := signUp(t, n, s)
		epoch := mlsapi.MethodGetEpoch
		unknown := alice.Get(t, epoch, nil, "convoId", nobodys).Want(t, http.StatusNotFound, "ConvoNotFound")
		assert.Equal(t, unknown.Message, alice.direct(t).Get(t, epoch, nil, "convoId", nobodys).Message)
		missing := alice.Get(t, epoch, nil).Want(t, http.StatusBadRequest, "InvalidRequest")
		assert.Contains(t, missing.Message, "/convoId")
		alice.Call(t, mlsapi.MethodSendMessage, e2e.Request{Body: []byte(`{"convoId":`)}, nil).Want(t, http.StatusBadRequest, "InvalidRequest")
		alice.Call(t, mlsapi.MethodUpdateCursor, e2e.Request{Body: []byte(`{}`)}, nil).Want(t, http.StatusBadRequest, "InvalidRequest")

		proxied := http.Header{"Authorization": {alice.bearer()}, "Atproto-Proxy": {s.DID + serviceID}}
		send(t, http.MethodGet, n.PDS+"/xrpc/blue.catbird.mls.getNothing", proxied, nil).want(t, http.StatusNotImplemented, "MethodNotImplemented")
		send(t, http.MethodPost, n.PDS+"/xrpc/"+epoch.NSID, proxied, []byte("{}")).want(t, http.StatusBadRequest, "InvalidRequest")

		var limited e2e.Answer
		for limited.Status != http.StatusTooManyRequests && !t.Failed() {
			limited = alice.Get(t, epoch, nil)
			if limited.Status != http.StatusTooManyRequests {
				limited.Want(t, http.StatusBadRequest, "InvalidRequest")
			}
		}
		assert.Regexp(t, `try again in \d+ seconds`, limited.Message)
	})
}

// The service that a request names has to be ours: other entries, other DIDs and none at all are
// refused before they reach us.
func TestServiceIDs(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, n *network, s *e2e.Server) {
		alice := signUp(t, n, s)
		for _, proxy := range []string{s.DID + "#mls", s.DID + "#bsky_chat", s.DID, string(alice.DID) + serviceID} {
			a := send(t, http.MethodGet, n.PDS+"/xrpc/"+mlsapi.MethodGetConvos.NSID,
				http.Header{"Authorization": {alice.bearer()}, "Atproto-Proxy": {proxy}}, nil)
			assert.Equal(t, http.StatusBadRequest, a.Status, "%s: %s", proxy, a.Body)
		}
	})
}

// TestServiceTokens is about the tokens of getServiceAuth, in both forms of their audience.
func TestServiceTokens(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, n *network, s *e2e.Server) {
		alice := signUp(t, n, s)
		convos, devices := mlsapi.MethodGetConvos, mlsapi.MethodListDevices
		call := func(token string) e2e.Answer {
			return (&e2e.User{Identity: alice.Identity, Server: s}).Call(t, convos, e2e.Request{Authorization: "Bearer " + token}, nil)
		}
		get := func(aud, lxm string) string {
			var out struct{ Token string }
			alice.serviceToken(t, aud, lxm).ok(t, &out)
			return out.Token
		}
		token := get(s.DID, convos.NSID)
		call(token).OK(t)
		call(token).Want(t, http.StatusUnauthorized, "ReplayedToken")
		call(get(s.DID, devices.NSID)).Want(t, http.StatusUnauthorized, "BadJwtLexiconMethod")
		call(get(s.DID, "")).Want(t, http.StatusUnauthorized, "BadJwtLexiconMethod")
		call(get("did:web:elsewhere.example.com", convos.NSID)).Want(t, http.StatusUnauthorized, "BadJwtAudience")
		call(alice.Access).Want(t, http.StatusUnauthorized, "BadJwtType")

		// Older PDSs know no audience with a fragment; OAuth sessions at newer ones need it.
		a := alice.serviceToken(t, s.DID+serviceID, convos.NSID)
		if n.name == "old" {
			assert.Equal(t, http.StatusInternalServerError, a.Status, "docs/clients.md says so: %s", a.Body)
			return
		}
		var out struct{ Token string }
		a.ok(t, &out)
		call(out.Token).OK(t)
		call(get(s.DID+"#mls", convos.NSID)).Want(t, http.StatusUnauthorized, "BadJwtAudience")
	})
}

// App passwords do what passwords do.
func TestAppPasswords(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, n *network) {
		s := serve(t, n, didWeb)
		alice := signUp(t, n, s)
		alice.Register(t, 1)
		var made struct{ Password string }
		n.procedure(t, "com.atproto.server.createAppPassword", alice.bearer(), map[string]any{"name": "chat"}).ok(t, &made)
		var signedIn struct{ AccessJwt string }
		n.procedure(t, "com.atproto.server.createSession", "", map[string]any{"identifier": alice.Handle, "password": made.Password}).ok(t, &signedIn)
		app := session(n, string(alice.DID), alice.Handle, signedIn.AccessJwt).use(s)
		assert.Len(t, app.Devices(t), 1)
		assert.Len(t, app.direct(t).Devices(t), 1)
	})
}

// A user whose DID is a did:web, with a repository on a real PDS, which signs for it.
func TestWebIdentity(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, n *network) {
		s := serve(t, n, didPLC)
		alice, bob := moveIn(t, n, s), signUp(t, n, s)
		alice.Register(t, 2)
		bob.Register(t, 2)
		chat := bob.Create(t, alice.User)
		alice.Send(t, chat)
		alice.direct(t).Send(t, chat)
		assert.Len(t, bob.Messages(t, chat).Messages, 2)
		alice.block(t, bob.DID)
		alice.Post(t, mlsapi.MethodCreateConvo, founding(t, alice, bob), nil).Want(t, http.StatusForbidden, "MutualBlockDetected")
	})
}

// moveIn makes an account for a did:web that was there before it.
func moveIn(tb testing.TB, n *network, s *e2e.Server) *account {
	tb.Helper()
	own := s.Directory.NewWebIdentity(authtest.K256)
	var server, made struct{ DID, AccessJwt string }
	n.query(tb, "com.atproto.server.describeServer", "", nil).ok(tb, &server)
	const create = "com.atproto.server.createAccount"
	handle := newHandle()
	n.procedure(tb, create, own.Bearer(server.DID, create), map[string]any{
		"did": own.DID, "handle": handle, "email": handle + "@example.com", "password": password,
	}).ok(tb, &made)
	a := session(n, string(own.DID), handle, made.AccessJwt).use(s)
	var recommended struct {
		VerificationMethods struct{ Atproto string }
	}
	n.query(tb, "com.atproto.identity.getRecommendedDidCredentials", a.bearer(), nil).ok(tb, &recommended)
	own.SetPDS(n.PDS)
	own.EditDocument(func(doc map[string]any) {
		doc["alsoKnownAs"] = []any{"at://" + handle}
		doc["verificationMethod"] = []any{map[string]any{
			"id": string(own.DID) + "#atproto", "type": "Multikey", "controller": own.DID,
			"publicKeyMultibase": strings.TrimPrefix(recommended.VerificationMethods.Atproto, "did:key:"),
		}}
	})
	n.procedure(tb, "com.atproto.server.activateAccount", a.bearer(), nil).ok(tb, nil)
	return a
}
