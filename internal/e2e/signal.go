package e2e

import (
	"os"
	"syscall"
	"testing"
)

// Signal sends a signal to the process.
func (p *Process) Signal(tb testing.TB, signal os.Signal) {
	tb.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		tb.Fatal(err)
	}
}

// Terminate ends the process in order, as an operator does, and waits until it is gone.
func (p *Process) Terminate(tb testing.TB) {
	tb.Helper()
	p.Signal(tb, syscall.SIGTERM)
	if err := p.cmd.Wait(); err != nil {
		tb.Errorf("a server that was told to end: %v", err)
	}
	p.cmd = nil
	p.client.CloseIdleConnections()
}
