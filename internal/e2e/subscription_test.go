package e2e_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mls-server/internal/authtest"
	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mlstest"
	"mls-server/internal/pgtest"
	"mls-server/internal/redistest"
	"mls-server/lexrt/lexcbor"
)

// ticket gets a ticket, for one conversation where convo is not "".
func ticket(t *testing.T, u *e2e.User, convo string) mlsapi.GetSubscriptionTicketOutput {
	t.Helper()
	var in mlsapi.GetSubscriptionTicketInput
	if convo != "" {
		in.ConvoID = &convo
	}
	var out mlsapi.GetSubscriptionTicketOutput
	u.Post(t, mlsapi.MethodGetSubscriptionTicket, &in, &out).OK(t)
	return out
}

// with is a request with a ticket instead of a token, and parameters.
func with(ticket string, args ...string) e2e.Request {
	query := url.Values{"ticket": {ticket}}
	for i := 0; i < len(args); i += 2 {
		query.Set(args[i], args[i+1])
	}
	return e2e.Request{Authorization: "-", Query: query}
}

var subscribe = mlsapi.MethodSubscribeConvoEvents

// TestTickets: a ticket stands for the account that asked for it, once, for a minute, and for one
// conversation alone where it names one.
func TestTickets(t *testing.T) {
	t.Parallel()
	alice, bob, chat := couple(t)
	other := alice.Create(t, bob.User)
	got := ticket(t, alice.User, "")
	if left := time.Until(must(time.Parse(time.RFC3339, string(got.ExpiresAt)))); left > time.Minute || left < 0 {
		t.Errorf("the ticket is good for %v", left)
	}
	if address, err := url.Parse(got.Endpoint); err != nil || !strings.HasPrefix(address.Scheme, "ws") || address.Path != "/xrpc/"+subscribe.NSID {
		t.Errorf("%s: %v", got.Endpoint, err)
	}
	alice.Call(t, subscribe, with(got.Ticket), nil).OK(t)
	alice.Call(t, subscribe, with(got.Ticket), nil).Want(t, http.StatusUnauthorized, "ReplayedToken")

	one := ticket(t, alice.User, chat.ID).Ticket
	alice.Call(t, subscribe, with(one), nil).Want(t, http.StatusUnauthorized, "BadJwtAudience")
	alice.Call(t, subscribe, with(one, "convoId", other.ID), nil).Want(t, http.StatusUnauthorized, "BadJwtAudience")
	alice.Call(t, subscribe, with(one, "convoId", chat.ID), nil).OK(t) // not used up

	all := ticket(t, alice.User, "").Ticket
	first := "A"
	if all[0] == 'A' {
		first = "B"
	}
	for name, bad := range map[string]string{
		"changed": first + all[1:], "shortened": all[:len(all)-2], "made up": strings.Repeat("A", 120), "none": "x", "not base64": "%%%", "a token": alice.Bearer(alice.Server.DID, subscribe.NSID),
	} {
		if a := alice.Call(t, subscribe, with(bad), nil); a.Status != http.StatusUnauthorized || a.Error != "BadJwt" {
			t.Errorf("%s: %d %s", name, a.Status, a.Error)
		}
	}
	// It stands for a subscription and nothing else.
	alice.Call(t, mlsapi.MethodStreamConvoEvents, with(all), nil).Want(t, http.StatusUnauthorized, "AuthMissing")
	alice.Call(t, mlsapi.MethodGetConvos, with(all), nil).Want(t, http.StatusUnauthorized, "AuthMissing")
	alice.Call(t, subscribe, with(all), nil).OK(t)
	for _, bad := range []url.Values{{"convoId": {chat.ID, other.ID}}, {"cursor": {"x"}}} {
		bad.Set("ticket", ticket(t, alice.User, "").Ticket)
		alice.Call(t, subscribe, e2e.Request{Authorization: "-", Query: bad}, nil).Want(t, http.StatusBadRequest, "InvalidRequest")
	}
	twice := url.Values{"ticket": {ticket(t, alice.User, "").Ticket, ticket(t, alice.User, "").Ticket}}
	alice.Call(t, subscribe, e2e.Request{Authorization: "-", Query: twice}, nil).Want(t, http.StatusBadRequest, "InvalidRequest")
}

