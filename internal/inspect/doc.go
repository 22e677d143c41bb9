// Package inspect is the command "mls-server inspect": it prints what a delivery
// service sees in an MLS object, and whether it would accept it.
//
// The report's member names and the error names are stable: client authors test against them. The
// command reads one object and writes one report; it must not touch the network, the configuration
// or a database.
package inspect
