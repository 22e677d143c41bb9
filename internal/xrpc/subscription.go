package xrpc

import (
	"context"
	"errors"
	"net/http"

	"mls-server/lexrt"
	"mls-server/lexrt/lexsocket"
)

// HandleSubscription mounts an endpoint that sends messages over a WebSocket. What is wrong with
// the request is answered as HTTP, what the endpoint refuses with an error frame.
func (s *Server) HandleSubscription(m *lexrt.Method, e lexrt.SubscriptionEndpoint) {
	s.mount(m, func(x *exchange, req *lexrt.Request) error {
		x.event.Stream = true
		if err := lexsocket.Check(x.r); err != nil {
			lexsocket.Headers(x.w.Header(), err)
			return err
		}
		serve, err := e(req)
		if err != nil {
			return err
		}
		s.subscriptions.Add(1)
		defer s.subscriptions.Done()
		conn, err := lexsocket.Accept(x.w, x.r, m, lexsocket.Options{
			Write: writeWait, Wrote: func(n int) { x.event.BytesOut += int64(n) },
		})
		if err != nil {
			return err
		}
		defer conn.Abort() // of a handler that panics
		x.began, x.event.Status = true, http.StatusSwitchingProtocols
		conn.Close(x.ended(conn, serve(conn.Context(), conn)))
		return nil
	})
}

// ended is what a client is told of the end of its subscription.
func (x *exchange) ended(conn *lexsocket.Conn, err error) error {
	if _, closed := errors.AsType[*lexrt.CloseError](err); err == nil || closed {
		return err
	}
	if conn.Context().Err() != nil {
		return nil //nolint:nilerr // the client has left, or was cut off
	}
	pub, fault := x.publicError(err)
	if fault {
		x.fault = err
	}
	x.event.Error = pub.Name
	return pub
}

// WaitSubscriptions waits until all subscriptions have ended, or ctx does. http.Server does not
// wait for them when it is shut down.
func (s *Server) WaitSubscriptions(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.subscriptions.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
