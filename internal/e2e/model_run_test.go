package e2e_test

import (
	"encoding/hex"
	"flag"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
)

var (
	modelSeed  = flag.Uint64("model.seed", 1, "seed of the model tests, 0 for a new one")
	modelSteps = flag.Int("model.steps", 0, "steps of the model test, 0 for 10,000, or 2,000 with -short or the race detector")
)

const modelWorlds = 4

// world is ten users, five conversations and the model of them.
type world struct {
	t        *testing.T
	rng      *rand.Rand
	users    []*modelUser
	convos   []*modelConvo
	devices  map[string]*modelDevice // by device id
	keys     map[string]*modelDevice // by signature key
	used     map[string]bool         // references of packages that a Welcome has used
	reserved map[string]bool         // of those that a rejoin has brought
	did      string                  // the operation that is looked at
	repeat   func() (e2e.Answer, string)
	outcomes map[string]int // of operation and error
	// invites is how many users each has invited, invitations what came of them.
	invites     map[*modelUser]int
	invitations map[modelPair]modelInvitations
}

// Random operations by ten users on five conversations: the server and the
// model answer alike, step by step (I1, I2, I3, I4, I10). All steps are done,
// however long they take: 10,000 in a part of make test without the race
// detector, 2,000 with it.
func TestModel(t *testing.T) {
	t.Parallel()
	seed, steps := *modelSeed, *modelSteps
	if seed == 0 {
		seed = rand.Uint64()
	}
	if steps == 0 {
		steps = 10000
		if testing.Short() || raceEnabled {
			steps = 2000
		}
	}
	t.Logf("seed: -model.seed=%d", seed)
	s := e2e.Start(t, e2e.Env{"EXTERNAL_JOIN": "open"})
	var done atomic.Int64
	var mu sync.Mutex
	outcomes := map[string]int{}
	t.Cleanup(func() {
		t.Logf("%d of %d steps: %v", done.Load(), steps, outcomes)
		if t.Failed() {
			return
		}
		if done.Load() != int64(steps) {
			t.Errorf("%d steps of %d were done", done.Load(), steps)
		}
		for _, o := range new(world).operations() {
			// A repeated request is compared without being expected to succeed; in a short run
			// chance may leave something out.
			if o.name != "repeat" && steps >= 10000 && outcomes[o.name+" "] == 0 {
				t.Errorf("%s never succeeded, so the test shows little", o.name)
			}
		}
	})
	for i := range uint64(modelWorlds) {
		t.Run(strconv.FormatUint(i, 10), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, s, rand.New(rand.NewPCG(seed, i)))
			for step := range steps / modelWorlds {
				w.step()
				done.Add(1)
				if step%20 == 0 {
					w.compare(w.user())
				}
				if t.Failed() {
					t.Fatalf("diverged in world %d at step %d after %s; -model.seed=%d", i, step, w.did, seed)
				}
			}
			for _, u := range w.users {
				w.compare(u)
			}
			if t.Failed() {
				t.Fatalf("diverged at the end of world %d; -model.seed=%d", i, seed)
			}
			mu.Lock()
			defer mu.Unlock()
			for outcome, n := range w.outcomes {
				outcomes[outcome] += n
			}
		})
	}
}

func newWorld(t *testing.T, s *e2e.Server, rng *rand.Rand) *world {
	t.Helper()
	w := &world{t: t, rng: rng, devices: map[string]*modelDevice{}, keys: map[string]*modelDevice{}, used: map[string]bool{}, reserved: map[string]bool{}, outcomes: map[string]int{}}
	w.invites, w.invitations = map[*modelUser]int{}, map[modelPair]modelInvitations{}
	for _, u := range s.Users(10) {
		m := &modelUser{User: u}
		w.users = append(w.users, m)
		w.register(m)
	}
	for i := range 5 {
		creator := w.users[i]
		chat := creator.Create(t)
		c := newModelConvo(chat, 0)
		c.invitations = w.invitations
		c.seats[creator.devices[0]], c.admins[creator] = modelSeat{}, true
		w.convos = append(w.convos, c)
	}
	return w
}

