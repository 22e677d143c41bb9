// Package demo is mls-server demo: a story of three people, told in the terminal by real MLS
// clients on a server and a PostgreSQL that are started for it. The clients are those of e2e/; this
// package finds what they need, starts it and clears it away. Development builds alone have it.
package demo
