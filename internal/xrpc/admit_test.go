package xrpc_test

import (
	"bytes"
	"io"
	"net/http"
	"testing"

	"mls-server/lexrt"
)

// A refused account is counted like any other, uses no token up, and has nothing read of it.
func TestRefusedAccount(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.admit = func() error { return lexrt.ErrAccountTakedown.WithMessage("Account has been taken down") }
	a := f.do(t, http.MethodPost, putPath, bytes.NewReader([]byte("not JSON")), "Content-Type", asJSON)
	a.want(t, http.StatusUnauthorized, "AccountTakedown")
	if a.header.Get("RateLimit-Limit") != "200" || f.spent != 0 || f.refused != 0 || f.ipTokens != 1000 {
		t.Errorf("%v; %d tokens used up, %d and %d counted against the address", a.header, f.spent, f.refused, 1000-f.ipTokens)
	}
	f.account = true
	f.do(t, http.MethodGet, getPath, nil).want(t, http.StatusTooManyRequests, "RateLimitExceeded")
	if f.admitted != 1 {
		t.Error("an account without a limit left is looked at")
	}
}

// An account that is refused by the time its body has arrived gets nothing done.
func TestRefusedMeanwhile(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	began := make(chan struct{})
	f.admit = func() error {
		if f.admitted == 1 {
			close(began)
			return nil
		}
		return lexrt.ErrAccountTakedown
	}
	body, pipe := io.Pipe()
	go func() {
		<-began // the account is served
		_, _ = pipe.Write([]byte(`{}`))
		_ = pipe.Close()
	}()
	f.do(t, http.MethodPost, putPath, body, "Content-Type", asJSON).want(t, http.StatusUnauthorized, "AccountTakedown")
	if f.admitted != 2 {
		t.Errorf("looked at %d times", f.admitted)
	}
}
