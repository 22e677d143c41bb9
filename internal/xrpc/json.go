package xrpc

import (
	"github.com/go-json-experiment/json/jsontext"

	"mls-server/lexrt"
)

// appendError appends the body of an error answer.
func appendError(dst []byte, e *lexrt.Error) []byte {
	dst = append(dst, `{"error":`...)
	dst = appendString(dst, e.Name)
	dst = append(dst, `,"message":`...)
	dst = appendString(dst, e.Message)
	return append(dst, '}')
}

// appendString appends s as a JSON string; invalid UTF-8 is replaced.
func appendString(dst []byte, s string) []byte {
	out, err := jsontext.AppendQuote(dst, s)
	if err != nil {
		// AppendQuote still appended a valid string with replacement characters.
		return out
	}
	return out
}
