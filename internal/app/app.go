// Package app puts the server together from its parts, runs it and takes it
// down in order. It is the only package that knows all others; it must hold no
// rule of its own.
package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"mls-server/internal/accounts"
	"mls-server/internal/auth"
	"mls-server/internal/batch"
	"mls-server/internal/blocks"
	"mls-server/internal/clock"
	"mls-server/internal/config"
	"mls-server/internal/delivery"
	"mls-server/internal/egress"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/handlers"
	"mls-server/internal/jobs"
	"mls-server/internal/mls"
	"mls-server/internal/obs"
	"mls-server/internal/ratelimit"
	"mls-server/internal/redact"
	"mls-server/internal/seen"
	"mls-server/internal/shared"
	"mls-server/internal/store"
	"mls-server/internal/stream"
	"mls-server/internal/xrpc"
	"mls-server/lexrt"
)

// App is a server that is ready to run.
type App struct {
	cfg     *config.Config
	log     *slog.Logger
	out     io.Writer // for the operator
	release Release
	// notifyAt is systemd's socket, "" where there is none.
	notifyAt string
	metrics  *obs.Metrics
	store    *store.Store
	// watched is the connection over which states of accounts are read: however busy the others
	// are, a takedown does not wait for one of them.
	watched *store.Store
	redis   redis.UniversalClient
	// refusals says what Redis refuses.
	refusals *redisRefusals
	bus      stream.Bus
	relay    *stream.RedisRelay // nil without Redis
	hub      *stream.Hub
	jobs     *jobs.Runner
	api      *xrpc.Server
	// accounts knows which accounts are refused.
	accounts *accounts.Watch
	// resolver finds DID documents; tokensFull says that no used token can be remembered.
	resolver   *auth.Resolver
	tokensFull func() bool
	// tickets stand for tokens in addresses of subscriptions.
	tickets *auth.Tickets
	// opens is when requests are answered at the earliest.
	opens   time.Time
	methods http.Handler // api, behind what development adds: what the public port serves
	health  *health
	// description is what describeServer answers.
	description *mlsapi.DescribeServerOutput
	// days notes on which day accounts were here.
	days *seen.Days[string]
	// deviceDays notes on which day calls named devices.
	deviceDays  *seen.Days[store.Device]
	feed        *blocks.Feed // nil without JETSTREAM_URL
	development development
	// deletions carries on with the deletion of devices, invitations ends those that are too many.
	deletions, invitations func(context.Context) (int64, error)
}

// Build makes a server of a configuration. It opens no port and asks nothing
// of the database yet. Logs go to out.
func Build(ctx context.Context, cfg *config.Config, out io.Writer) (*App, error) {
	secret := []byte(cfg.HashKey)
	if len(secret) == 0 {
		secret = make([]byte, 32)
		if _, err := rand.Read(secret); err != nil {
			return nil, err
		}
	}
	hasher, err := shared.NewHasher(secret)
	if err != nil {
		return nil, err
	}
	a := &App{cfg: cfg, out: io.Discard, notifyAt: os.Getenv("NOTIFY_SOCKET"), //nolint:forbidigo // systemd speaks to the process, not to its configuration
		metrics: obs.New(), log: newLogger(cfg, hasher, out)}
	if cfg.RedisURL != "" {
		client, err := openRedis(string(cfg.RedisURL))
		if err != nil {
			return nil, err
		}
		a.redis = client
		a.refusals = &redisRefusals{log: a.log, clock: clock.System, count: a.metrics.ObserveRedisFallback}
	}
	a.openBus()
	a.store, err = store.New(ctx, store.Config{
		URL: string(cfg.DatabaseURL), MaxConns: int32(cfg.DatabaseMaxConns), Observer: a.metrics, //nolint:gosec // at most 1000
		Committed: a.hint, Stored: a.stored,
	})
	if err != nil {
		return nil, err
	}
	a.watched, err = store.New(ctx, store.Config{URL: string(cfg.DatabaseURL), MaxConns: 1, Observer: a.metrics})
	if err != nil {
		return nil, err
	}
	if err := a.assemble(hasher); err != nil {
		return nil, err
	}
	return a, nil
}

