package e2e_test

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/handlers"
	"mls-server/internal/mlstest"
	"mls-server/lexrt"
)

// forReleased are the settings under which a service serves released clients.
var forReleased = e2e.Env{"BYTES_PADDING": "true"}

// listener decodes every answer by the rules of the released clients.
type listener struct {
	t     *testing.T
	known []generation

	mu    sync.Mutex
	heard map[string]int
}

func listen(t *testing.T, s *e2e.Server) *listener {
	t.Helper()
	l := &listener{t: t, known: generations(t), heard: map[string]int{}}
	s.Heard = l.answer
	return l
}

func (l *listener) answer(m *lexrt.Method, body []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard[m.NSID]++
	for _, g := range l.known {
		if g.main(m.NSID) == nil || g.main(m.NSID).Output == nil {
			continue
		}
		faults, err := g.decode(m.NSID, body)
		if err != nil {
			assert.Fail(l.t, "a released client cannot read the answer", "%s, of %s: %v", m.NSID, g.name, err)
		}
		for _, fault := range faults {
			assert.Fail(l.t, "a released client cannot read the answer", "%s, of %s: %s", m.NSID, g.name, fault)
		}
	}
}

// messages reads a subscription up to the message with an id, by the rules of those released
// clients that know it.
func (l *listener) messages(s *e2e.Socket, last string) {
	l.t.Helper()
	m := mlsapi.MethodSubscribeConvoEvents
	for done := false; !done; {
		f, err := s.Next()
		require.NoError(l.t, err)
		done = strings.Contains(string(f.Body), last)
		l.mu.Lock()
		l.heard[f.Type]++
		l.mu.Unlock()
		for _, g := range l.known {
			if g.main(m.NSID) == nil {
				continue
			}
			faults, err := g.decodeMessage(m.NSID, f)
			require.NoError(l.t, err)
			// Proposals and notices are newer than the client.
			faults = slices.DeleteFunc(faults, func(fault string) bool { return strings.HasPrefix(fault, "/message/messageType:") })
			assert.Empty(l.t, faults, "%s, of %s", f.Type, g.name)
		}
	}
}

// Every answer that both generations of the released client may get is one that they can decode:
// what they require is there, bytes and texts have the base64 that Foundation reads.
func TestReleasedClientReadsEveryAnswer(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t, forReleased)
	l := listen(t, s)
	users := s.Users(4)
	alice, bob, carol := users[0].Register(t, 3), users[1].Register(t, 3), users[2].Register(t, 3)
	live := alice.Follow(t, "")
	socket := dial(t, alice.User)
	chat := playBeginning(t, alice, bob, carol)
	playMessages(t, alice, bob, chat)
	for size := range 4 { // every length of the base64's last group
		alice.SendBytes(t, chat, mlstest.Random(300+size)).OK(t)
	}
	bob.Messages(t, chat)
	bob.Messages(t, chat, "sinceSeq", "2", "limit", "2")
	playDevices(t, alice, carol, chat)
	playAdministration(t, alice, bob, carol, chat)
	playBlocks(t, alice, bob, users[3], chat)
	playLater(t, alice, bob)
	playEnd(t, alice, bob, carol, chat)
	last := alice.Send(t, chat).MessageID
	live.AwaitWhere(t, "message", func(e e2e.Event) bool { return e.MessageID == last })
	alice.Call(t, mlsapi.MethodSubscribeConvoEvents, with(ticket(t, alice.User, "").Ticket), nil).OK(t)
	l.messages(socket, last)

	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range mlsapi.Methods() {
		for _, g := range l.known {
			if g.main(m.NSID) != nil && m != mlsapi.MethodHandleBlockChange {
				assert.Positive(t, l.heard[m.NSID], "%s, of %s, was not asked", m.NSID, g.name)
			}
		}
	}
	for _, typ := range []string{"messageEvent", "infoEvent", "newDeviceEvent", "readditionRequestedEvent", "membershipChangeEvent"} {
		assert.Positive(t, l.heard[mlsapi.MethodSubscribeConvoEvents.NSID+"#"+typ], "no %s came", typ)
	}
}

