// Package ir is the model between lexicons and generated code: every reference
// is resolved, every Go name is chosen, every request has a size bound.
//
// A Model is a pure function of the set of lexicons, the options and the policy:
// the order of files does not matter, and there is no clock and no map order in it.
//
// The package must not know how code is written; package emit does that.
package ir

import "mls-server/tools/lexgen/lexicon"

// Model is everything that emitters need.
type Model struct {
	// Lexicons are sorted by NSID.
	Lexicons []*Lexicon
	// Methods are sorted by NSID.
	Methods []*Method
	// ErrorNames are all declared errors of the set, sorted by name.
	ErrorNames []*ErrorName
	// OpenUnions reports whether any union is open.
	OpenUnions bool
	// Wrappers stand for members of unions that another package has, sorted by name.
	Wrappers []*Struct
	// Elsewhere is as much of the packages that lexgen made elsewhere as this one refers to, by
	// import path.
	Elsewhere map[string]*Model
}

// Lexicon is the Go side of one file.
type Lexicon struct {
	File *lexicon.File
	// Import is the path of the package that has its types, "" for the one that is made.
	Import string
	// Ident is unique in the package; names of helper variables start with it.
	Ident string
	// GoFile is the name of the generated file.
	GoFile string
	// Decls are in the order in which they are written.
	Decls []Decl
	// Method is set when the main definition is a method.
	Method *Method

	pack *pack
}

// Decl is *Struct, *Union, *Slice, *Enum, *Token, *Alias or *PermissionSet.
type Decl interface{ decl() }

// Kind is the kind of a Type.
type Kind uint8

// The kinds of Go types that lexicons need.
const (
	Bool       Kind = iota + 1
	Int             // int64, or a named type when Enum is set
	String          // string, a format's type, or a named type when Enum is set
	Bytes           // []byte
	CID             // lexrt.CID
	Blob            // lexrt.Blob
	Unknown         // lexrt.Raw holding an object
	Raw             // lexrt.Raw holding any JSON
	Array           // []Elem
	StructKind      // Struct
	UnionKind       // Union, an interface
	SliceKind       // Slice, a named array
)

// Type is the Go type of a value. Schema has its constraints.
type Type struct {
	Kind   Kind
	Schema lexicon.Schema
	Enum   *Enum
	Elem   *Type
	Struct *Struct
	Union  *Union
	Slice  *Slice
}

// NilAble reports whether nil is a value of the Go type, so that an optional field needs no
// pointer.
func (t *Type) NilAble() bool {
	switch t.Kind {
	case Bytes, Unknown, Raw, Array, UnionKind, SliceKind:
		return true
	default:
		return false
	}
}

// Mode says how a field holds absence and null.
type Mode uint8

// The modes of a field.
const (
	Plain   Mode = iota + 1 // T
	Pointer                 // *T, nil is absent or null
	Nil                     // T whose nil is absent or null
	OptNull                 // lexrt.OptNull[T]
)

// Field is a member of a struct.
type Field struct {
	// Name is the JSON name, GoName the field's.
	Name, GoName string
	Type         *Type
	Mode         Mode
	Required     bool
	Nullable     bool
}

// Doc is the field's description.
func (f *Field) Doc() string { return f.Type.Schema.Doc() }

// Role says where a struct stands in its lexicon.
type Role uint8

// The roles of structs.
const (
	RoleObject Role = iota + 1 // a definition or an inline object
	RoleRecord
	RoleParams
	RoleInput
	RoleOutput
)

// Struct is an object, a record or the parameters of a method.
type Struct struct {
	GoName string
	// Import is the path of another package that has it, or "".
	Import string
	Role   Role
	// TypeName is the value of $type: the full name of the definition, "" for inline objects and
	// params.
	TypeName string
	// Ref and Path name the place: the definition and the way from there.
	Ref, Path string
	Doc       string
	Fields    []*Field
	// Record is set for records, with the names of the constants for its collection and key.
	Record              *lexicon.Record
	Collection, KeyName string
	// Extra is the field for members that the schema does not know, "" where they are dropped.
	Extra string
	// Unions are the unions of its package that have this struct as a member, sorted by name.
	Unions []*Union
	// Wraps is another package's struct that this one stands for in unions, or nil.
	Wraps  *Struct
	Schema *lexicon.Object
}

