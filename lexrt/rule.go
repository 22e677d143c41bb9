package lexrt

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/rivo/uniseg"
)

// Format is one of the string formats of the lexicon language.
type Format uint8

// The formats. FormatNone stands for a string without one.
const (
	FormatNone Format = iota
	FormatATIdentifier
	FormatATURI
	FormatCID
	FormatDatetime
	FormatDID
	FormatHandle
	FormatLanguage
	FormatNSID
	FormatRecordKey
	FormatTID
	FormatURI
)

// String returns the format as lexicons spell it, "" for FormatNone.
func (f Format) String() string {
	switch f {
	case FormatATIdentifier:
		return "at-identifier"
	case FormatATURI:
		return "at-uri"
	case FormatCID:
		return "cid"
	case FormatDatetime:
		return "datetime"
	case FormatDID:
		return "did"
	case FormatHandle:
		return "handle"
	case FormatLanguage:
		return "language"
	case FormatNSID:
		return "nsid"
	case FormatRecordKey:
		return "record-key"
	case FormatTID:
		return "tid"
	case FormatURI:
		return "uri"
	case FormatNone:
	}
	return ""
}

// ParseFormat returns the format that a lexicon names, or FormatNone and false.
func ParseFormat(name string) (Format, bool) {
	for f := FormatATIdentifier; f <= FormatURI; f++ {
		if f.String() == name {
			return f, true
		}
	}
	return FormatNone, false
}

// Valid reports whether s is a well-formed value of the format.
func (f Format) Valid(s string) bool {
	var err error
	switch f {
	case FormatNone:
	case FormatATIdentifier:
		_, err = syntax.ParseAtIdentifier(s)
	case FormatATURI:
		_, err = syntax.ParseATURI(s)
	case FormatCID:
		_, err = syntax.ParseCID(s)
	case FormatDatetime:
		if usualDatetime(s) {
			return true
		}
		// The fraction begins with a dot; package time takes a comma too.
		if _, err = syntax.ParseDatetime(s); strings.Contains(s, ",") {
			return false
		}
	case FormatDID:
		if usualDID(s) {
			return true
		}
		_, err = syntax.ParseDID(s)
	case FormatHandle:
		_, err = syntax.ParseHandle(s)
	case FormatLanguage:
		return validLanguage(s)
	case FormatNSID:
		_, err = syntax.ParseNSID(s)
	case FormatRecordKey:
		if usualKey(s) {
			return true
		}
		_, err = syntax.ParseRecordKey(s)
	case FormatTID:
		return usualTID(s)
	case FormatURI:
		_, err = syntax.ParseURI(s)
	}
	return err == nil
}

// validOnce reports whether s is a value that old programs wrote.
func (f Format) validOnce(s string) bool {
	if f == FormatLanguage {
		return wellFormedLanguage(s)
	}
	if f != FormatDatetime {
		return false
	}
	_, err := syntax.ParseDatetimeLenient(s)
	return err == nil
}

// Zero as a Max field of a rule is an upper limit of zero; the field's own zero
// value means that there is no limit.
const Zero = -1

// MinInt and MaxInt are the bounds of an IntRule that restricts nothing on that side.
const (
	MinInt = math.MinInt64
	MaxInt = math.MaxInt64
)

// StringRule holds the constraints of a string. The zero value allows every string.
type StringRule struct {
	Format Format
	// MinLen and MaxLen count UTF-8 bytes.
	MinLen, MaxLen int
	// MinGraphemes and MaxGraphemes count user-perceived characters (Unicode UAX 29).
	MinGraphemes, MaxGraphemes int
	// Enum lists the only allowed values, nil allows all. A const is an Enum of one.
	Enum []string
	// Known lists values that are to be expected. Any other is allowed.
	Known []string
	// Also lists values that are allowed whatever the rest says: a default that breaks its own
	// schema.
	Also []string
}

// Lists reports whether s is one of the values of Enum or Known.
func (r *StringRule) Lists(s string) bool {
	return slices.Contains(r.Enum, s) || slices.Contains(r.Known, s)
}

// Lists reports whether n is one of the values of Enum.
func (r *IntRule) Lists(n int64) bool { return slices.Contains(r.Enum, n) }

// listed is the value of Enum or Known that text spells, so that none is allocated.
func (r *StringRule) listed(text []byte) (string, bool) {
	if r == nil {
		return "", false
	}
	for _, list := range [2][]string{r.Enum, r.Known} {
		for _, s := range list {
			if s == string(text) {
				return s, true
			}
		}
	}
	return "", false
}

// IntRule holds the constraints of an integer. Min and Max are inclusive and always both set.
type IntRule struct {
	Min, Max int64
	Enum     []int64
	// Also lists values that are allowed whatever the rest says.
	Also []int64
}

// BoolRule holds the const of a boolean.
type BoolRule struct {
	Const bool
}

// BytesRule holds the limits of a byte string, counted in raw bytes.
type BytesRule struct {
	MinLen, MaxLen int
}

// ArrayRule holds the limits of an array, counted in items.
type ArrayRule struct {
	MinLen, MaxLen int
}

// BlobRule holds the constraints of a blob reference.
type BlobRule struct {
	// Accept lists media types, "type/*" or "*/*"; nil accepts all.
	Accept []string
	// MaxSize is in bytes.
	MaxSize int64
}

// fault is how a value breaks its schema: the keyword of the language, or one of
// "type", "required" and "json", and a text. The zero value is no fault.
type fault struct{ rule, text string }

