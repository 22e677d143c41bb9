package lexfake

import "mls-server/lexrt"

// Kind is the kind of a Schema.
type Kind uint8

// The kinds, those that can contain values of other schemas last.
const (
	Bool Kind = iota + 1
	Int
	String
	Bytes
	CID
	Blob
	Unknown
	Raw
	Array
	Object
	Union
	Ref
)

// Schema describes the JSON of a value.
type Schema struct {
	Kind Kind
	// The constraints; nil when there are none.
	Bool   *lexrt.BoolRule
	Int    *lexrt.IntRule
	String *lexrt.StringRule
	Bytes  *lexrt.BytesRule
	Blob   *lexrt.BlobRule
	Array  *lexrt.ArrayRule
	// Items is the schema of an array's items.
	Items *Schema
	// Props are an object's members.
	Props []Prop
	// TypeName is the object's $type. Record says that it is always written.
	TypeName string
	Record   bool
	// Keeps says that members that the schema does not know survive in a record.
	Keeps bool
	// Input says that the object is the body of a request.
	Input bool
	// Name is the schema that a Ref stands for.
	Name string
	// Members name the schemas of a union's members.
	Members []string
	Closed  bool
}

// Prop is a member of an object.
type Prop struct {
	Name               string
	Schema             *Schema
	Required, Nullable bool
}

// Set has schemas by their Go type names.
type Set map[string]*Schema

// Size says how much a value holds.
type Size uint8

// The sizes.
const (
	// Minimal has no optional members and the shortest strings and arrays.
	Minimal Size = iota
	// Maximal has all members and the longest strings and arrays, up to a few kilobytes each.
	Maximal
	// Random is somewhere between.
	Random
)
