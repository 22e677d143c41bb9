package lexrt_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"mls-server/lexrt"
)

// decodeBytes decodes a body that is one byte string.
func decodeBytes(body []byte, owned bool) ([]byte, error) {
	req := lexrt.Request{Body: body, BodyOwned: owned}
	var v []byte
	err := lexrt.DecodeBody(&req, &v, anyBytes)
	return v, err
}

// A long byte string of a body that the endpoint owns is decoded over its text,
// to the same bytes and with the same complaints; any other body stays as it is.
func TestOwnedBodiesAreOverwritten(t *testing.T) {
	t.Parallel()
	for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.StdEncoding, base64.RawURLEncoding, base64.URLEncoding} {
		for _, size := range []int{0, 1, 100, 49150, 49151, 49152, 49153, 98304, 98305, 98306, 98307, 1 << 20} {
			data := make([]byte, size)
			_, _ = rand.Read(data) // never fails
			for _, form := range []string{`"%"`, `{"$bytes":"%"}`, `{ "$bytes" : "%" }`} {
				text := []byte(strings.Replace(form, "%", enc.EncodeToString(data), 1))
				before := bytes.Clone(text)
				got, err := decodeBytes(text, false)
				if err != nil || !bytes.Equal(got, data) || !bytes.Equal(text, before) {
					t.Fatalf("%d bytes: %v; the body changed: %v", size, err, !bytes.Equal(text, before))
				}
				got, err = decodeBytes(text, true)
				if err != nil || !bytes.Equal(got, data) {
					t.Fatalf("%d bytes of an owned body: %v", size, err)
				}
				if inside(got, text) != (len(enc.WithPadding(base64.NoPadding).EncodeToString(data)) >= 64<<10) {
					t.Errorf("%d bytes of an owned body: over the text: %v", size, inside(got, text))
				}
				if cap(got) != len(got) {
					t.Errorf("appending to %d bytes would write into the body", size)
				}
			}
		}
	}
}

func TestOwnedBodiesAreRefusedAlike(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("AbC9", 40<<10)
	for _, text := range []string{
		long + "A", long + "AB", long + "AAB", long + "AA=", long + "=", long + "====", long + " ", long + "\\n", "!" + long,
		long[:70000] + "*" + long, long + "+-", long[:100] + "-" + long + "/",
	} {
		text = strconv.Quote(text)
		_, err := decodeBytes([]byte(text), false)
		_, owned := decodeBytes([]byte(text), true)
		if !errors.As(err, new(*lexrt.InvalidError)) || owned == nil || err.Error() != owned.Error() {
			t.Errorf("…%s: %v; owned: %v", text[len(text)-8:], err, owned)
		}
	}
}

// inside says whether b is a part of a's memory.
func inside(b, a []byte) bool {
	if len(b) == 0 || len(a) == 0 {
		return false
	}
	at, start := uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&a[0]))
	return at >= start && at < start+uintptr(len(a))
}