// assemble makes the parts that need the store, from the outside in.
func (a *App) assemble(hasher *shared.Hasher) error {
	cfg := a.cfg
	client, err := egress.New(egress.Config{Allow: cfg.EgressAllow, UserAgent: "mls-server", Observe: a.metrics.ObserveEgress})
	if err != nil {
		return err
	}
	limiter, err := a.limiter(hasher)
	if err != nil {
		return err
	}
	authenticator, err := a.authenticator(client, limiter, hasher)
	if err != nil {
		return err
	}
	checker := a.newBlocks(client, a.resolver)
	a.metrics.Doors(stream.Doors(), stream.Ends())
	a.accounts = accounts.New(accountStates{a.watched, a.store}, func(users []mls.DID) { a.hub.EndStreams(users) }, clock.System)
	a.hub = stream.NewHub(stream.Options{
		Log: a.store, Bus: a.bus, Relay: a.relayed(), Encoder: handlers.StreamEncoder{PadBytes: cfg.BytesPadding}, Messages: handlers.SubscriptionEncoder{}, Observer: a.metrics, Logger: a.log, Clock: clock.System,
		Buffer: cfg.SSEBuffer, PerUser: cfg.StreamsPerUser, Places: a.places(hasher), Refused: a.accounts.Refused,
	})
	policy := mls.DefaultKeyPackagePolicy()
	policy.MaxLifetime, policy.AllowCompressedKeys = cfg.MaxLifetime, cfg.CompressedKeys
	workflows := delivery.New(delivery.Config{
		Store: a.store, Sender: a.sender(), Claimer: a.claimer(), Ephemerals: a.hub, Blocks: checker, Limits: limiter, Turns: a.turns(hasher), Refused: a.accounts.Refused,
		MaxMembers: cfg.MaxMembers, MaxDevices: cfg.MaxDevices, MaxKeyPackages: cfg.MaxKeyPackages, KeyPackageLow: cfg.KeyPackageLow,
		EpochGrace: mls.Epoch(cfg.EpochGrace), KeyPackagePolicy: policy, PublicHandshakes: cfg.Handshakes == config.PublicHandshakes,
		ExternalJoin: delivery.ExternalJoin(cfg.ExternalJoin), AcceptByWelcome: cfg.ConsentByWelcome,
	})
	a.feed = a.newFeed(client, workflows)
	a.deletions = func(ctx context.Context) (int64, error) { return workflows.RetireDevices(ctx, clock.System.Now()) }
	a.invitations = func(ctx context.Context) (int64, error) { return workflows.TrimInvitations(ctx, clock.System.Now()) }
	a.description = description(cfg)
	a.days, a.deviceDays = seen.New(a.store.SeeUsers, clock.System), seen.New(a.store.SeeDevices, clock.System)
	h := &handlers.Handlers{
		Store: a.store, Delivery: workflows, Blocks: checker, Streams: a.hub, Clock: clock.System, Description: a.description, Devices: a.deviceDays, Tickets: a.tickets,
		Config: handlers.Config{
			RequireIdempotency: cfg.RequireIdempotency, KeyPackageLow: cfg.KeyPackageLow, SuperadminDIDs: cfg.SuperadminDIDs,
			Subscription: subscriptionURL(cfg),
		},
	}
	a.api = xrpc.New(xrpc.Options{
		Authenticator: a.devTokens(authenticator), Tickets: authenticator, Limiter: limiter, MapError: handlers.PublicError, Observer: a.metrics,
		Logger: a.log, Clock: clock.System, Admit: a.admit, Seen: a.note, ClientIP: ratelimit.RequestSubject(cfg.TrustedProxies), BodyBudget: cfg.BodyBudget,
		Heeded: handlers.Heeded(), PadBytes: cfg.BytesPadding,
	})
	mlsapi.Mount(a.api, h)
	a.methods = a.devPages(a.devProxy(a.api, client))
	keep := store.DefaultRetention()
	keep.Messages, keep.Events, keep.Commits = cfg.MessageTTL, cfg.EventStreamTTL, max(cfg.MessageTTL, keep.Commits)
	keep.Documents = max(cfg.DIDStale, time.Hour)
	a.jobs = jobs.New(a.store, keep, a.metrics, a.log, clock.System)
	a.health = &health{store: a.store, lag: a.hub.Lag, clock: clock.System, full: a.tokensFull, known: a.accounts.Known, age: a.accounts.Age}
	a.pages()
	a.metrics.WatchPool(func() (p obs.PoolState) {
		p.Used, p.Idle, p.Most, p.Waits, p.Waited = a.store.PoolState()
		return p
	})
	a.metrics.WatchBodyMemory(a.api.BodyMemory)
	a.metrics.WatchGeneration(a.store.GenerationBegan)
	a.metrics.WatchStatesAge(a.accounts.Age)
	return nil
}

// note notes that an account is here. Who sends messages is not noted (I7).
func (a *App) note(m *lexrt.Method, caller lexrt.Caller) {
	if m != mlsapi.MethodSendMessage {
		a.days.Note(string(caller.DID))
	}
}

func (a *App) runDeletions(ctx context.Context) { a.jobs.Carry(ctx, "device_deletions", a.deletions) }

func (a *App) runInvitations(ctx context.Context) { a.jobs.Carry(ctx, "invitations", a.invitations) }

