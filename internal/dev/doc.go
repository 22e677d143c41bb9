// Package dev is what only development may do: accept HS256 tokens under a
// shared secret, pass queries of other services on to the AppView, and show on
// pages what is stored.
//
// Everything in it but this comment is built with the tag mlsdev alone, so a
// released binary has no code of it (I12). A binary with the tag still refuses
// all of it in production. Package app is the only one that may import it, from a
// file with the same tag.
package dev