// TestTicketsOfConversations are for members, when they are given out and again when they are used.
func TestTicketsOfConversations(t *testing.T) {
	t.Parallel()
	alice, bob, chat := couple(t)
	bob.Confirm(t, chat, true)
	of := func(convo string) e2e.Request { return post(&mlsapi.GetSubscriptionTicketInput{ConvoID: &convo}) }
	eve := alice.Server.Users(1)[0]
	for _, convo := range []string{chat.ID, "aa", "", "no id"} {
		eve.Call(t, mlsapi.MethodGetSubscriptionTicket, of(convo), nil).Want(t, http.StatusNotFound, "ConvoNotFound")
	}
	one := ticket(t, bob.User, chat.ID).Ticket
	bob.Call(t, subscribe, with(ticket(t, bob.User, chat.ID).Ticket, "convoId", chat.ID), nil).OK(t)
	alice.Remove(t, chat, bob.User, chat.Group.PrivateCommit()).OK(t)
	bob.Call(t, subscribe, with(one, "convoId", chat.ID), nil).Want(t, http.StatusForbidden, "NotMember")
	bob.Call(t, mlsapi.MethodGetSubscriptionTicket, of(chat.ID), nil).Want(t, http.StatusForbidden, "NotMember")
	eve.Call(t, subscribe, with(ticket(t, eve, "").Ticket, "convoId", chat.ID), nil).Want(t, http.StatusNotFound, "ConvoNotFound")
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// at is a user at another server.
func at(s *e2e.Server, u *e2e.User) *e2e.User {
	there := *u
	there.Server = s
	return &there
}

// redeemAtOnce uses a ticket many times at once, on two servers: one use is accepted.
func redeemAtOnce(t *testing.T, alice *e2e.User, servers [2]*e2e.Server) {
	t.Helper()
	one := ticket(t, alice, "").Ticket
	var accepted, replayed atomic.Int64
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			a := at(servers[i%2], alice).Call(t, subscribe, with(one), nil)
			switch {
			case a.Status == http.StatusOK:
				accepted.Add(1)
			case a.Error == "ReplayedToken":
				replayed.Add(1)
			default:
				t.Errorf("%d %s", a.Status, a.Error)
			}
		})
	}
	wg.Wait()
	if accepted.Load() != 1 || replayed.Load() != 19 {
		t.Errorf("%d uses were accepted, %d were replays", accepted.Load(), replayed.Load())
	}
}

// TestTicketsOverServers: a ticket is used once over all servers, with Redis, while it is away, and
// where there is none; and it outlives the server that made it.
func TestTicketsOverServers(t *testing.T) {
	t.Parallel()
	const key = "0123456789abcdef0123456789abcdef"
	t.Run("with Redis", func(t *testing.T) {
		t.Parallel()
		redis := redistest.Start(t)
		env := e2e.Env{"REDIS_URL": redis.URL(), "HASH_KEY": key}
		database, dir := pgtest.New(t), authtest.NewDirectory(t, nil)
		servers := [2]*e2e.Server{e2e.StartOn(t, database, dir, env), e2e.StartOn(t, database, dir, env)}
		alice := servers[0].Users(1)[0]
		redeemAtOnce(t, alice, servers)
		redis.Kill()
		redeemAtOnce(t, alice, servers)
	})
	t.Run("without", func(t *testing.T) {
		t.Parallel()
		env := e2e.Env{"HASH_KEY": key}
		database, dir := pgtest.New(t), authtest.NewDirectory(t, nil)
		servers := [2]*e2e.Server{e2e.StartOn(t, database, dir, env), e2e.StartOn(t, database, dir, env)}
		alice := servers[0].Users(1)[0]
		redeemAtOnce(t, alice, servers)
		used, fresh := ticket(t, alice, "").Ticket, ticket(t, alice, "").Ticket
		alice.Call(t, subscribe, with(used), nil).OK(t)
		servers[0].Stop()
		next := at(e2e.StartOn(t, database, dir, env), alice)
		next.Call(t, subscribe, with(used), nil).Want(t, http.StatusUnauthorized, "ReplayedToken")
		next.Call(t, subscribe, with(fresh), nil).OK(t)
	})
}

// TestTicketOfARefusedAccount is worth nothing, and so is one that was given out before.
func TestTicketOfARefusedAccount(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	alice := s.Users(1)[0]
	old := ticket(t, alice, "").Ticket
	socket, _, err := alice.Dial(t.Context(), subscribe, with(ticket(t, alice, "").Ticket))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	s.Operate(t, "suspend-user", string(alice.DID))
	eventually(t, "tickets are refused", func() bool {
		return alice.Call(t, mlsapi.MethodGetSubscriptionTicket, post(&mlsapi.GetSubscriptionTicketInput{}), nil).Error == "AccountTakedown"
	})
	alice.Call(t, subscribe, with(old), nil).Want(t, http.StatusUnauthorized, "AccountTakedown")
	if events := rest(t, socket); !slices.Equal(kindsOf(events), []string{"reauthenticate"}) {
		t.Errorf("the open subscription got %v", events)
	}
}

