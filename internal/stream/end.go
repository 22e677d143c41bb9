package stream

import (
	"context"
	"errors"
	"os"
)

// How a stream ends, beside the kinds of infoEvents with which the server ends one.
const (
	// endLeft: the client has gone, or the network between.
	endLeft = "left"
	// endFinished: there is nothing to follow any longer.
	endFinished = "finished"
	// endRefused: the client may not follow what it asked for.
	endRefused = "refused"
	// endStalled: the client took nothing in the time of a write, or too long for something large.
	endStalled = "stalled"
	// endFailed: the fault is on this side.
	endFailed = "failed"
)

// Ends are the ways in which a stream ends, as an Observer is told of them.
func Ends() []string {
	return []string{
		endLeft, endFinished, endRefused, endStalled, endFailed,
		string(InfoSlowConsumer), string(InfoReauthenticate), string(InfoRollover), string(InfoServerRestart),
	}
}

// ending is how a stream has ended that failed with err.
func (w *writer) ending(ctx context.Context, err error) string {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return endStalled // whatever the stream was about to say
	case w.ended != "":
		return w.ended
	case errors.Is(err, ErrNoSuchConvo), errors.Is(err, errNoCursor):
		return endRefused
	case ctx.Err() != nil:
		return endLeft
	}
	return endFailed
}