func limit(m int) int {
	if m == Zero {
		return 0
	}
	return m
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

// check returns how s breaks the rule, or the zero fault.
func (r *StringRule) check(s string) fault {
	if r == nil {
		return fault{}
	}
	p := r.broken(s)
	if p.text != "" && slices.Contains(r.Also, s) {
		return fault{}
	}
	return p
}

func (r *StringRule) broken(s string) fault {
	if r.Enum != nil {
		if p := r.checkEnum(s); p.text != "" {
			return p
		}
	}
	if len(s) < r.MinLen {
		return fault{"minLength", "must be at least " + plural(r.MinLen, "byte", "bytes") + " of UTF-8 long"}
	}
	if r.MaxLen != 0 && len(s) > limit(r.MaxLen) {
		return fault{"maxLength", "must be at most " + plural(limit(r.MaxLen), "byte", "bytes") + " of UTF-8 long"}
	}
	if r.MinGraphemes != 0 || r.MaxGraphemes != 0 {
		if p := r.checkGraphemes(s); p.text != "" {
			return p
		}
	}
	if r.Format != FormatNone && !r.Format.Valid(s) {
		return fault{"format", "must be a valid " + r.Format.String()}
	}
	return fault{}
}

func (r *StringRule) checkEnum(s string) fault {
	if slices.Contains(r.Enum, s) {
		return fault{}
	}
	quoted := make([]string, len(r.Enum))
	for i, e := range r.Enum {
		quoted[i] = strconv.Quote(e)
	}
	return fault{"enum", oneOf(quoted)}
}

func oneOf(values []string) string {
	if len(values) == 1 {
		return "must be " + values[0]
	}
	return "must be one of " + strings.Join(values, ", ")
}

// checkGraphemes counts only when the byte length cannot decide: a string never
// has more graphemes than bytes.
func (r *StringRule) checkGraphemes(s string) fault {
	if len(s) < r.MinGraphemes {
		return r.fewGraphemes()
	}
	overMax := r.MaxGraphemes != 0 && len(s) > limit(r.MaxGraphemes)
	if r.MinGraphemes == 0 && !overMax {
		return fault{}
	}
	n := uniseg.GraphemeClusterCount(s)
	if n < r.MinGraphemes {
		return r.fewGraphemes()
	}
	if overMax && n > limit(r.MaxGraphemes) {
		return fault{"maxGraphemes", "must have at most " + plural(limit(r.MaxGraphemes), "character", "characters")}
	}
	return fault{}
}

func (r *StringRule) fewGraphemes() fault {
	return fault{"minGraphemes", "must have at least " + plural(r.MinGraphemes, "character", "characters")}
}

func (r *IntRule) check(n int64) fault {
	if r == nil {
		return fault{}
	}
	p := r.broken(n)
	if p.text != "" && slices.Contains(r.Also, n) {
		return fault{}
	}
	return p
}

func (r *IntRule) broken(n int64) fault {
	if r.Enum != nil {
		if !slices.Contains(r.Enum, n) {
			values := make([]string, len(r.Enum))
			for i, e := range r.Enum {
				values[i] = strconv.FormatInt(e, 10)
			}
			return fault{"enum", oneOf(values)}
		}
	}
	if n < r.Min {
		return fault{"minimum", "must be at least " + strconv.FormatInt(r.Min, 10)}
	}
	if n > r.Max {
		return fault{"maximum", "must be at most " + strconv.FormatInt(r.Max, 10)}
	}
	return fault{}
}

func (r *BoolRule) check(b bool) fault {
	if r == nil || r.Const == b {
		return fault{}
	}
	return fault{"const", "must be " + strconv.FormatBool(r.Const)}
}

func (r *BytesRule) check(n int) fault {
	if r == nil {
		return fault{}
	}
	if n < r.MinLen {
		return fault{"minLength", "must be at least " + plural(r.MinLen, "byte", "bytes") + " long"}
	}
	if r.MaxLen != 0 && n > limit(r.MaxLen) {
		return fault{"maxLength", "must be at most " + plural(limit(r.MaxLen), "byte", "bytes") + " long"}
	}
	return fault{}
}

func (r *ArrayRule) check(n int) fault {
	if r == nil {
		return fault{}
	}
	if n < r.MinLen {
		return fault{"minLength", "must have at least " + plural(r.MinLen, "item", "items")}
	}
	if r.MaxLen != 0 && n > limit(r.MaxLen) {
		return fault{"maxLength", "must have at most " + plural(limit(r.MaxLen), "item", "items")}
	}
	return fault{}
}

func (r *BlobRule) check(b *Blob) fault {
	if r == nil {
		return fault{}
	}
	if r.MaxSize != 0 && b.Size > max(r.MaxSize, 0) {
		return fault{"maxSize", "must be a blob of at most " + strconv.FormatInt(max(r.MaxSize, 0), 10) + " bytes"}
	}
	if r.Accept != nil && !acceptsMIME(r.Accept, b.MIMEType) {
		return fault{"accept", "must be a blob of type " + strings.Join(r.Accept, ", ")}
	}
	return fault{}
}

func acceptsMIME(accept []string, mime string) bool {
	mime, _, _ = strings.Cut(mime, ";")
	mime = strings.ToLower(strings.TrimSpace(mime))
	for _, a := range accept {
		a = strings.ToLower(a)
		if a == "*/*" || a == mime {
			return true
		}
		if prefix, ok := strings.CutSuffix(a, "*"); ok && strings.HasSuffix(prefix, "/") && strings.HasPrefix(mime, prefix) {
			return true
		}
	}
	return false
}

// Problem returns how s breaks the rule, or "".
func (r *StringRule) Problem(s string) string { return r.check(s).text }

// Problem returns how n breaks the rule, or "".
func (r *IntRule) Problem(n int64) string { return r.check(n).text }

// Problem returns how a byte string of length n breaks the rule, or "".
func (r *BytesRule) Problem(n int) string { return r.check(n).text }
