package stream_test

import (
	"context"
	"slices"
	"sync"

	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/internal/stream"
)

// memoryLog is a log without a database, for tests that control time. Its
// users are members of every conversation.
type memoryLog struct {
	mu        sync.Mutex
	entries   []store.LogEntry
	messages  map[store.MessageRef]*store.Message
	compacted store.LogCursor
	reads     int
	silent    bool // reads wait for the end of their time
	unsettled bool // nothing can be given out yet
	absent    bool // nobody is a member of anything
	// restores is how often the log went back.
	restores int64
}

var _ stream.Log = (*memoryLog)(nil)

const theConvo = mls.ConvoID("3jzfcijpj2z2a")

func (l *memoryLog) StreamLog(_ context.Context, at store.LogCursor) (store.StreamLog, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	intact := at == store.LogCursor{} || slices.ContainsFunc(l.entries, func(e store.LogEntry) bool { return e.Cursor == at })
	return store.StreamLog{Generation: 1 + l.restores, Intact: intact, Compacted: l.compacted, CursorKey: make([]byte, 32)}, nil
}

func (l *memoryLog) LogEnd(context.Context) (store.LogCursor, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.entries) == 0 {
		return store.LogCursor{}, nil
	}
	return l.entries[len(l.entries)-1].Cursor, nil
}

func (l *memoryLog) after(c store.LogCursor, limit int) []store.LogEntry {
	i := slices.IndexFunc(l.entries, func(e store.LogEntry) bool { return e.Cursor.Compare(c) > 0 })
	if i < 0 {
		return nil
	}
	return slices.Clone(l.entries[i:min(i+limit, len(l.entries))])
}

func (l *memoryLog) ReadLog(ctx context.Context, after store.LogCursor, limit int) (store.LogPage, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reads++
	if l.silent {
		l.mu.Unlock()
		<-ctx.Done()
		l.mu.Lock()
		return store.LogPage{}, ctx.Err()
	}
	entries := l.after(after, limit)
	if l.unsettled && len(entries) > 0 {
		return store.LogPage{Unsettled: true, Waiting: entries[0].Cursor}, nil
	}
	return store.LogPage{Entries: entries}, nil
}

func (l *memoryLog) Replay(_ context.Context, p store.ReplayParams) ([]store.LogEntry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(l.after(p.After, p.Limit), func(e store.LogEntry) bool {
		return e.Cursor.Compare(p.Until) > 0 || e.Audience == store.ToUser && e.AudienceDID != p.User
	}), nil
}

func (l *memoryLog) StreamConvos(context.Context, mls.DID, store.LogCursor) ([]store.StreamConvo, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.absent {
		return nil, nil
	}
	return []store.StreamConvo{{ConvoID: theConvo, Now: true, Then: true}}, nil
}

func (l *memoryLog) LostEvents(_ context.Context, user mls.DID, _ mls.ConvoID, at store.LogCursor) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.after(at, len(l.entries)), func(e store.LogEntry) bool {
		return e.Cursor.Compare(l.compacted) <= 0 && (e.Audience != store.ToUser || e.AudienceDID == user)
	}), nil
}

func (l *memoryLog) StreamMessages(_ context.Context, refs []store.MessageRef, maxBytes int64, force bool) ([]*store.Message, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []*store.Message
	for i, r := range refs {
		if m := l.messages[r]; m != nil {
			if maxBytes -= int64(len(m.Ciphertext)); maxBytes < 0 && (!force || i > 0) {
				break
			}
		}
		out = append(out, l.messages[r])
	}
	return out, nil
}

func (l *memoryLog) StreamAdmins(context.Context, []mls.ConvoID) (map[mls.ConvoID]map[mls.DID]bool, error) {
	return nil, nil
}

func (l *memoryLog) FindConvoID(_ context.Context, key mls.ConvoKey) (mls.ConvoID, error) {
	return key.ConvoID, nil
}

// set changes the log under its lock.
func (l *memoryLog) set(change func(l *memoryLog)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(l)
}

// send appends messages of a size.
func (l *memoryLog) send(sizes ...int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.messages == nil {
		l.messages = map[store.MessageRef]*store.Message{}
	}
	for _, size := range sizes {
		seq := mls.Seq(len(l.entries) + 1)
		l.entries = append(l.entries, store.LogEntry{
			Cursor: store.LogCursor{Generation: 1 + l.restores, Xid: int64(seq), Position: int64(seq)}, Kind: store.EventMessage, Audience: store.ToMembers,
			ConvoID: theConvo, FirstGroup: mls.GroupIDFromBytes([]byte(theConvo)), Seq: seq, MessageID: "01ARZ3NDEKTSV4RRFFQ69G5FAV",
		})
		l.messages[store.MessageRef{ConvoID: theConvo, Seq: seq}] = &store.Message{ConvoID: theConvo, Seq: seq, Ciphertext: make([]byte, size)}
	}
}
