// Package chaos breaks what the servers stand on while clients are at work: it kills,
// stops and restarts servers and database, fills the disk, promotes a standby, restores a
// backup, takes Redis and the directory away. After each of these every message that was
// acknowledged is looked for in the database and in the streams of everybody in its
// conversation: none may be lost, doubled or out of order.
//
// It has tests only: TestChaos is short and part of make test, make chaos plays it longer. It
// starts and ends processes of its own and touches no others.
package chaos
