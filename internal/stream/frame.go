package stream

import (
	"context"
	"sync"
	"sync/atomic"

	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

// InfoKind is the kind of an infoEvent, as the lexicon spells it.
type InfoKind string

// The kinds that come from the log.
const (
	InfoMembershipChanged InfoKind = "membership-changed"
	InfoAdminChanged      InfoKind = "admin-changed"
	InfoEpochAdvanced     InfoKind = "epoch-advanced"
	InfoWelcomeAvailable  InfoKind = "welcome-available"
	InfoDevicePending     InfoKind = "device-pending"
	InfoRejoinRequested   InfoKind = "rejoin-requested"
	InfoRemovalPending    InfoKind = "removal-pending"
	InfoKeyPackagesLow    InfoKind = "key-packages-low"
	InfoReportReceived    InfoKind = "report-received"
	InfoReportResolved    InfoKind = "report-resolved"
	InfoBlockConflict     InfoKind = "block-conflict"
)

// The kinds that are about the stream itself.
const (
	// InfoCompacted: events are missing, and must be made up for by polling; with
	// a conversation, those of one large message of it.
	InfoCompacted      InfoKind = "compacted"
	InfoSlowConsumer   InfoKind = "slow-consumer"
	InfoReauthenticate InfoKind = "reauthenticate"
	InfoRollover       InfoKind = "rollover"
	InfoServerRestart  InfoKind = "server-restart"
)

// texts are what infoEvents say to people.
var texts = map[InfoKind]string{
	InfoMembershipChanged: "The members of a conversation have changed.",
	InfoAdminChanged:      "The admins of a conversation have changed.",
	InfoEpochAdvanced:     "A commit has begun a new epoch.",
	InfoWelcomeAvailable:  "A Welcome is waiting; fetch it with getWelcome.",
	InfoDevicePending:     "A member's device waits to be added; commit it with addMembers.",
	InfoRejoinRequested:   "A member asks to be added again; commit it with addMembers.",
	InfoRemovalPending:    "A user has left and waits to be removed from the group by a commit.",
	InfoKeyPackagesLow:    "Key packages are running out; publish more.",
	InfoReportReceived:    "A member was reported.",
	InfoReportResolved:    "A report was resolved.",
	InfoBlockConflict:     "Two members of a conversation block each other.",
	InfoCompacted:         "Events are missing here; fetch what changed with getConvos and getMessages.",
	InfoSlowConsumer:      "The stream was not read fast enough; resume with the last cursor.",
	InfoReauthenticate:    "The stream has reached its time; resume with a new token and the last cursor.",
	InfoRollover:          "The stream has reached its size; resume with a new token and the last cursor.",
	InfoServerRestart:     "The server is restarting; resume with the last cursor.",
}

// infoKinds names the kinds of the log's events; a message is none.
var infoKinds = map[store.EventKind]InfoKind{
	store.EventMemberJoined:    InfoMembershipChanged,
	store.EventMemberLeft:      InfoMembershipChanged,
	store.EventAdminChanged:    InfoAdminChanged,
	store.EventEpochAdvanced:   InfoEpochAdvanced,
	store.EventWelcome:         InfoWelcomeAvailable,
	store.EventDevicePending:   InfoDevicePending,
	store.EventRejoinRequested: InfoRejoinRequested,
	store.EventRemovalPending:  InfoRemovalPending,
	store.EventKeyPackagesLow:  InfoKeyPackagesLow,
	store.EventReportReceived:  InfoReportReceived,
	store.EventReportResolved:  InfoReportResolved,
	store.EventBlockConflict:   InfoBlockConflict,
}

// Info is what an infoEvent tells.
type Info struct {
	Kind InfoKind
	// Text is for people.
	Text string
	// What it is about; "" and nil for nothing.
	ConvoID mls.ConvoID
	User    mls.DID
	Device  mls.DeviceID
	Request store.RequestID
	Epoch   *mls.Epoch
}

// Encoder turns events into those of the lexicon, which this package does not
// know. The name is that of the event's definition.
type Encoder interface {
	Message(cursor string, m *store.Message) (name string, data lexrt.Response)
	Info(cursor string, i *Info) (name string, data lexrt.Response)
}

// entry is one event as all streams of the process share it.
type entry struct {
	store.LogEntry
	// frame is the encoded event, nil while it is not in memory, empty when its
	// message is gone.
	frame   atomic.Pointer[[]byte]
	loading sync.Mutex
}

// cursor returns the cursor that resumes after a place.
func (h *Hub) cursor(at store.LogCursor) string { return h.cursors.encode(at) }

// infoFrame encodes an event that is no message.
func (h *Hub) infoFrame(e *store.LogEntry) []byte {
	kind, known := infoKinds[e.Kind]
	if !known {
		// Written by a newer version of the server: streams of that version show it.
		return []byte{}
	}
	return h.encodeInfo(e.Cursor, &Info{
		Kind: kind, ConvoID: e.ConvoID, User: e.User, Device: e.Device, Request: e.Request, Epoch: e.Epoch,
	})
}

func (h *Hub) encodeInfo(at store.LogCursor, i *Info) []byte {
	const usual = 384
	i.Text = texts[i.Kind]
	cursor := h.cursor(at)
	name, data := h.opt.Encoder.Info(cursor, i)
	return lexrt.AppendFrame(make([]byte, 0, usual), cursor, name, data)
}

// messageFrame encodes a message, or nothing when it is gone.
func (h *Hub) messageFrame(dst []byte, at store.LogCursor, m *store.Message) []byte {
	if m == nil {
		return dst
	}
	cursor := h.cursor(at)
	name, data := h.opt.Encoder.Message(cursor, m)
	return lexrt.AppendFrame(dst, cursor, name, data)
}

// frameSize estimates the size of a message's frame.
func frameSize(m *store.Message) int {
	const envelope = 384
	if m == nil {
		return 0
	}
	return (len(m.Ciphertext)*4+2)/3 + envelope
}

// frameCache bounds the memory of encoded messages: the oldest are dropped
// first, and read again by streams that were too slow for them.
type frameCache struct {
	mu    sync.Mutex
	held  ring[heldFrame]
	bytes int64
	limit int64
}

type heldFrame struct {
	entry *entry
	size  int64
}

// put gives e its frame.
func (c *frameCache) put(e *entry, frame []byte) {
	e.frame.Store(&frame)
	if len(frame) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held.push(heldFrame{e, int64(len(frame))})
	c.bytes += int64(len(frame))
	for c.bytes > c.limit && c.held.len() > 1 {
		oldest := c.held.pop()
		oldest.entry.frame.Store(nil)
		c.bytes -= oldest.size
	}
}

// frameOf returns an entry's frame, which must not be changed. It is read from
// the database when it is not in memory, by one stream for all.
func (h *Hub) frameOf(ctx context.Context, e *entry) ([]byte, error) {
	if frame := e.frame.Load(); frame != nil {
		return *frame, nil
	}
	e.loading.Lock()
	defer e.loading.Unlock()
	if frame := e.frame.Load(); frame != nil {
		return *frame, nil
	}
	messages, release, err := h.readMessages(ctx, []store.MessageRef{{ConvoID: e.ConvoID, Seq: e.Seq}})
	if err != nil {
		return nil, err
	}
	defer release()
	frame := h.messageFrame(make([]byte, 0, frameSize(messages[0])), e.Cursor, messages[0])
	h.cache.put(e, frame)
	return frame, nil
}

const (
	// batchBytes is how much ciphertext one stream reads at once, unless a single
	// message is larger.
	batchBytes = 128 << 10
	// maxReaders and maxLargeReaders bound how many streams read such a batch, or
	// one message that is larger, at the same time.
	maxReaders      = 64
	maxLargeReaders = 4
)

// readMessages reads the first of refs that fit a batch, and at least one,
// for one stream. release must be called when they are encoded.
func (h *Hub) readMessages(ctx context.Context, refs []store.MessageRef) (messages []*store.Message, release func(), err error) {
	messages, release, err = h.readBatch(ctx, h.readers, refs, false)
	if err != nil || len(messages) > 0 {
		return messages, release, err
	}
	release()
	return h.readBatch(ctx, h.largeReaders, refs[:1], true)
}

func (h *Hub) readBatch(ctx context.Context, slots chan struct{}, refs []store.MessageRef, force bool) (messages []*store.Message, release func(), err error) {
	if err := acquire(ctx, slots); err != nil {
		return nil, nil, err
	}
	release = func() { <-slots }
	messages, err = h.opt.Log.StreamMessages(ctx, refs, batchBytes, force)
	if err != nil {
		release()
		return nil, nil, err
	}
	return messages, release, nil
}

func acquire(ctx context.Context, slots chan struct{}) error {
	select {
	case slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