func pick[T any](w *world, list []T) T { return list[w.rng.IntN(len(list))] }

func (w *world) user() *modelUser { return pick(w, w.users) }

// chance is true once in n times.
func (w *world) chance(n int) bool { return w.rng.IntN(n) == 0 }

// someone is a member three times of four, so that operations succeed.
func (w *world) someone(c *modelConvo) *modelUser {
	if w.chance(4) {
		return w.user()
	}
	members := slices.DeleteFunc(slices.Clone(w.users), func(u *modelUser) bool { return c.here(u) != "" })
	return pick(w, members)
}

func (w *world) device(p mlsapi.DefsKeyPackageRef) *modelDevice { return w.keys[e2e.KeyOf(w.t, &p)] }

// expect compares the name of an answer's error with those that are due.
func (w *world) expect(a e2e.Answer, want ...string) bool {
	w.t.Helper()
	if !slices.Contains(want, a.Error) || (a.Error == "") != (a.Status == 200) {
		w.t.Errorf("%s: the server says %d %q (%s), the model %q", w.did, a.Status, a.Error, a.Message, want)
	}
	w.outcomes[w.did+" "+a.Error]++
	return a.Status == 200
}

// epoch is the conversation's, or once in eight times a wrong one.
func (w *world) epoch(c *modelConvo) int64 {
	if w.chance(8) {
		return max(0, c.epoch+int64(w.rng.IntN(5))-2)
	}
	return c.epoch
}

func (w *world) group(c *modelConvo, epoch int64) mlstest.Group { return c.Group.At(mls.Epoch(epoch)) }

// commit is an opaque commit in whatever epoch the world chooses; it travels as text.
func (w *world) commit(c *modelConvo) (modelMessage, *string) {
	epoch := w.epoch(c)
	raw := w.group(c, epoch).PrivateCommit()
	text := mls.EncodeText(raw)
	return modelMessage{kind: "commit", epoch: epoch, bytes: string(raw)}, &text
}

type operation struct {
	name   string
	weight int
	run    func(*modelConvo, *modelUser)
	admins bool // every other time an admin does it
}

func (w *world) operations() []operation {
	return []operation{
		{"send", 30, w.send, false},
		{"send again", 4, w.sendAgain, false},
		{"pass", 4, w.pass, false},
		{"send sealed", 12, w.sendSealed, false},
		{"give a key", 8, w.giveKey, false},
		{"commit", 5, w.sendCommit, false},
		{"propose", 3, w.sendProposal, false},
		{"claim", 8, w.claim, false},
		{"publish", 6, func(_ *modelConvo, u *modelUser) { w.publish(u) }, false},
		{"register", 3, func(_ *modelConvo, u *modelUser) { w.registerMore(u) }, false},
		{"delete a device", 1, func(_ *modelConvo, u *modelUser) { w.deleteDevice(u) }, false},
		{"replace a device", 1, func(_ *modelConvo, u *modelUser) { w.replaceDevice(u) }, false},
		{"sync", 3, func(_ *modelConvo, u *modelUser) { w.sync(u) }, false},
		{"publish several", 2, func(_ *modelConvo, u *modelUser) { w.publishSeveral(u) }, false},
		{"list devices", 2, func(_ *modelConvo, u *modelUser) { w.listDevices(u) }, false},
		{"add", 14, w.addMembers, false},
		{"accept", 4, w.acceptInvitation, false},
		{"join", 3, w.join, false},
		{"leave", 3, w.leave, false},
		{"remove", 4, w.removeMember, true},
		{"take out", 4, w.takeOut, false},
		{"judge a removal", 6, w.judgeRemoval, false},
		{"promote", 3, w.promote, true},
		{"demote", 3, w.demote, true},
		{"rejoin", 4, w.requestRejoin, false},
		{"answer a rejoin", 4, w.answerRejoin, false},
		{"welcome", 5, w.welcome, false},
		{"confirm", 6, w.confirmWelcome, false},
		{"epoch", 2, w.getEpoch, false},
		{"read", 8, w.read, false},
		{"mark", 3, w.mark, false},
		{"count packages", 2, func(_ *modelConvo, u *modelUser) { w.count(u) }, false},
		{"repeat", 3, func(*modelConvo, *modelUser) { w.again() }, false},
	}
}