// playLater asks what only the later generation asks.
func playLater(t *testing.T, alice, bob *e2e.Device) {
	t.Helper()
	alice.Devices(t)
	alice.Post(t, mlsapi.MethodPublishKeyPackages, &mlsapi.PublishKeyPackagesInput{KeyPackages: []mlsapi.PublishKeyPackagesKeyPackageItem{
		{KeyPackage: alice.KeyPackages(1)[0].KeyPackage, CipherSuite: "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519"},
		{KeyPackage: "AAAA", CipherSuite: "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519"},
	}}, nil).OK(t)
	alice.Post(t, mlsapi.MethodSyncKeyPackages, &mlsapi.SyncKeyPackagesInput{DeviceID: alice.ID, LocalHashes: []string{strings.Repeat("0", 64)}}, nil).OK(t)
	alice.Post(t, mlsapi.MethodSyncKeyPackages, &mlsapi.SyncKeyPackagesInput{DeviceID: alice.ID, LocalHashes: []string{}}, nil).OK(t)
	spare := bob.Register(t, 1)
	bob.Delete(t, spare, nil).OK(t)
	chat := alice.CreateVerified(t, bob)
	alice.Entrance(t, chat.Chat)
	bob.Post(t, mlsapi.MethodUpdateGroupInfo, chat.Deposit(chat.Tree.GroupInfo(chat.Leaf(t, bob))), nil).OK(t)
	bob.Join(t, chat, mlstest.Draft{})
}

// client sends requests as the released client builds them: with a $type in every object, UUIDs in
// upper case, padded base64, and nothing that it does not know of.
type client struct {
	*e2e.Device
	t *testing.T
}

type fields = map[string]any

func (c client) post(m *lexrt.Method, in fields) e2e.Answer {
	c.t.Helper()
	in["$type"] = m.NSID
	body, err := json.Marshal(in)
	require.NoError(c.t, err)
	return c.Call(c.t, m, e2e.Request{Body: body}, nil)
}

func (c client) get(m *lexrt.Method, args ...string) fields {
	c.t.Helper()
	var out fields
	require.NoError(c.t, json.Unmarshal(c.Get(c.t, m, nil, args...).OK(c.t).Body, &out))
	return out
}

// newUUID is a random one as Swift writes it.
func newUUID() string { return strings.ToUpper(uuid.NewString()) }

func swiftBytes(b []byte) fields { return fields{"$bytes": base64.StdEncoding.EncodeToString(b)} }

// inDays is a time as the client's clock has it, which is a little ahead.
func inDays(n int) string {
	return time.Now().AddDate(0, 0, n).Add(2 * time.Second).UTC().Format("2006-01-02T15:04:05.000Z")
}

const suiteName = "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519"

// register registers a device as the later generation does: with key packages that name no DID.
func (c client) register() {
	c.t.Helper()
	items := make([]fields, 3)
	for i, p := range c.KeyPackages(len(items)) {
		items[i] = fields{"$type": mlsapi.MethodRegisterDevice.NSID + "#keyPackageItem", "keyPackage": p.KeyPackage, "cipherSuite": suiteName, "expires": inDays(90)}
	}
	var out mlsapi.RegisterDeviceOutput
	a := c.post(mlsapi.MethodRegisterDevice, fields{
		"deviceName": "iPhone", "deviceUUID": newUUID(), "keyPackages": items, "signaturePublicKey": swiftBytes(c.Client.SignatureKey),
	}).OK(c.t)
	require.NoError(c.t, out.UnmarshalJSON(a.Body))
	c.ID = out.DeviceID
}

// send sends a message behind its length, as the client pads it.
func (c client) send(chat *e2e.Chat, delivery string) e2e.Answer {
	c.t.Helper()
	message := chat.Group.Application(200)
	padded := make([]byte, 512)
	binary.BigEndian.PutUint32(padded, uint32(len(message)))
	copy(padded[4:], message)
	in := fields{
		"convoId": string(chat.Group.GroupID()), "msgId": newUUID(), "idempotencyKey": newUUID(), "ciphertext": swiftBytes(padded),
		"epoch": int64(chat.Group.Epoch), "paddedSize": 512,
	}
	if delivery != "" {
		in["delivery"] = delivery
	}
	return c.post(mlsapi.MethodSendMessage, in)
}

// Every request of the released client is taken as it builds it.
func TestReleasedClientIsUnderstood(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t, forReleased)
	listen(t, s)
	var people []client
	for _, u := range s.Users(3) {
		c := client{u.NewDevice(), t}
		c.register()
		people = append(people, c)
	}
	alice, bob, carol := people[0], people[1], people[2]
	alice.publishAgain()
	chat := alice.found(bob)
	group := string(chat.Group.GroupID())

	for _, c := range []client{alice, bob} {
		list, ok := c.get(mlsapi.MethodGetConvos, "limit", "50")["conversations"].([]any)
		require.True(t, ok)
		view, ok := list[0].(fields)
		require.True(t, ok)
		assert.Equal(t, []any{group, group}, []any{view["id"], view["groupId"]}, "the client files conversations by their groups")
	}
	assert.Equal(t, group, bob.get(mlsapi.MethodGetWelcome, "convoId", group)["convoId"])
	bob.post(mlsapi.MethodConfirmWelcome, fields{"convoId": group, "success": true}).OK(t)

	bob.pagesThrough(alice, chat)
	bob.reports(alice, chat)
	alice.promotes(bob, chat)
	alice.addsAndRemoves(carol, chat)
	backdateConfirmations(t, s)
	text := strings.TrimRight(strings.NewReplacer("+", "-", "/", "_").Replace(bob.KeyPackages(1)[0].KeyPackage), "=")
	bob.post(mlsapi.MethodRequestRejoin, fields{"convoId": group, "keyPackage": text, "reason": "lost"}).OK(t)
	alice.post(mlsapi.MethodLeaveConvo, fields{"convoId": group}).OK(t)
}

