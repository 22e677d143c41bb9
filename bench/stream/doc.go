// Package streambench tries streamConvoEvents from outside: servers in
// processes of their own, on one PostgreSQL and one Redis, driven over HTTP on
// the loopback interface with real service tokens.
//
// TestEachEventOnce checks that every stream sees what it may see exactly once
// and in order, while clients disconnect, servers are killed, Redis goes away
// and transactions finish out of order. TestFigures prints latency,
// throughput, memory and database work, at full size with -figures.
package streambench
