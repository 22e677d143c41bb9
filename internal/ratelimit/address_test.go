package ratelimit

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

func TestClientIP(t *testing.T) {
	t.Parallel()
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, tc := range []struct {
		name, remote string
		forwarded    []string
		want         string
	}{
		{"no proxy", "203.0.113.5:1234", nil, "203.0.113.5"},
		{"a spoofed header", "203.0.113.5:1234", []string{"1.2.3.4"}, "203.0.113.5"},
		{"a spoofed header that names a proxy", "203.0.113.5:1234", []string{"1.2.3.4, 10.0.0.1"}, "203.0.113.5"},
		{"one proxy", "10.0.0.1:1", []string{"203.0.113.5"}, "203.0.113.5"},
		{"one proxy, what the client wrote before it", "10.0.0.1:1", []string{"1.2.3.4, 203.0.113.5"}, "203.0.113.5"},
		{"one proxy, a client that claims to be trusted", "10.0.0.1:1", []string{"10.9.9.9, 203.0.113.5"}, "203.0.113.5"},
		{"two proxies", "10.0.0.1:1", []string{"1.2.3.4, 203.0.113.5, 10.0.0.2"}, "203.0.113.5"},
		{"two headers", "10.0.0.1:1", []string{"203.0.113.5", "10.0.0.2"}, "203.0.113.5"},
		{"two headers of a client", "10.0.0.1:1", []string{"1.2.3.4", "203.0.113.5"}, "203.0.113.5"},
		{"proxies only", "10.0.0.1:1", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"a proxy without the header", "10.0.0.1:1", nil, "10.0.0.1"},
		{"an empty header", "10.0.0.1:1", []string{""}, "10.0.0.1"},
		{"garbage", "10.0.0.1:1", []string{"203.0.113.5, unknown"}, "10.0.0.1"},
		{"garbage in the middle", "10.0.0.1:1", []string{"203.0.113.5, _hidden, 10.0.0.2"}, "10.0.0.2"},
		{"with a port", "10.0.0.1:1", []string{"203.0.113.5:4711"}, "203.0.113.5"},
		{"IPv6", "[fd00::1]:1", []string{"2001:db8::5"}, "2001:db8::5"},
		{"IPv6 with a port", "[fd00::1]:1", []string{"[2001:db8::5]:4711"}, "2001:db8::5"},
		{"IPv6 in brackets", "[fd00::1]:1", []string{"[2001:db8::5]"}, "2001:db8::5"},
		{"mapped proxy", "[::ffff:10.0.0.1]:1", []string{"::ffff:203.0.113.5"}, "203.0.113.5"},
		{"a unix socket", "@", []string{"203.0.113.5"}, "invalid IP"},
		{"no address", "", nil, "invalid IP"},
		{"a long chain", "10.0.0.1:1", []string{"203.0.113.5" + strings.Repeat(",10.0.0.2", 5000)}, "10.0.0.2"},
	} {
		if got := ClientIP(tc.remote, tc.forwarded, trusted); got.String() != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
	if got := ClientIP("10.0.0.1:1", []string{"1.2.3.4"}, nil); got.String() != "10.0.0.1" {
		t.Errorf("nobody is trusted, but %s counts", got)
	}
}

func TestAddressSubject(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		"203.0.113.5":          "203.0.113.5",
		"::ffff:203.0.113.5":   "203.0.113.5",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1::/56",
		"2001:db8:1:ff::":      "2001:db8:1::/56",
		"2001:db8:1:100::":     "2001:db8:1:100::/56",
		"fe80::1%eth0":         "fe80::/56",
	} {
		if got := AddressSubject(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %q, want %q", addr, got, want)
		}
	}
	if got := AddressSubject(netip.Addr{}); got != "unknown" {
		t.Errorf("no address: %q", got)
	}
}

func TestRequestSubject(t *testing.T) {
	t.Parallel()
	subject := RequestSubject([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")})
	r := &http.Request{RemoteAddr: "127.0.0.1:80", Header: http.Header{"X-Forwarded-For": {"203.0.113.5"}}}
	if got := subject(r); got != "203.0.113.5" {
		t.Errorf("behind a proxy: %q", got)
	}
	r.RemoteAddr = "198.51.100.1:80"
	if got := subject(r); got != "198.51.100.1" {
		t.Errorf("not behind a proxy: %q", got)
	}
}
