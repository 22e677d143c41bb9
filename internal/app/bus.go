package app

import (
	"context"

	"mls-server/internal/stream"
)

// openBus chooses how servers wake each other: over Redis where there is one.
func (a *App) openBus() {
	if a.redis == nil {
		a.bus = stream.NewLocalBus()
		return
	}
	a.bus = stream.NewRedisBus(a.redis)
}

// hint tells all servers that the log has grown. The store calls it after each commit.
func (a *App) hint() { a.bus.Hint() }

// runBus keeps the connection of a shared bus.
func (a *App) runBus(ctx context.Context) {
	if shared, ok := a.bus.(*stream.RedisBus); ok {
		shared.Run(ctx)
	}
}
