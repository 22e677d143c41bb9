package ir

import (
	"math"

	"mls-server/lexrt"

	"mls-server/tools/lexgen/lexicon"
)

// bodyBound is the size in bytes that a valid body cannot exceed, with room for
// members that the schema does not know, or why there is none.
func bodyBound(body *Body) (bound int64, why string) {
	if !body.JSON() {
		return 0, "it is not JSON with a schema"
	}
	w := &bounds{open: map[*Struct]bool{}, slices: map[*Slice]bool{}}
	n := w.of(body.Type)
	if w.why != "" {
		return 0, w.why
	}
	return roundUp(n + n/8 + 4096), ""
}

func roundUp(n int64) int64 { return (n + 1023) / 1024 * 1024 }

type bounds struct {
	open   map[*Struct]bool
	slices map[*Slice]bool
	why    string
}

func (w *bounds) unbounded(why string) int64 {
	if w.why == "" {
		w.why = why
	}
	return 0
}

// formatLen has the longest value of each format, from its specification or, where
// that has none, from the limits of the reference implementation.
var formatLen = map[lexrt.Format]int64{
	lexrt.FormatATIdentifier: 2048, lexrt.FormatATURI: 8192, lexrt.FormatCID: 256, lexrt.FormatDatetime: 64,
	lexrt.FormatDID: 2048, lexrt.FormatHandle: 253, lexrt.FormatLanguage: 128, lexrt.FormatNSID: 317,
	lexrt.FormatRecordKey: 512, lexrt.FormatTID: 13, lexrt.FormatURI: 8192,
}

// escaped is how much longer a string can get: any byte may be written as \u00XX.
const escaped = 6

func (w *bounds) of(t *Type) int64 {
	switch s := t.Schema.(type) {
	case *lexicon.String:
		return w.str(s)
	case *lexicon.Bytes:
		if s.MaxLength == nil {
			return w.unbounded("a byte string without maxLength")
		}
		return mul((*s.MaxLength+2)/3, 4) + 16
	case *lexicon.Array:
		if s.MaxLength == nil {
			return w.unbounded("an array without maxLength")
		}
		if t.Kind == Array {
			return 2 + mul(*s.MaxLength, w.of(t.Elem)+1)
		}
		if w.slices[t.Slice] {
			return w.unbounded("an array that contains itself")
		}
		w.slices[t.Slice] = true
		defer delete(w.slices, t.Slice)
		return 2 + mul(*s.MaxLength, w.of(t.Slice.Elem)+1)
	}
	switch t.Kind {
	case Bool:
		return 5
	case Int:
		return 20
	case CID:
		return 80
	case Blob:
		return 512
	case StructKind:
		return w.object(t.Struct)
	case UnionKind:
		if !t.Union.Closed {
			return w.unbounded("an open union")
		}
		var most int64
		for _, m := range t.Union.Members {
			most = max(most, w.object(m)+int64(len(m.TypeName))+16)
		}
		return most
	default:
		return w.unbounded("a value of any type")
	}
}

func (w *bounds) str(s *lexicon.String) int64 {
	most := int64(math.MaxInt64)
	for _, v := range s.Enum {
		if most == math.MaxInt64 {
			most = 0
		}
		most = max(most, int64(len(v)))
	}
	if s.MaxLength != nil {
		most = min(most, *s.MaxLength)
	}
	if n, ok := formatLen[s.Format]; ok {
		most = min(most, n)
	}
	if most == math.MaxInt64 {
		return w.unbounded("a string without maxLength")
	}
	return 2 + mul(most, escaped)
}

func (w *bounds) object(s *Struct) int64 {
	if s.Wraps != nil {
		s = s.Wraps
	}
	if w.open[s] {
		return w.unbounded("an object that contains itself")
	}
	w.open[s] = true
	defer delete(w.open, s)
	n := int64(2)
	for _, f := range s.Fields {
		n += int64(len(f.Name)) + 4 + w.of(f.Type)
		if n > math.MaxInt32 {
			return w.unbounded("a size beyond 2 GiB")
		}
	}
	return n
}

// mul multiplies without overflow.
func mul(a, b int64) int64 {
	if a != 0 && b > math.MaxInt32*16/a {
		return math.MaxInt32 * 16
	}
	return a * b
}