// Union is the interface of a union's members.
type Union struct {
	GoName string
	// Import is the path of another package that has it, or "".
	Import  string
	Doc     string
	Ref     string
	Path    string
	Closed  bool
	Members []*Struct
	Schema  *lexicon.Union
}

// Slice is a definition of type array.
type Slice struct {
	GoName string
	// Func is the function that deals with its values.
	Func string
	// Import is the path of another package that has it, or "".
	Import string
	Doc    string
	Ref    string
	Elem   *Type
	Schema *lexicon.Array
}

// Enum is a string or integer type with named constants. Closed means that other values are
// refused.
type Enum struct {
	GoName string
	// Import is the path of another package that has it, or "".
	Import string
	Doc    string
	Ref    string
	Path   string
	Closed bool
	Int    bool
	Values []EnumValue
	Schema lexicon.Schema
}

// EnumValue is one constant.
type EnumValue struct {
	GoName string
	Text   string
	Int    int64
}

// Token is a definition of type token.
type Token struct{ GoName, Value, Doc string }

// Alias is a second name for a type: a definition without a Go type of its own,
// or a body that is a reference.
type Alias struct {
	GoName string
	Doc    string
	Target *Type
}

// PermissionSet is the metadata of a permission set.
type PermissionSet struct {
	// GoName is the constant with the id, LXM the variable with the methods.
	GoName, LXM string
	ID          string
	Schema      *lexicon.PermissionSet
}

func (*Struct) decl()        {}
func (*Union) decl()         {}
func (*Slice) decl()         {}
func (*Enum) decl()          {}
func (*Token) decl()         {}
func (*Alias) decl()         {}
func (*PermissionSet) decl() {}

// Method is an endpoint.
type Method struct {
	// NSID is the endpoint's name, GoName that of the handler's method.
	NSID, GoName string
	// Var is the descriptor's name, Handler that of the interface with the one method.
	Var, Handler string
	// Stream and NewStream are the sender's type and constructor when there is a Message, Decode
	// the function that reads one.
	Stream, NewStream, Decode string
	Lexicon                   *Lexicon
	Schema                    *lexicon.Method
	// Params is nil when the method has none.
	Params *Struct
	// Input and Output are nil when the method has none. A Body without Type is not JSON.
	Input, Output *Body
	// Message is what a subscription sends, or nil.
	Message *Union
	// Errors are sorted by name.
	Errors []*MethodError
	// MaxBody is in bytes, 0 without an input.
	MaxBody    int64
	RateClass  string
	Privileged bool
	// ByteClass is the rate class that the size of a body draws from, "" for none.
	ByteClass string
	// Open methods take no token, Anonymous ones refuse one, and are open.
	Open, Anonymous bool
	// Changes is true of queries that have effects.
	Changes    bool
	Violations []Violation
	// Cases are the calls that draw from another rate class.
	Cases []Case
}

// Case is the calls of a method whose input has a certain value.
type Case struct {
	Field     *Field
	Value     string
	RateClass string
	// MaxBody is in bytes.
	MaxBody int64
}

// Body is an input or output.
type Body struct {
	Encoding string
	// Type is the type of the JSON, nil when the body is not JSON.
	Type *Type
	// GoName is the body's own name, for example SendMessageInput.
	GoName string
	// Events is true for text/event-stream.
	Events bool
	Doc    string
}

// JSON reports whether the body is JSON.
func (b *Body) JSON() bool { return b != nil && b.Type != nil && !b.Events }

// MethodError is a declared error of a method.
type MethodError struct {
	// GoName is the name of the set's variable for the error.
	GoName string
	Name   string
	Status int
	Doc    string
}

// ErrorName is an error name of the whole set.
type ErrorName struct {
	GoName string
	Name   string
	Status int
}

// Violation gives a broken constraint a declared error.
type Violation struct {
	Pointer, Rule string
	// Error is one of the method's.
	Error *MethodError
}
