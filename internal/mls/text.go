package mls

import (
	"encoding/base64"

	"mls-server/lexrt/lexbase64"
)

// DecodeText decodes base64 text in any of the four forms that the contract
// accepts: standard or URL alphabet, padded or not. Spaces, line breaks and stray bits
// in the last character are refused. The error is ErrInvalidBase64.
func DecodeText(s string) ([]byte, error) {
	b, err := lexbase64.Decode([]byte(s))
	if err != nil {
		return nil, ErrInvalidBase64
	}
	return b, nil
}

// EncodeText encodes to the form in which text fields leave the server: standard alphabet, padded
// (RFC 4648 section 4), the one that decoders of all languages read.
func EncodeText(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
