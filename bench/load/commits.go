package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
)

// groupSizes are the members of the groups that commits are measured in.
var groupSizes = []int{2, 10, 50, 100, 200, 500}

const (
	commitsEach = 20 // updates that are measured in each group
	addAtOnce   = 50 // users whom one request may add
)

// commitFigures is what commits in a verified group cost: sizes in bytes, the time of the call, the
// server's CPU for it.
type commitFigures struct {
	members                        int
	addition, update               commitSizes
	additionTime, median, spentCPU time.Duration
}

// commitSizes is a commit, what comes along with it, and the whole request.
type commitSizes struct{ commit, info, welcome, request int }

// committee is a verified conversation and its members, each with a device.
type committee struct {
	m       *machine
	c       *client
	convo   string
	people  []*identity
	devices []*mlstest.Client
	group   *mlstest.VerifiedGroup
}

// measureCommits grows a verified group and commits updates in it, one after the other. The groups'
// trees are true, as those of real libraries are after additions: nodes are blank where nobody has
// committed since.
func measureCommits(ctx context.Context, m *machine, r *report) error {
	if _, err := m.startServer(ctx); err != nil {
		return err
	}
	c, err := dial(m.address)
	if err != nil {
		return err
	}
	defer func() { _ = c.conn.Close() }() // everything was read
	all := &committee{m: m, c: c}
	if err := all.found(); err != nil {
		return fmt.Errorf("begin a conversation: %w", err)
	}
	for _, n := range groupSizes {
		f := commitFigures{members: n}
		for len(all.devices) < n {
			f.addition, f.additionTime, err = all.add(min(addAtOnce, n-len(all.devices)))
			if err != nil {
				return fmt.Errorf("add members: %w", err)
			}
		}
		var times []time.Duration
		for i := range commitsEach {
			size, took, spent, err := all.update((i * n / commitsEach) % n)
			if err != nil {
				return fmt.Errorf("update in a group of %d: %w", n, err)
			}
			f.update, times, f.spentCPU = size, append(times, took), f.spentCPU+spent
		}
		slices.Sort(times)
		f.median, f.spentCPU = times[len(times)/2], f.spentCPU/commitsEach
		r.commits = append(r.commits, f)
	}
	m.directory.delay.Store(int64(upstreamDelay))
	_, r.slowAddition, err = all.add(addAtOnce)
	m.directory.delay.Store(0)
	if err != nil {
		return fmt.Errorf("add members: %w", err)
	}
	return nil
}

// upstreamDelay is how long a slow AppView takes for an answer.
const upstreamDelay = 50 * time.Millisecond

// person registers a new account's device with one key package.
func (a *committee) person() (*mlstest.KeyPackage, error) {
	i, err := a.m.directory.newIdentity(len(a.people))
	if err != nil {
		return nil, err
	}
	device := mlstest.NewClient(mls.DID(i.did), "", suite)
	k := device.KeyPackage(time.Now())
	a.people, a.devices = append(a.people, i), append(a.devices, device)
	in := mlsapi.RegisterDeviceInput{DeviceName: "phone", SignaturePublicKey: device.SignatureKey, KeyPackages: []mlsapi.RegisterDeviceKeyPackageItem{{
		KeyPackage: k.Text(), CipherSuite: mlsapi.RegisterDeviceKeyPackageItemCipherSuite(suite.String()),
	}}}
	_, _, err = a.post("registerDevice", i, in.AppendJSON(nil))
	return k, err
}

func (a *committee) found() error {
	if _, err := a.person(); err != nil {
		return err
	}
	a.group = mlstest.NewVerifiedGroup(a.devices[0])
	a.convo = string(a.group.GroupID()) // it names the conversation, too
	key := string(mls.NewMessageID(time.Now()))
	in := mlsapi.CreateConvoInput{
		GroupID: a.convo, IdempotencyKey: &key, CipherSuite: mlsapi.CreateConvoInputCipherSuite(suite.String()), GroupInfo: text(a.group.GroupInfo(0)),
	}
	_, _, err := a.post("createConvo", a.people[0], in.AppendJSON(nil))
	return err
}

