package auth

import (
	"testing"
)

// BenchmarkParseToken measures what is done for a token before its key is looked for.
func BenchmarkParseToken(b *testing.B) {
	const raw = "eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NksifQ.eyJpYXQiOjE3MDAwMDAwMDAsImlzcyI6ImRpZDpwbGM6YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhIiwiYXVkIjoiZGlkOndlYjp4LmV4YW1wbGUiLCJleHAiOjE3MDAwMDAwNjAsImx4bSI6ImEuYi5jIiwianRpIjoiMDAifQ." +
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	b.ReportAllocs()
	for b.Loop() {
		if _, lerr := parseToken(raw); lerr != nil {
			b.Fatal(lerr)
		}
	}
}
