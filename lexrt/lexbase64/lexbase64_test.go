package lexbase64_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"mls-server/lexrt/lexbase64"
)

var forms = []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*151 + n)
	}
	return b
}

func TestDecode(t *testing.T) {
	t.Parallel()
	for n := range 700 {
		raw := pattern(n)
		for _, form := range forms {
			text := form.EncodeToString(raw)
			if got, err := lexbase64.Decode([]byte(text)); err != nil || !bytes.Equal(got, raw) {
				t.Fatalf("%s: %x, %v", text, got, err)
			}
			got, err := lexbase64.DecodeURL(text)
			if own := form == base64.RawURLEncoding || text == base64.RawURLEncoding.EncodeToString(raw); own != (err == nil) || own && !bytes.Equal(got, raw) {
				t.Fatalf("%s as unpadded base64url: %x, %v", text, got, err)
			}
		}
		if got := lexbase64.Append([]byte("x"), raw); string(got) != "x"+base64.RawStdEncoding.EncodeToString(raw) {
			t.Fatalf("%d bytes are written as %s", n, got)
		}
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("Zm9v", 100)
	for _, text := range []string{
		"a", "YQ=", "YQ===", "=", "==", "====", "Y Q", "YW\nFh", "YWFh\r\n", "YWFh\n", "\nYWFh", " YWFh", "YWFh ", "é", "YW FhYQ", "Y-+v", "Y_/v",
		long + "\n", long[:50] + "\n" + long, long + "*", long[:200] + "\x00" + long, long + "-+", long + "A",
		long + "/aaa" + long + "-aaa" + long, long + "_aaa" + long + "+aaa" + long,
	} {
		if got, err := lexbase64.Decode([]byte(text)); !errors.Is(err, lexbase64.ErrText) {
			t.Errorf("%q: %x, %v", text, got, err)
		}
		if got, err := lexbase64.DecodeURL(text); !errors.Is(err, lexbase64.ErrText) {
			t.Errorf("%q as base64url: %x, %v", text, got, err)
		}
	}
	for _, text := range []string{"YR", "YWG", long + "YR", long + "YWG"} {
		if got, err := lexbase64.Decode([]byte(text)); !errors.Is(err, lexbase64.ErrTail) {
			t.Errorf("%q: %x, %v", text, got, err)
		}
		if _, err := lexbase64.DecodeURL(text); !errors.Is(err, lexbase64.ErrTail) {
			t.Errorf("%q as base64url: %v", text, err)
		}
		if _, err := lexbase64.DecodeTrimmed([]byte(text), false); err != nil {
			t.Errorf("%q with stray bits allowed: %v", text, err)
		}
	}
}

func TestOverwrite(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("Zm9v", 100)
	for _, n := range []int{0, 1, 2, 3, 100, 24575, 24576, 24577, 100_000} {
		text := []byte(base64.RawURLEncoding.EncodeToString(pattern(n)))
		got, err := lexbase64.Overwrite(text, true)
		if err != nil || !bytes.Equal(got, pattern(n)) || cap(got) != len(got) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	for _, text := range []string{strings.Repeat("AAAA", 9000) + "\n", strings.Repeat("AAAA", 9000) + "AB", strings.Repeat("AAAA", 9000) + "-AA/" + long} {
		if _, err := lexbase64.Overwrite([]byte(text), true); err == nil {
			t.Errorf("…%q is accepted", text[len(text)-3:])
		}
	}
}

// FuzzDecode compares with the standard library, which lets only line breaks pass.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{"", "YWJj", "YQ==", strings.Repeat("Zm9v", 40) + "-_", "YWJj\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := lexbase64.Decode([]byte(text))
		var want []byte
		ok := false
		for _, form := range forms {
			if b, err := form.Strict().DecodeString(text); err == nil && !strings.ContainsAny(text, "\r\n") {
				want, ok = b, true
			}
		}
		if ok != (err == nil) || !bytes.Equal(got, want) {
			t.Fatalf("%q: %x, %v, want %x", text, got, err, want)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	text := []byte(base64.RawStdEncoding.EncodeToString(pattern(8192)))
	b.SetBytes(8192)
	for b.Loop() {
		if _, err := lexbase64.Decode(text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	raw, buf := pattern(2048), make([]byte, 0, 4096)
	b.SetBytes(2048)
	for b.Loop() {
		buf = lexbase64.Append(buf[:0], raw)
	}
}
