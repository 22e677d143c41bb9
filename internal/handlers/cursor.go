package handlers

import (
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/lexrt/lexbase64"
)

// A message cursor is "m." and the base64 of conversation id and seq. It holds
// no time (I8), and the conversation is checked, so that a cursor of another
// one is refused instead of skipping messages.
const cursorPrefix = "m."

func messageCursor(convo mls.ConvoID, seq mls.Seq) string {
	b := append(make([]byte, 0, len(convo)+8), convo...)
	b = binary.BigEndian.AppendUint64(b, uint64(seq)) //nolint:gosec // seqs are positive
	return cursorPrefix + base64.RawURLEncoding.EncodeToString(b)
}

// position is a place in a conversation: after a message, or after a seq of a conversation.
type position struct {
	message mls.MessageID
	convo   mls.ConvoID
	seq     mls.Seq
}

// parsePosition reads what a client may name a message by: its id, or a
// cursor. The error is mls.ErrInvalidCursor.
func parsePosition(s string) (position, error) {
	text, ok := strings.CutPrefix(s, cursorPrefix)
	if !ok {
		id, err := mls.ParseMessageID(s)
		if err != nil {
			return position{}, mls.ErrInvalidCursor
		}
		return position{message: id}, nil
	}
	b, err := decodeCursor(text)
	if err != nil {
		return position{}, err
	}
	convo, seq := b[:len(b)-8], binary.BigEndian.Uint64(b[len(b)-8:])
	if seq > 1<<62 {
		return position{}, mls.ErrInvalidCursor
	}
	return position{convo: mls.ConvoID(convo), seq: mls.Seq(seq)}, nil
}

// decodeCursor returns the bytes of a cursor without its prefix: eight of a
// number, and at least one of an id. The error is mls.ErrInvalidCursor.
func decodeCursor(text string) ([]byte, error) {
	b, err := lexbase64.DecodeURL(text)
	if err != nil || len(b) < 9 {
		return nil, mls.ErrInvalidCursor
	}
	return b, nil
}

// The cursors of lists sorted by time: a prefix for the kind of list and the
// base64 of seconds and id. The times are floored to two seconds (I8).
const (
	convoCursorPrefix      = "c."
	invitationCursorPrefix = "i."
	reportCursorPrefix     = "r."
)

func listCursor(prefix string, at time.Time, id string) string {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(id)), uint64(at.Unix())) //nolint:gosec // after 1970
	return prefix + base64.RawURLEncoding.EncodeToString(append(b, id...))
}

// parseListCursor reads listCursor's form. The error is mls.ErrInvalidCursor.
func parseListCursor(prefix, s string) (time.Time, string, error) {
	text, ok := strings.CutPrefix(s, prefix)
	if !ok {
		return time.Time{}, "", mls.ErrInvalidCursor
	}
	b, err := decodeCursor(text)
	// The id is one of the server's own: printable ASCII.
	foreign := func(c byte) bool { return c <= ' ' || c > '~' }
	if err != nil || binary.BigEndian.Uint64(b) > 1<<40 || slices.ContainsFunc(b[8:], foreign) {
		return time.Time{}, "", mls.ErrInvalidCursor
	}
	return time.Unix(int64(binary.BigEndian.Uint64(b)), 0).UTC(), string(b[8:]), nil //nolint:gosec // bounded above
}

// convoCursor names a place among a user's conversations, or among its invitations.
func convoCursor(c store.ConvoCursor) string {
	prefix := convoCursorPrefix
	if c.Invitations {
		prefix = invitationCursorPrefix
	}
	return listCursor(prefix, c.At, string(c.ID))
}

func parseConvoCursor(s string) (store.ConvoCursor, error) {
	prefix, invitations := convoCursorPrefix, strings.HasPrefix(s, invitationCursorPrefix)
	if invitations {
		prefix = invitationCursorPrefix
	}
	at, id, err := parseListCursor(prefix, s)
	if err != nil {
		return store.ConvoCursor{}, err
	}
	if _, err := mls.ParseConvoKey(id); err != nil {
		return store.ConvoCursor{}, mls.ErrInvalidCursor
	}
	return store.ConvoCursor{Invitations: invitations, At: at, ID: mls.ConvoID(id)}, nil
}
