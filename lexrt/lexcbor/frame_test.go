package lexcbor_test

import (
	"encoding/hex"
	"testing"

	"mls-server/lexrt"
	"mls-server/lexrt/lexcbor"
)

const subscription = "com.example.subscribeNotes"

// TestFrames encodes frames byte by byte as the specification has them, and reads them back.
func TestFrames(t *testing.T) {
	t.Parallel()
	body := func(src string) lexrt.Response {
		return lexrt.ResponseFunc(func(dst []byte) []byte { return append(dst, src...) })
	}
	for _, c := range []struct {
		typ, src, want, back string
	}{
		{subscription + "#note", `{"a":1}`, "a2" + "6174" + "65236e6f7465" + "626f70" + "01" + "a1616101", `{"a":1}`},
		{"com.example.other#note", `{"$type":"com.example.other#note","b":{"$bytes":"AQ"}}`, "a2" + "6174" + "76" + hex.EncodeToString([]byte("com.example.other#note")) + "626f70" + "01" + "a161624101", `{"b":{"$bytes":"AQ"}}`},
		{subscription, `{}`, "a2" + "6174" + "781a" + hex.EncodeToString([]byte(subscription)) + "626f70" + "01" + "a0", `{}`},
	} {
		got, err := lexcbor.AppendMessage(nil, subscription, c.typ, body(c.src))
		if err != nil || hex.EncodeToString(got) != c.want {
			t.Errorf("%s: %v\n%x\n%s", c.typ, err, got, c.want)
			continue
		}
		f, err := lexcbor.ReadFrame(subscription, got)
		if err != nil || f.Op != lexcbor.OpMessage || f.Type != c.typ || string(f.Body) != c.back {
			t.Errorf("%s: %v %+v %s", c.typ, err, f, f.Body)
		}
	}
	for _, src := range []string{`[]`, `1`, `{"a":1.5}`, `{`} {
		if got, err := lexcbor.AppendMessage(nil, subscription, subscription+"#note", body(src)); err == nil {
			t.Errorf("%s became %x", src, got)
		}
	}
	got, err := lexcbor.AppendError(nil, &lexrt.Error{Name: "FutureCursor", Status: 400, Message: "no"})
	if want := "a1626f7020" + "a2656572726f726c467574757265437572736f72676d657373616765626e6f"; err != nil || hex.EncodeToString(got) != want {
		t.Errorf("%v\n%x\n%s", err, got, want)
	}
}

// TestForeignFrames reads what the specification allows and this package does not write, and
// refuses the rest.
func TestForeignFrames(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"a1626f7001" + "a0":                       `{}`, // a message without a type
		"a3626f70016174612361780a" + "a1616101":   `{"a":1}`,
		"a2626f7001617463236162" + "a1616101":     `{"a":1}`, // in another order, and with more
		"a1626f7005" + "a0":                       `{}`,      // an op that is still to come
		"":                                        "",
		"a1626f7001":                              "",
		"a1626f7001" + "a0" + "a0":                "",
		"a0" + "a0":                               "",
		"a1626f706131" + "a0":                     "", // an op in text
		"a2626f7001617401" + "a0":                 "", // a type that is none
		"a1626f7001" + "80":                       "",
		"a1626f7001" + "a1616101"[:6]:             "",
		"a1626f7001" + "a10101":                   "",
		"a1626f7001" + "a16161fb3ff8000000000000": "",
		"80" + "a0":                               "",
	} {
		data, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(text, err)
		}
		f, err := lexcbor.ReadFrame(subscription, data)
		if (err == nil) != (want != "") || err == nil && string(f.Body) != want {
			t.Errorf("%s: %v %s", text, err, f.Body)
		}
	}
}

// FuzzFrames: whatever is read is a value of the data model.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("\xa1\x62op\x01\xa0"))
	f.Fuzz(func(t *testing.T, data []byte) {
		frame, err := lexcbor.ReadFrame(subscription, data)
		if err != nil {
			return
		}
		if _, err := lexcbor.FromJSON(frame.Body); err != nil {
			t.Errorf("%v: %s", err, frame.Body)
		}
	})
}
