package lexrt

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Checker collects the violations of a Go value for the generated Validate
// methods. It knows where in the value it stands. The zero value is ready to use.
type Checker struct {
	path   []segment
	issues []Issue
}

type segment struct {
	name  string
	index int
}

// Done returns an *InvalidError that lists all issues, or nil.
func (c *Checker) Done() error {
	if len(c.issues) == 0 {
		return nil
	}
	return &InvalidError{What: "value", Issues: c.issues}
}

// Push enters the member name, Pop leaves it.
func (c *Checker) Push(name string) { c.path = append(c.path, segment{name, -1}) }

// Pop leaves the member that was entered last.
func (c *Checker) Pop() { c.path = c.path[:len(c.path)-1] }

// fault reports what is wrong with the value the Checker stands at.
func (c *Checker) fault(f fault) {
	if f.text != "" && len(c.issues) < maxIssues {
		c.issues = append(c.issues, Issue{Pointer: pointer(c.path), Rule: f.rule, Problem: f.text})
	}
}

func (c *Checker) typeFault(problem string) { c.fault(fault{"type", problem}) }

// CheckString checks a string against r and for valid UTF-8.
func CheckString[T ~string](c *Checker, v *T, r *StringRule) {
	if !utf8.ValidString(string(*v)) {
		c.typeFault("must be valid UTF-8")
		return
	}
	c.fault(r.check(string(*v)))
}

// CheckInt checks an integer against r.
func CheckInt[T ~int64](c *Checker, v *T, r *IntRule) { c.fault(r.check(int64(*v))) }

// CheckBool checks a boolean against r.
func CheckBool[T ~bool](c *Checker, v *T, r *BoolRule) { c.fault(r.check(bool(*v))) }

// CheckBytes checks a byte string against r.
func CheckBytes(c *Checker, v *[]byte, r *BytesRule) { c.fault(r.check(len(*v))) }

// CheckCID checks the target of a cid-link.
func CheckCID(c *Checker, v *CID) {
	if _, err := ParseCID(string(*v)); err != nil {
		c.typeFault(err.Error())
	}
}

// CheckBlob checks a blob reference against r.
func CheckBlob(c *Checker, v *Blob, r *BlobRule) {
	switch _, err := ParseCID(string(v.Ref)); {
	case err != nil:
		c.typeFault("must be a blob: ref " + err.Error())
	case !strings.Contains(v.MIMEType, "/"):
		c.typeFault("must be a blob: mimeType must be a media type")
	case v.Size < 1:
		c.typeFault("must be a blob: size must be an integer of at least 1")
	default:
		c.fault(r.check(v))
	}
}

// CheckUnknown checks that v is the JSON of an object of the data model.
func CheckUnknown(c *Checker, v *Raw) {
	if raw, ok := checkJSON(c, *v); ok {
		if raw.Kind() != '{' {
			c.typeFault("must be an object")
			return
		}
		c.typeFault(checkUnknown(raw))
	}
}

// CheckRaw checks that v is valid JSON.
func CheckRaw(c *Checker, v *Raw) { checkJSON(c, *v) }

func checkJSON(c *Checker, v Raw) (jsontext.Value, bool) {
	raw := jsontext.Value(bytes.TrimSpace(v))
	if !raw.IsValid() {
		c.typeFault("must be valid JSON")
		return nil, false
	}
	return raw, true
}

// CheckUnknownVariant checks a member of an open union whose type the schema does not name.
func CheckUnknownVariant(c *Checker, u *RawUnion) {
	raw, ok := checkJSON(c, u.JSON)
	if !ok {
		return
	}
	if raw.Kind() != '{' {
		c.typeFault("must be an object")
		return
	}
	for key, value := range members(raw) {
		if typ, ok := unquote(value); key == "$type" && ok && typ == u.Type && typ != "" {
			c.typeFault(checkObject(raw))
			return
		}
	}
	c.typeFault("must be an object with the $type that its Type names")
}

// CheckArray checks the length of an array and each item.
func CheckArray[S ~[]T, T any](c *Checker, v *S, r *ArrayRule, item func(*T, *Checker)) {
	c.fault(r.check(len(*v)))
	if item == nil {
		return
	}
	for i := range *v {
		c.path = append(c.path, segment{"", i})
		item(&(*v)[i], c)
		c.Pop()
	}
}

// Absent reports a required value that is nil.
func (c *Checker) Absent() { c.fault(fault{"required", "is required"}) }
