package mls

import (
	"encoding/base64"
	"strings"
)

// DecodeText decodes base64 text in any of the four forms that the contract
// accepts: standard or URL alphabet, padded or not. Spaces, line breaks and stray bits
// in the last character are refused. The error is ErrInvalidBase64.
func DecodeText(s string) ([]byte, error) {
	if len(s)%4 == 0 {
		s = strings.TrimSuffix(strings.TrimSuffix(s, "="), "=")
	}
	enc := base64.RawStdEncoding
	if strings.ContainsAny(s, "-_") {
		enc = base64.RawURLEncoding
	}
	// Package base64 skips line breaks even when strict.
	if strings.ContainsAny(s, "\r\n") {
		return nil, ErrInvalidBase64
	}
	b, err := enc.Strict().DecodeString(s)
	if err != nil {
		return nil, ErrInvalidBase64
	}
	return b, nil
}

// EncodeText encodes to the form in which text fields leave the server: URL-safe, unpadded.
func EncodeText(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