// sender is how messages reach the store.
func (a *App) sender() delivery.Sender {
	if a.cfg.ActorSystem {
		return batch.NewSends(a.store, batch.Config{})
	}
	return a.store
}

// claimer is how claims reach the store.
func (a *App) claimer() delivery.Claimer {
	if a.cfg.ActorSystem {
		return batch.NewClaims(a.store, batch.Config{})
	}
	return a.store
}

func newLogger(cfg *config.Config, hasher *shared.Hasher, out io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(cfg.LogLevel)) // config admits nothing else
	inner := slog.NewJSONHandler(out, &slog.HandlerOptions{Level: level})
	var methods, names []string
	for _, m := range mlsapi.Methods() {
		methods, names = append(methods, m.NSID), append(names, m.ErrorNames()...)
	}
	for _, e := range lexrt.GeneralErrors() {
		names = append(names, e.Name)
	}
	names = append(names, xrpc.OutcomeNames()...)
	schema := redact.BaseSchema().With("method", methods...).With("error_name", names...)
	return slog.New(redact.NewHandler(inner, schema, hasher))
}

// drainTime is how long streams and requests have to end when the server stops.
const drainTime = 20 * time.Second

// Run serves until ctx ends, then drains: not ready first, for DrainDelay with all else as before,
// then streams ended in order, requests finished. ready is called with both addresses once requests
// are answered.
func (a *App) Run(ctx context.Context, ready func(public, admin net.Addr)) error {
	defer a.close()
	if err := a.checkRedis(ctx); err != nil {
		return err
	}
	if err := clock.Pause(ctx, a.opens.Sub(clock.System.Now())); err != nil {
		return nil // told to stop before it began
	}
	a.lookAtAccounts(ctx)
	public, err := listen(ctx, a.cfg.ServerHost, a.cfg.ServerPort)
	if err != nil {
		return err
	}
	admin, err := listen(ctx, a.cfg.AdminHost, a.cfg.AdminPort)
	if err != nil {
		return err
	}
	servers := []*server{
		newServer(a.methods, a.log),
		newServer(a.metrics.AdminHandler(), a.log),
	}
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	g, gctx := errgroup.WithContext(work)
	for i, l := range []net.Listener{public, admin} {
		g.Go(func() error {
			if err := servers[i].Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serve: %w", err)
			}
			return nil
		})
	}
	g.Go(func() error { return a.hub.Run(gctx) })
	g.Go(func() error { return a.watch(gctx, a.database()) }) //nolint:contextcheck // the word to systemd does not wait
	for _, run := range []func(context.Context){a.jobs.Run, a.accounts.Run, a.runBus, a.runRelay, a.runFeed, a.resolver.Run, a.days.Run, a.deviceDays.Run, a.runDeletions, a.runInvitations} {
		g.Go(func() error { run(gctx); return nil })
	}
	g.Go(func() error {
		select {
		case <-ctx.Done():
		case <-gctx.Done():
		}
		defer stop()
		return a.drain(gctx, servers)
	})
	a.log.InfoContext(ctx, "serving", slog.String("component", "app"))
	a.say(fmt.Sprintf("release %s, revision %s, serves on %s, metrics on %s", a.release.Version, a.release.Revision, public.Addr(), admin.Addr()))
	if ready != nil {
		ready(public.Addr(), admin.Addr())
	}
	if err := g.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// drain takes the servers down: not ready first, for as long as a load balancer needs to notice,
// then streams are ended in order and requests finished. What is not finished after drainTime is
// cut off, which is not a failure.
func (a *App) drain(ctx context.Context, servers []*server) error {
	a.notify("STOPPING=1") //nolint:contextcheck // the word to systemd does not wait
	a.health.drain()
	if a.cfg.DrainDelay > 0 {
		a.say(fmt.Sprintf("draining for %v", a.cfg.DrainDelay))
	}
	_ = clock.Pause(ctx, a.cfg.DrainDelay) // a part that failed ends the wait
	a.hub.Drain()
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	err := a.shutdown(end, servers)
	if a.api.WaitSubscriptions(end) != nil {
		a.say(fmt.Sprintf("subscriptions that did not end within %v are cut off", drainTime))
	}
	return err
}

// shutdown lets servers finish what they do until ctx ends.
func (a *App) shutdown(ctx context.Context, servers []*server) error {
	var errs []error
	for _, s := range servers {
		switch err := s.Shutdown(ctx); {
		case err != nil && ctx.Err() != nil:
			a.say(fmt.Sprintf("requests that were not finished after %v are cut off", drainTime))
			_ = s.Close() // nothing is left to lose
		case err != nil:
			errs = append(errs, err, s.Close())
		}
	}
	return errors.Join(errs...)
}

func (a *App) close() {
	a.store.Close()
	a.watched.Close()
	if a.redis != nil {
		_ = a.redis.Close() // nothing is buffered in it
	}
}
