// Package runtime is what lexrt is to the server.
package runtime

// Error is an error with a name.
type Error struct {
	Name   string
	Status int
}

// Violation gives a broken constraint a name.
type Violation struct {
	Pointer string
	Error   *Error
}

// Method is one of the table.
type Method struct {
	NSID       string
	Errors     []*Error
	Violations []Violation
}

// ErrBusy is general.
var ErrBusy = &Error{Name: "NotEnoughResources", Status: 503}
