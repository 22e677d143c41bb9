package auth

import (
	"context"
	"errors"
	"testing"
	"time"

	"mls-server/internal/clock"
	"mls-server/internal/egress"
	"mls-server/lexrt"
)

func TestSlots(t *testing.T) {
	t.Parallel()
	s := newSlots(2)
	hold := func(key string) func() {
		t.Helper()
		release, err := s.acquire(t.Context(), key, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		return release
	}
	first, second := hold("a"), hold("a")
	if _, err := s.acquire(t.Context(), "a", 0); !errors.Is(err, ErrBusy) {
		t.Errorf("a third: %v", err)
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	if _, err := s.acquire(gone, "a", time.Minute); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller who left: %v", err)
	}
	other := hold("b")
	waited := make(chan func())
	go func() {
		release, _ := s.acquire(context.WithoutCancel(t.Context()), "a", time.Minute)
		waited <- release
	}()
	first()
	third := <-waited
	for _, release := range []func(){second, third, other} {
		release()
	}
	if len(s.keys) != 0 {
		t.Errorf("%d keys are kept without holders", len(s.keys))
	}
}

func testFetcher(t *testing.T, allow ...string) *fetcher {
	t.Helper()
	client, err := egress.New(egress.Config{Allow: allow})
	if err != nil {
		t.Fatal(err)
	}
	return newFetcher(ResolverConfig{Client: client, PLCURL: "https://plc.example", Clock: clock.System})
}

// Ports and addresses in a did:web are for hosts that the operator listed.
func TestSources(t *testing.T) {
	t.Parallel()
	production, development := testFetcher(t), testFetcher(t, "localhost:2582", "127.0.0.1:443")
	for did, want := range map[lexrt.DID]string{
		"did:plc:aaaaaaaaaaaaaaaaaaaaaaaa":   "https://plc.example/did:plc:aaaaaaaaaaaaaaaaaaaaaaaa",
		"did:web:example.com":                "https://example.com/.well-known/did.json",
		"did:web:a.b.example.com":            "https://a.b.example.com/.well-known/did.json",
		"did:web:victim.example%3A22":        "",
		"did:web:victim.example%3A443":       "",
		"did:web:1.1.1.1":                    "",
		"did:web:1.1.1.1%3A6379":             "",
		"did:web:2130706433":                 "",
		"did:web:127.1":                      "",
		"did:web:0x7f000001":                 "",
		"did:web:example.com:path":           "",
		"did:web:localhost%3A2582":           "",
		"did:key:zQ3shokFTS3brHcDQrn82RUDfC": "",
	} {
		src, err := production.source(did)
		if src.request.URL != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", did, src.request.URL, err)
		}
	}
	for did, want := range map[lexrt.DID]string{
		"did:web:localhost%3A2582": "http://localhost:2582/.well-known/did.json",
		"did:web:localhost%3A2583": "",
		"did:web:127.0.0.1":        "https://127.0.0.1:443/.well-known/did.json",
	} {
		if src, _ := development.source(did); src.request.URL != want {
			t.Errorf("%s in development: %q", did, src.request.URL)
		}
	}
}

// Names below one domain take turns; other domains, the PLC directory and second
// looks have bounds of their own.
func TestTurns(t *testing.T) {
	t.Parallel()
	f := testFetcher(t)
	turn := func(did lexrt.DID, again bool) (func(), error) {
		t.Helper()
		src, err := f.source(did)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // a turn that is not free at once is refused
		return f.turn(ctx, src, again)
	}
	first, err := turn("did:web:a.evil.example", false)
	if err != nil {
		t.Fatal(err)
	}
	for _, did := range []lexrt.DID{"did:web:b.evil.example", "did:web:evil.example", "did:web:c.d.evil.example"} {
		if _, err := turn(did, false); err == nil {
			t.Errorf("%s: a second fetch from one domain", did)
		}
	}
	for _, did := range []lexrt.DID{"did:web:good.example", "did:web:a.one.co.uk", "did:web:a.two.co.uk", "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"} {
		release, err := turn(did, false)
		if err != nil {
			t.Errorf("%s beside it: %v", did, err)
			continue
		}
		defer release()
	}
	first()
	if release, err := turn("did:web:b.evil.example", false); err != nil {
		t.Errorf("after it: %v", err)
	} else {
		release()
	}
	for range maxAgainFetches {
		release, err := turn("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", true)
		if err != nil {
			t.Fatal(err)
		}
		defer release()
	}
	if _, err := turn("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", true); err == nil {
		t.Error("second looks have no bound")
	}
	if release, err := turn("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", false); err != nil {
		t.Errorf("second looks take the turns of first ones: %v", err)
	} else {
		release()
	}
}
