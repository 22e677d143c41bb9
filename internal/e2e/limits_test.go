package e2e_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mls-server/internal/config"
	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
)

// productionLimits are the limits as they are without configuration.
func productionLimits() e2e.Env {
	env := e2e.Env{}
	for _, v := range config.Variables() {
		if strings.HasPrefix(v.Name, "RATE_LIMIT_") {
			env[v.Name] = v.Default
		}
	}
	return env
}

// number reads a header that must be a number.
func number(t *testing.T, a e2e.Answer, name string) int {
	t.Helper()
	n, err := strconv.Atoi(a.Header.Get(name))
	if err != nil {
		t.Errorf("%s: %v", name, err)
	}
	return n
}

// The 101st message of a minute is refused, with all that a client needs to
// know, in headers and, for clients behind a proxy, in the message.
func TestSendLimit(t *testing.T) {
	t.Parallel()
	users := e2e.Start(t, productionLimits()).Users(2)
	alice, bob := users[0].Register(t, 4), users[1].Register(t, 4)
	chat := alice.Create(t, bob.User)
	m := mlsapi.MethodSendMessage
	start := time.Now()
	first := alice.Post(t, m, chat.Message(), nil).OK(t)
	if limit, left := number(t, first, "RateLimit-Limit"), number(t, first, "RateLimit-Remaining"); limit != 100 || left != 99 {
		t.Errorf("after the first: RateLimit-Limit %d, RateLimit-Remaining %d", limit, left)
	}
	if got := first.Header.Get("RateLimit-Policy"); got != "100;w=60" {
		t.Errorf("RateLimit-Policy %q", got)
	}
	var passed atomic.Int64
	passed.Store(1)
	var mu sync.Mutex
	var refused *e2e.Answer
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				a := alice.Post(t, m, chat.Message(), nil)
				if a.Status == http.StatusOK && passed.Add(1) < 1000 {
					continue
				}
				mu.Lock()
				refused = &a
				mu.Unlock()
				return
			}
		})
	}
	wg.Wait()
	// The bucket refills while it is emptied: 100 a minute.
	most := 100 + int64(time.Since(start).Minutes()*100) + 1
	if n := passed.Load(); n < 100 || n > most {
		t.Errorf("%d messages passed, want 100 to %d", n, most)
	}
	a := refused.Want(t, http.StatusTooManyRequests, "RateLimitExceeded")
	wait, reset := number(t, a, "Retry-After"), number(t, a, "RateLimit-Reset")
	if wait < 1 || wait > 60 {
		t.Errorf("Retry-After %d", wait)
	}
	if in := time.Until(time.Unix(int64(reset), 0)); in < 0 || in > 62*time.Second {
		t.Errorf("RateLimit-Reset is in %v", in)
	}
	if limit, left := number(t, a, "RateLimit-Limit"), number(t, a, "RateLimit-Remaining"); limit != 100 || left != 0 {
		t.Errorf("RateLimit-Limit %d, RateLimit-Remaining %d", limit, left)
	}
	if want := fmt.Sprintf("again in %d second", wait); !strings.Contains(a.Message, want) {
		t.Errorf("%q does not say %q", a.Message, want)
	}
	if !strings.HasPrefix(a.Header.Get("Content-Type"), "application/json") {
		t.Errorf("content type %q", a.Header.Get("Content-Type"))
	}
	// The limit is this user's and this method's.
	bob.Send(t, chat)
	alice.Messages(t, chat)
}

// Every method tells its limit, which is that of its class.
func TestLimitsOfClasses(t *testing.T) {
	t.Parallel()
	want := map[string]string{
		"sendMessage": "100;w=60", "publishKeyPackage": "20;w=60", "addMembers": "10;w=60", "removeMember": "10;w=60",
		"createConvo":  "20;w=240", // 5 a minute, 20 at once
		"reportMember": "5;w=60", "default": "200;w=60", "describe": "60;w=60", "reportCommit": "10;w=60", "groupInfo": "20;w=60", "commit": "30;w=60", "consent": "30;w=60", "device": "10;w=60",
		"sealed": "600;w=60", "ticket": "20;w=60",
	}
	u := e2e.Start(t, productionLimits()).Users(1)[0]
	for _, m := range mlsapi.Methods() {
		a := u.Call(t, m, e2e.Request{RawQuery: "%zz"}, nil).Want(t, bad, "InvalidRequest")
		if got := a.Header.Get("RateLimit-Policy"); got != want[m.RateClass] {
			t.Errorf("%s: RateLimit-Policy %q, want %s", short(m), got, want[m.RateClass])
		}
	}
}

