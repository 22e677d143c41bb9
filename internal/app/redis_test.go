package app

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"mls-server/internal/clock"
	"mls-server/internal/redistest"
	"mls-server/internal/shared"
)

// A Redis that hangs is waited for no longer than the caller says.
func TestRedisThatHangs(t *testing.T) {
	t.Parallel()
	client, err := openRedis(fakeRedis(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), shared.RedisTimeout)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- client.Ping(ctx).Err() }()
	select {
	case err := <-done:
		if err == nil {
			t.Error("a Redis that says nothing has answered")
		}
	case <-time.After(10 * shared.RedisTimeout):
		t.Error("the call outlives its deadline")
	}
}

func TestRedisAtStart(t *testing.T) {
	t.Parallel()
	cluster := func(enabled int) func(string) string {
		info := fmt.Sprintf("# Cluster\r\ncluster_enabled:%d\r\n", enabled)
		return func(command string) string {
			if command == "info cluster" {
				return fmt.Sprintf("$%d\r\n%s\r\n", len(info), info)
			}
			return "-ERR unknown command\r\n"
		}
	}
	away := redistest.Start(t)
	away.Kill()
	for _, c := range []struct {
		name, url string
		want      error
		warns     bool
	}{
		{"alone", redistest.Start(t).URL(), nil, false},
		{"says that it is alone", fakeRedis(t, cluster(0)), nil, false},
		{"node of a cluster", fakeRedis(t, cluster(1)), errRedisCluster, false},
		{"away", away.URL(), nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			client, err := openRedis(c.url)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = client.Close() }()
			var logs bytes.Buffer
			log := slog.New(slog.NewTextHandler(&logs, nil))
			a := &App{redis: client, log: log, refusals: &redisRefusals{log: log, clock: clock.System, count: func() {}}}
			if err := a.checkRedis(t.Context()); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if warned := strings.Contains(logs.String(), "level=WARN"); warned != c.warns {
				t.Errorf("logged %q", logs.String())
			}
		})
	}
}

// fakeRedis answers commands, in lower case with their arguments, as answer
// says in Redis' own protocol; nil never answers. It returns its URL.
func fakeRedis(t *testing.T, answer func(command string) string) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	url := "redis://" + l.Addr().String()
	if answer == nil {
		return url // connections stay in the backlog
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				in := bufio.NewReader(c)
				for command, err := readCommand(in); err == nil; command, err = readCommand(in) {
					if _, err := io.WriteString(c, answer(command)); err != nil {
						return
					}
				}
			}()
		}
	}()
	return url
}

// readCommand reads an array of strings.
func readCommand(in *bufio.Reader) (string, error) {
	length := func() (int, error) {
		line, err := in.ReadString('\n')
		if err != nil {
			return 0, err
		}
		return strconv.Atoi(strings.TrimSpace(line[1:]))
	}
	n, err := length()
	words := make([]string, n)
	for i := range words {
		size, err := length()
		if err != nil {
			return "", err
		}
		word := make([]byte, size+len("\r\n"))
		if _, err := io.ReadFull(in, word); err != nil {
			return "", err
		}
		words[i] = strings.ToLower(string(word[:size]))
	}
	return strings.Join(words, " "), err
}
