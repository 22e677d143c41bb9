// Package xrpc is the runtime under the generated endpoints: it turns HTTP
// requests into calls of handlers and their answers into HTTP responses.
//
// It keeps these invariants:
//   - an endpoint is reached only through its generated descriptor, which is
//     what the authenticator is handed (I11): the URL never decides what a
//     token must say;
//   - the body cap of the descriptor holds before anything is buffered;
//   - every answer that is not a success is {"error", "message"} in JSON, and
//     an error that nobody mapped is told to the client as InternalServerError
//     with the request id, never with its text;
//   - one log event and one observation for each request, neither of which
//     carries an identity (I9).
//
// It must not know any lexicon, table or domain rule.
package xrpc