func (w *world) step() {
	w.t.Helper()
	c := pick(w, w.convos)
	u := w.someone(c)
	operations := w.operations()
	total := 0
	for _, o := range operations {
		total += o.weight
	}
	n := w.rng.IntN(total)
	for _, o := range operations {
		if n -= o.weight; n < 0 {
			w.did = o.name
			if o.admins && w.chance(2) {
				u = pick(w, slices.DeleteFunc(slices.Clone(w.users), func(u *modelUser) bool { return c.admin(u) != "" }))
			}
			o.run(c, u)
			return
		}
	}
}

func (w *world) register(u *modelUser) {
	w.registered(&modelDevice{Device: u.Register(w.t, 1), owner: u})
}

// registered gives a user a device that it has registered with one package.
func (w *world) registered(d *modelDevice) {
	u := d.owner
	w.devices[d.ID], w.keys[string(d.Client.SignatureKey)] = d, d
	u.devices = append(u.devices, d)
	// Which package it registered is learnt by claiming it.
	u.bag = append(u.bag, u.ClaimDevice(w.t, d.Device)...)
	for range 5 {
		w.publishFor(d)
	}
}

// registerMore gives a user a second device, which all its conversations have to add.
func (w *world) registerMore(u *modelUser) {
	if len(u.devices) > 1 {
		return
	}
	w.register(u)
	w.pending(u.devices[len(u.devices)-1])
	w.did = "register"
	w.outcomes["register "]++
}

// pending asks the members of the conversations of a device's user to add it.
func (w *world) pending(d *modelDevice) {
	for _, c := range w.convos {
		if c.here(d.owner) == "" {
			c.requests[d] = &modelRequest{kind: "device"}
		}
	}
}

func (w *world) publish(u *modelUser) {
	if len(u.devices) > 0 {
		w.publishFor(pick(w, u.devices))
	}
}

func (w *world) publishFor(d *modelDevice) {
	k := d.Client.KeyPackage(time.Now())
	a := d.Post(w.t, mlsapi.MethodPublishKeyPackage, &mlsapi.PublishKeyPackageInput{
		KeyPackage: k.Text(), IdempotencyKey: e2e.Key(), CipherSuite: mlsapi.PublishKeyPackageInputCipherSuite(mls.SuiteX25519AES128.String()),
	}, nil)
	if w.expect(a, "") {
		d.live = append(d.live, hex.EncodeToString([]byte(k.Ref)))
	}
}

// claim asks for packages of two users: the oldest live one of each device (I4).
func (w *world) claim(_ *modelConvo, u *modelUser) {
	targets := []*modelUser{w.user(), w.user()}
	args := []string{"dids", string(targets[0].DID), "dids", string(targets[1].DID)}
	var out mlsapi.GetKeyPackagesOutput
	if !w.expect(u.Get(w.t, mlsapi.MethodGetKeyPackages, &out, args...), "") {
		return
	}
	var want, got, missing []string
	for i, target := range targets {
		if i == 1 && target == targets[0] {
			break
		}
		before := len(want)
		for _, d := range target.devices {
			if len(d.live) > 0 {
				want, d.live = append(want, d.live[0]), d.live[1:]
			}
		}
		if len(want) == before {
			missing = append(missing, string(target.DID))
		}
	}
	for _, p := range out.KeyPackages {
		got = append(got, *p.KeyPackageHash)
	}
	w.same("packages", sorted(got...), sorted(want...))
	w.same("missing", sorted(slices.Compact(textsOf(out.Missing))...), sorted(missing...))
	u.bag = append(u.bag, out.KeyPackages...)
}

