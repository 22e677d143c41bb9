// Command capacity computes the results of docs/capacity.md anew from the tables of the page.
//
//	cd bench && go run ./capacity
package main

import (
	"flag"
	"fmt"
	"os"

	"mls-server/bench/internal/capacity"
)

func main() {
	path := flag.String("page", "../docs/capacity.md", "the page")
	flag.Parse()
	if err := run(*path); err != nil {
		fmt.Fprintln(os.Stderr, "capacity:", err)
		os.Exit(1)
	}
}

func run(path string) error {
	page, err := os.ReadFile(path) //nolint:gosec // what the caller names
	if err != nil {
		return fmt.Errorf("read the page: %w", err)
	}
	updated, err := capacity.Update(page)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := os.WriteFile(path, updated, 0o644); err != nil { //nolint:gosec // a page for everybody
		return fmt.Errorf("write the page: %w", err)
	}
	return nil
}
