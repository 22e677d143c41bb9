package lexicon

import "mls-server/lexrt"

// Kind is the value of a schema's "type".
type Kind string

// All types of the language.
const (
	KindBoolean       Kind = "boolean"
	KindInteger       Kind = "integer"
	KindString        Kind = "string"
	KindBytes         Kind = "bytes"
	KindCIDLink       Kind = "cid-link"
	KindBlob          Kind = "blob"
	KindArray         Kind = "array"
	KindObject        Kind = "object"
	KindParams        Kind = "params"
	KindToken         Kind = "token"
	KindRef           Kind = "ref"
	KindUnion         Kind = "union"
	KindUnknown       Kind = "unknown"
	KindRecord        Kind = "record"
	KindQuery         Kind = "query"
	KindProcedure     Kind = "procedure"
	KindSubscription  Kind = "subscription"
	KindPermissionSet Kind = "permission-set"
	KindPermission    Kind = "permission"
	// KindSpace is a proposed primary type (atproto proposal 0016); it is recognised and left out
	// with a note.
	KindSpace Kind = "space"
)

// Primary reports whether the type may only be a file's main definition.
func (k Kind) Primary() bool {
	switch k {
	case KindRecord, KindQuery, KindProcedure, KindSubscription, KindPermissionSet, KindSpace:
		return true
	default:
		return false
	}
}

// Schema is any of the struct types below.
type Schema interface {
	// Kind is the schema's type.
	Kind() Kind
	// Doc is the schema's description, "" when it has none. It is untrusted text.
	Doc() string
	// Node is the JSON that the schema was read from.
	Node() *Node
}

// Base is what all schemas have.
type Base struct {
	kind        Kind
	Description string
	node        *Node
}

// Kind implements Schema.
func (b *Base) Kind() Kind { return b.kind }

// Doc implements Schema.
func (b *Base) Doc() string { return b.Description }

// Node implements Schema.
func (b *Base) Node() *Node { return b.node }

// Boolean is the schema of a boolean.
type Boolean struct {
	Base
	Default, Const *bool
}

// Integer is the schema of an integer.
type Integer struct {
	Base
	Minimum, Maximum *int64
	Enum             []int64
	Default, Const   *int64
	// OddDefault says that the other constraints refuse the default.
	OddDefault bool
}

// String is the schema of a string. Lengths count UTF-8 bytes.
type String struct {
	Base
	Format                     lexrt.Format
	MinLength, MaxLength       *int64
	MinGraphemes, MaxGraphemes *int64
	Enum, KnownValues          []string
	Default, Const             *string
	// OddDefault says that the other constraints refuse the default.
	OddDefault bool
}

// Bytes is the schema of a byte string. Lengths count raw bytes.
type Bytes struct {
	Base
	MinLength, MaxLength *int64
}

// CIDLink is the schema of a link.
type CIDLink struct{ Base }

// Blob is the schema of a blob reference. MaxSize is in bytes.
type Blob struct {
	Base
	Accept  []string
	MaxSize *int64
}

// Array is the schema of an array. Lengths count items.
type Array struct {
	Base
	Items                Schema
	MinLength, MaxLength *int64
}

// Property is a member of an object or a parameter.
type Property struct {
	Name               string
	Schema             Schema
	Required, Nullable bool
}

// Object is the schema of an object, with its properties in the file's order.
// Params uses it too.
type Object struct {
	Base
	Properties []*Property
}

// Token is a definition that is only a name.
type Token struct{ Base }

// Ref refers to a definition. The target is filled when the set is resolved.
type Ref struct {
	Base
	Ref    string
	Target *Def
}

// Union allows any of several definitions, told apart by $type.
type Union struct {
	Base
	Refs   []*Ref
	Closed bool
}

// Unknown allows any object.
type Unknown struct{ Base }

// Record is the schema of a record in a repository.
type Record struct {
	Base
	// Key is "tid", "nsid", "any" or "literal:VALUE".
	Key    string
	Object *Object
}

// Body is the input or output of a method. A nil Schema means that only the encoding is fixed.
type Body struct {
	Description string
	Encoding    string
	// Schema is an Object, a Ref or a Union.
	Schema Schema
	node   *Node
}

// Node is the JSON that the body was read from.
func (b *Body) Node() *Node { return b.node }

// ErrorName is an error that a method declares.
type ErrorName struct {
	Name, Description string
	node              *Node
}

// Node is the JSON that the error was read from.
func (e *ErrorName) Node() *Node { return e.node }

// Method is a query, a procedure or a subscription.
type Method struct {
	Base
	// Params is nil when there are none.
	Params *Object
	// Input and Output are nil when the method has none; only procedures have an Input.
	Input, Output *Body
	// Message is the union that a subscription sends, or nil. With Options.NamedUnions it may
	// be a reference to one.
	Message Schema
	// Subprotocols are what a subscription names, if anything.
	Subprotocols []string
	Errors       []*ErrorName
}

// Messages is the union that a subscription sends, or nil.
func (m *Method) Messages() *Union {
	s := m.Message
	if ref, ok := s.(*Ref); ok && ref.Target != nil {
		s = ref.Target.Schema
	}
	u, _ := s.(*Union)
	return u
}

// Permission is one entry of a permission set.
type Permission struct {
	Base
	Resource        string
	Collections     []string
	Actions         []string
	LXM             []string
	Audience        string
	InheritAudience bool
	Accept          []string
}

// PermissionSet bundles permissions under a title.
type PermissionSet struct {
	Base
	Title, Detail string
	// TitleLang and DetailLang are translations, sorted by language.
	TitleLang, DetailLang []Translation
	Permissions           []*Permission
}

// Translation is a text in one language.
type Translation struct{ Lang, Text string }

// Space is the proposed primary type "space", whose content is not read.
type Space struct{ Base }

// Def is a named definition.
type Def struct {
	// Name is "main" or the fragment.
	Name   string
	Schema Schema
	File   *File
}

// Ref returns the definition's full name: the bare NSID for main.
func (d *Def) Ref() string {
	if d.Name == "main" {
		return d.File.ID
	}
	return d.File.ID + "#" + d.Name
}

// File is one lexicon.
type File struct {
	// Path is relative to the folder that was read, with slashes.
	Path        string
	ID          string
	Description string
	// Defs are in the file's order.
	Defs []*Def
	// Dep is true of a lexicon of others, which is here since own ones refer to it.
	Dep bool

	// leftOut has the types of the definitions that nothing is made of.
	leftOut map[string]string
	root    *Node
	src     *source
}

// Def returns the named definition or nil.
func (f *File) Def(name string) *Def {
	for _, d := range f.Defs {
		if d.Name == name {
			return d
		}
	}
	return nil
}

// Main returns the main definition or nil.
func (f *File) Main() *Def { return f.Def("main") }

// Diag makes a problem at the place of n, which may be nil for the whole file.
func (f *File) Diag(sev Severity, n *Node, rule, message, hint string) Diag {
	d := Diag{Severity: sev, File: f.Path, Rule: rule, Message: message, Hint: hint, dep: f.Dep}
	if n != nil && f.src != nil {
		d.Line, d.Col = f.src.place(n.Pos)
		d.Pointer = n.Pointer()
	}
	return d
}