// publishAgain publishes one key package and some, with an expiry that is as far ahead as may be.
func (c client) publishAgain() {
	c.t.Helper()
	item := func() fields {
		return fields{"keyPackage": c.KeyPackages(1)[0].KeyPackage, "cipherSuite": suiteName, "idempotencyKey": newUUID(), "expires": inDays(90)}
	}
	c.post(mlsapi.MethodPublishKeyPackage, item()).OK(c.t)
	c.post(mlsapi.MethodPublishKeyPackages, fields{"keyPackages": []fields{item(), item()}}).OK(c.t)
	c.get(mlsapi.MethodGetKeyPackageStats)
	c.get(mlsapi.MethodListDevices)
	c.post(mlsapi.MethodSyncKeyPackages, fields{"deviceId": c.ID, "localHashes": []string{}}).OK(c.t)
	c.post(mlsapi.MethodPublishKeyPackage, item()).OK(c.t)
}

// found makes a conversation with another user, who accepts by the Welcome.
func (c client) found(other client) *e2e.Chat {
	c.t.Helper()
	chat, in := c.Invitation(c.t, other.User)
	hashes := make([]fields, len(in.KeyPackageHashes))
	for i, h := range in.KeyPackageHashes {
		hashes[i] = fields{"$type": mlsapi.MethodCreateConvo.NSID + "#keyPackageHashEntry", "did": h.DID, "hash": h.Hash}
	}
	c.post(mlsapi.MethodCreateConvo, fields{
		"groupId": in.GroupID, "idempotencyKey": newUUID(), "cipherSuite": suiteName, "initialMembers": in.InitialMembers,
		"welcomeMessage": in.WelcomeMessage, "keyPackageHashes": hashes,
		"metadata": fields{"$type": mlsapi.MethodCreateConvo.NSID + "#metadataInput", "name": "three of us"},
	}).OK(c.t)
	chat.ID, chat.Group = in.GroupID, chat.Group.At(1)
	return chat
}

// pagesThrough sends messages of another client's and reads them all by their seqs.
func (c client) pagesThrough(other client, chat *e2e.Chat) {
	c.t.Helper()
	for range 5 {
		other.send(chat, "").OK(c.t)
	}
	other.send(chat, "persistent").OK(c.t)
	other.send(chat, "ephemeral").OK(c.t) // typing: no seq, and nothing to page through
	var seqs []int64
	since := "0"
	for page := (mlsapi.GetMessagesOutput{}); len(seqs) == 0 || len(page.Messages) > 0; {
		page = mlsapi.GetMessagesOutput{}
		c.Get(c.t, mlsapi.MethodGetMessages, &page, "convoId", chat.ID, "limit", "2", "sinceSeq", since).OK(c.t)
		for _, m := range page.Messages {
			assert.Equal(c.t, chat.ID, m.ConvoID)
			seqs = append(seqs, m.Seq)
		}
		assert.False(c.t, page.GapInfo.HasGaps)
		since = strconv.FormatInt(*page.LastSeq, 10)
	}
	assert.Equal(c.t, through(1, 6), seqs, "each message once")
	c.get(mlsapi.MethodGetEpoch, "convoId", chat.ID)
	c.get(mlsapi.MethodGetCommits, "convoId", chat.ID, "fromEpoch", "1")
	for range 12 { // a stream for each conversation and device
		c.Follow(c.t, "convoId="+chat.ID)
	}
}

