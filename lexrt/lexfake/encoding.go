package lexfake

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"mls-server/lexrt"
)

// Encodings encodes v in all ways in which a value reaches package encoding/json:
// by pointer and by value, alone, in a map, in a slice, in a struct and in a log. It
// returns an error when one differs from what AppendJSON writes, but for the $type
// that members of unions have there, and when encoding changes the value.
func Encodings(v lexrt.Response) error {
	want := jsontext.Value(v.AppendJSON(nil))
	if t, ok := v.(lexrt.Typed); ok {
		want = withType(want, t.LexType())
	}
	before := fmt.Sprintf("%#v", v)
	pointer, value := any(v), reflect.ValueOf(v).Elem().Interface()
	for how, x := range map[string]any{
		"pointer": map[string]any{"x": pointer}, "value": map[string]any{"x": value},
		"struct": struct {
			X any `json:"x"`
		}{value},
	} {
		got, err := json.Marshal(x)
		if err != nil {
			return fmt.Errorf("%T by %s: %w", v, how, err)
		}
		if !sameJSON(got, fmt.Appendf(nil, `{"x":%s}`, want)) {
			return fmt.Errorf("%T by %s is %s, want %s", v, how, excerpt(got), excerpt(want))
		}
	}
	if got, err := json.Marshal([]any{value}); err != nil || !sameJSON(got, fmt.Appendf(nil, "[%s]", want)) {
		return fmt.Errorf("%T in a slice is %s, want %s: %w", v, excerpt(got), excerpt(want), err)
	}
	if got := logged(value); !sameJSON(got, want) {
		return fmt.Errorf("%T in a log is %s, want %s", v, excerpt(got), excerpt(want))
	}
	if after := fmt.Sprintf("%#v", v); after != before {
		return fmt.Errorf("encoding changes a %T", v)
	}
	return nil
}

func logged(v any) []byte {
	var b bytes.Buffer
	slog.New(slog.NewJSONHandler(&b, nil)).Info("", "x", v)
	var line struct {
		X json.RawMessage `json:"x"`
	}
	if err := json.Unmarshal(b.Bytes(), &line); err != nil {
		return nil
	}
	return line.X
}

func withType(object []byte, typ string) []byte {
	if sameJSON(object, []byte("{}")) {
		return fmt.Appendf(nil, `{"$type":%q}`, typ)
	}
	if bytes.HasPrefix(object, fmt.Appendf(nil, `{"$type":%q`, typ)) { // a record has its own
		return object
	}
	return fmt.Appendf(nil, `{"$type":%q,%s`, typ, object[1:])
}

// Together encodes and checks v from several goroutines at once. Run under the race
// detector it shows whether that writes into v.
func Together(v Codec) {
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			_ = v.AppendJSON(nil)
			_ = v.Validate()
			_, _ = json.Marshal(v)
		})
	}
	wg.Wait()
}
