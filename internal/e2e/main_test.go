package e2e_test

import (
	"fmt"
	"os"
	"testing"

	"mls-server/internal/e2e"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := e2e.RemoveBuilds(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