// exhaust fails authentication until the address is refused, and returns how often it was not.
func exhaust(t *testing.T, u *e2e.User, forwarded func(i int) string) int {
	t.Helper()
	for i := range 200 {
		r := e2e.Request{Authorization: "-"}
		if forwarded != nil {
			r.Header = header("X-Forwarded-For", forwarded(i))
		}
		if a := u.Call(t, mlsapi.MethodGetConvos, r, nil); a.Status == http.StatusTooManyRequests {
			if number(t, a, "Retry-After") < 1 || a.Error != "RateLimitExceeded" {
				t.Errorf("refused with %s and Retry-After %q", a.Error, a.Header.Get("Retry-After"))
			}
			return i
		}
	}
	return 200
}

// Five hundred users behind one address do not disturb each other, not even
// when somebody at that address has used up what it may fail.
func TestUsersBehindOneAddress(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t, productionLimits())
	users := s.Users(500)
	exhaust(t, users[0], nil)
	work := make(chan *e2e.User)
	var refused atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for u := range work {
				for range 2 {
					if a := u.Get(t, mlsapi.MethodGetConvos, nil); a.Status != http.StatusOK {
						refused.Add(1)
					}
				}
			}
		})
	}
	for _, u := range users {
		work <- u
	}
	close(work)
	wg.Wait()
	if n := refused.Load(); n != 0 {
		t.Errorf("%d of 1000 good requests were refused", n)
	}
}

// X-Forwarded-For is believed only from the networks that the operator trusts,
// and then only what the last trusted proxy saw.
func TestForwardedFor(t *testing.T) {
	t.Parallel()
	spoofed := func(i int) string { return fmt.Sprintf("198.51.100.%d", i) }
	appended := func(i int) string { return spoofed(i) + ", 203.0.113.7" }
	for name, c := range map[string]struct {
		env       e2e.Env
		forwarded func(int) string
		limited   bool
	}{
		"nobody is trusted":          {nil, spoofed, true},
		"another network is trusted": {e2e.Env{"TRUSTED_PROXY_CIDRS": "10.0.0.0/8"}, spoofed, true},
		"each client its own":        {e2e.Env{"TRUSTED_PROXY_CIDRS": "127.0.0.0/8"}, spoofed, false},
		"a client adds in front":     {e2e.Env{"TRUSTED_PROXY_CIDRS": "127.0.0.0/8"}, appended, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := e2e.Start(t, productionLimits(), c.env).Users(1)[0]
			passed := exhaust(t, u, c.forwarded)
			// 30 at once, and one more for each second that the test takes.
			if c.limited && (passed < 30 || passed > 90) || !c.limited && passed != 200 {
				t.Errorf("%d failures passed", passed)
			}
		})
	}
}

// Failed authentication, preflights and unknown paths draw from one bucket of the address.
func TestLimitOfAddress(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t, productionLimits())
	refused := 0
	for i := range 90 {
		verb, path := http.MethodGet, "/xrpc/blue.catbird.mls.nothing"
		switch i % 3 {
		case 0:
			verb, path = http.MethodOptions, "/xrpc/blue.catbird.mls.getConvos"
		case 1:
			path = "/wp-login.php"
		}
		if visit(t, verb, s.URL+path) == http.StatusTooManyRequests {
			refused++
		}
	}
	if refused < 30 {
		t.Errorf("%d of 90 requests were refused", refused)
	}
	// The operator's checks are not counted.
	if status := visit(t, http.MethodGet, s.URL+"/health/ready"); status != http.StatusOK {
		t.Errorf("/health/ready answers %d", status)
	}
}

// visit is a request without a token; it returns the status.
func visit(t *testing.T, verb, address string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), verb, address, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// Removing others has one limit, by whichever method it is asked for: leaveConvo is no way around
// that of removeMember. Leaving oneself does not count.
func TestRemovalsShareALimit(t *testing.T) {
	t.Parallel()
	users := e2e.Start(t, e2e.Env{"RATE_LIMIT_REMOVE_MEMBER": "1/3"}).Users(2)
	alice, bob := users[0].Register(t, 1), users[1].Register(t, 1)
	chat := alice.Create(t, bob.User)
	commit := mls.EncodeText(chat.Group.PrivateCommit())
	byLeaving := &mlsapi.LeaveConvoInput{ConvoID: chat.ID, TargetDID: &alice.DID, Commit: &commit}
	for range 2 {
		bob.Post(t, mlsapi.MethodLeaveConvo, byLeaving, nil).Want(t, http.StatusForbidden, "NotAdmin")
	}
	bob.Remove(t, chat, alice.User, nil).Want(t, http.StatusForbidden, "NotAdmin")
	a := bob.Post(t, mlsapi.MethodLeaveConvo, byLeaving, nil).Want(t, http.StatusTooManyRequests, "RateLimitExceeded")
	if a.Header.Get("Retry-After") == "" {
		t.Error("the refusal does not say when to try again")
	}
	bob.Remove(t, chat, alice.User, nil).Want(t, http.StatusTooManyRequests, "RateLimitExceeded")
	bob.Post(t, mlsapi.MethodLeaveConvo, &mlsapi.LeaveConvoInput{ConvoID: chat.ID}, nil).OK(t)
}
