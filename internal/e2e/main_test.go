package e2e_test

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"

	"mls-server/internal/e2e"
)

// waiting is how many tests more than there are processors run at once: several do nothing but wait
// for a server's patience to end.
const waiting = 1

func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) {
		if err := f.Value.Set(strconv.Itoa(runtime.GOMAXPROCS(0) + waiting)); err != nil {
			panic(err)
		}
	}
	code := m.Run()
	if err := e2e.RemoveBuilds(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
