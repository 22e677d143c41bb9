package e2e_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
	"mls-server/lexrt"
)

// proxied is what an atproto proxy passes on of an answer: the rest it cuts off, with status 200.
const proxied = 10 << 20

// sendLarge sends a message of a padded size.
func sendLarge(t *testing.T, u *e2e.User, chat *e2e.Chat, size int) {
	t.Helper()
	in := chat.Message()
	in.Ciphertext, in.PaddedSize = mlstest.PadDirect(chat.Group.Application(size-8192), size), int64(size)
	u.Post(t, mlsapi.MethodSendMessage, in, nil).OK(t)
}

// Whatever is asked for, an answer passes through an atproto proxy unless one item alone is too
// large; and by its cursor everything is read, once.
func TestAnswersPassThroughProxies(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	users := s.Users(2)
	alice, bob := users[0].Register(t, 1), users[1].Register(t, 1)
	chat := alice.Create(t, bob.User)
	sizes := []int{1 << 20, 5 << 20, 1 << 20, 8 << 20, 512 << 10, 6 << 20, 2 << 20}
	for _, size := range sizes {
		sendLarge(t, alice.User, chat, size)
	}
	args := []string{"convoId", chat.ID, "limit", "100"}
	var read []int
	for pages := 0; ; pages++ {
		require.Less(t, pages, len(sizes)+1)
		var page mlsapi.GetMessagesOutput
		a := bob.Get(t, mlsapi.MethodGetMessages, &page, args...).OK(t)
		assert.True(t, len(a.Body) <= 9<<20 || len(page.Messages) == 1, "%d bytes of %d messages", len(a.Body), len(page.Messages))
		for _, m := range page.Messages {
			read = append(read, len(m.Ciphertext))
		}
		if page.Cursor == nil {
			break
		}
		args = []string{"convoId", chat.ID, "limit", "100", "sinceMessage", *page.Cursor}
	}
	assert.Equal(t, sizes, read)
}

// A message of up to 9 MiB, which alone is too large for a proxy, passes compressed.
func TestLargeMessagesPassCompressed(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	alice := s.Users(1)[0].Register(t, 1)
	chat := alice.Create(t)
	sendLarge(t, alice.User, chat, 9<<20)
	m := mlsapi.MethodGetMessages
	plain := alice.Get(t, m, nil, "convoId", chat.ID).OK(t)
	for encoding, coded := range map[string]string{"gzip": "gzip", "identity": "", "br": ""} {
		a := alice.Call(t, m, e2e.Request{RawQuery: "convoId=" + chat.ID, Header: http.Header{"Accept-Encoding": {encoding}}}, nil).OK(t)
		assert.Equal(t, coded, a.Header.Get("Content-Encoding"))
		if coded == "" {
			assert.Len(t, a.Body, len(plain.Body))
			continue
		}
		assert.Less(t, len(a.Body), proxied)
		assert.Greater(t, len(plain.Body), proxied)
	}
}

// Conversations with many members do not make a page too large, nor one too many of them cost what
// all of them have: the page ends early, and the next one goes on from there.
func TestPagesOfLargeRosters(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	alice := s.Users(1)[0].Register(t, 1)
	var chats []string
	for range 4 {
		chats = append(chats, alice.Create(t).ID)
	}
	change(t, s, `INSERT INTO members (convo_id, user_did, device_id, mls_did, joined_at, join_epoch, join_seq)
		SELECT c.id, 'did:plc:' || lpad(i::text, 24, 'a'), '', 'did:plc:' || lpad(i::text, 24, 'a') || '#00000000-0000-4000-8000-000000000000', c.created_at, 0, 0
		FROM conversations c CROSS JOIN generate_series(1, 12000) i`)
	var read []string
	var args []string
	for pages := 1; ; pages++ {
		var page mlsapi.GetConvosOutput
		a := alice.Get(t, mlsapi.MethodGetConvos, &page, args...).OK(t)
		assert.LessOrEqual(t, len(a.Body), 9<<20, "%d conversations", len(page.Conversations))
		for _, c := range page.Conversations {
			assert.Len(t, c.Members, 12001)
			read = append(read, c.ID)
		}
		if page.Cursor == nil {
			assert.Greater(t, pages, 1)
			break
		}
		args = []string{"cursor", *page.Cursor}
	}
	assert.ElementsMatch(t, chats, read, "each once")
}

// A claim of more than fits says of whom nothing was claimed, and takes nothing of theirs.
func TestClaimsThatDoNotFit(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t, e2e.Env{"MAX_DEVICES": "100"})
	users := s.Users(3)
	alice := users[0].Register(t, 1)
	large := func(spec *mlstest.KeyPackageSpec) {
		spec.ExtensionTypes = append(spec.ExtensionTypes, 0xf0f0)
		spec.Extensions = append(spec.Extensions, mlstest.Extension{Type: 0xf0f0, Data: mlstest.Random(48000)})
	}
	for _, u := range users[1:] {
		for range 80 {
			d := u.NewDevice()
			in := d.RegistrationInput(0)
			item := d.Package(large)
			in.KeyPackages = append(in.KeyPackages, item)
			d.Post(t, mlsapi.MethodRegisterDevice, in, nil).OK(t)
		}
	}
	asked := []string{"dids", string(users[1].DID), "dids", string(users[2].DID)}
	var first, second mlsapi.GetKeyPackagesOutput
	a := alice.Get(t, mlsapi.MethodGetKeyPackages, &first, asked...).OK(t)
	assert.LessOrEqual(t, len(a.Body), 9<<20)
	assert.Len(t, first.KeyPackages, 80)
	assert.Equal(t, []lexrt.DID{users[2].DID}, first.Remaining)
	assert.Equal(t, first.Remaining, first.Missing, "who has no package in the answer is missing")
	alice.Get(t, mlsapi.MethodGetKeyPackages, &second, asked[2:]...).OK(t)
	assert.Len(t, second.KeyPackages, 80, fmt.Sprint(second.Missing))
}

// The Welcomes that wait for a device make no registration too large; each is there for getWelcome.
func TestRegistrationsWithManyWelcomes(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	users := s.Users(2)
	alice, bob := users[0].Register(t, 1), users[1].Register(t, 5)
	var chats []string
	for range 5 {
		chats = append(chats, alice.Create(t, bob.User).ID)
	}
	change(t, s, "UPDATE welcomes SET welcome = welcome || decode(repeat('00', 2000000), 'hex')")
	var out mlsapi.RegisterDeviceOutput
	a := bob.Post(t, mlsapi.MethodRegisterDevice, bob.RegistrationInput(0), &out).OK(t)
	assert.LessOrEqual(t, len(a.Body), 9<<20)
	var welcomes []string
	for _, w := range out.WelcomeMessages {
		welcomes = append(welcomes, w.ConvoID)
	}
	assert.Equal(t, chats[:3], welcomes, "the oldest, as many as fit")
	for _, id := range chats {
		var waiting mlsapi.GetWelcomeOutput
		bob.Get(t, mlsapi.MethodGetWelcome, &waiting, "convoId", id, "deviceId", bob.ID).OK(t)
		text, err := mls.DecodeText(waiting.Welcome)
		require.NoError(t, err)
		assert.Greater(t, len(text), 2000000)
	}
}
