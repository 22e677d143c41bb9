package store

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strings"
	"testing"

	"mls-server/internal/pgtest"
)

func TestVersions(t *testing.T) {
	t.Parallel()
	for version, ok := range map[string]bool{
		"15.20 (Debian 15.20-0+deb12u1)": true, "16beta1": true, "18.3": true, "15": true, "": true, "14.18": false, "9.6.24": false, "14": false,
	} {
		if err := checkVersion(version); errors.Is(err, ErrTooOld) == ok {
			t.Errorf("%q: %v", version, err)
		}
	}
	if err := open(t, 2).CheckSuitable(t.Context()); err != nil {
		t.Error(err)
	}
}

// database is the name of a URL's database.
func database(t *testing.T, link string) string {
	t.Helper()
	u, err := url.Parse(link)
	must(t, err)
	return strings.TrimPrefix(u.Path, "/")
}

// The operator is told in plain words what stands against the database.
func TestExplain(t *testing.T) {
	t.Parallel()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().String()
	must(t, l.Close())
	standing := pgtest.New(t)
	for name, c := range map[string]struct {
		url  string
		want []string
	}{
		"refused":          {"postgresql://mls:secret@" + closed + "/chat", []string{"cannot reach PostgreSQL at " + closed, "database chat", "connection refused"}},
		"no such host":     {"postgresql://mls:secret@db.invalid:5432/chat", []string{"cannot reach PostgreSQL at db.invalid:5432", "cannot be resolved"}},
		"no database":      {strings.Replace(standing, database(t, standing), "nosuch", 1), []string{"there is no database nosuch"}},
		"without a schema": {pgtest.NewEmpty(t), []string{"the schema is missing: run mls-server migrate"}},
	} {
		s, err := New(t.Context(), Config{URL: c.url})
		must(t, err)
		_, err = s.ListUsers(context.WithoutCancel(t.Context()))
		if pingErr := s.Ping(t.Context()); pingErr != nil {
			err = pingErr
		}
		got := s.Explain(err)
		s.Close()
		for _, part := range c.want {
			if !strings.Contains(got, part) {
				t.Errorf("%s: %q, want %q", name, got, part)
			}
		}
		if strings.Contains(got, "secret") || strings.Contains(got, "\n") {
			t.Errorf("%s: %q", name, got)
		}
	}
}
