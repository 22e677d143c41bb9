package blocks_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"mls-server/internal/auth"
	"mls-server/internal/authtest"
	"mls-server/internal/blocks"
	"mls-server/internal/egress"
	"mls-server/internal/mls"
	"mls-server/lexrt"
)

// A record counts when it is in the collection of blocks, was made in the past, and is the one that
// was asked for, whatever the author's own server says.
func TestRecordsAreWhatTheySay(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	subject := e.users(1)[0]
	const future = "2999-01-01T00:00:00Z"
	// record is one of the repository that a request names.
	record := func(r *http.Request, collection, key string) string {
		return fmt.Sprintf(`{"uri":"at://%s/%s/%s","value":{"subject":"%s","createdAt":"%s"}}`, r.URL.Query().Get("repo"), collection, key, subject, future)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "getRecord"):
			_, _ = fmt.Fprint(w, record(r, "app.bsky.graph.block", "another"))
		default:
			_, _ = fmt.Fprintf(w, `{"records":[%s,%s]}`, record(r, "app.bsky.graph.follow", "f"), record(r, "app.bsky.graph.block", "b"))
		}
	}))
	t.Cleanup(server.Close)
	client, err := egress.New(egress.Config{Allow: append(e.dir.HostPorts(), strings.TrimPrefix(server.URL, "http://"), e.network.HostPort())})
	if err != nil {
		t.Fatal(err)
	}
	resolver := auth.NewResolver(auth.ResolverConfig{Client: client, PLCURL: e.dir.URL(), Clock: e.clock})
	s := blocks.New(blocks.Config{
		Cache: e.store, PDS: blocks.NewPDS(client, resolver, e.clock), Observe: func(string) {}, Clock: e.clock,
	})
	author := e.dir.NewIdentity(authtest.K256)
	author.SetPDS(server.URL)

	a := between(t, s, subject, []mls.DID{author.DID, subject})
	if len(a.Blocks) != 1 || a.Blocks[0].URI.RecordKey() != "b" || a.Blocks[0].CreatedAt.After(e.clock.Now().Add(time.Second)) {
		t.Errorf("%+v", a.Blocks)
	}
	asked := lexrt.ATURI("at://" + string(author.DID) + "/app.bsky.graph.block/asked")
	if err := s.Verify(t.Context(), blocks.Claim{Blocker: author.DID, Blocked: subject, URI: asked, Exists: true}); err == nil {
		t.Error("another record stood in for the one that was named")
	}
}
