//go:build pds

package pds_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/gen/mlsapi"
)

// subscribe asks for a ticket and follows a WebSocket with it, until so many messages have come. It
// sends one when the connection is open. What it returns of each is its frame as text, in which the
// names of types and the cursor can be found; "closed", with the code, for the end. With reuse it
// connects once more with the same ticket.
const subscribe = `async ({ ask, headers, cursor, messages, send, reuse }) => {
	const asked = await fetch(ask, { method: "POST", headers, body: "{}" });
	if (!asked.ok) return [await asked.text()];
	const { ticket, endpoint } = await asked.json();
	const url = endpoint + "?ticket=" + encodeURIComponent(ticket) + (cursor ? "&cursor=" + encodeURIComponent(cursor) : "");
	const seen = [];
	const follow = () => new Promise((resolve) => {
		const socket = new WebSocket(url);
		socket.binaryType = "arraybuffer";
		socket.onopen = () => { if (send && seen.length === 0) fetch(send.url, send); };
		socket.onmessage = ({ data }) => {
			const text = new TextDecoder("latin1").decode(data);
			if (!/#messageEvent/.test(text)) return;
			seen.push(text);
			if (seen.length >= messages) socket.close(1000);
		};
		socket.onclose = ({ code }) => { seen.push("closed " + code); resolve(); };
	});
	await follow();
	if (reuse) await follow();
	return seen;
}`

// Pages follow a WebSocket with a ticket, since they can send no header with one. A ticket is good
// once, and a cursor goes on where another connection left off.
func TestPagesSubscribe(t *testing.T) {
	t.Parallel()
	s := browserServer(t)
	users := s.Users(2)
	alice, bob := users[0], users[1]
	alice.Register(t, 2)
	bob.Register(t, 2)
	chat := alice.Create(t, bob)
	ticket, send := mlsapi.MethodGetSubscriptionTicket, mlsapi.MethodSendMessage
	args := func(cursor string, messages int) map[string]any {
		return map[string]any{
			"ask": xrpc(s, ticket.NSID, ""), "cursor": cursor, "messages": messages,
			"headers": map[string]string{"authorization": alice.Bearer(s.DID, ticket.NSID), "content-type": "application/json"},
		}
	}
	first := args("", 1)
	first["reuse"] = true
	first["send"] = map[string]any{
		"url": xrpc(s, send.NSID, ""), "method": "POST", "body": string(chat.Message().AppendJSON(nil)),
		"headers": map[string]string{"authorization": bob.Bearer(s.DID, send.NSID), "content-type": "application/json"},
	}
	stream := alice.Follow(t, "")
	var seen []string
	browse(t, subscribe, first, &seen)
	require.Len(t, seen, 3)
	assert.Contains(t, seen[0], "messageEvent")
	assert.Equal(t, []string{"closed 1000", "closed 1006"}, seen[1:], "the ticket is used up")

	missed := bob.Send(t, chat)
	var again []string
	browse(t, subscribe, args(stream.Await(t, "message").Cursor, 1), &again)
	require.Len(t, again, 2)
	assert.Contains(t, again[0], missed.MessageID)
}
