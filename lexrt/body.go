package lexrt

import (
	"context"
	"io"
)

// Body is the input of a method that does not take JSON.
type Body struct {
	io.Reader
	// ContentType is the media type that the client gave.
	ContentType string
}

// StreamBody returns the request's stream with its content type.
func (r *Request) StreamBody() *Body { return &Body{Reader: r.Stream, ContentType: r.ContentType} }

// ResponseFunc is a function that is a Response.
type ResponseFunc func(dst []byte) []byte

// AppendJSON calls f.
func (f ResponseFunc) AppendJSON(dst []byte) []byte { return f(dst) }

// ResponseOf is a pointer to T that is a Response.
type ResponseOf[T any] interface {
	*T
	Response
}

// Answer turns what a handler returned into what an Endpoint returns: a nil
// pointer becomes no Response at all.
func Answer[P ResponseOf[T], T any](out P, err error) (Response, error) {
	if err != nil || out == nil {
		return nil, err
	}
	return out, nil
}

// ContentTypeSetter is what the writer given to a RawEndpoint implements when the
// method's output is not of one fixed content type.
type ContentTypeSetter interface {
	// SetContentType must be called before the first Write.
	SetContentType(mediaType string)
}

// InputEndpoint makes an Endpoint of a handler that takes a JSON body and answers with one.
func InputEndpoint[In, Out any, PIn LexerOf[In], POut ResponseOf[Out]](handle func(ctx context.Context, caller Caller, in PIn) (POut, error)) Endpoint {
	return func(ctx context.Context, req *Request) (Response, error) {
		in := PIn(new(In))
		if err := refuseParams(req.Query, req.Heeded); err != nil {
			return nil, err
		}
		if err := req.Decode(in); err != nil {
			return nil, err
		}
		if c, ok := any(in).(Classed); ok && req.Charge != nil {
			if err := req.Charge(c.RateClass()); err != nil {
				return nil, err
			}
		}
		return Answer(handle(ctx, req.Caller, in))
	}
}

// ParamsEndpoint makes an Endpoint of a handler that takes parameters and answers with a JSON body.
func ParamsEndpoint[In, Out any, PIn LexerOf[In], POut ResponseOf[Out]](handle func(ctx context.Context, caller Caller, params PIn) (POut, error)) Endpoint {
	return func(ctx context.Context, req *Request) (Response, error) {
		in := PIn(new(In))
		if err := req.DecodeParams(in); err != nil {
			return nil, err
		}
		return Answer(handle(ctx, req.Caller, in))
	}
}
