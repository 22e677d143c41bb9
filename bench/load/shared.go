package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"time"

	"github.com/redis/go-redis/v9"
)

var errNoRedis = errors.New("this benchmark needs redis-server: apt-get install redis-server, or brew install redis")

// redisServer is a Redis without persistence.
type redisServer struct {
	cmd     *exec.Cmd
	address string
}

// stop ends it, if there is one.
func (s *redisServer) stop() {
	if s != nil {
		_ = s.cmd.Process.Kill() // it may have ended
		_ = s.cmd.Wait()
	}
}

// startRedis starts a Redis that is gone with the run.
func (m *machine) startRedis(ctx context.Context) error {
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		return errNoRedis
	}
	ports, err := freePorts(1)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, binary, "--port", ports[0], "--bind", "127.0.0.1", "--save", "", "--appendonly", "no") //nolint:gosec // what PATH has
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start Redis: %w", err)
	}
	address := "127.0.0.1:" + ports[0]
	m.redis = &redisServer{cmd, address}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close() // nothing was sent
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("start Redis: %w", err)
		}
	}
}

// withRedis marks the loads of a server that shares a Redis.
const withRedis = ", Redis"

// measureShared has sends, claims and pages take turns on a server with a Redis and on one without.
// Another listener makes the one believe that it is one of several: then limits are counted in
// Redis.
func measureShared(ctx context.Context, m *machine, r *report) error {
	if err := m.seedPages(ctx); err != nil {
		return err
	}
	if err := m.startRedis(ctx); err != nil {
		return err
	}
	other := redis.NewClient(&redis.Options{Addr: m.redis.address})
	defer func() { _ = other.Close() }() // nothing was asked of it
	hints := other.Subscribe(ctx, "mls:hints")
	defer func() { _ = hints.Close() }()
	kinds := []kind{
		{"shared: send", 64, func(i int) ([]byte, error) { c, u := m.turn(i); return m.sendRequest(c, u) }},
		{"shared: claim", 64, m.nextClaim},
		{"shared: page", pageReaders, m.pageRequest},
	}
	o := r.options
	o.measure /= 2
	for range turns {
		for _, with := range []struct {
			mark string
			env  []string
		}{{"", nil}, {withRedis, []string{"REDIS_URL=redis://" + m.redis.address, "HASH_KEY=a benchmark's key of hashes"}}} {
			if _, err := m.startServer(ctx, with.env...); err != nil {
				return err
			}
			for _, k := range kinds {
				k.name += with.mark
				if err := m.turnOf(ctx, r, o, k); err != nil {
					return err
				}
			}
		}
	}
	_, err := m.startServer(ctx)
	return err
}
