package e2e_test

import (
	"net/http"
	"slices"
	"testing"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
)

// describeServer tells what the server was configured with, to anybody.
func TestDescribeServer(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t, e2e.Env{
		"MAX_MEMBERS": "77", "MAX_DEVICES": "3", "MAX_KEY_PACKAGES": "40", "EPOCH_GRACE": "2", "KEY_PACKAGE_MAX_LIFETIME_DAYS": "60",
		"SERVICE_ID": "chat", "SERVICE_LINKS": "https://mls.test/docs, https://mls.test/terms", "RATE_LIMIT_CREATE_CONVO": "7/9",
		"HANDSHAKES": "public",
	})
	var d mlsapi.DescribeServerOutput
	s.Users(1)[0].Call(t, mlsapi.MethodDescribeServer, e2e.Request{Authorization: "-"}, &d).OK(t)
	if string(d.DID) != s.DID || d.ServiceID != "chat" || d.MaxMembers != 77 || d.MaxDevices != 3 || d.MaxKeyPackages != 40 ||
		d.EpochGrace != 2 || d.KeyPackageMaxLifetimeDays != 60 || d.MaxMessageBytes != mls.MaxPaddedSize || string(d.Handshakes) != "public" {
		t.Errorf("got %+v", d)
	}
	if len(d.Links) != 2 || d.Links[1] != "https://mls.test/terms" {
		t.Errorf("links %v", d.Links)
	}
	if !slices.Contains(d.RateLimits, mlsapi.DescribeServerRateLimit{Class: "createConvo", PerMinute: 7, Burst: 9}) {
		t.Errorf("rate limits %v", d.RateLimits)
	}
	for _, m := range mlsapi.Methods() {
		if !slices.ContainsFunc(d.RateLimits, func(r mlsapi.DescribeServerRateLimit) bool { return r.Class == m.RateClass }) {
			t.Errorf("the class %s of %s is not told", m.RateClass, short(m))
		}
	}
	for _, name := range d.CipherSuites {
		if _, err := mls.ParseCipherSuite(name); err != nil {
			t.Errorf("suite %s: %v", name, err)
		}
	}
	for _, n := range d.PaddingBuckets {
		if !mls.PaddedSizeOK(n) {
			t.Errorf("%d is no padded size", n)
		}
	}
	if last := d.PaddingBuckets[len(d.PaddingBuckets)-1]; !mls.PaddedSizeOK(3*last) || mls.PaddedSizeOK(last+last/2) {
		t.Errorf("above %d sizes are not its multiples", last)
	}
}

// What needs no token is counted by address, whatever token comes along, and takes nothing from the
// bucket of those who are not authenticated.
func TestDescribeServerIsCountedByAddress(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t, e2e.Env{"RATE_LIMIT_DESCRIBE": "1/3", "RATE_LIMIT_IP": "1/2"})
	users := s.Users(2)
	m := mlsapi.MethodDescribeServer
	for range 3 {
		users[0].Call(t, m, e2e.Request{Authorization: "Bearer garbage"}, nil).OK(t)
	}
	for _, r := range []e2e.Request{{}, {Authorization: "-"}} {
		if a := users[1].Call(t, m, r, nil).Want(t, http.StatusTooManyRequests, "RateLimitExceeded"); number(t, a, "Retry-After") < 1 {
			t.Error("no Retry-After")
		}
	}
	users[0].Get(t, mlsapi.MethodGetConvos, nil).OK(t)
}
