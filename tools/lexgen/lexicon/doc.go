// Package lexicon reads files of the AT Protocol's Lexicon language
// (https://atproto.com/specs/lexicon) and checks them: each file by itself, and
// all files of a set against each other.
//
// Every node of the result knows its file, line, column and JSON pointer. All
// problems of a set are found in one run and are sorted. What the language does
// not know is never dropped silently: it is an error, a warning or a note.
//
// The package must not know Go code generation; package ir does that.
package lexicon
