package app

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"mls-server/internal/authtest"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/pgtest"
	"mls-server/internal/redistest"
)

// call asks for somebody's conversations and returns the status, the error's name
// and whether a back-off is named.
func (r *running) call(t *testing.T, bearer string) (status int, name string, retry bool) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.public+"/xrpc/"+mlsapi.MethodGetConvos.NSID, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", bearer)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var body struct {
		Error string `json:"error"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, body.Error, resp.Header.Get("Retry-After") != ""
}

// PLC stops answering, the server is started again: users go on, and those whom
// nobody knows are told to come back.
func TestRestartWithoutTheDirectory(t *testing.T) {
	t.Parallel()
	dir := authtest.NewDirectory(t, nil)
	env := map[string]string{
		"DATABASE_URL": pgtest.New(t), "PLC_URL": dir.URL(), "EGRESS_ALLOW": strings.Join(dir.HostPorts(), ","),
	}
	alice, stranger := dir.NewIdentity(authtest.K256), dir.NewIdentity(authtest.P256)
	bearer := func(id *authtest.Identity) string { return id.Bearer(testDID, mlsapi.MethodGetConvos.NSID) }

	r := start(t, env)
	if status, name, _ := r.call(t, bearer(alice)); status != http.StatusOK {
		t.Fatal(status, name)
	}
	r.ended(t)
	dir.SetDown(true)
	r = start(t, env)
	if status, name, _ := r.call(t, bearer(alice)); status != http.StatusOK {
		t.Errorf("a user who was known: %d %s", status, name)
	}
	if status, name, retry := r.call(t, bearer(stranger)); status != http.StatusServiceUnavailable || name != "NotEnoughResources" || !retry {
		t.Errorf("a stranger: %d %s, Retry-After %v", status, name, retry)
	}
}

// A token that was used before a restart is of no use after it, whether or not
// anything but the process remembered it.
func TestNoReplayAfterARestart(t *testing.T) {
	t.Parallel()
	for name, redis := range map[string]string{"alone": "", "with Redis": redistest.Start(t).URL()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := authtest.NewDirectory(t, nil)
			env := map[string]string{
				"DATABASE_URL": pgtest.New(t), "PLC_URL": dir.URL(), "EGRESS_ALLOW": strings.Join(dir.HostPorts(), ","), "REDIS_URL": redis,
				"HASH_KEY": "0123456789abcdef",
			}
			id := dir.NewIdentity(authtest.P256)
			r := start(t, env)
			used := id.Bearer(testDID, mlsapi.MethodGetConvos.NSID)
			for _, want := range []int{http.StatusOK, http.StatusUnauthorized} {
				if status, name, _ := r.call(t, used); status != want {
					t.Errorf("before: %d %s, want %d", status, name, want)
				}
			}
			r.ended(t)
			r = start(t, env)
			if status, name, _ := r.call(t, used); status != http.StatusUnauthorized {
				t.Errorf("after: %d %s", status, name)
			}
			if status, name, _ := r.call(t, id.Bearer(testDID, mlsapi.MethodGetConvos.NSID)); status != http.StatusOK {
				t.Errorf("a new one: %d %s", status, name)
			}
		})
	}
}

// For DRAIN_DELAY_SECONDS a server that was told to stop answers new connections,
// and says that it is not ready.
func TestDrainDelay(t *testing.T) {
	t.Parallel()
	r := start(t, map[string]string{"DRAIN_DELAY_SECONDS": "300"})
	ctx, fail := context.WithCancel(t.Context())
	defer fail()
	r.stop()
	for {
		resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(mustGet(ctx, t, "http://"+r.public+"/health/ready"))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusServiceUnavailable {
			break
		}
	}
	if status, name, _ := r.call(t, r.dir.NewIdentity(authtest.P256).Bearer(testDID, mlsapi.MethodGetConvos.NSID)); status != http.StatusOK {
		t.Errorf("a request meanwhile: %d %s", status, name)
	}
	select {
	case err := <-r.done:
		t.Errorf("the server ended before the delay: %v", err)
	default:
	}
}

func mustGet(ctx context.Context, t *testing.T, url string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return req
}
