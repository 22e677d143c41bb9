// Package netopt sets options of sockets that package net has no name for.
//
// Invariant it keeps: an option that a platform does not have changes nothing
// there. The package must not open connections.
package netopt