func textsOf[S ~string](list []S) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = string(s)
	}
	return out
}

func (w *world) same(what string, got, want any) {
	w.t.Helper()
	g, x := dump(got), dump(want)
	if g != x {
		w.t.Errorf("%s: %s: the server has\n%s\nthe model\n%s", w.did, what, g, x)
	}
}

func (w *world) sendMessage(c *modelConvo, u *modelUser, kind string, raw []byte, m modelMessage) {
	m.kind, m.bytes = kind, string(raw)
	in := &mlsapi.SendMessageInput{
		ConvoID: w.name(c), MsgID: m.id, IdempotencyKey: e2e.Key(), Ciphertext: raw, PaddedSize: int64(len(raw)), Epoch: m.epoch,
	}
	if kind == "ephemeral" {
		in.Delivery = new(mlsapi.SendMessageInputDeliveryEphemeral)
	}
	key := ""
	if kind == "commit" && w.chance(2) {
		key = w.sendKey(c, u, m.epoch+1)
		in.SendKey = []byte(key)
	}
	var out mlsapi.SendMessageOutput
	a := u.Post(w.t, mlsapi.MethodSendMessage, in, &out)
	before := c.epoch
	seq, err := c.send(u, m)
	if w.expect(a, err) && out.Seq != seq {
		w.t.Errorf("%s: seq %d, the model has %d", w.did, out.Seq, seq)
	}
	if key != "" && c.epoch > before {
		c.give(u, key)
	}
}

// name is either of the names that a conversation has.
func (w *world) name(c *modelConvo) string {
	if w.chance(4) {
		return strings.ToUpper(string(c.Group.GroupID()))
	}
	return c.ID
}

func (w *world) fresh(c *modelConvo) modelMessage {
	return modelMessage{id: string(mls.NewMessageID(time.Now())), epoch: w.epoch(c)}
}

func (w *world) send(c *modelConvo, u *modelUser) {
	m := w.fresh(c)
	w.sendMessage(c, u, "app", mlstest.PadDirect(w.group(c, m.epoch).Application(200), 512), m)
}

// pass sends what is stored nowhere: it changes nothing.
func (w *world) pass(c *modelConvo, u *modelUser) {
	m := w.fresh(c)
	w.sendMessage(c, u, "ephemeral", mlstest.PadDirect(w.group(c, m.epoch).Application(200), 512), m)
}

func (w *world) sendCommit(c *modelConvo, u *modelUser) {
	m := w.fresh(c)
	w.sendMessage(c, u, "commit", mlstest.PadPrefixed(w.group(c, m.epoch).PrivateCommit(), 0), m)
}

func (w *world) sendProposal(c *modelConvo, u *modelUser) {
	m := w.fresh(c)
	w.sendMessage(c, u, "proposal", mlstest.PadDirect(w.group(c, m.epoch).PrivateProposal(), 0), m)
}

// sendAgain repeats a message, perhaps by another member, or abuses its id.
func (w *world) sendAgain(c *modelConvo, u *modelUser) {
	if len(c.log) == 0 {
		return
	}
	m := pick(w, c.log)
	if m.id == "" {
		return // the server named it
	}
	raw := []byte(m.bytes)
	if w.chance(3) {
		raw = mlstest.PadDirect(w.group(c, m.epoch).Application(200), 512)
	}
	w.sendMessage(c, u, m.kind, raw, m)
}

// again repeats the last keyed request, whose answer must be the first one's.
func (w *world) again() {
	if w.repeat == nil {
		return
	}
	a, first := w.repeat()
	if string(a.Body) != first {
		w.t.Errorf("%s: a repeated request got %s, the first one %s", w.did, a.Body, first)
	}
}
