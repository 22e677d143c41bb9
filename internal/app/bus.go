package app

import (
	"context"

	"mls-server/internal/stream"
)

// openBus chooses how servers reach each other: over Redis where there is one.
func (a *App) openBus() {
	if a.redis == nil {
		a.bus = stream.NewLocalBus()
		return
	}
	bus := stream.NewRedisBus(a.redis)
	a.bus, a.relay = bus, stream.NewRedisRelay(bus)
}

// hint tells all servers that the log has grown. The store calls it after each commit.
func (a *App) hint() { a.bus.Hint() }

// runBus keeps the connection of a shared bus.
func (a *App) runBus(ctx context.Context) {
	if shared, ok := a.bus.(*stream.RedisBus); ok {
		shared.Run(ctx)
	}
}

// runRelay keeps the connection of a relay.
func (a *App) runRelay(ctx context.Context) {
	if a.relay != nil {
		a.relay.Run(ctx)
	}
}

// relayed is what gives ephemeral messages to other servers, nil where there are none.
func (a *App) relayed() stream.Relay {
	if a.relay == nil {
		return nil
	}
	return a.relay
}