// add adds n users by one commit of the first member's.
func (a *committee) add(n int) (size commitSizes, took time.Duration, err error) {
	var d mlstest.Draft
	var refs []mls.KeyPackageRef
	var dids []mls.DID
	for range n {
		k, err := a.person()
		if err != nil {
			return size, 0, err
		}
		device := a.devices[len(a.devices)-1]
		d.Add, refs, dids = append(d.Add, mlstest.Addition{Client: device, Package: k}), append(refs, k.Ref), append(dids, device.DID)
	}
	commit, next := a.group.Commit(0, nil, d)
	info, welcome := next.GroupInfo(0), next.Welcome(refs...)
	key := string(mls.NewMessageID(time.Now()))
	in := mlsapi.AddMembersInput{
		ConvoID: a.convo, IdempotencyKey: &key, DIDList: dids, Commit: text(commit), GroupInfo: text(info), WelcomeMessage: text(welcome),
	}
	body := in.AppendJSON(nil)
	took, _, err = a.post("addMembers", a.people[0], body)
	a.group = next
	return commitSizes{len(commit), len(info), len(welcome), len(body)}, took, err
}

// update commits new keys of a member's.
func (a *committee) update(member int) (size commitSizes, took, spent time.Duration, err error) {
	leaf := a.group.LeafOf(a.devices[member])
	commit, next := a.group.Commit(leaf, nil, mlstest.Draft{})
	info := next.GroupInfo(leaf)
	ciphertext := mlstest.PadDirect(commit, padded(len(commit)))
	key := string(mls.NewMessageID(time.Now()))
	in := mlsapi.SendMessageInput{
		ConvoID: a.convo, MsgID: key, IdempotencyKey: &key, Ciphertext: ciphertext, PaddedSize: int64(len(ciphertext)),
		Epoch: int64(a.group.Epoch), GroupInfo: text(info),
	}
	body := in.AppendJSON(nil)
	took, spent, err = a.post("sendMessage", a.people[member], body)
	a.group = next
	return commitSizes{commit: len(commit), info: len(info), request: len(body)}, took, spent, err
}

// padded is the bucket of a message.
func padded(n int) int {
	size := 512
	for size < n {
		size *= 2
	}
	return size
}

func text(b []byte) *string {
	s := mls.EncodeText(b)
	return &s
}

// post calls a procedure and says how long it took, and what CPU the server spent on it.
func (a *committee) post(method string, caller *identity, body []byte) (took, spent time.Duration, err error) {
	token, err := caller.token(prefix + method)
	if err != nil {
		return 0, 0, err
	}
	request := fmt.Appendf(nil, "POST /xrpc/%s%s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		prefix, method, a.m.address, token, len(body), body)
	before, began := cpu(a.m.cmd.Process.Pid), time.Now()
	status, err := a.c.do(request)
	took, spent = time.Since(began), cpu(a.m.cmd.Process.Pid)-before
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("status %d: %s", status, a.c.out.String()) //nolint:err113 // for the operator of the benchmark
	}
	return took, spent, err
}

// printCommits writes what commits cost as a table.
func (r *report) printCommits(w io.Writer) {
	line := func(format string, a ...any) { _, _ = fmt.Fprintf(w, format+"\n", a...) }
	line("| members | update: commit | GroupInfo | request | median | CPU | users added | commit | Welcome | request | time |")
	line("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
	before := 1
	for _, f := range r.commits {
		line("| %d | %d B | %d B | %d B | %.1f ms | %.1f ms | %d | %d B | %d B | %d B | %.1f ms |", f.members,
			f.update.commit, f.update.info, f.update.request, ms(f.median), ms(f.spentCPU),
			min(addAtOnce, (f.members-before-1)%addAtOnce+1), f.addition.commit, f.addition.welcome, f.addition.request, ms(f.additionTime))
		before = f.members
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