// reports files a report without details, which an admin resolves in the words of its buttons.
func (c client) reports(admin client, chat *e2e.Chat) {
	c.t.Helper()
	for _, action := range []string{"remove_member", "warn", "dismiss", "removed"} {
		c.post(mlsapi.MethodReportMember, fields{
			"convoId": chat.ID, "reportedDid": admin.DID, "category": "inappropriate", "encryptedContent": swiftBytes(nil),
		}).OK(c.t)
		var out mlsapi.ReportMemberOutput
		a := admin.post(mlsapi.MethodReportMember, fields{
			"convoId": chat.ID, "reportedDid": c.DID, "category": "spam", "encryptedContent": swiftBytes(nil),
		}).OK(c.t)
		require.NoError(c.t, out.UnmarshalJSON(a.Body))
		admin.post(mlsapi.MethodResolveReport, fields{"reportId": out.ReportID, "action": action}).OK(c.t)
		admin.post(mlsapi.MethodResolveReport, fields{"reportId": out.ReportID, "action": action}).OK(c.t)
	}
	reports := admin.Reports(c.t, chat, "status", "dismissed").Reports
	assert.Len(c.t, reports, 1, "dismiss is dismissed; the others resolve")
	assert.Len(c.t, admin.Reports(c.t, chat, "status", "resolved").Reports, 3)
}

func (c client) promotes(other client, chat *e2e.Chat) {
	c.t.Helper()
	c.post(mlsapi.MethodPromoteAdmin, fields{"convoId": chat.ID, "targetDid": other.DID}).OK(c.t)
	c.post(mlsapi.MethodDemoteAdmin, fields{"convoId": chat.ID, "targetDid": other.DID}).OK(c.t)
	c.get(mlsapi.MethodGetAdminStats, "convoId", chat.ID)
	c.get(mlsapi.MethodCheckBlocks, "dids", string(c.DID), "dids", string(other.DID))
	c.get(mlsapi.MethodGetBlockStatus, "convoId", chat.ID)
	c.post(mlsapi.MethodHandleBlockChange, fields{"blockerDid": c.DID, "blockedDid": other.DID, "action": "removed"}).OK(c.t)
}

func (c client) addsAndRemoves(other client, chat *e2e.Chat) {
	c.t.Helper()
	in := c.Addition(c.t, chat, other.User)
	c.post(mlsapi.MethodAddMembers, fields{
		"convoId": chat.ID, "idempotencyKey": newUUID(), "didList": in.DIDList, "commit": in.Commit, "welcomeMessage": in.WelcomeMessage,
	}).OK(c.t)
	chat.Next()
	c.post(mlsapi.MethodRemoveMember, fields{"convoId": chat.ID, "targetDid": other.DID, "idempotencyKey": newUUID(), "reason": "spam"}).OK(c.t)
}

// unread are fields that released clients send and that mean nothing here.
var unread = map[string]string{
	"blue.catbird.mls.registerDevice/appVersion": "what the client is, is of no concern to the service",
	"blue.catbird.mls.registerDevice/platform":   "what the device is, is of no concern to the service",
}

// What a released client may send is read, or is one of the fields that are known to mean nothing:
// a name that is passed over would be a request that means something else.
func TestReleasedClientSendsNothingUnread(t *testing.T) {
	t.Parallel()
	for _, g := range generations(t) {
		for _, m := range mlsapi.Methods() {
			main := g.main(m.NSID)
			if main == nil {
				continue
			}
			sent := main.Parameters
			if main.Input != nil {
				sent = main.Input.Schema
			}
			if sent == nil {
				continue
			}
			known := requestProperties(t, m)
			for name := range sent.Properties {
				_, read := known[name]
				assert.True(t, read || unread[m.NSID+"/"+name] != "", "%s, of %s: %s is not read", m.NSID, g.name, name)
			}
		}
	}
}

// A name that changes what a request means is never passed over, wherever it stands; others are.
func TestNoMeaningIsIgnored(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	alice := s.Users(1)[0].Register(t, 1)
	chat := alice.Create(t)
	for _, m := range mlsapi.Methods() {
		if m == mlsapi.MethodDescribeServer || m == mlsapi.MethodListDevices {
			continue // there is nothing to ask for in them
		}
		known := requestProperties(t, m)
		for _, name := range handlers.Heeded() {
			if _, ok := known[name]; ok {
				continue
			}
			asked := []e2e.Request{{Query: url.Values{name: {"1"}}}}
			if m.Input != "" {
				asked[0].Body = []byte("{}")
				asked = append(asked, e2e.Request{Body: []byte(`{"` + name + `":"1"}`)})
			}
			for _, r := range asked {
				a := alice.Call(t, m, r, nil).Want(t, bad, "InvalidRequest")
				assert.Contains(t, a.Message, "/"+name+" has no meaning in this method", m.NSID)
			}
		}
	}
	alice.Get(t, mlsapi.MethodGetMessages, nil, "convoId", chat.ID, "colour", "blue", "cursor", "").OK(t)
	alice.Get(t, mlsapi.MethodGetMessages, nil, "convoId", chat.ID, "sinceSeq", "0", "sinceMessage", "x").Want(t, bad, "InvalidRequest")
}