// news is a message of the subscription, as the test reads it.
type news struct {
	typ, closed string
	Cursor      string `json:"cursor"`
	Kind        string `json:"kind"`
	ConvoID     string `json:"convoId"`
	DID         string `json:"did"`
	UserDID     string `json:"userDid"`
	Action      string `json:"action"`
	Device      string `json:"deviceId"`
	Credential  string `json:"deviceCredentialDid"`
	Pending     string `json:"pendingAdditionId"`
	Error       string `json:"error"`
	Message     struct {
		ID string `json:"id"`
	} `json:"message"`
}

func (n news) String() string {
	return strings.TrimSpace(n.typ + " " + n.Kind + n.Action + n.Error + n.closed)
}

// next reads a message, or the end.
func next(t *testing.T, s *e2e.Socket) (n news, more bool) {
	t.Helper()
	f, err := s.Next()
	if closed, ok := errors.AsType[*e2e.ClosedError](err); ok {
		return news{closed: closed.Error()}, false
	}
	if err == nil {
		n.typ = strings.TrimPrefix(f.Type, subscribe.NSID+"#")
		if strings.HasSuffix(f.Type, "#messageEvent") || f.Op == lexcbor.OpError {
			var body struct {
				news
				Message json.RawMessage `json:"message"`
			}
			if err = json.Unmarshal(f.Body, &body); err == nil && f.Op == lexcbor.OpMessage {
				err = json.Unmarshal(body.Message, &n.Message)
			}
			n.Cursor, n.Error = body.Cursor, body.Error
		} else {
			err = json.Unmarshal(f.Body, &n)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return n, true
}

// rest reads to the end, which must be in order.
func rest(t *testing.T, s *e2e.Socket) (all []news) {
	t.Helper()
	for {
		n, more := next(t, s)
		if !more {
			return all
		}
		all = append(all, n)
	}
}

func kindsOf(all []news) (kinds []string) {
	for _, n := range all {
		if n.Kind == "position" {
			continue // when and how often depends on how long it takes
		}
		kinds = append(kinds, n.Kind+n.Action+n.Error)
	}
	return kinds
}

// until reads messages up to the first that fits.
func until(t *testing.T, s *e2e.Socket, fits func(news) bool) (all []news) {
	t.Helper()
	for {
		n, more := next(t, s)
		if all = append(all, n); !more {
			t.Fatalf("the subscription ended: %v", all)
		}
		if fits(n) {
			return all
		}
	}
}

func dial(t *testing.T, u *e2e.User, args ...string) *e2e.Socket {
	t.Helper()
	query := url.Values{}
	for i := 0; i < len(args); i += 2 {
		query.Set(args[i], args[i+1])
	}
	socket, a, err := u.Dial(t.Context(), subscribe, e2e.Request{Query: query})
	if err != nil || socket == nil {
		t.Fatal(err, a)
	}
	t.Cleanup(socket.Close)
	return socket
}

// TestBothDoorsTellTheSame: what comes over a WebSocket is what comes as Server-Sent Events, at the
// same cursors, which both take; released clients' types stand for the kinds that they have.
func TestBothDoorsTellTheSame(t *testing.T) {
	t.Parallel()
	alice, bob, chat := couple(t)
	bob.Confirm(t, chat, true)
	socket := dial(t, bob.User)
	start, _ := next(t, socket)
	if start.Kind != "position" || start.Cursor == "" {
		t.Fatalf("the subscription begins with %v", start)
	}
	stream := bob.Follow(t, "cursor="+start.Cursor)
	sent := alice.Send(t, chat).MessageID
	carol := alice.Server.Users(1)[0].Register(t, 4)
	alice.Add(t, chat, carol.User)
	carol.User.Register(t, 1)
	carol.Leave(t, chat, nil).OK(t)
	last := alice.Send(t, chat).MessageID
	got := until(t, socket, func(n news) bool { return n.Message.ID == last })
	stream.AwaitWhere(t, "message", func(e e2e.Event) bool { return e.MessageID == last })

	kinds := map[string]string{"membershipChangeEvent": "membership-changed", "newDeviceEvent": "device-pending", "readditionRequestedEvent": "rejoin-requested", "messageEvent": "message"}
	var fromSocket, fromStream []string
	seen := map[string]bool{}
	for _, n := range got {
		kind := n.Kind
		if kinds[n.typ] != "" {
			kind = kinds[n.typ]
		}
		if n.Kind == "position" {
			continue
		}
		fromSocket = append(fromSocket, n.Cursor+" "+kind)
		seen[n.typ+n.Action] = true
		if n.typ == "newDeviceEvent" && (n.UserDID != string(carol.DID) || n.Credential != string(carol.DID)+"#"+n.Device || n.Pending == "" || n.ConvoID == "") {
			t.Errorf("%+v", n)
		}
	}
	for _, e := range stream.Events() {
		fromStream = append(fromStream, e.Cursor+" "+e.Kind)
	}
	if !slices.Equal(fromSocket, fromStream) {
		t.Errorf("over the WebSocket came\n%s\nas Server-Sent Events\n%s", strings.Join(fromSocket, "\n"), strings.Join(fromStream, "\n"))
	}
	for _, want := range []string{"messageEvent", "membershipChangeEventjoined", "membershipChangeEventleft", "newDeviceEvent", "infoEvent"} {
		if !seen[want] {
			t.Errorf("no %s among %v", want, got)
		}
	}
	// Each door takes the other's cursors.
	if again := until(t, dial(t, bob.User, "cursor", stream.Events()[0].Cursor), func(n news) bool { return n.Message.ID == last }); len(again) != len(fromSocket) {
		t.Errorf("from the first event on came %v", again)
	}
	bob.Follow(t, "cursor="+start.Cursor).AwaitWhere(t, "message", func(e e2e.Event) bool { return e.MessageID == sent })
}

// TestSubscriptionsEnd: at a removal from the one conversation that it is about, when the server
// stops, when the user has too many.
func TestSubscriptionsEnd(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t, e2e.Env{"STREAMS_PER_USER": "2"})
	users := s.Users(2)
	alice, bob := users[0].Register(t, 4), users[1].Register(t, 4)
	chat := alice.Create(t, bob.User)
	bob.Confirm(t, chat, true)
	only, every := dial(t, bob.User, "convoId", chat.ID), dial(t, bob.User)
	for _, begun := range []*e2e.Socket{only, every} {
		next(t, begun)
	}
	bob.Call(t, subscribe, e2e.Request{}, nil).Want(t, http.StatusTooManyRequests, "RateLimitExceeded")
	bob.Call(t, mlsapi.MethodStreamConvoEvents, e2e.Request{}, nil).Want(t, http.StatusTooManyRequests, "RateLimitExceeded")
	alice.Remove(t, chat, bob.User, chat.Group.PrivateCommit()).OK(t)
	removed := rest(t, only)
	if last := removed[len(removed)-1]; last.Action != "left" || last.DID != string(bob.DID) {
		t.Errorf("the subscription of the conversation got %v", removed)
	}
	chat.Next()
	alice.Send(t, chat)
	until(t, every, func(n news) bool { return n.Action == "left" })
	s.Stop()
	if after := rest(t, every); !slices.Equal(kindsOf(after), []string{"server-restart"}) {
		t.Errorf("after its removal, and at the server's end, bob got %v", after)
	}
}

// loseSubscription: who does not read is told so, and goes on where it was.
func loseSubscription(t *testing.T) {
	t.Helper()
	alice, bob, chat := couple(t, e2e.Env{"SSE_BUFFER_SIZE": "5"})
	bob.Confirm(t, chat, true)
	socket := dial(t, bob.User)
	var sent []string
	for range 60 { // more than two kernels buffer
		in := chat.Message()
		in.Ciphertext = mlstest.PadDirect(chat.Group.Application(200), 256<<10)
		in.PaddedSize = int64(len(in.Ciphertext))
		alice.Post(t, mlsapi.MethodSendMessage, in, nil).OK(t)
		sent = append(sent, in.MsgID)
	}
	got := until(t, socket, func(n news) bool { return n.Error != "" })
	if refused := got[len(got)-1]; refused.Error != "ConsumerTooSlow" {
		t.Errorf("the subscription ended with %v", refused)
	}
	if end, more := next(t, socket); more || !strings.HasPrefix(end.closed, "closed with 1008") {
		t.Errorf("then came %v", end)
	}
	eventually(t, "the operator sees it", func() bool {
		return scrape(t, alice.Server)[`mls_stream_ends_total{door="websocket",reason="slow-consumer"}`] == 1
	})
	again := until(t, dial(t, bob.User, "cursor", got[len(got)-2].Cursor), func(n news) bool { return n.Message.ID == sent[len(sent)-1] })
	var ids []string
	for _, n := range append(got, again...) {
		if n.Message.ID != "" {
			ids = append(ids, n.Message.ID)
		}
	}
	if !slices.Equal(ids, sent) {
		t.Errorf("%d messages came over both connections, %d were sent", len(ids), len(sent))
	}
}
