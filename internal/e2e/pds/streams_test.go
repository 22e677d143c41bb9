//go:build pds

package pds_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mlstest"
)

// Streams come through a PDS while they are written, whether their client takes gzip, as browsers
// and most libraries do, or not.
func TestStreams(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, n *network, s *e2e.Server) {
		alice, bob := signUp(t, n, s), signUp(t, n, s)
		alice.Register(t, 2)
		bob.Register(t, 2)
		chat := alice.Create(t, bob.User)
		plain := *alice.User
		plain.Through = func(r *http.Request) {
			alice.proxy(r)
			r.Header.Set("Accept-Encoding", "identity")
		}
		streams := map[string]*e2e.Stream{"gzip": alice.Follow(t, ""), "identity": plain.Follow(t, ""), "direct": alice.direct(t).Follow(t, "")}
		for range 2 {
			sent := bob.Send(t, chat)
			for name, stream := range streams {
				got := stream.AwaitWhere(t, "message", func(e e2e.Event) bool { return e.Seq == sent.Seq })
				assert.Equal(t, chat.ID, got.ConvoID, name)
			}
		}
		// Where one of them left off, another way goes on.
		first := streams["gzip"].Await(t, "message")
		again := alice.direct(t).Follow(t, "cursor="+first.Cursor)
		assert.Equal(t, first.Seq+1, again.Await(t, "message").Seq)
	})
}

// mebibyte is what sizes of messages are counted in here.
const mebibyte = 1 << 20

// sendSize sends a message of a size.
func (a *account) sendSize(tb testing.TB, chat *e2e.Chat, size int) (seq int64) {
	tb.Helper()
	in := chat.Message()
	in.Ciphertext = mlstest.PadDirect(chat.Group.Application(size-1024), size)
	in.PaddedSize = int64(size)
	var out mlsapi.SendMessageOutput
	a.Post(tb, mlsapi.MethodSendMessage, in, &out).OK(tb)
	return out.Seq
}

// What can be sent through a PDS can be read through it: a PDS cuts answers off after 10 MiB. Pages
// are shorter, and a message that is not goes through compressed.
func TestLargePages(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, n *network) {
		s := serve(t, n, didPLC)
		alice, bob := signUp(t, n, s), signUp(t, n, s)
		alice.Register(t, 2)
		bob.Register(t, 2)
		chat := alice.Create(t, bob.User)
		var sent []int64
		for _, size := range []int{1, 5, 3, 3, 7, 9} {
			sent = append(sent, alice.sendSize(t, chat, size*mebibyte))
		}
		for range 8 {
			sent = append(sent, alice.sendSize(t, chat, mebibyte/2))
		}
		var read []int64
		var pages int
		for args := []string{"limit", "100"}; ; {
			page := bob.Messages(t, chat, args...)
			require.NotEmpty(t, page.Messages)
			read = append(read, seqs(page)...)
			if pages++; len(read) >= len(sent) || pages > len(sent) {
				break
			}
			args = []string{"limit", "100", "sinceMessage", page.Messages[len(page.Messages)-1].ID}
		}
		assert.Equal(t, sent, read)
		assert.Less(t, pages, len(sent), "small messages share pages")
	})
}
