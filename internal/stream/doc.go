// Package stream feeds the callers of streamConvoEvents from the event log.
//
// One tailer per process reads the log in order, woken by hints after commits
// (Bus) and by a short poll when hints are lost. It reads each message once,
// encodes it once, and hands pointers to the streams of the users concerned, so
// the database's work per event does not grow with the number of streams.
//
// It keeps these invariants:
//   - a stream is given each event that its user may see exactly once, in the
//     log's order, whatever was replayed from the database and whatever came
//     live: both meet at one position, taken under the hub's lock;
//   - who is a member follows from the log's joins and leaves, taken at their
//     place in the order, never from a look at the roster in between: a removed user is
//     given its own removal and nothing after it (I10);
//   - a client that does not read costs bounded memory: a bounded queue of
//     pointers, and encoded messages in a cache of bounded size that are read
//     again should they be needed after all;
//   - cursors are encrypted positions and carry no time (I8).
//
// It must not decide what may be written, must not write to the database, and
// must not log or count anything that names a user or a conversation (I9).
package stream
