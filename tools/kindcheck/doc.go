// Command kindcheck holds statically that a method answers with no error that its lexicon does
// not declare.
//
// For each method of the generated Service interface it finds the domain errors (mls.Kind) that
// the handler can return, by following error values through the server's code in SSA form:
// through calls, closures, generic instances, interfaces, struct fields, channels and wrappers
// such as fmt.Errorf. What it finds must be declared by the method or be a general error, which
// is read from the handlers' own table of names. A kind that the lexicon declares and that
// neither the handler nor the decoder can produce is reported too. There is no list of
// exceptions: where a kind cannot come back, the code says so by errors.Is and a conversion, and
// the analysis understands that.
//
// The analysis follows what it can see. It is context-sensitive in calls, so a helper that wraps
// any error does not mix its callers up, and insensitive to the order of writes to memory. Values
// are followed into packages outside of the module only in so far as a call may return or store
// what it was given, and may call the functions that it was given.
//
// Where it cannot follow, it says so: a call that it cannot resolve and a kind that is computed
// from a number are findings. It may see an error that cannot come back, which a conversion then
// has to settle:
//   - of what is asked about an error it understands errors.Is with a constant kind, in the
//     function that has the error, and comparisons with nil; neither ==, nor errors.As, nor a
//     question that another function asks;
//   - what was written to a variable may be read from it before;
//   - functions that were made in contexts more than four deep are taken together.
//
// It does not see, and must not be relied on for:
//   - errors that travel by panic and recover, by reflection or by unsafe pointers;
//   - what code outside of the module does with a function that stands in a field, or that an
//     interface's method hides: such a function is not taken to be called.
//
// TestLimits holds each of these.
//
// It must not be used to find faults (errors without a kind): those are InternalServerError in
// every method.
package main
