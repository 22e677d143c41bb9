package main

import (
	"fmt"
	"io"
)

// exitError ends a run with that code; everything has been printed already.
type exitError int

func (c exitError) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// coded adapts a command that returns an exit code.
func coded(f func(args []string, out, errs io.Writer) int) func([]string, io.Writer, io.Writer) error {
	return func(args []string, out, errs io.Writer) error {
		if code := f(args, out, errs); code != 0 {
			return exitError(code)
		}
		return nil
	}
}
