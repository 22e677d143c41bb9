package auth_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mls-server/internal/auth"
	"mls-server/internal/authtest"
	"mls-server/lexrt"
)

func TestReplays(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id, other := e.dir.NewIdentity(authtest.K256), e.dir.NewIdentity(authtest.P256)
	jti := authtest.Claim("jti", "the-same")

	e.want(t, "first", "", standard, id.Bearer(serviceDID, standard.NSID, jti))
	e.want(t, "another token with that jti", auth.NameReplayedToken, standard, id.Bearer(serviceDID, standard.NSID, jti, id.ExpiresIn(50*time.Second)))
	e.want(t, "the jti at another method", auth.NameReplayedToken, privileged, id.Bearer(serviceDID, privileged.NSID, jti))
	e.want(t, "iss with a fragment", auth.NameReplayedToken, standard,
		id.Bearer(serviceDID, standard.NSID, jti, authtest.Claim("iss", string(id.DID)+"#atproto")))
	e.want(t, "the jti of another issuer", "", standard, other.Bearer(serviceDID, standard.NSID, jti))

	// The other form of the signature is the same token.
	opts := []authtest.TokenOption{authtest.Claim("jti", "malleable")}
	e.want(t, "low S", "", standard, id.Bearer(serviceDID, standard.NSID, opts...))
	e.want(t, "high S", auth.NameReplayedToken, standard, id.Bearer(serviceDID, standard.NSID, append(opts, authtest.HighS())...))

	// A token that is refused leaves no trace, or strangers could burn the jtis of others.
	before := e.replays.Len()
	e.want(t, "forged", auth.NameBadJwtSignature, standard, id.Bearer(serviceDID, standard.NSID, authtest.SignedBy(other.PrivateKey()), authtest.Claim("jti", "forged")))
	if e.replays.Len() != before {
		t.Error("a forged token was remembered")
	}
	e.want(t, "genuine", "", standard, id.Bearer(serviceDID, standard.NSID, authtest.Claim("jti", "forged")))
}

func TestReplayMemoryLastsAsLongAsTheToken(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id := e.dir.NewIdentity(authtest.K256)
	long := id.Bearer(serviceDID, standard.NSID, id.ExpiresIn(time.Hour))
	short := authtest.Claim("jti", "short")
	e.want(t, "long", "", standard, long)
	e.want(t, "short", "", standard, id.Bearer(serviceDID, standard.NSID, short))

	e.clock.Advance(4*time.Minute + 59*time.Second)
	e.want(t, "short, before JTI_TTL", auth.NameReplayedToken, standard, id.Bearer(serviceDID, standard.NSID, short))
	e.clock.Advance(2 * time.Second)
	e.want(t, "short, after JTI_TTL", "", standard, id.Bearer(serviceDID, standard.NSID, short))
	e.clock.Advance(55*time.Minute + 20*time.Second) // the long one is past exp, within the leeway
	e.want(t, "long, within the leeway", auth.NameReplayedToken, standard, long)
	e.clock.Advance(time.Minute)
	e.want(t, "long, over", auth.NameJwtExpired, standard, long)
	if n := e.replays.Len(); n != 0 {
		t.Errorf("%d tokens are still remembered", n)
	}
}

func TestRacingReplays(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id := e.dir.NewIdentity(authtest.P256)
	header := id.Bearer(serviceDID, standard.NSID)
	var accepted, replayed atomic.Int64
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			_, err := e.admit(t.Context(), standard, header)
			switch {
			case err == nil:
				accepted.Add(1)
			case errors.Is(err, &lexrt.Error{Name: auth.NameReplayedToken}):
				replayed.Add(1)
			}
		})
	}
	wg.Wait()
	if accepted.Load() != 1 || replayed.Load() != 49 {
		t.Errorf("accepted %d, replayed %d", accepted.Load(), replayed.Load())
	}
	if n := e.dir.Fetches(id.DID); n != 1 {
		t.Errorf("the document was fetched %d times", n)
	}
}

type brokenStore struct{}

func (brokenStore) Use(context.Context, [32]byte, time.Time) (bool, error) {
	return false, errors.New("broken")
}

func TestBrokenStoreLetsNobodyIn(t *testing.T) {
	t.Parallel()
	e := newEnv(t, func(c *auth.Config) { c.Replays = brokenStore{} })
	id := e.dir.NewIdentity(authtest.K256)
	_, err := e.admit(t.Context(), standard, id.Bearer(serviceDID, standard.NSID))
	var lerr *lexrt.Error
	if !errors.As(err, &lerr) || lerr.Status != http.StatusServiceUnavailable || lerr.RetryAfter <= 0 {
		t.Errorf("got %v", err)
	}
}
